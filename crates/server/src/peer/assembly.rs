//! Messages that come in pieces, until they are whole.
//!
//! Holds: no message is longer than any may be, and no more are under way than there are kinds:
//! whoever sends finishes one message of a kind before it begins the next. Memory grows with the
//! bytes that came. A message of one frame is passed on as it is.
//!
//! Does not know: what messages mean.

use super::ending::Ending;
use super::frame::{Frame, What};
use bytes::BytesMut;
use shoal_node::transport::Kind;

/// A message of which a part has come.
#[derive(Debug)]
struct Partial {
    what: What,
    id: u64,
    body: BytesMut,
}

/// The messages of one direction of a link that have not come whole.
#[derive(Debug)]
pub(super) struct Assembly {
    longest: usize,
    partial: Vec<Partial>,
}

impl Assembly {
    /// Puts together messages of at most `longest` bytes.
    pub(super) const fn new(longest: usize) -> Self {
        Self { longest, partial: Vec::new() }
    }

    /// Takes a frame; gives the message that is whole with it, as one frame.
    ///
    /// # Errors
    /// The message is longer than any may be, or more are under way than a peer sends at a time.
    pub(super) fn take(&mut self, frame: Frame) -> Result<Option<Frame>, Ending> {
        let Frame { what, id, more, body } = frame;
        let found = self.partial.iter().position(|one| (one.what, one.id) == (what, id));
        let have = found.map_or(0, |at| self.partial[at].body.len());
        if have + body.len() > self.longest {
            return Err(Ending::TooLong);
        }
        match found {
            None if !more => return Ok(Some(Frame { what, id, more, body })),
            None if self.partial.len() == Kind::ALL.len() => return Err(Ending::Flooded),
            None => self.partial.push(Partial { what, id, body: BytesMut::from(&body[..]) }),
            Some(at) => self.partial[at].body.extend_from_slice(&body),
        }
        let whole = found.filter(|_| !more).map(|at| self.partial.swap_remove(at));
        Ok(whole.map(|whole| Frame { what, id, more, body: whole.body.freeze() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn piece(id: u64, body: &[u8], more: bool) -> Frame {
        Frame { what: What::Question(Kind::Data), id, more, body: Bytes::copy_from_slice(body) }
    }

    #[test]
    fn what_is_whole_is_passed_on_as_it_is() {
        let mut assembly = Assembly::new(10);
        let frame = piece(1, b"0123456789", false);
        let place = frame.body.as_ptr();
        let passed = assembly.take(frame.clone()).unwrap().unwrap();
        assert_eq!((passed.body.as_ptr(), &passed), (place, &frame));
    }

    #[test]
    fn messages_are_bounded_in_length_and_number() {
        let mut assembly = Assembly::new(10);
        assert_eq!(assembly.take(piece(9, b"0123456789a", false)), Err(Ending::TooLong));
        for id in 0..4 {
            assert_eq!(assembly.take(piece(id, b"012345", true)), Ok(None));
        }
        assert_eq!(assembly.take(piece(4, b"0", true)), Err(Ending::Flooded));
        // Those that are whole need no room.
        assert!(assembly.take(piece(4, b"0", false)).unwrap().is_some());
        assert_eq!(
            assembly.take(piece(2, b"6789", false)),
            Ok(Some(piece(2, b"0123456789", false)))
        );
        assert_eq!(assembly.take(piece(4, b"0", true)), Ok(None));
        assert_eq!(assembly.take(piece(3, b"6789a", true)), Err(Ending::TooLong));
    }

    proptest! {
        #[test]
        fn pieces_of_several_messages_find_together(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 1..5),
            turns in prop::collection::vec((any::<prop::sample::Index>(), 1..20_usize), 0..200),
        ) {
            let mut assembly = Assembly::new(60);
            let mut rest: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
            let mut whole = vec![None; bodies.len()];
            let all = (0..bodies.len()).map(|which| (which, 60));
            let drawn = turns.iter().map(|(which, length)| (which.index(bodies.len()), *length));
            for (which, length) in drawn.chain(all) {
                if rest[which].is_empty() {
                    continue;
                }
                let (now, later) = rest[which].split_at(length.min(rest[which].len()));
                rest[which] = later;
                let taken = assembly.take(piece(which as u64, now, !later.is_empty())).unwrap();
                prop_assert_eq!(taken.is_some(), later.is_empty());
                if let Some(frame) = taken {
                    whole[which] = Some(frame.body.to_vec());
                }
            }
            prop_assert_eq!(whole, bodies.into_iter().map(Some).collect::<Vec<_>>());
            prop_assert!(assembly.partial.is_empty());
        }
    }
}
