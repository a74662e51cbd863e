//! Every message comes back as it was sent; every string of bytes is a message or refused.

use super::*;
use crate::clock::Stamp;
use crate::codec::batch::is_of_different;
use crate::ids::{Incarnation, MapVersion, NodeId, ReplicaIncarnation};
use crate::quorum::{Header, Member};
use crate::record::{OwnedBody, OwnedRecord, Rank};
use crate::replica::Floor;
use crate::slot::Slot;
use crate::version::{MAX_WALL_MS, Version};
use proptest::prelude::*;

fn version() -> impl Strategy<Value = Version> {
    (0..=MAX_WALL_MS, any::<u16>(), any::<u32>()).prop_map(|(wall_ms, counter, node)| Version {
        wall_ms,
        counter,
        node: NodeId(node),
    })
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = OwnedRecord> {
    let body = prop_oneof![
        Just(OwnedBody::Tombstone),
        (any::<u8>(), key()).prop_map(|(kind, bytes)| OwnedBody::Live { kind, bytes }),
    ];
    (version(), prop::option::of(version()), any::<Option<u64>>(), body).prop_map(
        |(version, written, expires_at, body)| OwnedRecord {
            version,
            written: written.unwrap_or(version),
            expires_at,
            body,
        },
    )
}

fn rank() -> impl Strategy<Value = Rank> {
    record().prop_map(|record| record.borrow().rank())
}

fn floor() -> impl Strategy<Value = Floor> {
    any::<u64>().prop_map(|at| Floor(Stamp(at)))
}

/// Zero, as where nothing is evicted, or any.
fn mark() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::ZERO), version()]
}

fn shown() -> impl Strategy<Value = Shown> {
    let run = (prop::option::of(key()), items(), any::<bool>());
    (any::<(u32, u64)>(), run, floor(), version()).prop_map(
        |((node, life), (after, items, more), floor, mark)| {
            let from = Member { node: NodeId(node), incarnation: ReplicaIncarnation(life) };
            Shown { from, after, items, more, floor, mark }
        },
    )
}

fn items() -> impl Strategy<Value = Arc<[Item]>> {
    let item = (key(), record()).prop_map(|(key, record)| Item { key, record });
    prop::collection::vec(item, 0..5).prop_map(Arc::from)
}

fn pairs() -> impl Strategy<Value = Vec<(Bytes, Rank)>> {
    prop::collection::vec((key(), rank()), 0..5)
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        (prop::option::of(version()), any::<bool>())
            .prop_map(|(base, last)| Origin::Fresh { base, last }),
        Just(Origin::Update { base: Base::Nothing }),
        rank().prop_map(|rank| Origin::Update { base: Base::Record(rank) }),
        rank().prop_map(|rank| Origin::Update { base: Base::Missed(rank) }),
        floor().prop_map(|floor| Origin::Kept { floor }),
    ]
}

fn range() -> impl Strategy<Value = HashRange> {
    (any::<u64>(), 0..=16_u8).prop_map(|(prefix, nibbles)| {
        let bits = 4 * nibbles;
        let kept = u64::MAX.checked_shl(64 - u32::from(bits)).unwrap_or(0);
        HashRange { prefix: prefix & kept, bits }
    })
}

fn guarded() -> impl Strategy<Value = Vec<Guarded>> {
    let base = prop_oneof![
        Just(Base::Nothing),
        rank().prop_map(Base::Record),
        rank().prop_map(Base::Missed)
    ];
    let part = (key(), base, prop::option::of(record())).prop_map(|(key, base, next)| Guarded {
        key,
        base,
        next,
    });
    prop::collection::vec(part, 1..4).prop_filter("each key once", |parts: &Vec<Guarded>| {
        is_of_different(parts.iter().map(|part| &part.key)).is_ok()
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        (items(), origin()).prop_map(|(items, origin)| Ask::Take { items, origin }),
        (key(), any::<bool>()).prop_map(|(key, whole)| Ask::Read { key, whole }),
        guarded().prop_map(|parts| Ask::Batch { parts: parts.into() }),
        Just(Ask::Clock),
        (prop::option::of(key()), any::<u16>())
            .prop_map(|(after, limit)| Ask::Page { after, limit }),
        Just(Ask::Floors),
        range().prop_map(|range| Ask::Digest { range }),
        any::<u16>().prop_map(|count| Ask::Leaves { count }),
        (floor(), pairs()).prop_map(|(round, dead)| Ask::Prove { round, dead: dead.into() }),
        floor().prop_map(|to| Ask::RaiseFloor { to }),
        shown().prop_map(|shown| Ask::Copy(Arc::new(shown))),
        (floor(), pairs()).prop_map(|(round, proven)| Ask::Purge { round, proven: proven.into() }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let leaf = (any::<u64>(), any::<u128>()).prop_map(|(count, sum)| Leaf { count, sum });
    let refusals = [
        Refusal::Stale,
        Refusal::Void,
        Refusal::NotCounting,
        Refusal::Skewed,
        Refusal::Unable,
        Refusal::Full(Full::Memory),
        Refusal::Full(Full::Disk),
    ];
    prop_oneof![
        Just(Reply::Accepted),
        version().prop_map(Reply::Newer),
        floor().prop_map(Reply::BelowFloor),
        (record(), floor()).prop_map(|(record, floor)| Reply::Conflict { record, floor }),
        (prop::option::of(rank()), prop::option::of(record()), floor(), mark())
            .prop_map(|(rank, record, floor, mark)| Reply::Found { rank, record, floor, mark }),
        version().prop_map(Reply::BelowMark),
        pairs().prop_map(Reply::Changed),
        Just(Reply::Clock),
        (items(), floor(), mark(), any::<bool>())
            .prop_map(|(items, floor, mark, more)| Reply::Page { items, floor, mark, more }),
        (floor(), floor()).prop_map(|(floor, purged)| Reply::Floors { floor, purged }),
        pairs().prop_map(|keys| Reply::Digest(Digest::Keys(keys))),
        prop::collection::vec(leaf.clone(), 0..5).prop_map(Reply::Leaves),
        prop::array::uniform16(leaf)
            .prop_map(|parts| Reply::Digest(Digest::Parts(Box::new(parts)))),
        prop::collection::vec(any::<bool>(), 0..9).prop_map(Reply::Proven),
        prop::sample::select(refusals.to_vec()).prop_map(Reply::Refused),
    ]
}

fn envelope() -> impl Strategy<Value = Envelope> {
    (any::<u32>(), 0..16_384_u16, any::<(u32, u64, u64, u32)>(), ask()).prop_map(
        |(keyspace, slot, (generation, index, clock, round), ask)| Envelope {
            header: Header {
                keyspace: Incarnation(keyspace),
                slot: Slot::new(slot).expect("below the count"),
                epoch: MapVersion { generation, index },
                clock: Stamp(clock),
            },
            round,
            ask,
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    (any::<(u32, u64, u32, u64, u64, u32)>(), reply()).prop_map(
        |((node, life, generation, index, clock, round), reply)| Answer {
            from: Member { node: NodeId(node), incarnation: ReplicaIncarnation(life) },
            epoch: MapVersion { generation, index },
            clock: Stamp(clock),
            round,
            reply,
        },
    )
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::new();
    write(&mut out);
    Bytes::from(out)
}

proptest! {
    #[test]
    fn questions_round_trip_and_no_cut_of_one_is_another(asked in envelope()) {
        let bytes = written(|out| write_envelope(&asked, out));
        prop_assert_eq!(read_envelope(&bytes), Ok(asked));
        for end in 0..bytes.len() {
            prop_assert!(read_envelope(&bytes.slice(..end)).is_err(), "cut at {}", end);
        }
    }

    #[test]
    fn answers_round_trip_and_no_cut_of_one_is_another(given in answer()) {
        let bytes = written(|out| write_answer(&given, out));
        prop_assert_eq!(read_answer(&bytes), Ok(given));
        for end in 0..bytes.len() {
            prop_assert!(read_answer(&bytes.slice(..end)).is_err(), "cut at {}", end);
        }
    }

    #[test]
    fn what_is_read_from_noise_has_exactly_that_form(
        mut noise in prop::collection::vec(any::<u8>(), 0..200), kind in 0..19_u8,
    ) {
        for (place, byte) in [FORMAT, kind].into_iter().enumerate().take(noise.len()) {
            noise[place] = byte;
        }
        let noise = Bytes::from(noise);
        if let Ok(asked) = read_envelope(&noise) {
            prop_assert_eq!(&written(|out| write_envelope(&asked, out)), &noise);
        }
        if let Ok(given) = read_answer(&noise) {
            prop_assert_eq!(&written(|out| write_answer(&given, out)), &noise);
        }
    }

    #[test]
    fn a_flipped_bit_never_panics(asked in envelope(), bit in any::<prop::sample::Index>()) {
        let mut bytes = written(|out| write_envelope(&asked, out)).to_vec();
        let bit = bit.index(8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        let bytes = Bytes::from(bytes);
        if let Ok(read) = read_envelope(&bytes) {
            prop_assert_eq!(written(|out| write_envelope(&read, out)), bytes);
        }
    }
}
