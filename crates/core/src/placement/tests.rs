//! Small placements whose reasons can be followed by eye.

use super::*;

fn members(weights: &[(u16, Option<&'static str>)]) -> Vec<Member<'static>> {
    let member = |(number, (weight, zone)): (u32, &(u16, Option<&'static str>))| Member {
        id: NodeId(number),
        weight: *weight,
        zone: *zone,
    };
    (1..).zip(weights).map(member).collect()
}

fn terms<'a>(members: &'a [Member<'a>], replicas: u8) -> Terms<'a> {
    Terms {
        strategy: Strategy::Rendezvous,
        seed: 7,
        salt: 1,
        partitioning: Partitioning::new(64).expect("a power of two"),
        members,
        present: &[],
        replication: Replication::Count(replicas),
        spread_zones: true,
    }
}

const STRATEGIES: [Strategy; 3] = [Strategy::Rendezvous, Strategy::Jump, Strategy::Ring];

#[test]
fn terms_that_contradict_themselves_are_refused() {
    let two = members(&[(100, None); 2]);
    for replicas in [0, 8, 255] {
        let refused = terms(&two, replicas).plan();
        assert_eq!(refused, Err(PlacementError::Replicas { replicas }));
    }
    let twice = [two[0], two[1], two[0]];
    assert_eq!(terms(&twice, 1).plan(), Err(PlacementError::MemberTwice { node: NodeId(1) }));
    let short = [vec![NodeId(1)]];
    let refused = Terms { present: &short, ..terms(&two, 1) }.plan();
    assert_eq!(refused, Err(PlacementError::Present { partitions: 64, listed: 1 }));
    let partition = PartitionId(64);
    assert_eq!(
        terms(&two, 1).explain(partition),
        Err(PlacementError::UnknownPartition { partition })
    );
}

#[test]
fn somebody_must_be_there_to_take_a_partition() {
    let nobody = Err(PlacementError::NobodyTakes { partition: PartitionId(0) });
    assert_eq!(terms(&[], 1).plan(), nobody);
    let resting = members(&[(0, None)]);
    assert_eq!(terms(&resting, 1).plan(), nobody);
    let mut present = vec![vec![NodeId(1)]; 64];
    for strategy in STRATEGIES {
        let terms = Terms { strategy, present: &present, ..terms(&resting, 3) };
        assert_eq!(terms.plan().as_ref(), Ok(&present), "what it holds it keeps");
    }
    present[5] = vec![NodeId(9)];
    let refused = Terms { present: &present, ..terms(&resting, 3) }.plan();
    assert_eq!(refused, Err(PlacementError::NobodyTakes { partition: PartitionId(5) }));
}

#[test]
fn a_resting_member_keeps_what_it_holds_and_takes_nothing() {
    let all = members(&[(100, None); 4]);
    for strategy in STRATEGIES {
        let before = Terms { strategy, ..terms(&all, 2) }.plan().expect("it is sound");
        let mut resting = all.clone();
        resting[2].weight = 0;
        let after = Terms { strategy, present: &before, ..terms(&resting, 2) };
        let after = after.plan().expect("it is sound");
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before.contains(&NodeId(3)), after.contains(&NodeId(3)), "{strategy:?}");
        }
        let anew = Terms { strategy, ..terms(&resting, 4) }.plan().expect("it is sound");
        for owners in anew {
            assert_eq!(owners.len(), 3);
            assert!(!owners.contains(&NodeId(3)));
        }
    }
}

#[test]
fn the_last_seat_fills_a_gap() {
    let mut seats = members(&[(100, None); 4]);
    vacate(&mut seats, NodeId(2));
    let ids = |seats: &[Member<'_>]| seats.iter().map(|member| member.id.0).collect::<Vec<_>>();
    assert_eq!(ids(&seats), [1, 4, 3]);
    vacate(&mut seats, NodeId(3));
    vacate(&mut seats, NodeId(9));
    assert_eq!(ids(&seats), [1, 4]);
}

#[test]
fn an_explanation_names_exactly_the_owners_in_their_order() {
    let zones = [Some("a"), Some("a"), Some("b"), Some("b"), None];
    let some = members(&zones.map(|zone| (100, zone)));
    for strategy in STRATEGIES {
        let terms = Terms { strategy, ..terms(&some, 3) };
        for (partition, owners) in (0..).zip(terms.plan().expect("it is sound")) {
            let said = terms.explain(PartitionId(partition)).expect("it is there");
            let taken = said.candidates.iter().filter(|candidate| candidate.verdict.is_owner());
            assert_eq!(taken.map(|candidate| candidate.node).collect::<Vec<_>>(), owners);
            assert_eq!((said.wanted, said.zone_limit, said.candidates.len()), (3, Some(1), 5));
            assert!(said.candidates.is_sorted_by_key(|one| one.distance.unwrap_or(u64::MAX)));
        }
    }
}

#[test]
fn every_reason_is_given_where_it_holds() {
    let mut some = members(&[
        (100, Some("a")),
        (100, Some("a")),
        (100, Some("b")),
        (100, Some("b")),
        (0, Some("c")),
    ]);
    let before = terms(&some, 2).plan().expect("it is sound");
    let reasons = |terms: &Terms<'_>| {
        let mut said = Vec::new();
        for partition in 0..64 {
            said.extend(terms.explain(PartitionId(partition)).expect("it is there").candidates);
        }
        said
    };
    let given = |said: &[Candidate], verdict| said.iter().any(|one| one.verdict == verdict);
    let fresh = reasons(&terms(&some, 2));
    for verdict in [Verdict::Taken, Verdict::ZoneTaken, Verdict::TakesNothingNew] {
        assert!(given(&fresh, verdict), "{verdict:?}");
    }
    for one in &fresh {
        let rests = one.node == NodeId(5);
        assert_eq!(one.verdict == Verdict::TakesNothingNew, rests);
        assert_eq!(one.distance.is_none(), rests);
    }
    // Where zones do not matter, a bound shows.
    let loose = reasons(&Terms { spread_zones: false, ..terms(&some, 2) });
    assert!(given(&loose, Verdict::Enough));
    assert!(given(&loose, Verdict::BoundReached { bound: 32 }));
    // A newcomer finds its zone full of owners that stay, and takes a third of them.
    some.push(Member { id: NodeId(6), weight: 100, zone: Some("a") });
    let joined = reasons(&Terms { present: &before, ..terms(&some, 2) });
    for verdict in [Verdict::Kept, Verdict::Taken, Verdict::GaveUp, Verdict::ZoneTaken] {
        assert!(given(&joined, verdict), "{verdict:?}");
    }
    let taken = joined.iter().filter(|one| one.verdict == Verdict::Taken);
    assert!(taken.clone().all(|one| one.node == NodeId(6)));
    assert_eq!(taken.count(), 21);
    // Fewer replicas than before: the less preferred owner is one too many.
    let fewer = reasons(&Terms { present: &before, ..terms(&some[..5], 1) });
    let is_one_too_many = |one: &&Candidate| one.verdict == Verdict::Enough;
    assert!(fewer.iter().filter(is_one_too_many).count() > 64);
}
