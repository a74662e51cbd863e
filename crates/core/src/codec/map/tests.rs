//! The stored map: round trips, damage, and bytes that no map ever had.

use super::*;
use crate::codec::command;
use crate::ids::ReplicaIncarnation;
use crate::map::tests::{command as any_command, founded, lived, steps};
use crate::quorum::Member;
use proptest::prelude::*;

/// What a random life leads to: with several nodes and owners on the move.
fn any_map() -> impl Strategy<Value = ClusterMap> {
    steps(0..40).prop_map(lived)
}

/// A command that fits a map of a random life.
fn any_fitting_command() -> impl Strategy<Value = crate::map::Command> {
    steps(1..30).prop_map(|mut steps| {
        let last = steps.pop().expect("there is one");
        last.on(&lived(steps))
    })
}

/// The bytes with the length and checksum made right again, as if written so on purpose.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 4;
    let length = u32::try_from(end - 9).expect("short");
    bytes[5..9].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn an_unfounded_map_round_trips_too() {
    let map = ClusterMap::default();
    assert_eq!(decode(&encode(&map)), Ok(map));
}

#[test]
fn a_map_is_small_while_its_partitions_are_alike() {
    assert!(encode(&founded()).len() < 250, "{}", encode(&founded()).len());
    // All copies of a new keyspace begin together: their life is written once per partition.
    let members = |lives: [u64; 3]| {
        let mut map = founded();
        let partitions = &mut map.keyspaces.get_mut("default").expect("it is there").partitions;
        partitions[0].replicas = (1..)
            .zip(lives)
            .map(|(node, life)| Member {
                node: NodeId(node),
                incarnation: ReplicaIncarnation(life),
            })
            .collect();
        encode(&map).len()
    };
    assert_eq!(members([1, 1, 2]) - members([1, 1, 1]), 2 * 8);
}

#[test]
fn a_length_header_allocates_nothing() {
    let map = encode(&founded());
    let nodes_at = 9 + 12 + 16 + 8 + 4 + 4;
    let mut lying = map[..nodes_at].to_vec();
    lying.extend([0xFF; 4]);
    lying.extend([0; 4]);
    assert_eq!(decode(&resealed(lying)), Err(CodecError::Truncated));
    let mut long = map;
    long[5..9].copy_from_slice(&[0xFF; 4]);
    assert_eq!(decode(&long), Err(CodecError::Truncated));
}

#[test]
fn a_second_form_of_the_same_map_is_refused() {
    let map = encode(&founded());
    let nodes_at = 9 + 12 + 16 + 8 + 4 + 4;
    let node_at = nodes_at + 4;
    // Id, "one" with its length, token, state, no zone, weight, no tags, no addresses.
    let node = &map[node_at..node_at + 4 + 7 + 8 + 1 + 1 + 2 + 4 + 3];
    let rest = &map[node_at + node.len()..];
    let twice = [&map[..nodes_at], &2_u32.to_be_bytes(), node, node, rest].concat();
    assert_eq!(decode(&resealed(twice)), Err(CodecError::Invalid("nodes out of order")));

    // At the end of the payload: one run of 256 partitions, version 0.1, held by n1 in a life
    // that began at 1, which is to be and is forgotten by nobody.
    let epoch = [&[0; 11][..], &[1]].concat();
    let together = [&[0, 1, 1][..], &[0; 7], &[1, 0, 0, 0, 1]].concat();
    let apart = [&[0, 1, 0][..], &[0, 0, 0, 1], &[0; 7], &[1]].concat();
    let run_of =
        |len: u32, members: &[u8]| [&len.to_be_bytes()[..], &epoch, members, &[0; 4]].concat();
    let run = |len| run_of(len, &together);
    let tail = [&1_u32.to_be_bytes()[..], &run(256)].concat();
    let runs_at = map.len() - 4 - tail.len();
    assert_eq!(map[runs_at..map.len() - 4], tail);
    let apart = [&map[..runs_at], &1_u32.to_be_bytes(), &run_of(256, &apart), &[0; 4]].concat();
    assert_eq!(
        decode(&resealed(apart)),
        Err(CodecError::Invalid("one life written several times"))
    );
    let split = |a, b| {
        let runs = [&2_u32.to_be_bytes()[..], &run(a), &run(b), &[0; 4]].concat();
        decode(&resealed([&map[..runs_at], &runs].concat()))
    };
    assert_eq!(split(128, 128), Err(CodecError::Invalid("two runs of equal partitions")));
    for (a, b) in [(256, 0), (256, 1), (u32::MAX, 1)] {
        let refusal = split(a, b);
        assert_eq!(refusal, Err(CodecError::Invalid("the wrong number of partitions")), "{a} {b}");
    }
}

#[test]
fn newer_formats_and_other_things_are_told_apart() {
    let mut newer = encode(&founded());
    newer[4] = FORMAT + 1;
    assert_eq!(decode(&resealed(newer)), Err(CodecError::UnknownVersion(3)));
    let order = command::encode(&crate::map::Command::CreateDatabase { number: 1 });
    assert_eq!(decode(&order), Err(CodecError::Invalid("these bytes are something else")));
    assert_eq!(decode(b""), Err(CodecError::Truncated));
}

#[test]
fn a_sound_seal_around_a_map_that_contradicts_itself_is_not_enough() {
    let mut map = founded();
    map.next_node = NodeId(1);
    let bytes = encode(&map);
    assert_eq!(decode(&bytes), Err(CodecError::Invalid("the map contradicts itself")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn maps_round_trip(map in any_map()) {
        prop_assert_eq!(decode(&encode(&map)), Ok(map));
    }

    #[test]
    fn commands_that_were_cut_or_flipped_are_refused(order in any_command()) {
        let bytes = command::encode(&order);
        for len in 0..bytes.len() {
            prop_assert!(command::decode(&bytes[..len]).is_err(), "cut to {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(command::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn maps_that_were_cut_or_flipped_are_refused(map in any_map(), extra in any::<u8>()) {
        let bytes = encode(&map);
        for len in 0..bytes.len() {
            prop_assert!(decode(&bytes[..len]).is_err(), "cut to {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&damaged).is_err(), "bit {bit}");
        }
        let longer = [&bytes[..], &[extra]].concat();
        prop_assert!(decode(&longer).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn commands_of_a_random_life_round_trip(order in any_fitting_command()) {
        prop_assert_eq!(command::decode(&command::encode(&order)), Ok(order));
    }

    /// Behind a sound seal, so that the decoder sees it. What is taken has one form only.
    #[test]
    fn a_sealed_map_with_bytes_changed_is_refused_or_is_another_map(
        map in prop_oneof![Just(founded()), any_map()],
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = encode(&map);
        let payload = 9..bytes.len() - 4;
        for (at, byte) in changes {
            bytes[payload.start + at.index(payload.len())] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(payload.start + cut.index(payload.len()));
            bytes.extend([0; 4]);
        }
        let bytes = resealed(bytes);
        if let Ok(map) = decode(&bytes) {
            prop_assert_eq!(map.check(), Ok(()));
            prop_assert_eq!(encode(&map), bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn commands_round_trip(order in any_command()) {
        prop_assert_eq!(command::decode(&command::encode(&order)), Ok(order));
    }

    #[test]
    fn a_sealed_command_with_bytes_changed_is_refused_or_is_another_command(
        order in any_command(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = command::encode(&order);
        let payload = 9..bytes.len() - 4;
        for (at, byte) in changes {
            bytes[payload.start + at.index(payload.len())] = byte;
        }
        let bytes = resealed(bytes);
        if let Ok(other) = command::decode(&bytes) {
            prop_assert_eq!(command::encode(&other), bytes);
        }
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(
        magic in prop::option::of(prop::sample::select(vec![MAGIC, command::MAGIC])),
        noise in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(0xFF)], 0..120),
    ) {
        let Some(magic) = magic else {
            prop_assert!(decode(&noise).is_err() && command::decode(&noise).is_err());
            return Ok(());
        };
        // A frame around the noise, so that the payload's decoder is reached.
        for format in 1..=FORMAT {
            let framed = [&magic[..], &[format], &[0; 4], &noise, &[0; 4]].concat();
            let framed = resealed(framed);
            let _ = decode(&framed);
            let _ = command::decode(&framed);
        }
    }
}
