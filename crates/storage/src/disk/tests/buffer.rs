//! A generation of the write buffer against a plain ordered map.

use crate::disk::buffer::{Buffer, Change, NEVER};
use crate::disk::hash::hash_of;
use crate::disk::keys;
use crate::disk::record::Record;
use crate::disk::spaces::{SLOTS, Spaces};
use crate::engine::{Address, Commit, Parts, Tally};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Step = (u32, u16, u8, Option<Vec<u8>>, bool);

fn step() -> impl Strategy<Value = Step> {
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    (1..4_u32, prop_oneof![Just(0_u16), 255..258_u16], 0..12_u8, value, any::<bool>())
}

type Shown = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn each(buffer: &Buffer) -> Shown {
    let mut seen = Vec::new();
    let Ok(()) = buffer.each::<std::convert::Infallible>(|key, value| {
        seen.push((key.to_vec(), value.map(<[u8]>::to_vec)));
        Ok(())
    });
    seen
}

proptest! {
    #[test]
    fn it_holds_what_a_map_holds_in_the_same_order(
        steps in proptest::collection::vec(step(), 0..120),
        batch in 1..4_usize,
        forgotten in 1..4_u32,
    ) {
        let (buffer, spaces) = (Buffer::default(), Spaces::default());
        let mut model: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for steps in steps.chunks(batch) {
            let changes: Vec<_> = steps.iter().map(|(space, slot, key, value, counts)| {
                let at = Address { space: *space, slot: *slot, key: &[*key] };
                model.insert(keys::encode(at).into_vec(), value.clone());
                let put = value.as_deref().map(|body| Parts { head: &[], body });
                Change {
                    record: Record::new(at, put),
                    space: spaces.get_or_make(*space).expect("it is not retired"),
                    space_id: *space,
                    slot: *slot,
                    due: NEVER,
                    tally: Tally { keys: i64::from(*counts), expiring: 0 },
                }
            }).collect();
            buffer.apply(changes, Commit::DONE);
            // Walked on the way, so that entries come to a slot that was in order.
            let (mut found, slot) = (Vec::new(), (1, 256));
            let range = (&keys::slot_prefix(1, 256)[..], &keys::slot_end(1, 256)[..]);
            prop_assert!(!buffer.collect(slot, range, (100, 10_000), &mut found));
            prop_assert!(found.is_sorted_by(|a, b| a.key < b.key));
        }
        let all: Shown = model.clone().into_iter().collect();
        prop_assert_eq!(each(&buffer), all);
        for (key, value) in &model {
            let slot = keys::decode(key).expect("it was encoded").slot;
            let read = buffer.read(slot, hash_of(key), key, |entry| {
                entry.record.value().map(<[u8]>::to_vec)
            });
            prop_assert_eq!(read.as_ref(), Some(value));
        }
        let sum = |spaces: &[u32]| spaces.iter().map(|space| buffer.space_bytes(*space)).sum();
        prop_assert_eq!(buffer.bytes(), sum(&[1, 2, 3]));
        for space in [1, 2, 3] {
            let known = spaces.get_or_make(space).expect("it is not retired");
            for (of, slot) in buffer.changed_slots() {
                if of == space {
                    prop_assert_eq!(buffer.tally_before(&known, of, slot), Tally::default());
                }
            }
            let told = steps.iter().filter(|step| step.0 == space && step.4).count();
            prop_assert_eq!(known.sum(0..SLOTS).keys, i64::try_from(told).unwrap());
        }
        buffer.forget(forgotten);
        model.retain(|key, _| keys::space_of(key) != Some(forgotten));
        prop_assert_eq!(buffer.space_bytes(forgotten), 0);
        prop_assert_eq!(buffer.bytes(), sum(&[1, 2, 3]));
        let left: Shown = model.into_iter().collect();
        prop_assert_eq!(each(&buffer), left);
    }
}
