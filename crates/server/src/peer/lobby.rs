//! The handshakes under way with nodes that dialled this one.
//!
//! Holds: they are at most so many, and one more ends the oldest. A handshake of a peer takes
//! milliseconds, so those who come and say nothing end each other and not the peers.
//!
//! Does not know: connections.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

#[derive(Default)]
struct Waiting {
    next: u64,
    /// By number. Whoever is taken out without leaving by itself hears it by the drop.
    places: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// Where handshakes wait for their end.
pub(super) struct Lobby {
    most: usize,
    waiting: Mutex<Waiting>,
}

/// One handshake's place; free again when this is dropped.
pub(super) struct Place {
    lobby: Arc<Lobby>,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl Lobby {
    /// A lobby with room for so many; at least one.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), waiting: Mutex::default() }
    }

    /// Takes a place, the oldest's if there is no other.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let (sender, lost) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.places.len() >= self.most {
            waiting.places.pop_front();
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.places.push_back((number, sender));
        Place { lobby: Arc::clone(self), number, lost }
    }
}

impl Place {
    /// Waits until the place is taken by another.
    pub(super) async fn lost(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.lost).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.lobby.waiting.lock();
        waiting.places.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room_and_whoever_left_is_none() {
        let lobby = Arc::new(Lobby::new(2));
        let first = lobby.enter();
        let mut second = lobby.enter();
        drop(first);
        let mut third = lobby.enter();
        assert_eq!(second.lost.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        let mut fourth = lobby.enter();
        second.lost().await;
        drop(second);
        let mut fifth = lobby.enter();
        third.lost().await;
        for still in [&mut fourth, &mut fifth] {
            assert_eq!(still.lost.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        }
        assert_eq!(lobby.waiting.lock().places.len(), 2);
    }
}
