//! An update that owns its bytes, for one that is carried out at another node.

use super::{ExpireWhen, SetExpiry, Tag, Update, When};
use crate::version::Millis;
use bytes::Bytes;

/// An [`Update`] that borrows nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedUpdate {
    /// [`Update::Set`].
    Set {
        /// The new value.
        value: Bytes,
        /// What becomes of the expiry.
        expiry: SetExpiry,
        /// The condition.
        when: OwnedWhen,
    },
    /// [`Update::Delete`].
    Delete {
        /// The condition.
        when: OwnedWhen,
    },
    /// [`Update::Append`].
    Append {
        /// The bytes to add.
        suffix: Bytes,
    },
    /// [`Update::SetRange`].
    SetRange {
        /// Where to start, in bytes.
        offset: u64,
        /// The bytes to write.
        bytes: Bytes,
    },
    /// [`Update::Add`].
    Add {
        /// What to add.
        delta: i64,
    },
    /// [`Update::AddFloat`].
    AddFloat {
        /// What to add, as the caller wrote it.
        delta: Bytes,
    },
    /// [`Update::Expire`].
    Expire {
        /// The time, in milliseconds since the Unix epoch.
        at: Millis,
        /// The condition.
        when: ExpireWhen,
    },
    /// [`Update::Persist`].
    Persist,
}

/// A [`When`] that borrows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedWhen {
    /// [`When::Always`].
    Always,
    /// [`When::Absent`].
    Absent,
    /// [`When::Present`].
    Present,
    /// [`When::TagIn`].
    TagIn(Vec<Tag>),
    /// [`When::TagNotIn`].
    TagNotIn(Vec<Tag>),
}

impl OwnedUpdate {
    /// The update itself.
    #[must_use]
    pub fn borrow(&self) -> Update<'_> {
        match self {
            Self::Set { value, expiry, when } => {
                Update::Set { value, expiry: *expiry, when: when.borrow() }
            }
            Self::Delete { when } => Update::Delete { when: when.borrow() },
            Self::Append { suffix } => Update::Append { suffix },
            Self::SetRange { offset, bytes } => Update::SetRange { offset: *offset, bytes },
            Self::Add { delta } => Update::Add { delta: *delta },
            Self::AddFloat { delta } => Update::AddFloat { delta },
            Self::Expire { at, when } => Update::Expire { at: *at, when: *when },
            Self::Persist => Update::Persist,
        }
    }
}

impl OwnedWhen {
    /// The condition itself.
    #[must_use]
    pub fn borrow(&self) -> When<'_> {
        match self {
            Self::Always => When::Always,
            Self::Absent => When::Absent,
            Self::Present => When::Present,
            Self::TagIn(tags) => When::TagIn(tags),
            Self::TagNotIn(tags) => When::TagNotIn(tags),
        }
    }
}

impl From<&Update<'_>> for OwnedUpdate {
    fn from(update: &Update<'_>) -> Self {
        let owned = Bytes::copy_from_slice;
        match *update {
            Update::Set { value, expiry, when } => {
                Self::Set { value: owned(value), expiry, when: when.into() }
            }
            Update::Delete { when } => Self::Delete { when: when.into() },
            Update::Append { suffix } => Self::Append { suffix: owned(suffix) },
            Update::SetRange { offset, bytes } => Self::SetRange { offset, bytes: owned(bytes) },
            Update::Add { delta } => Self::Add { delta },
            Update::AddFloat { delta } => Self::AddFloat { delta: owned(delta) },
            Update::Expire { at, when } => Self::Expire { at, when },
            Update::Persist => Self::Persist,
        }
    }
}

impl From<When<'_>> for OwnedWhen {
    fn from(when: When<'_>) -> Self {
        match when {
            When::Always => Self::Always,
            When::Absent => Self::Absent,
            When::Present => Self::Present,
            When::TagIn(tags) => Self::TagIn(tags.to_vec()),
            When::TagNotIn(tags) => Self::TagNotIn(tags.to_vec()),
        }
    }
}
