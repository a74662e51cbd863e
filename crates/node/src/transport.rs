//! How nodes reach each other: one asks, the other answers. The seam between the node and whatever
//! carries its messages.
//!
//! A [`Transport`] carries questions to the nodes it was told of and hands what comes in to a
//! [`Serve`]. `memory` is the one inside a process, for tests and for whole clusters in one
//! program; the edge brings the one over TCP. `conformance` holds what both keep to.
//!
//! Holds:
//! - Every question is answered to its asker exactly once, at the latest when its patience is over
//!   (give or take [`EXPIRY_TICK`]) or the transport is closed, and the asker learns whether it
//!   may have been done ([`Unreachable::may_be_done`]).
//! - A question is delivered at most once, whole and unchanged, and to the node it was meant for.
//!   Questions may overtake each other.
//! - No queue grows without bound: what has no room is refused at once, by kind, so that a flood
//!   of one kind leaves the others their room. A peer that does not answer costs only those who
//!   ask it.
//! - Whoever asks or serves never waits inside a call.
//!
//! Does not know: what the messages say, who is a member, or sockets.

pub mod memory;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;

use bytes::Bytes;
use shoal_core::{ClusterId, NodeId};
use std::fmt;
use std::time::Duration;

/// The longest message, in bytes: a value of the greatest size beside its key, or a page of many.
pub const MAX_BODY: usize = 16 << 20;

/// How much later than its patience says an unanswered question may be given up.
pub const EXPIRY_TICK: Duration = Duration::from_millis(100);

/// What a message is for. Each kind has its own handler and its own share of every queue.
///
/// The order is the order of urgency: within a link, a little of each kind is sent in turn,
/// beginning with the most urgent, so that no kind waits for another's backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Membership and administration: joining, leaving, commands for the map's leader.
    Control,
    /// The order of map changes among the voters, and pulling them.
    Meta,
    /// Records: writes, reads and repair between the owners of partitions.
    Data,
    /// Whole requests of clients, passed on to a node that can serve them.
    Forward,
}

impl Kind {
    /// All kinds, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Control, Self::Meta, Self::Data, Self::Forward];

    /// Its place in [`Kind::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Meta => "meta",
            Self::Data => "data",
            Self::Forward => "forward",
        }
    }
}

/// Who a node says it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its cluster; zero while it belongs to none.
    pub cluster: ClusterId,
    /// Its id; zero while it has none. Such a node can only introduce itself.
    pub node: NodeId,
    /// The token of its present start. What it says of the node's directory is for [`Serve::admit`]
    /// to judge. It is told only to who has proven to know the cluster's secret.
    pub token: u64,
}

/// Why one node does not take another for a peer. Both sides hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// The two belong to different clusters.
    #[error("it belongs to another cluster")]
    ForeignCluster,
    /// The two do not share a secret.
    #[error("it does not know the cluster's secret")]
    WrongSecret,
    /// No version of the protocol is spoken by both.
    #[error("it speaks no version of the protocol that is spoken here")]
    IncompatibleProtocol,
    /// The map does not have this node.
    #[error("the map has no such node")]
    UnknownNode,
    /// The map has this node under another token: the directory is an old or copied one.
    #[error("it was started from an old or copied directory")]
    StaleNode,
    /// Another node listens there than the one that was looked for.
    #[error("another node listens there")]
    WrongNode,
    /// A node reached itself.
    #[error("it is this node itself")]
    SelfConnection,
    /// Without a secret only peers on the same machine are accepted.
    #[error("without a cluster secret only loopback addresses are accepted")]
    NotLoopback,
    /// There is no room for more at this moment.
    #[error("it cannot take in more nodes now; try again")]
    Crowded,
}

impl Denied {
    /// All reasons, in the order of their numbers on the wire, which begin with 1.
    pub const ALL: [Self; 9] = [
        Self::ForeignCluster,
        Self::WrongSecret,
        Self::IncompatibleProtocol,
        Self::UnknownNode,
        Self::StaleNode,
        Self::WrongNode,
        Self::SelfConnection,
        Self::NotLoopback,
        Self::Crowded,
    ];

    /// Its name in metrics, logs and errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForeignCluster => "foreign_cluster",
            Self::WrongSecret => "wrong_secret",
            Self::IncompatibleProtocol => "incompatible_protocol",
            Self::UnknownNode => "unknown_node",
            Self::StaleNode => "stale_node",
            Self::WrongNode => "wrong_node",
            Self::SelfConnection => "self_connection",
            Self::NotLoopback => "not_loopback",
            Self::Crowded => "crowded",
        }
    }
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unreachable {
    /// Nobody told of this node, or it was forgotten. Not done.
    #[error("the node is not known here")]
    Unknown,
    /// There is no link to it now, or it went before the question was sent. Not done.
    #[error("there is no link to the node")]
    Down,
    /// What listens there does not speak the protocol of nodes. Not done.
    #[error(
        "what listens there does not speak to nodes; a node does so at its --peer-listen, by default \
         one port after its port for clients"
    )]
    Stranger,
    /// The share of this kind is full, here or there. Not done.
    #[error("too much is waiting for the node")]
    Busy,
    /// The message is longer than [`MAX_BODY`]. Not done.
    #[error("the message is longer than {MAX_BODY} bytes")]
    TooLong,
    /// The other side does not take us for a peer. Not done.
    #[error("the node refuses: {0}")]
    Denied(Denied),
    /// The patience was over before it was sent. Not done.
    #[error("it could not be sent in time")]
    Unsent,
    /// It was sent and no answer came in time. May have been done.
    #[error("no answer came in time")]
    Late,
    /// The link went after it was sent and before it was answered. May have been done.
    #[error("the link was lost before the answer came")]
    Lost,
    /// It arrived, and the other side gave no answer. May have been done.
    #[error("the node gave no answer")]
    Failed,
    /// This transport is closed. Not done.
    #[error("this node is stopping")]
    Closed,
}

impl Unreachable {
    /// Whether the other side may have done what was asked. A write that may have been done
    /// counts neither as done nor as refused.
    #[must_use]
    pub const fn may_be_done(self) -> bool {
        matches!(self, Self::Late | Self::Lost | Self::Failed)
    }
}

/// What takes the answer to a question: called exactly once, on any thread. It may run inside
/// [`Transport::ask`], so whoever asks holds no lock that it takes; and it must not block.
pub type Reply = Box<dyn FnOnce(Result<Bytes, Unreachable>) + Send>;

/// Carries questions to other nodes.
pub trait Transport: Send + Sync + 'static {
    /// Asks a node; `reply` gets the answer, or why there is none. Nothing is sent again.
    fn ask(&self, to: NodeId, kind: Kind, body: Bytes, patience: Duration, reply: Reply);

    /// Asks whoever listens at `address` one [`Kind::Control`] question as a node without an id.
    /// What is wrong between the two is told as [`Unreachable::Denied`], and that no node listens
    /// there as [`Unreachable::Stranger`].
    fn introduce(&self, address: &str, body: Bytes, patience: Duration, reply: Reply);

    /// Tells where a node can be reached, and keeps a link to it from now on. Another address
    /// than before ends the present link.
    fn know(&self, node: NodeId, address: &str);

    /// Ends the links from and to a node, and keeps none from now on.
    fn forget(&self, node: NodeId);

    /// Tells who this node is from now on.
    ///
    /// Under another id or in another cluster all links end. Where only the token is another, the
    /// links stay and the other sides are told of it: each judges at once, and takes this node
    /// for a peer as long as it admits either the token of before or the new one. So it makes no
    /// difference to a link which of the two nodes hears first of the map that has the new token,
    /// unless the other reviews its links under that map before this call: then it has ended the
    /// link, what was sent is told [`Unreachable::Lost`], and the link is made again at once.
    fn assume(&self, identity: Identity);

    /// Judges all links anew, in both directions, by [`Serve::admit`]: to be called after every
    /// change of the map. Who is not admitted any more loses its links, and hears why. Who was let
    /// in for control only and may do more now can at once. Links that were denied are tried again
    /// without a pause.
    fn review(&self);

    /// Every known node's link, by ascending id.
    fn links(&self) -> Vec<LinkStatus>;

    /// Ends all links and listens no longer. Everything unanswered is told so, and whoever serves
    /// is let go: only until here does a transport keep its [`Serve`].
    fn close(&self);
}

/// What a node lets another ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Everything.
    Whole,
    /// [`Kind::Control`] only: it has no id yet, or its start is not on record yet. A member's
    /// other questions are answered [`Unreachable::Busy`], and it is not asked any; each such
    /// question makes it be judged again, so that its link serves for everything as soon as it may.
    ControlOnly,
}

/// Answers what other nodes ask.
pub trait Serve: Send + Sync + 'static {
    /// Answers a question, now or later. Runs where the link is read, so it must not block.
    ///
    /// `body` may share memory with other messages: whoever keeps a part of it for long copies it.
    fn serve(&self, from: NodeId, kind: Kind, body: Bytes, answer: Answerer);

    /// Whether a node that has proven to know the secret is taken for a peer, and for what. It
    /// has the same cluster as this node, or no id (`node` is zero). Asked about those who dial
    /// this node and those it dials, so that an old copy of a directory is neither answered nor
    /// asked; again at [`Transport::review`]; and of one without an id only if it dials.
    ///
    /// Must neither block nor call the transport.
    ///
    /// # Errors
    /// [`Denied`], which it is told.
    fn admit(&self, who: Identity) -> Result<Admission, Denied>;

    /// A link came up, so that `node` can be asked, or went. For one node the calls alternate.
    fn linked(&self, node: NodeId, up: bool) {
        let _ = (node, up);
    }
}

/// Where the answer to one question goes. Dropped without an answer, it tells the asker
/// [`Unreachable::Failed`].
pub struct Answerer(Option<Box<dyn FnOnce(Option<Bytes>) + Send>>);

impl Answerer {
    /// An answerer that calls `give` exactly once: with the answer, or with nothing.
    pub fn new(give: impl FnOnce(Option<Bytes>) + Send + 'static) -> Self {
        Self(Some(Box::new(give)))
    }

    /// Answers.
    pub fn send(mut self, body: Bytes) {
        if let Some(give) = self.0.take() {
            give(Some(body));
        }
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        if let Some(give) = self.0.take() {
            give(None);
        }
    }
}

impl fmt::Debug for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answerer(…)")
    }
}

/// How a link to one node stands, and what went over it since the node is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkStatus {
    /// The node.
    pub node: NodeId,
    /// Where it is looked for.
    pub address: String,
    /// Whether it can be asked now. While not, a link is tried again and again.
    pub up: bool,
    /// How often a link came up.
    pub connects: u64,
    /// Messages that wait to be sent.
    pub queued_messages: usize,
    /// The bytes of those messages.
    pub queued_bytes: usize,
    /// Questions sent and not yet answered.
    pub unanswered: usize,
    /// Questions taken for sending.
    pub asked: u64,
    /// Questions answered.
    pub answered: u64,
    /// Questions refused at once, here or there: no link, no room, too long.
    pub refused: u64,
    /// Questions taken for sending that got no answer.
    pub failed: u64,
    /// Questions that this node answered for it.
    pub served: u64,
    /// The time from a ping to its pong, smoothed; nothing before the first.
    pub round_trip: Option<Duration>,
    /// Why the link last went or could not be made.
    pub last_failure: Option<String>,
    /// What was refused when it last went or could not be made, by either side; nothing while it
    /// is up. [`Denied::StaleNode`] and [`Denied::UnknownNode`] may mean that this node's own map is
    /// old: whoever listens there can still be asked by [`Transport::introduce`].
    pub denied: Option<Denied>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn an_answerer_answers_once_however_it_ends() {
        let (sender, receiver) = mpsc::channel();
        let other = sender.clone();
        Answerer::new(move |given| sender.send(given).unwrap()).send(Bytes::from_static(b"yes"));
        drop(Answerer::new(move |given| other.send(given).unwrap()));
        let given: Vec<_> = receiver.iter().collect();
        assert_eq!(given, [Some(Bytes::from_static(b"yes")), None]);
    }

    #[test]
    fn places_and_names_are_those_of_the_tables() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index, "{}", kind.name());
        }
        let mut names: Vec<_> = Denied::ALL.iter().map(|why| why.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Denied::ALL.len());
    }
}
