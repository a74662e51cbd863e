//! Walks over whole nodes that reach each other in memory.

use super::*;
use crate::Footprint;
use crate::cluster::tests::{World, is_replicated, set};
use crate::node::Node;
use shoal_core::update::{SetExpiry, Update, When};
use std::collections::BTreeSet;

const TARGET: &Target = &Target::DEFAULT;

/// Three nodes, each of which holds everything.
fn three(in_memory: bool) -> (World, [Arc<Node>; 3]) {
    let world = World::new();
    let first = world.start(1, in_memory);
    let others = [world.start(2, in_memory), world.start(3, in_memory)];
    world.until(&first, |map| is_replicated(map, 3));
    let version = first.map().version;
    for other in &others {
        world.until(other, |map| map.version >= version);
    }
    let [second, third] = others;
    (world, [first, second, third])
}

fn end(nodes: [Arc<Node>; 3]) {
    for node in nodes {
        node.stop().expect("it stops");
    }
}

fn count(node: &Node) -> Result<i64, Halt> {
    let mut access = node.access(Patience::Block);
    access.count_all(TARGET, Scope::Cluster).map(|tally| tally.keys)
}

/// One page of a scan, and where it goes on.
fn page(access: &mut Access<'_>, cursor: u64, seen: &mut BTreeSet<String>) -> u64 {
    let mut show = |key: &[u8], _: Record<'_>| {
        seen.insert(String::from_utf8_lossy(key).into_owned());
        true
    };
    access.scan(TARGET, cursor, 10, &mut show).expect("everybody is there")
}

fn listed(access: &mut Access<'_>, limit: usize, values: bool) -> Vec<(String, usize)> {
    let mut found: Vec<(String, usize)> = Vec::new();
    loop {
        let after = found.last().map(|(key, _)| key.clone());
        let after = after.as_ref().map(String::as_bytes);
        let listing = Listing { prefix: b"k", after, limit, values };
        let mut show = |key: &[u8], record: Record<'_>| {
            let shoal_core::Body::Live { bytes, .. } = record.body else { panic!("it is dead") };
            found.push((String::from_utf8_lossy(key).into_owned(), bytes.len()));
        };
        if !access.list(TARGET, &listing, &mut show).expect("everybody is there") {
            return found;
        }
    }
}

#[test]
fn a_scan_goes_on_at_another_node_and_misses_nothing() {
    const KEYS: usize = 600;
    let (_world, nodes) = three(true);
    for n in 0..KEYS {
        // All of one slot, so that most cursors stand in the middle of it.
        set(&nodes[n % 3], &format!("{{slot}}{n}"), "value");
    }
    // Wherever the slot is led, the node that leads it is let go of half-way.
    let leader = nodes[0].leaders(&nodes[0].map().keyspaces["default"]);
    let slot = Slot::of(b"{slot}").number();
    let leader = leader.into_iter().find(|(run, _)| run.contains(&slot)).expect("it is led").1;
    let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), 0, 0);
    loop {
        let node = &nodes[pages % 3];
        if pages == 20 {
            let leads = nodes.iter().find(|node| node.id() == leader).expect("one of them");
            leads.cluster().expect("of several").coordinator.copies().retain(|_, _| false);
        }
        cursor = page(&mut node.access(Patience::Block), cursor, &mut seen);
        pages += 1;
        if cursor == 0 {
            break;
        }
    }
    assert!(pages > 20, "{pages} pages are too few to go from node to node");
    assert_eq!(seen.len(), KEYS);
    end(nodes);
}

#[test]
fn who_cannot_tell_is_passed_by_and_nobody_counts_nothing() {
    let (_world, nodes) = three(false);
    for n in 0..300 {
        set(&nodes[0], &format!("k{n}"), "value");
    }
    assert_eq!(count(&nodes[0]), Ok(300));
    // Two lose their copies, as far as they know.
    for lost in &nodes[1..] {
        lost.cluster().expect("of several").coordinator.copies().retain(|_, _| false);
        for node in &nodes {
            assert_eq!(count(node), Ok(300));
            assert_eq!(listed(&mut node.access(Patience::Block), 7, false).len(), 300);
        }
    }
    let led = nodes[1].access(Patience::Block).count_all(TARGET, Scope::Led);
    assert!(matches!(led, Err(Halt::Refused(refusal)) if refusal.code == Code::TryAgain));
    nodes[0].cluster().expect("of several").coordinator.copies().retain(|_, _| false);
    let refused = count(&nodes[2]);
    assert!(
        matches!(&refused, Err(Halt::Refused(refusal)) if refusal.code == Code::TryAgain),
        "{refused:?}"
    );
    end(nodes);
}

#[test]
fn keys_travel_without_their_values_unless_these_are_asked_for() {
    let (_world, nodes) = three(false);
    let value = "v".repeat(5_000);
    for n in 0..50 {
        set(&nodes[0], &format!("k{n}"), &value);
    }
    for node in &nodes {
        let keys = listed(&mut node.access(Patience::Block), 20, false);
        let with = listed(&mut node.access(Patience::Block), 20, true);
        assert_eq!((keys.len(), with.len()), (50, 50));
        assert!(keys.iter().all(|(_, len)| *len == 0));
        assert!(with.iter().all(|(_, len)| *len == value.len()));
    }
    end(nodes);
}

#[test]
fn a_transaction_counts_and_lists_what_it_has_written() {
    let (_world, nodes) = three(false);
    for n in 0..40 {
        set(&nodes[0], &format!("k{n}"), "value");
    }
    let put = |value| Update::Set { value, expiry: SetExpiry::Never, when: When::Always };
    let footprint = Footprint { whole: &[TARGET], writes: true, ..Footprint::default() };
    for node in &nodes {
        let mut access = node.access(Patience::Block);
        let undone = access.transaction(&footprint, |access| {
            for n in 35..50 {
                let key = format!("k{n}");
                access.update(TARGET, key.as_bytes(), &put(b"changed!"), |_| ())?;
            }
            for n in 0..5 {
                let gone = Update::Delete { when: When::Always };
                access.update(TARGET, format!("k{n}").as_bytes(), &gone, |_| ())?;
            }
            assert_eq!(access.count_all(TARGET, Scope::Cluster)?.keys, 45);
            let expected: BTreeSet<String> = (5..50).map(|n| format!("k{n}")).collect();
            let (mut seen, mut cursor) = (BTreeSet::new(), 0);
            loop {
                cursor = page(access, cursor, &mut seen);
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(seen, expected);
            for limit in [1, 7, 1_000] {
                let found = listed(access, limit, true);
                let keys: Vec<&String> = found.iter().map(|(key, _)| key).collect();
                assert!(keys.is_sorted_by_key(|key| (Slot::of(key.as_bytes()), *key)), "{keys:?}");
                assert_eq!(keys.into_iter().cloned().collect::<BTreeSet<_>>(), expected);
                assert_eq!(found.len(), expected.len());
                assert_eq!(found.iter().filter(|(_, len)| *len == 8).count(), 15);
            }
            let led = access.count_all(TARGET, Scope::Led);
            assert!(matches!(led, Err(Halt::Refused(why)) if why.code == Code::BadRequest));
            Err::<(), _>(Refusal::new(Code::BadRequest, "after all not").into())
        });
        assert!(undone.is_err());
        drop(access);
        assert_eq!(count(node), Ok(40));
    }
    end(nodes);
}
