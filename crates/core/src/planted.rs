//! Bugs that can be planted in the rules of replication, so that it can be shown that the
//! simulator finds them.
//!
//! Holds: without the cargo feature `planted-bugs` nothing can be planted, and what asks is
//! answered by a constant `false`. With it, `plant` chooses one for the calling thread.

/// A rule left out, or turned round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A replica acts under any epoch.
    EpochNotCompared,
    /// A replica speaks of a record before it is durable.
    AnswerBeforeDurable,
    /// A replica that lost its state goes on counting.
    LostStateCounts,
    /// What is newer counts as acceptance in the first round too.
    NewerAcceptsAtOnce,
    /// A write is stamped again after its client was answered.
    StampAfterAnswer,
    /// Answers of an epoch that is over go on counting.
    AnswersMixEpochs,
    /// A read at quorum answers before what it saw is on a quorum.
    AnswerBeforeRepair,
    /// A read repairs nothing where the newest record is a tombstone.
    NoRepairOfTombstones,
    /// While owners change, one set is enough.
    OneSetIsEnough,
    /// Expiry is judged by the coordinator's clock.
    ExpiryByOwnClock,
    /// A read-modify-write does not check what it was computed from.
    NoBaseCheck,
    /// A read-modify-write applies its update again over its own attempt.
    OwnAttemptTwice,
    /// A hint goes once its target has answered, whatever it said.
    HintDroppedOnRefusal,
    /// A copied record replaces whatever is there.
    CopyReplaces,
    /// A change of owners is finished without proof.
    CutOverWithoutProof,
    /// Tombstones are left out of the digests that replicas compare.
    TombstonesNotDigested,
    /// Dead records are dropped without asking whether every owner has them.
    PurgeWithoutProof,
    /// Dead records are dropped, and no floor is raised.
    NoFloor,
    /// The floor is raised before the proof.
    FloorBeforeProof,
    /// Whatever is dead and old is dropped, not only what was proven.
    PurgeByAge,
    /// A kept record is taken below the floor, whatever floor it carries.
    FloorNotCompared,
    /// A clock starts anew without regard to its ceiling.
    CeilingForgotten,
    /// Of a batch that something newer has passed by, a replica takes the rest in the first round.
    BatchInPart,
    /// Dead records of event time are purged by when they were written, whatever older events may
    /// still come.
    EventsPurgedByWritten,
    /// An event's time moves the clock of whoever takes it.
    EventTimeInClock,
    /// Dead records are purged while owners change.
    PurgeDuringMove,
    /// A new owner takes records without knowing the floors of the others.
    FloorsNotTakenOver,
    /// In its last round a write counts a floor above it as acceptance.
    FloorAccepts,
    /// A hint claims that what it carries was read under the highest of floors.
    HintClaimsFloor,
    /// Of two records of one version the first that came stays.
    TiesNotDecided,
    /// Of a batch that lies below a floor nothing newer is told.
    FloorHidesNewer,
    /// The digests that are kept are not told of what is removed.
    RemovalNotTold,
    /// Of a conditional batch a replica checks only what the first key was judged by.
    FirstBaseOnly,
    /// A conditional batch writes its own attempt anew, whatever has come between.
    OwnBatchAgain,
    /// Eviction raises no mark.
    MarkNotRaised,
    /// A copy that comes in does not take over the marks of the others.
    MarkNotCopied,
    /// A copy that comes in takes over the marks of the others, and keeps what lies below them.
    EvictedKept,
    /// Comparison puts live records where keys may have been evicted.
    ComparisonFills,
    /// An owner that may have evicted the newest value counts as one that holds it.
    MarkedHolds,
    /// That some owners have no room counts as if nobody had taken a write.
    FullOfSome,
    /// Hints go out for what every owner has refused for want of room.
    FullKeepsHints,
}

impl Bug {
    /// Every bug there is.
    pub const ALL: [Self; 41] = [
        Self::EpochNotCompared,
        Self::AnswerBeforeDurable,
        Self::LostStateCounts,
        Self::NewerAcceptsAtOnce,
        Self::StampAfterAnswer,
        Self::AnswersMixEpochs,
        Self::AnswerBeforeRepair,
        Self::NoRepairOfTombstones,
        Self::OneSetIsEnough,
        Self::ExpiryByOwnClock,
        Self::NoBaseCheck,
        Self::OwnAttemptTwice,
        Self::HintDroppedOnRefusal,
        Self::CopyReplaces,
        Self::CutOverWithoutProof,
        Self::TombstonesNotDigested,
        Self::PurgeWithoutProof,
        Self::NoFloor,
        Self::FloorBeforeProof,
        Self::PurgeByAge,
        Self::FloorNotCompared,
        Self::CeilingForgotten,
        Self::BatchInPart,
        Self::EventsPurgedByWritten,
        Self::EventTimeInClock,
        Self::PurgeDuringMove,
        Self::FloorsNotTakenOver,
        Self::FloorAccepts,
        Self::HintClaimsFloor,
        Self::TiesNotDecided,
        Self::FloorHidesNewer,
        Self::RemovalNotTold,
        Self::FirstBaseOnly,
        Self::OwnBatchAgain,
        Self::MarkNotRaised,
        Self::MarkNotCopied,
        Self::EvictedKept,
        Self::ComparisonFills,
        Self::MarkedHolds,
        Self::FullOfSome,
        Self::FullKeepsHints,
    ];
}

#[cfg(feature = "planted-bugs")]
mod chosen {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants `bug`, or takes out what was planted. For the calling thread.
    pub fn plant(bug: Option<Bug>) {
        CHOSEN.set(bug);
    }

    /// Whether `bug` is planted in this thread.
    #[must_use]
    pub fn planted(bug: Bug) -> bool {
        CHOSEN.get() == Some(bug)
    }
}

#[cfg(feature = "planted-bugs")]
pub use chosen::{plant, planted};

/// Whether `bug` is planted: never, in this build.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}
