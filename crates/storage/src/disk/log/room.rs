//! Whether an entry still has a place: pure decisions.
//!
//! Everything that waits is written as one group into one segment: into the rest of the active
//! one, or, where that is too small, into the next. So an entry is let in only when the group
//! with it fits into one of the two, and a disk that has no room for the next segment shows
//! before anything is promised.
//!
//! Holds: what was let in has a place: `waiting <= max(left, next)`.

/// What the commit thread still has to write into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes left in the active segment.
    pub(super) left: u64,
    /// Bytes for frames in the next segment, once that is there.
    pub(super) next: Option<u64>,
    /// Bytes for frames in an ordinary segment.
    pub(super) ordinary: u64,
    /// Bytes for which a next segment was asked that had none.
    pub(super) wanted: u64,
    /// The last attempt to make a segment found the disk full.
    pub(super) full: bool,
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It has a place.
    Fits,
    /// It may have one once what waits is written.
    Later,
    /// A segment has to be made for it.
    Prepare,
    /// There is no room on the disk for such a segment.
    Full,
}

/// Where a group goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into the active segment.
    Here,
    /// Into the next one, which thereby becomes the active one.
    Next,
}

impl Room {
    /// Judges a group that would grow to `grown` bytes; `empty` says that nothing waits yet.
    pub(super) fn admit(&self, grown: u64, empty: bool) -> Admission {
        if grown <= self.left || self.next.is_some_and(|next| grown <= next) {
            Admission::Fits
        } else if !empty {
            Admission::Later
        } else if self.full {
            Admission::Full
        } else {
            Admission::Prepare
        }
    }

    /// Gives a group of `total` bytes its place; `None` if it was never let in.
    pub(super) fn place(&mut self, total: u64) -> Option<Place> {
        if total <= self.left {
            self.left -= total;
            return Some(Place::Here);
        }
        let next = self.next.take_if(|next| total <= *next)?;
        // A group longer than an ordinary segment ends its segment: then a file that was cut
        // short shows, see the recovery.
        self.left = self.ordinary.min(next).saturating_sub(total);
        Some(Place::Next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { left: 50, next: Some(100), ordinary: 100, wanted: 0, full: false };

    #[test]
    fn what_fits_is_let_in() {
        assert_eq!(ROOM.admit(50, false), Admission::Fits);
        assert_eq!(ROOM.admit(51, false), Admission::Fits, "into the next");
        assert_eq!(ROOM.admit(100, false), Admission::Fits);
        assert_eq!(ROOM.admit(101, false), Admission::Later);
        assert_eq!(ROOM.admit(101, true), Admission::Prepare);
        let none = Room { next: None, full: true, ..ROOM };
        assert_eq!(none.admit(50, true), Admission::Fits);
        assert_eq!(none.admit(51, false), Admission::Later);
        assert_eq!(none.admit(51, true), Admission::Full);
    }

    #[test]
    fn places_are_given_once() {
        let mut room = ROOM;
        assert_eq!(room.place(20), Some(Place::Here));
        assert_eq!(room.place(31), Some(Place::Next));
        assert_eq!((room.left, room.next), (69, None));
        assert_eq!(room.place(70), None);
        assert_eq!(room.place(69), Some(Place::Here));
    }

    #[test]
    fn an_oversize_group_has_its_segment_to_itself() {
        let mut room = Room { next: Some(500), ..ROOM };
        assert_eq!(room.place(500), Some(Place::Next));
        assert_eq!(room.left, 0);
    }
}
