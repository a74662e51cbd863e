//! Floors: the times below which a replica takes nothing that does not prove it is fresh.

use crate::clock::Stamp;
use crate::ids::NodeId;
use crate::version::Version;

/// A moment of the clock. What was written at or before it has been purged, or may be, where it
/// was dead; a record from back then is taken only from someone whose floor was as high when the
/// record was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Floor(pub Stamp);

impl Floor {
    /// Below everything.
    pub const ZERO: Self = Self(Stamp::ZERO);

    /// Whether something written then lies at or below the floor.
    #[must_use]
    pub fn covers(self, written: Version) -> bool {
        self != Self::ZERO && written <= self.last_version()
    }

    /// The greatest version that lies at or below the floor.
    #[must_use]
    pub const fn last_version(self) -> Version {
        self.0.version(NodeId(u32::MAX))
    }
}
