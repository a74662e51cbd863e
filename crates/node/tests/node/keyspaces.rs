//! The catalogue: keyspaces side by side, numbers, flush, swap, restart.

use crate::support::{Bench, get, refusal, set};
use shoal_core::map::{Changes, Durability, EngineKind, Eviction, KeyspaceSpec};
use shoal_node::{Code, Target};
use shoal_storage::Patience;
use std::num::NonZeroU64;
use std::sync::Arc;

fn named(name: &str) -> Target {
    Target::Named(Arc::from(name))
}

#[test]
fn keyspaces_live_side_by_side_and_outlive_a_restart() {
    let mut bench = Bench::new(false);
    let cache = KeyspaceSpec::new(EngineKind::Memory);
    bench.node.create_keyspace("cache", cache, Some(16)).expect("a good name");
    let disk = KeyspaceSpec::new(EngineKind::Disk);
    bench.node.create_keyspace("books", disk, None).expect("a good name");
    for target in [Target::DEFAULT, Target::Database(16), named("books"), Target::Database(3)] {
        set(&mut bench.access(), &target, b"k", format!("{target:?}").as_bytes());
    }
    assert_eq!(
        get(&mut bench.access(), &named("cache"), b"k"),
        Some(format!("{:?}", Target::Database(16)).into_bytes()),
        "number and name are the same keyspace"
    );
    bench.restart();
    let mut access = bench.access();
    assert_eq!(get(&mut access, &named("cache"), b"k"), None, "memory does not outlive");
    for target in [Target::DEFAULT, named("books"), Target::Database(3)] {
        let expected = Some(format!("{target:?}").into_bytes());
        assert_eq!(get(&mut access, &target, b"k"), expected);
    }
    assert_eq!(access.count(&named("books")).keys, 1);
    let names: Vec<_> = bench.node.list().into_iter().map(|k| k.definition.name).collect();
    assert_eq!(names, ["books", "cache", "db3", "default"]);
}

#[test]
fn unknown_and_bad_names_are_refused_by_code() {
    let bench = Bench::new(true);
    let code = |name: &str| {
        let made = bench.node.create_keyspace(name, KeyspaceSpec::new(EngineKind::Disk), None);
        made.expect_err("refused").code
    };
    assert_eq!(code("Caps"), Code::BadName);
    assert_eq!(code("default"), Code::KeyspaceExists);
    let missing = bench.access().read(&named("missing"), b"k", |_| ());
    assert_eq!(refusal(missing).code, Code::NoKeyspace);
    let missing = bench.access().read(&Target::Database(99), b"k", |_| ());
    assert_eq!(refusal(missing).code, Code::NoKeyspace);
    assert_eq!(bench.node.drop_keyspace("missing").expect_err("refused").code, Code::NoKeyspace);
    for key in [&[][..], &[b'x'; 16_385]] {
        let long = bench.access().read(&Target::DEFAULT, key, |_| ());
        assert_eq!(refusal(long).code, Code::BadKey);
    }
}

#[test]
fn a_read_makes_no_database_and_a_write_does() {
    let bench = Bench::new(false);
    assert_eq!(get(&mut bench.access(), &Target::Database(7), b"k"), None);
    assert_eq!(bench.node.list().len(), 1);
    let mut inline = bench.node.access(Patience::Inline);
    let update = shoal_core::update::Update::Add { delta: 1 };
    let halted = inline.update(&Target::Database(7), b"k", &update, |_| ());
    assert_eq!(halted, Err(shoal_node::Halt::Cold), "the map's sync is waited for elsewhere");
    set(&mut bench.access(), &Target::Database(7), b"k", b"v");
    assert_eq!(bench.node.list().len(), 2);
}

#[test]
fn swapping_databases_swaps_what_they_hold() {
    let bench = Bench::new(true);
    set(&mut bench.access(), &Target::DEFAULT, b"k", b"zero");
    set(&mut bench.access(), &Target::Database(1), b"k", b"one");
    bench.node.swap_databases(0, 1).expect("both are there");
    let mut access = bench.access();
    assert_eq!(get(&mut access, &Target::DEFAULT, b"k"), Some(b"one".to_vec()));
    assert_eq!(get(&mut access, &Target::Database(1), b"k"), Some(b"zero".to_vec()));
}

#[test]
fn a_default_expiry_is_given_to_what_has_none() {
    let bench = Bench::new(true);
    let changes = Changes { default_ttl_ms: Some(NonZeroU64::new(1_000)), ..Changes::default() };
    bench.node.alter_keyspace("default", changes).expect("a good change");
    set(&mut bench.access(), &Target::DEFAULT, b"k", b"v");
    bench.advance(999);
    assert_eq!(get(&mut bench.access(), &Target::DEFAULT, b"k"), Some(b"v".to_vec()));
    bench.advance(1);
    assert_eq!(get(&mut bench.access(), &Target::DEFAULT, b"k"), None);
}

#[test]
fn a_bounded_keyspace_refuses_or_evicts() {
    let bench = Bench::new(false);
    let mut spec = KeyspaceSpec::new(EngineKind::Memory);
    spec.options.max_memory = Some(1 << 20);
    bench.node.create_keyspace("strict", spec, None).expect("a good keyspace");
    spec.options.eviction = Eviction::Lru;
    bench.node.create_keyspace("cache", spec, None).expect("a good keyspace");
    let value = vec![0u8; 10_000];
    let update = shoal_core::update::Update::Set {
        value: &value,
        expiry: shoal_core::update::SetExpiry::Never,
        when: shoal_core::update::When::Always,
    };
    let mut refused = 0;
    for n in 0..1_000u32 {
        let strict = bench.access().update(&named("strict"), &n.to_be_bytes(), &update, |_| ());
        if let Err(shoal_node::Halt::Refused(refusal)) = strict {
            assert_eq!(refusal.code, Code::MemoryFull);
            refused += 1;
        }
        let cache = bench.access().update(&named("cache"), &n.to_be_bytes(), &update, |_| ());
        cache.expect("a cache makes room");
    }
    assert!(refused > 800, "{refused}");
    for name in ["strict", "cache"] {
        let info = bench.node.describe(name).expect("it is there");
        assert!(info.bytes <= 1 << 20, "{name} holds {}", info.bytes);
        assert!(info.tally.keys > 50, "{name} holds {:?}", info.tally);
    }
    let event = bench.access().update_at(&named("cache"), b"k", &update, Some(bench.now()), |_| ());
    assert_eq!(refusal(event).code, Code::NoEventTime);
}

#[test]
fn sync_policies_are_kept_by_the_map() {
    let mut bench = Bench::new(false);
    let changes = Changes { durability: Some(Durability::Interval(50)), ..Changes::default() };
    bench.node.alter_keyspace("default", changes).expect("a good change");
    set(&mut bench.access(), &Target::DEFAULT, b"k", b"v");
    bench.restart();
    let info = bench.node.describe("default").expect("it is there");
    assert_eq!(info.definition.options.durability, Durability::Interval(50));
    assert_eq!(get(&mut bench.access(), &Target::DEFAULT, b"k"), Some(b"v".to_vec()));
}
