//! Which records are taken, beside what is there and above which floor.

use super::*;

/// Every origin, beside everything that may be held, without floors and below one of 400.
#[test]
fn what_is_taken_as_a_table() {
    let record = live(300, "new");
    let (older, newer) = (live(200, "old"), live(350, "newer"));
    let update = |base| Origin::Update { base };
    let on_older = update(Base::Record(rank(&older)));
    let carrying = |ms| Origin::Kept { floor: floor(ms) };
    let past = Verdict::Newer(version(350, 0));
    use Stored::{Newer, Nothing, Older, Same};
    use Verdict::{BelowFloor, Conflict, Take};
    // Held, where from, without a floor, below one.
    let table = [
        (Nothing, FIRST, Take, BelowFloor),
        (Older, FIRST, Take, BelowFloor),
        (Same, FIRST, Verdict::Same, Verdict::Same),
        (Newer, FIRST, past, past),
        (Newer, LAST, past, past),
        (Nothing, update(Base::Nothing), Take, BelowFloor),
        (Older, update(Base::Nothing), Conflict, Conflict),
        (Nothing, on_older, Take, BelowFloor),
        (Older, on_older, Take, BelowFloor),
        (Same, on_older, Verdict::Same, Verdict::Same),
        (Newer, on_older, Conflict, Conflict),
        (Nothing, HINT, Take, BelowFloor),
        (Older, HINT, Take, BelowFloor),
        (Same, HINT, Verdict::Same, Verdict::Same),
        (Newer, HINT, past, past),
        (Nothing, carrying(399), Take, BelowFloor),
        (Nothing, carrying(400), Take, Take),
        (Older, carrying(401), Take, Take),
        (Newer, carrying(401), past, past),
    ];
    for (held, origin, without, below) in table {
        let stored = match held {
            Nothing => None,
            Older => Some(rank(&older)),
            Same => Some(rank(&record)),
            Newer => Some(rank(&newer)),
        };
        let mut replica = replica();
        let verdict =
            replica.admit(&Put::over(stored, b"k", record.borrow()), origin, NOW, Version::ZERO);
        assert_eq!(verdict, without, "{held:?} {origin:?}");
        replica.raise_floor(floor(400));
        let verdict =
            replica.admit(&Put::over(stored, b"k", record.borrow()), origin, NOW, Version::ZERO);
        assert_eq!(verdict, below, "{held:?} {origin:?} below a floor");
    }
}

#[test]
fn a_floor_looks_at_when_a_record_was_written() {
    let mut replica = replica();
    replica.raise_floor(floor(400));
    let event = OwnedRecord { version: version(300, 0), ..live(401, "event") };
    assert_eq!(
        replica.admit(&Put::over(None, b"k", event.borrow()), LAST, NOW, Version::ZERO),
        Verdict::Take
    );
    let future = OwnedRecord { version: version(900, 0), ..live(400, "event") };
    assert_eq!(
        replica.admit(&Put::over(None, b"k", future.borrow()), LAST, NOW, Version::ZERO),
        Verdict::BelowFloor
    );
}

#[test]
fn equal_versions_are_decided_by_rank() {
    let (one, other) = (live(300, "a"), live(300, "b"));
    let (less, more) = if rank(&one) < rank(&other) { (one, other) } else { (other, one) };
    for origin in [FIRST, HINT] {
        let replica = replica();
        let verdict = |record: &OwnedRecord, held: &OwnedRecord| {
            replica.admit(
                &Put::over(Some(rank(held)), b"k", record.borrow()),
                origin,
                NOW,
                Version::ZERO,
            )
        };
        assert_eq!(verdict(&more, &less), Verdict::Take);
        assert_eq!(verdict(&less, &more), Verdict::Newer(version(300, 0)));
    }
    let (replica, base) = (replica(), Base::Record(rank(&less)));
    let next = live(301, "c");
    let verdict = replica.admit(
        &Put::over(Some(rank(&more)), b"k", next.borrow()),
        Origin::Update { base },
        NOW,
        Version::ZERO,
    );
    assert_eq!(verdict, Verdict::Conflict);
}

#[test]
fn skew_is_checked_on_fresh_writes_alone() {
    let skewed = Verdict::Refuse(Refusal::Skewed);
    let known = |wall, counter| Some(version(wall, counter));
    let fresh = |base| Origin::Fresh { base, last: true };
    let ahead = |counter| OwnedRecord { version: version(9_000, counter), ..live(1_000, "x") };
    // The version's counter, the held one's, where it comes from. The clock says 1000.
    let table = [
        (0, None, fresh(None), skewed),
        (1, known(9_000, 0), fresh(None), Verdict::Take),
        (3, known(9_000, 0), fresh(None), skewed),
        (1, None, fresh(known(9_000, 0)), Verdict::Take),
        (3, None, fresh(known(9_000, 0)), skewed),
        (0, known(8_000, 0), fresh(known(8_500, 0)), skewed),
        (0, None, HINT, Verdict::Take),
        (0, None, Origin::Update { base: Base::Nothing }, Verdict::Take),
    ];
    for (counter, held, origin, expected) in table {
        let held = held.map(|version| Rank { version, ..rank(&live(1, "held")) });
        let verdict = replica().admit(
            &Put::over(held, b"k", ahead(counter).borrow()),
            origin,
            NOW,
            Version::ZERO,
        );
        assert_eq!(verdict, expected, "{counter} over {held:?} from {origin:?}");
    }
    let edge = |wall| {
        replica().admit(&Put::over(None, b"k", live(wall, "x").borrow()), FIRST, NOW, Version::ZERO)
    };
    assert_eq!((edge(1_500), edge(1_501)), (Verdict::Take, skewed));
}

#[test]
fn an_event_too_long_before_its_writing_is_refused_from_anywhere() {
    let event = |wall| OwnedRecord { version: version(wall, 0), ..live(10_800, "event") };
    for origin in [LAST, HINT] {
        let verdict = |wall| {
            replica().admit(
                &Put::over(None, b"k", event(wall).borrow()),
                origin,
                NOW,
                Version::ZERO,
            )
        };
        assert_eq!(verdict(799), Verdict::Refuse(Refusal::Skewed));
        assert_eq!(verdict(800), Verdict::Take);
    }
}

proptest! {
    /// Kept records may come in any order and any number of times: what is stored in the end is
    /// the one of the greatest rank.
    #[test]
    fn the_order_of_kept_records_does_not_matter(
        order in prop::collection::vec((0_u64..4, 0_usize..3), 1..12),
    ) {
        let texts = ["a", "b", "c"];
        let (mut replica, mut store) = (replica(), Store::default());
        let records: Vec<_> = order.iter().map(|(ms, text)| live(*ms, texts[*text])).collect();
        for record in &records {
            ask(&mut replica, &mut store, take(&[("k", record)], HINT));
        }
        let newest = records.iter().max_by_key(|record| rank(record));
        prop_assert_eq!(store.get("k"), newest);
    }
}
