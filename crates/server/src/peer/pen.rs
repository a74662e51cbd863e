//! The writing end of a link, for whoever has something to send: mostly a task that waits for it,
//! but on a quiet link also the thread that asks or answers, which spares the other being woken.
//!
//! Holds: frames are numbered and written in one order, whoever writes them. Everything that waits
//! is framed and written with one call, short bodies copied behind their heads, long ones sent from
//! where they are. Nobody waits for the system here, and whoever asks or answers not for another who
//! is writing either: what could not be written is left to the task.
//!
//! Does not know: what frames mean, when to write.

use super::ending::Ending;
use super::frame::{Frame, HEAD, Sealer, What};
use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::tcp::OwnedWriteHalf;

/// Bodies from this length on are written from where they are.
const LONG: usize = 16 << 10;

/// The most parts that are handed to one write.
const PARTS: usize = 64;

/// What came of an attempt to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// Nothing is left.
    All,
    /// There is more, or somebody else is writing.
    More,
    /// The system takes no more for now.
    Full,
    /// Nothing can be written any more.
    Over(Ending),
}

/// Where frames are taken from; whether there are more behind those that were taken.
pub(super) type Take<'t> = &'t mut dyn FnMut(&mut Vec<Frame>) -> bool;

/// The writing end of a link.
pub(super) struct Pen {
    hand: Mutex<Hand>,
    /// Whether something was begun and not written to its end, or nothing can be written any more:
    /// the task has to see to it.
    left: AtomicBool,
}

struct Hand {
    /// Nothing once it is closed.
    writer: Option<Arc<OwnedWriteHalf>>,
    sealer: Sealer,
    batch: Vec<Frame>,
    parts: Parts,
    /// Whether the last frame was taken.
    said_goodbye: bool,
    over: Option<Ending>,
}

impl Pen {
    pub(super) fn new(writer: OwnedWriteHalf, sealer: Sealer) -> Self {
        let hand = Hand {
            writer: Some(Arc::new(writer)),
            sealer,
            batch: Vec::new(),
            parts: Parts::default(),
            said_goodbye: false,
            over: None,
        };
        Self { hand: Mutex::new(hand), left: AtomicBool::new(false) }
    }

    /// Writes what is left from before and what one `take` gives, as far as the system takes it.
    pub(super) fn write(&self, take: Take<'_>) -> Wrote {
        // Whoever holds it says to the task that there is more, or is the task.
        let Some(mut hand) = self.hand.try_lock() else { return Wrote::More };
        let wrote = hand.write(take);
        self.left.store(matches!(wrote, Wrote::Full | Wrote::Over(_)), Ordering::Release);
        wrote
    }

    /// Whether the task has to see to what was begun.
    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Waits until the system takes more, or says that it never will.
    pub(super) async fn writable(&self) {
        let writer = self.hand.lock().writer.clone();
        if let Some(writer) = writer {
            // A failure is found when it is written to.
            let _ = writer.writable().await;
        }
    }

    /// Writes nothing any more, and lets the connection go.
    pub(super) fn close(&self) {
        let mut hand = self.hand.lock();
        hand.over.get_or_insert(Ending::Stopped);
        hand.writer = None;
    }
}

impl Hand {
    fn write(&mut self, take: Take<'_>) -> Wrote {
        match self.try_write(take) {
            Ok(wrote) => wrote,
            Err(why) => {
                let why = *self.over.get_or_insert(why);
                // Dropping it tells the other side that nothing more comes.
                self.writer = None;
                Wrote::Over(why)
            }
        }
    }

    fn try_write(&mut self, take: Take<'_>) -> Result<Wrote, Ending> {
        if !self.flush()? {
            return Ok(Wrote::Full);
        }
        let more = take(&mut self.batch);
        for frame in self.batch.drain(..) {
            let head = self.sealer.head(&frame);
            self.parts.add(&head, frame.body);
            if frame.what == What::Goodbye {
                self.said_goodbye = true;
                break;
            }
        }
        self.batch.clear();
        self.parts.finish();
        Ok(match self.flush()? {
            false => Wrote::Full,
            true if more => Wrote::More,
            true => Wrote::All,
        })
    }

    /// Writes what was begun; whether all of it is written.
    fn flush(&mut self) -> Result<bool, Ending> {
        let writer = self.writer.as_ref().ok_or(self.over.unwrap_or(Ending::Stopped))?;
        while !self.parts.done.is_empty() {
            match self.parts.write_to(writer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Ok(0) | Err(_) => return Err(Ending::Broken),
                Ok(written) => self.parts.advance(written),
            }
        }
        if self.said_goodbye { Err(Ending::Stopped) } else { Ok(true) }
    }
}

/// Bytes to be written, in pieces.
#[derive(Default)]
struct Parts {
    done: VecDeque<Bytes>,
    open: BytesMut,
}

impl Parts {
    fn add(&mut self, head: &[u8; HEAD], body: Bytes) {
        self.open.extend_from_slice(head);
        if body.len() < LONG {
            self.open.extend_from_slice(&body);
        } else {
            self.done.push_back(self.open.split().freeze());
            self.done.push_back(body);
        }
    }

    fn finish(&mut self) {
        if !self.open.is_empty() {
            self.done.push_back(self.open.split().freeze());
        }
    }

    fn write_to(&self, writer: &OwnedWriteHalf) -> io::Result<usize> {
        if let [only] = self.done.as_slices().0
            && self.done.len() == 1
        {
            return writer.try_write(only);
        }
        let mut slices = [IoSlice::new(&[]); PARTS];
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(&self.done) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        writer.try_write_vectored(&slices[..count])
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.done.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.done.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
