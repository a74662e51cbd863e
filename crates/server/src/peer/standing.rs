//! What the other side of one link is taken for: who it says it is, and whether it is still
//! admitted as that.
//!
//! Holds: whoever serves is asked when the link is made, at every review, and for each question
//! that is more than the link was made for. A node that takes its next token keeps its links as
//! long as either token is admitted: both were said by one process that has proven the secret,
//! so it makes no difference in which order the token and the map with it arrive.
//!
//! Does not know: connections.

use parking_lot::Mutex;
use shoal_core::NodeId;
use shoal_node::transport::{Admission, Denied, Identity, Serve};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

struct Said {
    who: Identity,
    /// The token that it has taken since, as long as it is not admitted under that one.
    next: Option<u64>,
}

/// What the other side of one link is taken for.
pub(super) struct Standing {
    node: NodeId,
    /// Nobody, where the transport was closed while the link was made.
    serve: Option<Weak<dyn Serve>>,
    /// Held while it is judged, so that the latest judgement is the one that stays.
    said: Mutex<Said>,
    whole: AtomicBool,
}

impl Standing {
    pub(super) fn new(who: Identity, admission: Admission, serve: Option<Weak<dyn Serve>>) -> Self {
        let whole = AtomicBool::new(admission == Admission::Whole);
        Self { node: who.node, serve, said: Mutex::new(Said { who, next: None }), whole }
    }

    pub(super) const fn node(&self) -> NodeId {
        self.node
    }

    /// Who serves here, until the transport is closed.
    pub(super) fn serve(&self) -> Option<Arc<dyn Serve>> {
        self.serve.as_ref()?.upgrade()
    }

    /// Whether it may ask and be asked everything: as it was last judged, or, where that was for
    /// control only, as it is judged now.
    pub(super) fn is_whole(&self) -> Result<bool, Denied> {
        if self.whole.load(Ordering::Relaxed) {
            return Ok(true);
        }
        Ok(self.review()? == Admission::Whole)
    }

    /// Judges it anew.
    pub(super) fn review(&self) -> Result<Admission, Denied> {
        self.judge(&mut self.said.lock())
    }

    /// It has taken another token.
    pub(super) fn renew(&self, token: u64) -> Result<Admission, Denied> {
        let mut said = self.said.lock();
        said.next = Some(token);
        self.judge(&mut said)
    }

    fn judge(&self, said: &mut Said) -> Result<Admission, Denied> {
        // Nobody serves any more: it will find this node again when it is back.
        let serve = self.serve().ok_or(Denied::Crowded)?;
        let next = said.next.map(|token| Identity { token, ..said.who });
        let renewed = next.and_then(|next| Some((next, serve.admit(next).ok()?)));
        let admission = match renewed {
            Some((next, admission)) => {
                *said = Said { who: next, next: None };
                admission
            }
            None => serve.admit(said.who)?,
        };
        self.whole.store(admission == Admission::Whole, Ordering::Relaxed);
        Ok(admission)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use shoal_node::transport::{Answerer, Kind};

    /// Admits one token.
    struct Record(Mutex<u64>);

    impl Serve for Record {
        fn serve(&self, _from: NodeId, _kind: Kind, _body: Bytes, answer: Answerer) {
            drop(answer);
        }

        fn admit(&self, who: Identity) -> Result<Admission, Denied> {
            if who.token == *self.0.lock() { Ok(Admission::Whole) } else { Err(Denied::StaleNode) }
        }
    }

    fn standing(token: u64) -> (Standing, Arc<Record>) {
        let record = Arc::new(Record(Mutex::new(token)));
        let serve = Arc::clone(&record) as Arc<dyn Serve>;
        let who = Identity { token, ..Identity::default() };
        (Standing::new(who, Admission::Whole, Some(Arc::downgrade(&serve))), record)
    }

    #[test]
    fn the_next_token_and_the_map_may_come_in_either_order() {
        let (one, record) = standing(1);
        assert_eq!(one.renew(2), Ok(Admission::Whole), "the first is still on record");
        *record.0.lock() = 2;
        assert_eq!(one.review(), Ok(Admission::Whole));
        *record.0.lock() = 1;
        assert_eq!(one.review(), Err(Denied::StaleNode), "the first is given up for good");

        let (one, record) = standing(1);
        *record.0.lock() = 2;
        assert_eq!(one.review(), Err(Denied::StaleNode));
        assert_eq!(one.renew(2), Ok(Admission::Whole));
        assert_eq!(one.renew(3), Ok(Admission::Whole));
        *record.0.lock() = 4;
        assert_eq!(one.review(), Err(Denied::StaleNode), "neither is on record");
    }

    #[test]
    fn it_does_not_keep_whoever_serves() {
        let (one, record) = standing(1);
        drop(record);
        assert_eq!(one.review(), Err(Denied::Crowded));
        assert!(one.serve().is_none());
    }
}
