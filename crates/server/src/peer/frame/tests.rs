//! Frames: whole, in pieces, damaged, repeated, moved.

use super::*;
use proptest::prelude::*;
use shoal_node::secret::ClusterSecret;

fn key(purpose: &str) -> Key {
    ClusterSecret::generate([7; 32]).derive(purpose)
}

fn opener() -> Opener {
    Opener::new(key("one"), BytesMut::new())
}

fn frame(what: What, id: u64, body: &[u8]) -> Frame {
    Frame { what, id, more: false, body: Bytes::copy_from_slice(body) }
}

fn bytes_of(sealer: &mut Sealer, frame: &Frame) -> Vec<u8> {
    let mut bytes = sealer.head(frame).to_vec();
    bytes.extend(&frame.body);
    bytes
}

/// One of each, as a conversation.
fn conversation() -> Vec<Frame> {
    vec![
        frame(What::Question(Kind::Control), 0, b"join"),
        frame(What::Question(Kind::Meta), 1, b""),
        frame(What::Ping, 0, b""),
        frame(What::Question(Kind::Data), 2, &[9; 300]),
        frame(What::Answer(Outcome::Answered), 1, b"yes"),
        frame(What::Answer(Outcome::Failed), 2, b""),
        frame(What::Answer(Outcome::Busy), u64::MAX, b""),
        frame(What::Pong, 0, b""),
        frame(What::Alive, 0, b""),
        frame(What::Question(Kind::Forward), 3, b"SET a b"),
        Frame { more: true, ..frame(What::Answer(Outcome::Answered), 5, b"a part") },
        frame(What::Token, 7, b""),
        frame(What::Goodbye, 3, b""),
    ]
}

fn stream(frames: &[Frame]) -> Vec<Vec<u8>> {
    let mut sealer = Sealer::new(key("one"));
    frames.iter().map(|frame| bytes_of(&mut sealer, frame)).collect()
}

/// Reads all of `bytes`, given in pieces that end at `cuts`.
fn read(opener: &mut Opener, bytes: &[u8], cuts: &[usize]) -> (Vec<Frame>, Option<Ending>) {
    let mut frames = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        opener.room().extend_from_slice(&bytes[from..to]);
        from = to;
        loop {
            match opener.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(why) => return (frames, Some(why)),
            }
        }
    }
    (frames, None)
}

#[test]
fn every_flipped_bit_ends_the_link_and_nothing_wrong_comes_before() {
    let sent = conversation();
    let bytes = stream(&sent).concat();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut opener = opener();
        let (frames, why) = read(&mut opener, &bytes, &[]);
        assert!(why.is_some_and(Ending::is_offence), "bit {bit}: {why:?}");
        assert_eq!(frames, sent[..frames.len()], "bit {bit}");
        // And it stays so, whatever comes.
        opener.room().extend_from_slice(&bytes);
        assert_eq!(opener.next().err(), why);
    }
}

#[test]
fn truncated_frames_are_waited_for_and_never_guessed() {
    let sent = conversation();
    let bytes = stream(&sent).concat();
    for length in 0..bytes.len() {
        let (frames, why) = read(&mut opener(), &bytes[..length], &[]);
        assert_eq!(why, None);
        assert!(frames.len() < sent.len() && frames == sent[..frames.len()]);
    }
}

#[test]
fn frames_hold_in_their_place_only() {
    let frames = stream(&conversation());
    let read_all = |frames: &[&[u8]]| read(&mut opener(), &frames.concat(), &[]).1;
    let [first, second, ..] = frames.as_slice() else { panic!("there are more") };
    assert_eq!(read_all(&[first, second]), None);
    assert_eq!(read_all(&[first, first]), Some(Ending::Forged), "repeated");
    assert_eq!(read_all(&[second]), Some(Ending::Forged), "one left out");
    assert_eq!(read_all(&[second, first]), Some(Ending::Forged), "turned round");
    let mut other = Opener::new(key("other"), BytesMut::new());
    let (_, why) = read(&mut other, first, &[]);
    assert_eq!(why, Some(Ending::Forged), "from another connection or direction");
}

#[test]
fn what_is_not_well_formed_has_its_name() {
    let head = |change: fn(&mut [u8; HEAD])| {
        let mut head = Sealer::new(key("one")).head(&frame(What::Ping, 0, b""));
        change(&mut head);
        let crc = crc32c::crc32c(&head[..CHECKED]);
        head[CHECKED..TAGGED].copy_from_slice(&crc.to_be_bytes());
        read(&mut opener(), &head, &[]).1
    };
    assert_eq!(head(|_| ()), None);
    assert_eq!(head(|head| head[0] = 1), Some(Ending::BadFormat));
    assert_eq!(head(|head| head[1] = 9), Some(Ending::BadFrame));
    assert_eq!(head(|head| head[2] = 1), Some(Ending::BadFrame), "a ping has no kind");
    assert_eq!(head(|head| head[3] = 2), Some(Ending::BadFrame));
    assert_eq!(head(|head| head[3] = 1), Some(Ending::BadFrame), "more of nothing");
    let nothing = |head: &mut [u8; HEAD]| head[1..4].copy_from_slice(&[1, 1, 1]);
    assert_eq!(head(nothing), Some(Ending::BadFrame), "a piece without a byte");
    assert_eq!(head(|head| head[7] = 1), Some(Ending::BadFrame), "a ping has no body");
    let long = |head: &mut [u8; HEAD]| {
        head[1..3].copy_from_slice(&[1, 1]);
        head[4..8].copy_from_slice(&(1_u32 + (64 << 10)).to_be_bytes());
    };
    assert_eq!(head(long), Some(Ending::TooLong));
    assert_eq!(head(|head| head[8] = 1), Some(Ending::Forged), "only the tag is wrong");
}

#[test]
fn a_claimed_length_takes_little_memory() {
    let mut opener = opener();
    let mut head = Sealer::new(key("one")).head(&frame(What::Question(Kind::Data), 0, b""));
    head[4..8].copy_from_slice(&u32::try_from(PIECE).unwrap().to_be_bytes());
    let crc = crc32c::crc32c(&head[..CHECKED]);
    head[CHECKED..TAGGED].copy_from_slice(&crc.to_be_bytes());
    opener.room().extend_from_slice(&head);
    assert_eq!(opener.next(), Ok(None));
    let mut came = HEAD;
    while came < PIECE {
        let room = opener.room();
        let spare = room.capacity() - room.len();
        assert!((1..=READ * 2).contains(&spare), "{spare} after {came} bytes");
        let piece = spare.min(10_000).min(PIECE - came);
        room.extend_from_slice(&vec![0; piece]);
        came += piece;
        assert_eq!(opener.next(), Ok(None));
    }
}

#[test]
fn long_bodies_share_the_bytes_that_were_read_and_short_ones_do_not() {
    for length in [SHORT - 1, SHORT] {
        let mut opener = opener();
        let room = opener.room();
        let sent = [frame(What::Question(Kind::Data), 0, &vec![1; length])];
        room.extend_from_slice(&stream(&sent).concat());
        let place = room.as_ptr() as usize + HEAD;
        let first = opener.next().unwrap().unwrap();
        assert_eq!(first.body.as_ptr() as usize == place, length >= SHORT);
    }
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let body = prop::collection::vec(any::<u8>(), 0..2_000);
    (0..conversation().len(), any::<u64>(), body, any::<bool>()).prop_map(
        |(which, id, body, more)| {
            let what = conversation()[which].what;
            let frame = frame(what, id, if what.has_body() { &body } else { b"" });
            Frame { more: more && !frame.body.is_empty(), ..frame }
        },
    )
}

proptest! {
    #[test]
    fn any_split_of_the_stream_gives_the_same_frames(
        sent in prop::collection::vec(any_frame(), 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let bytes = stream(&sent).concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(read(&mut opener(), &bytes, &cuts), (sent, None));
    }

    #[test]
    fn random_bytes_are_never_a_frame(
        bytes in prop::collection::vec(any::<u8>(), 0..4_000),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let (frames, why) = read(&mut opener(), &bytes, &cuts);
        prop_assert_eq!(frames, vec![]);
        prop_assert!(why.is_some() || bytes.len() < HEAD);
    }
}
