//! What checkpoints wrote and is kept to be read.

use super::rig::{Rig, small};
use crate::disk::DiskOptions;
use crate::engine::{Address, Engine};

#[test]
fn the_newest_of_the_kept_is_read_and_the_oldest_goes_first() {
    let mut rig = Rig::new(DiskOptions { kept_bytes: Some(3 * (128 << 10)), ..small() });
    rig.open_space(1);
    let kept = |rig: &Rig| rig.engine().core().generations.load().kept.len();
    for round in 0..6_u8 {
        rig.put(1, 7, b"always", &[round], i64::from(round == 0));
        if round % 2 == 0 {
            rig.put(1, 7, b"sometimes", &[round], 1);
        } else {
            rig.remove(1, 7, b"sometimes");
        }
        rig.put(1, 7, &[round], b"once", 1);
        rig.engine().core().checkpoint().unwrap();
        assert_eq!(kept(&rig), usize::from(round + 1).min(3));
        assert_eq!(rig.read(1, 7, b"always"), Some(vec![round]));
        let sometimes = (round % 2 == 0).then(|| vec![round]);
        assert_eq!(rig.read(1, 7, b"sometimes"), sometimes);
        for earlier in 0..=round {
            assert_eq!(rig.read(1, 7, &[earlier]).as_deref(), Some(&b"once"[..]));
        }
    }
    rig.restart();
    assert_eq!(kept(&rig), 0);
    assert_eq!(rig.read(1, 7, b"always"), Some(vec![5]));
    assert_eq!(rig.read(1, 7, b"sometimes"), None);
}

#[test]
fn to_foresee_changes_nothing_and_waits_for_nobody() {
    let mut rig = Rig::new(small());
    rig.open_space(1);
    rig.put(1, 0, b"stored", b"s", 1);
    rig.engine().core().checkpoint().unwrap();
    rig.put(1, 0, b"kept", b"k", 1);
    rig.engine().core().checkpoint().unwrap();
    rig.put(1, 0, b"new", b"n", 1);
    let keys: [&[u8]; 5] = [b"stored", b"kept", b"new", b"absent", &[b'x'; 400]];
    let at: Vec<_> = keys
        .iter()
        .cycle()
        .take(40)
        .enumerate()
        .map(|(n, key)| Address { space: 1, slot: u16::try_from(n % 2 * 9_000).unwrap(), key })
        .collect();
    let engine = rig.engine();
    engine.foresee(&at);
    engine.foresee(&[]);
    let generations = engine.core().generations.load_full();
    let held = generations.active.try_lock(0);
    assert!(held.is_some());
    engine.foresee(&at);
    drop(held);
    let read = |key| rig.read(1, 0, key);
    assert_eq!(keys.map(|key| read(key).is_some()), [true, true, true, false, false]);
}
