//! Asking for a newer map on behalf of commands that meet a name which is not known here.
//!
//! Holds: when a command is told, every map that the leader had decided on before it asked is in
//! force here, unless the leader could not be asked in time; a leader that is silent is left alone
//! for a while, and commands go by what is known meanwhile. One question is under way at a time,
//! whatever the number of commands that wait for the next.
//!
//! Does not know: names.

use super::{Cluster, over};
use crate::errand::{Reply, Ticket};
use parking_lot::Mutex;
use shoal_meta::MapStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long the leader may take, and the new map here.
const WITHIN: Duration = Duration::from_millis(500);
/// How long a leader that was silent is not asked again.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// Who waits for news of the map.
#[derive(Default)]
pub(crate) struct News(Mutex<State>);

#[derive(Default)]
struct State {
    /// Served by the next question: the one under way may have been answered before they asked.
    waiting: Vec<Ticket>,
    is_asking: bool,
    left_alone_until: Option<Instant>,
}

impl Cluster {
    /// Tells `ticket` once as new a map is in force here as could be had.
    pub(crate) fn ask_for_news(self: &Arc<Self>, ticket: Ticket) {
        let mut state = self.news.0.lock();
        if state.left_alone_until.is_some_and(|until| Instant::now() < until) {
            drop(state);
            return ticket.tell(Reply::News);
        }
        state.waiting.push(ticket);
        if !std::mem::replace(&mut state.is_asking, true) {
            self.runtime.spawn(Arc::clone(self).tell_news());
        }
    }

    /// Asks as often as somebody waits.
    async fn tell_news(self: Arc<Self>) {
        loop {
            let waiting = {
                let mut state = self.news.0.lock();
                state.is_asking = !state.waiting.is_empty();
                if !state.is_asking {
                    return;
                }
                std::mem::take(&mut state.waiting)
            };
            let mut stop = self.stop.subscribe();
            let heard = tokio::select! {
                heard = timeout(WITHIN, self.catch_up()) => heard.unwrap_or(false),
                () = over(&mut stop) => false,
            };
            let until = (!heard).then(|| Instant::now() + LEFT_ALONE);
            self.news.0.lock().left_alone_until = until;
            for ticket in waiting {
                ticket.tell(Reply::News);
            }
        }
    }

    /// Acts under the map that the leader has; whether it could be asked.
    async fn catch_up(&self) -> bool {
        let leader = self.store.leadership().borrow().leader;
        match leader {
            None => return false,
            Some(leader) if leader == self.me => {}
            Some(leader) => {
                if let Err(error) = self.store.pull(leader).await {
                    tracing::debug!(%leader, %error, "could not ask for a newer map");
                    return false;
                }
            }
        }
        let newest = self.store.current().version;
        let mut adopted = self.custody.versions();
        adopted.wait_for(|version| *version >= newest).await.is_ok()
    }
}
