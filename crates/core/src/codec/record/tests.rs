//! The stored record: round trips, and every flipped bit and cut of the sealed form.

use super::*;
use crate::version::MAX_WALL_MS;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Owned {
    key: Vec<u8>,
    version: Version,
    written: Option<Version>,
    expires_at: Option<u64>,
    body: Option<(u8, Vec<u8>)>,
}

impl Owned {
    fn record(&self) -> Record<'_> {
        let body = match &self.body {
            Some((kind, bytes)) => Body::Live { kind: *kind, bytes },
            None => Body::Tombstone,
        };
        let Self { version, expires_at, .. } = *self;
        Record { version, written: self.written.unwrap_or(version), expires_at, body }
    }

    fn stored(&self, form: Form) -> Vec<u8> {
        let record = self.record();
        let mut bytes = head(form, &self.key, &record).as_bytes().to_vec();
        assert!(bytes.len() <= MAX_HEAD);
        if let Body::Live { bytes: value, .. } = record.body {
            bytes.extend(value);
        }
        bytes
    }
}

fn version() -> impl Strategy<Value = Version> {
    let edges = |max: u64| prop_oneof![Just(0), Just(max), 0..=max];
    (edges(MAX_WALL_MS), any::<u16>(), edges(u32::MAX.into())).prop_map(
        |(wall_ms, counter, node)| Version {
            wall_ms,
            counter,
            node: NodeId(u32::try_from(node).expect("at most u32::MAX")),
        },
    )
}

fn owned() -> impl Strategy<Value = Owned> {
    let bytes = |len| prop::collection::vec(any::<u8>(), len);
    let kind = prop_oneof![3 => Just(PLAIN), 1 => any::<u8>()];
    (
        bytes(1..20),
        version(),
        prop::option::of(version()),
        prop::option::of(any::<u64>()),
        prop::option::weighted(0.8, (kind, bytes(0..60))),
    )
        .prop_map(|(key, version, written, expires_at, body)| Owned {
            key,
            version,
            written,
            expires_at,
            body,
        })
}

proptest! {
    #[test]
    fn both_forms_round_trip(owned in owned()) {
        for form in [Form::Plain, Form::Sealed] {
            let stored = owned.stored(form);
            prop_assert_eq!(decode(&owned.key, &stored), Ok(owned.record()));
        }
    }

    #[test]
    fn a_sealed_record_that_was_cut_is_refused(owned in owned()) {
        let stored = owned.stored(Form::Sealed);
        for len in 0..stored.len() {
            prop_assert!(decode(&owned.key, &stored[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_sealed_record_with_any_bit_flipped_is_refused(owned in owned()) {
        let stored = owned.stored(Form::Sealed);
        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&owned.key, &damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_sealed_record_under_another_key_is_refused(owned in owned(), other in any::<[u8; 3]>()) {
        prop_assume!(owned.key != other);
        let stored = owned.stored(Form::Sealed);
        prop_assert_eq!(decode(&other, &stored), Err(CodecError::Checksum));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(
        form in 0..4_u8,
        flags in any::<u8>(),
        rest in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x80), Just(0xFF)], 0..50),
    ) {
        let mut bytes = vec![(flags & 0xF0) | form];
        bytes.extend(rest);
        if let Ok(record) = decode(b"key", &bytes) {
            // What was read can be written, and reads as the same again.
            let mut again = head(Form::Sealed, b"key", &record).as_bytes().to_vec();
            if let Body::Live { bytes, .. } = record.body {
                again.extend(bytes);
            }
            prop_assert_eq!(decode(b"key", &again), Ok(record));
        }
    }
}

#[test]
fn a_record_of_everything_fills_the_longest_head_exactly() {
    let version = |wall_ms| Version { wall_ms, counter: u16::MAX, node: NodeId(u32::MAX) };
    let record = Record {
        version: version(MAX_WALL_MS),
        written: version(1),
        expires_at: Some(u64::MAX),
        body: Body::Live { kind: 9, bytes: b"" },
    };
    assert_eq!(head(Form::Sealed, b"k", &record).as_bytes().len(), MAX_HEAD);
}

#[test]
fn the_usual_record_has_a_head_of_ten_bytes_in_memory() {
    let version = Version { wall_ms: 1_767_225_600_000, counter: 4, node: NodeId(1) };
    let record = Record::live(version, None, b"value");
    assert_eq!(head(Form::Plain, b"k", &record).as_bytes().len(), 10);
}
