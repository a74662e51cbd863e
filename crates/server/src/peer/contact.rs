//! A known node: where it is, and the link to it that is kept.
//!
//! Holds: there is at most one link at a time; it is made again and again until the node is
//! forgotten, soon at first and ever more rarely, with chance in it so that nodes that lost one
//! peer together do not come back together. A node that dials us is there, so it is tried at
//! once.
//!
//! Does not know: what is asked.

use super::ending::Ending;
use super::limits::Limits;
use super::link::{self, End, Side};
use super::meet::{self, Met, NoLink};
use super::outward::{Figures, Outward};
use super::{Notice, Shared};
use parking_lot::{Mutex, RwLock};
use shoal_core::NodeId;
use shoal_node::transport::{Admission, Denied, Identity, LinkStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a link must have lasted for the next one to be tried soon again.
const LASTED: Duration = Duration::from_secs(1);

/// One known node.
pub(super) struct Contact {
    pub(super) node: NodeId,
    pub(super) figures: Arc<Figures>,
    address: Mutex<String>,
    link: RwLock<Option<Arc<Outward>>>,
    gone: AtomicBool,
    /// The address or this node's identity is another, or the node was forgotten.
    changed: Notify,
    /// The node showed that it is there.
    seen: Notify,
    last_failure: Mutex<Option<Failure>>,
}

/// Why a link last went or could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    why: String,
    denied: Option<Denied>,
}

impl Contact {
    pub(super) fn new(node: NodeId, address: &str) -> Self {
        Self {
            node,
            figures: Arc::default(),
            address: Mutex::new(address.to_owned()),
            link: RwLock::default(),
            gone: AtomicBool::new(false),
            changed: Notify::new(),
            seen: Notify::new(),
            last_failure: Mutex::default(),
        }
    }

    /// The link, if there is one.
    pub(super) fn link(&self) -> Option<Arc<Outward>> {
        self.link.read().clone()
    }

    /// Looks for it at another address from now on.
    pub(super) fn move_to(&self, shared: &Shared, address: &str) {
        {
            let mut known = self.address.lock();
            if *known == address {
                return;
            }
            address.clone_into(&mut known);
        }
        self.begin_anew(shared);
    }

    /// Ends the link and dials again.
    pub(super) fn begin_anew(&self, shared: &Shared) {
        self.take_link(shared, None, Ending::Withdrawn);
        self.changed.notify_one();
    }

    /// Tells the other side the next token of this node; dials at once under it where there is no
    /// link.
    pub(super) fn renew(&self, token: u64) {
        match self.link() {
            Some(link) => link.renew(token),
            None => {
                // What was denied was denied to the token before.
                if let Some(last) = self.last_failure.lock().as_mut() {
                    last.denied = None;
                }
                self.changed.notify_one();
            }
        }
    }

    /// Judges the other side anew. Where something was denied it is tried again at once.
    pub(super) fn review(&self, shared: &Shared) {
        match self.link() {
            Some(link) => self.review_link(shared, &link),
            None if self.denied().is_some() => self.seen.notify_one(),
            None => {}
        }
    }

    fn review_link(&self, shared: &Shared, link: &Arc<Outward>) {
        if let Err(why) = link.review() {
            self.take_link(shared, Some(link), Ending::refusing(why));
        }
    }

    fn denied(&self) -> Option<Denied> {
        self.last_failure.lock().as_ref().and_then(|last| last.denied)
    }

    /// Ends the link and dials no more.
    pub(super) fn withdraw(&self, shared: &Shared, why: Ending) {
        self.gone.store(true, Ordering::SeqCst);
        self.take_link(shared, None, why);
        self.changed.notify_one();
    }

    /// Counts a question that was refused before it came to a link.
    pub(super) fn count_refused(&self) {
        self.figures.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Dials at once if it is waiting to do so.
    pub(super) fn was_seen(&self) {
        if self.link.read().is_none() {
            self.seen.notify_one();
        }
    }

    pub(super) fn status(&self) -> LinkStatus {
        let link = self.link();
        let (queued_messages, queued_bytes, unanswered) =
            link.as_ref().map_or((0, 0, 0), |link| link.backlog());
        let figures = &self.figures;
        let up = link.is_some_and(|link| link.is_up());
        let last = self.last_failure.lock().clone();
        LinkStatus {
            node: self.node,
            address: self.address.lock().clone(),
            up,
            connects: figures.connects.load(Ordering::Relaxed),
            queued_messages,
            queued_bytes,
            unanswered,
            asked: figures.asked.load(Ordering::Relaxed),
            answered: figures.answered.load(Ordering::Relaxed),
            refused: figures.refused.load(Ordering::Relaxed),
            failed: figures.failed.load(Ordering::Relaxed),
            served: figures.served.load(Ordering::Relaxed),
            round_trip: figures.round_trip(),
            denied: last.as_ref().and_then(|last| last.denied).filter(|_| !up),
            last_failure: last.map(|last| last.why),
        }
    }

    /// Makes a link known, unless it is no longer wanted.
    fn install(&self, shared: &Shared, link: &Arc<Outward>, dialled: &(Identity, String)) -> bool {
        let mut place = self.link.write();
        let wanted = !self.gone.load(Ordering::SeqCst)
            && shared.identity() == dialled.0
            && *self.address.lock() == dialled.1;
        if wanted {
            *place = Some(Arc::clone(link));
            self.figures.connects.fetch_add(1, Ordering::Relaxed);
            shared.note(Notice { node: self.node, up: true });
        }
        wanted
    }

    /// Takes the link away, only if it is `this` where that is given.
    fn take_link(&self, shared: &Shared, this: Option<&Arc<Outward>>, why: Ending) {
        let taken = {
            let mut place = self.link.write();
            let is_this = |link: &mut Arc<Outward>| this.is_none_or(|this| Arc::ptr_eq(this, link));
            let taken = place.take_if(is_this);
            if taken.is_some() {
                shared.note(Notice { node: self.node, up: false });
            }
            taken
        };
        if let Some(link) = taken {
            link.end(why);
        }
    }

    fn failed(&self, why: String, denied: Option<Denied>) {
        let failure = Some(Failure { why, denied });
        let mut last = self.last_failure.lock();
        // The same again is no news.
        if let Some(Failure { why, .. }) = failure.as_ref().filter(|_| *last != failure) {
            let address = self.address.lock().clone();
            tracing::info!(node = %self.node, address, %why, "no link to a peer");
        }
        *last = failure;
    }

    /// Keeps a link until the node is forgotten or the transport is closed.
    pub(super) async fn keep(self: Arc<Self>, shared: Arc<Shared>) {
        let mut pause = Pause::new(&shared.limits);
        loop {
            if self.gone.load(Ordering::SeqCst) {
                return;
            }
            let dialled = (shared.identity(), self.address.lock().clone());
            if dialled.0.node.0 == 0 {
                self.changed.notified().await;
                continue;
            }
            let begun = Instant::now();
            let me = shared.me(dialled.0);
            let limits = &shared.limits;
            let judge = |who| shared.admit(who);
            let (connect, handshake) = (limits.connect, limits.handshake);
            tokio::select! {
                met = meet::dial(&dialled.1, me, self.node, connect, handshake, judge) => {
                    match met {
                        Ok((met, admission)) => {
                            self.carry(&shared, met, admission, &dialled).await;
                        }
                        // What another token was told says nothing of the present one.
                        Err(_) if shared.identity() != dialled.0 => {}
                        Err(why) => self.no_link(&shared, &why),
                    }
                }
                () = self.changed.notified() => continue,
            }
            if begun.elapsed() >= LASTED + limits.connect {
                pause.reset();
            }
            tokio::select! {
                () = tokio::time::sleep(pause.next()) => {}
                () = self.changed.notified() => pause.reset(),
                () = self.seen.notified() => {}
            }
        }
    }

    fn no_link(&self, shared: &Shared, why: &NoLink) {
        shared.counts.no_link(why);
        self.failed(why.to_string(), why.denied());
    }

    /// Uses a link until it ends.
    async fn carry(
        &self,
        shared: &Shared,
        met: Met,
        admission: Admission,
        dialled: &(Identity, String),
    ) {
        let (limits, figures) = (Arc::clone(&shared.limits), Arc::clone(&self.figures));
        let standing = shared.standing(met.agreed.peer, admission);
        let link = Arc::new(Outward::new(limits, Some(standing), figures));
        if !self.install(shared, &link, dialled) {
            return;
        }
        // Now that it can be found it is judged again: what changed meanwhile counts.
        self.review_link(shared, &link);
        tracing::info!(node = %self.node, address = %dialled.1, "a link to a peer is up");
        let Met { stream, first, agreed } = met;
        let side = Arc::clone(&link);
        let longest = shared.limits.longest;
        let end = link::run(stream, first, agreed, longest, side, &shared.limits).await;
        self.take_link(shared, Some(&link), end.why);
        shared.counts.ended(end);
        self.failed(describe(end), end.told.unwrap_or(end.why).denied());
        if end.why.is_offence() {
            tracing::warn!(node = %self.node, why = end.why.name(), "a peer broke the protocol");
        }
    }
}

/// An end of a link as a sentence.
pub(super) fn describe(end: End) -> String {
    match end.told {
        Some(told) => format!("{}: {told}", end.why),
        None => end.why.to_string(),
    }
}

/// The pauses between attempts: each up to twice the last, drawn from the upper half.
struct Pause {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Pause {
    const fn new(limits: &Limits) -> Self {
        let (least, most) = limits.backoff;
        Self { least, most, next: least }
    }

    const fn reset(&mut self) {
        self.next = self.least;
    }

    fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.most);
        whole.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_most_and_begin_anew() {
        let limits = Limits::default();
        let (least, most) = limits.backoff;
        let mut pause = Pause::new(&limits);
        let mut expected = least;
        for _ in 0..20 {
            let next = pause.next();
            assert!(next >= expected / 2 && next <= expected, "{next:?} of {expected:?}");
            expected = (expected * 2).min(most);
        }
        assert_eq!(expected, most);
        pause.reset();
        assert!(pause.next() <= least);
    }
}
