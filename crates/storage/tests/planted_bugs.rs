//! The harness that judges the commit log, judged: it finds bugs that are put in.
//!
//! One test for all, since what is planted is planted for the whole process.

#![expect(clippy::panic, reason = "this is how a test fails")]

mod log_harness;

use log_harness::{Oracle, Step, empty, exhaust, open, options, revive, wander};
use shoal_storage::Durability::Always;
use shoal_storage::disk::log::{Bug, LogError, plant};
use shoal_storage::fault::{Call, Fate, FaultDisk};
use std::io::ErrorKind;
use std::panic::catch_unwind;

/// Two groups, the first of them synced.
const SCRIPT: [Step; 4] =
    [Step::Append(10, Always), Step::Commit, Step::Append(90, Always), Step::Commit];

fn power_cuts() {
    exhaust(&SCRIPT, &options(400, 7), 512, 64);
}

fn wanderings() {
    for seed in 0..200 {
        wander(seed, 6);
    }
}

/// Damage in the middle of the log must be refused.
fn damage() {
    let options = options(400, 7);
    let disk = FaultDisk::new(empty(512));
    let mut oracle = Oracle::default();
    let (log, _) = open(&disk, &options, &oracle, 0).expect("made");
    oracle.run(&log, &SCRIPT).expect("the disk is fine");
    let mut image = disk.image();
    let path = image.paths().into_iter().find(|path| path.ends_with("0000000000000001.log"));
    image.damage(&path.expect("a segment"), |bytes| bytes[110] ^= 1);
    let opened = open(&FaultDisk::new(image), &options, &oracle, 0);
    assert!(matches!(opened, Err(LogError::Damaged { .. })), "damage is refused");
}

/// A sync that failed must not be believed when it succeeds later.
fn failed_sync() {
    let options = options(400, 7);
    let disk = FaultDisk::new(empty(512));
    let mut oracle = Oracle::default();
    let (log, _) = open(&disk, &options, &oracle, 0).expect("made");
    disk.fail(Call::Sync, 0, ErrorKind::Other);
    let _ = oracle.run(&log, &SCRIPT);
    let crashed = disk.image().crash(&mut |_| Fate::Lost);
    let promised = oracle.synced;
    oracle.judge(&FaultDisk::new(crashed), &options, promised);
}

#[test]
fn planted_bugs_are_found() {
    let checks: [(&str, fn()); 5] = [
        ("power cuts", power_cuts),
        ("wanderings", wanderings),
        ("damage", damage),
        ("failed sync", failed_sync),
        ("torn tail", revive),
    ];
    plant(None);
    for (name, check) in checks {
        catch_unwind(check).unwrap_or_else(|_| panic!("{name}: fails with nothing planted"));
    }
    for (bug, finders) in [
        (Bug::NoSync, &["power cuts", "wanderings"][..]),
        (Bug::SettleBeforeSync, &["power cuts", "wanderings"]),
        (Bug::CutAtDamage, &["damage"]),
        (Bug::RetrySync, &["failed sync"]),
        (Bug::WriteOverTail, &["torn tail"]),
    ] {
        plant(Some(bug));
        for (name, check) in checks.iter().filter(|(name, _)| finders.contains(name)) {
            assert!(catch_unwind(check).is_err(), "{name}: does not find {bug:?}");
        }
    }
    plant(None);
}
