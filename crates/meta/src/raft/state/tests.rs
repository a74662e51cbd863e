//! Every proposal once, however often it comes.

use super::*;
use crate::rig::founding;
use proptest::prelude::*;
use shoal_core::map::Command;

fn founded() -> State {
    let found = founding().expect("a founding");
    State::of(ClusterMap::default().apply(&found).expect("a good founding"))
}

/// A proposal that the map takes every time.
fn flush(id: u128, base: u64) -> Proposal {
    propose(id, base, &Command::FlushKeyspaces { names: ["default".to_owned()].into() })
}

/// One that it refuses every time.
fn impossible(id: u128, base: u64) -> Proposal {
    propose(id, base, &Command::DropKeyspace { name: "default".to_owned() })
}

fn propose(id: u128, base: u64, command: &Command) -> Proposal {
    Proposal { id, base, command: codec::command::encode(command) }
}

fn take(state: &mut State, proposal: &Proposal) -> Outcome {
    state.take(proposal, codec::command::decode).expect("it can be read").outcome
}

#[test]
fn a_copy_is_answered_like_the_first_and_changes_nothing() {
    let mut state = founded();
    let first = take(&mut state, &flush(1, 1));
    assert_eq!(first, Outcome::Applied(At::from(state.map().version)));
    let refused = take(&mut state, &impossible(2, 1));
    assert_eq!(refused, Outcome::Refused(At::from(state.map().version)));
    take(&mut state, &flush(3, 1));
    let before = state.map().clone();
    assert_eq!(take(&mut state, &flush(1, 1)), first);
    assert_eq!(take(&mut state, &impossible(2, 1)), refused);
    assert_eq!(*state.map(), before);
}

#[test]
fn a_refusal_does_not_move_the_version() {
    let mut state = founded();
    let before = state.map().version;
    let effect = state.take(&impossible(1, 1), codec::command::decode).expect("it can be read");
    assert_eq!(effect.refusal, Some(MapError::DefaultStays));
    assert!(!effect.changed);
    assert_eq!(state.map().version, before);
}

#[test]
fn a_copy_that_comes_after_its_id_is_forgotten_is_not_taken() {
    let mut state = founded();
    let base = state.map().version.index;
    let first = flush(u128::MAX, base);
    take(&mut state, &first);
    for id in 0..REMEMBERED as u128 {
        let base = state.map().version.index;
        take(&mut state, &flush(id, base));
    }
    let before = state.map().clone();
    assert_eq!(take(&mut state, &first), Outcome::Late);
    assert_eq!(*state.map(), before);
}

#[test]
fn a_command_that_cannot_be_read_stops_and_changes_nothing() {
    let mut state = founded();
    let before = state.encode().expect("it has a form");
    let unread = Proposal { id: 1, base: 1, command: b"from the future".to_vec() };
    let error = state.take(&unread, codec::command::decode);
    let error = error.expect_err("it cannot be skipped").to_string();
    assert!(error.contains("a newer version of Shoal"), "{error}");
    assert_eq!(state.encode().expect("it has a form"), before);
}

#[test]
fn a_state_of_another_version_and_a_cut_one_are_refused() {
    let bytes = founded().encode().expect("it has a form");
    let mut newer = bytes.clone();
    newer[0] += 1;
    let error = State::decode(&newer).expect_err("it is newer").to_string();
    assert!(error.contains("format version 2"), "{error}");
    for length in 0..bytes.len() {
        State::decode(&bytes[..length]).expect_err("it is cut");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With copies anywhere after the first, and the state put down and taken up anywhere, the
    /// end is the one without copies.
    #[test]
    fn copies_and_restarts_do_not_matter(
        entries in prop::collection::vec((0_u8..12, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let (mut with, mut without) = (founded(), founded());
        let mut seen = std::collections::BTreeMap::new();
        for (id, good, restart) in entries {
            let fresh = || if good { flush(id.into(), 1) } else { impossible(id.into(), 1) };
            let proposal = seen.get(&id).cloned().unwrap_or_else(fresh);
            let outcome = take(&mut with, &proposal);
            if seen.insert(id, proposal.clone()).is_none() {
                prop_assert_eq!(take(&mut without, &proposal), outcome);
            }
            if restart {
                with = State::decode(&with.encode().expect("a form")).expect("it is whole");
            }
        }
        prop_assert_eq!(with.encode().expect("a form"), without.encode().expect("a form"));
    }
}
