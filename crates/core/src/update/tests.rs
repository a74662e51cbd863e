//! Updates against a naive model of a value with an expiry.

use super::*;
use crate::ids::NodeId;
use crate::record::merge;
use proptest::prelude::*;

const NOW: Millis = 1_000;
const LIMIT: usize = 64;

fn version(counter: u16) -> Version {
    Version { wall_ms: 500, counter, node: NodeId(1) }
}

fn live(value: &str, expires_at: Option<Millis>) -> Record<'_> {
    Record::live(version(2), expires_at, value.as_bytes())
}

fn put(value: &str, expires_at: Option<Millis>) -> Change<'_> {
    Change::Put { value: Cow::Borrowed(value.as_bytes()), expires_at }
}

fn run<'a>(
    update: &Update<'a>,
    before: Option<&Record<'a>>,
) -> Result<(Outcome, Change<'a>), UpdateError> {
    apply(update, before, NOW, LIMIT)
}

#[test]
fn set_obeys_every_condition() {
    let held = [Tag::plain(version(2))];
    // Of the same version, but of another write.
    let other = [Tag::plain(version(4)), Tag { version: version(2), written: version(4) }];
    let present = live("old", Some(NOW + 5));
    for (when, if_present, if_absent) in [
        (When::Always, true, true),
        (When::Absent, false, true),
        (When::Present, true, false),
        (When::TagIn(&held), true, false),
        (When::TagIn(&other), false, false),
        (When::TagNotIn(&held), false, true),
        (When::TagNotIn(&other), true, true),
    ] {
        let update = Update::Set { value: b"new", expiry: SetExpiry::Never, when };
        let expected = |met| {
            Ok(if met { (Outcome::Done, put("new", None)) } else { (Outcome::Unmet, Change::Keep) })
        };
        assert_eq!(run(&update, Some(&present)), expected(if_present), "{when:?}");
        assert_eq!(run(&update, None), expected(if_absent), "{when:?}");
        let met =
            Outcome::Done == run(&Update::Delete { when }, Some(&present)).expect("no error").0;
        assert_eq!(met, if_present, "{when:?}");
        assert_eq!(
            run(&Update::Delete { when }, None),
            Ok((Outcome::Unmet, Change::Keep)),
            "there is nothing to delete"
        );
    }
}

#[test]
fn what_set_does_to_the_expiry() {
    let before = live("old", Some(NOW + 5));
    let set = |expiry| Update::Set { value: b"new", expiry, when: When::Always };
    let change = |expiry, before| run(&set(expiry), before).expect("it is short").1;
    assert_eq!(change(SetExpiry::Never, Some(&before)), put("new", None));
    assert_eq!(change(SetExpiry::Keep, Some(&before)), put("new", Some(NOW + 5)));
    assert_eq!(change(SetExpiry::Keep, None), put("new", None));
    assert_eq!(change(SetExpiry::At(NOW + 1), None), put("new", Some(NOW + 1)));
    assert_eq!(change(SetExpiry::At(NOW), None), Change::Delete);
    // The expiry of what can no longer be seen is not kept.
    assert_eq!(change(SetExpiry::Keep, Some(&live("old", Some(NOW)))), put("new", None));
}

#[test]
fn a_tombstone_and_an_expired_record_count_as_nothing() {
    for before in [Record::tombstone(version(2)), live("7", Some(NOW))] {
        for update in [
            Update::Add { delta: 1 },
            Update::Append { suffix: b"x" },
            Update::Persist,
            Update::Delete { when: When::Always },
            Update::Expire { at: NOW + 9, when: ExpireWhen::default() },
            Update::Set { value: b"n", expiry: SetExpiry::Keep, when: When::Absent },
        ] {
            assert_eq!(run(&update, Some(&before)), run(&update, None), "{update:?}");
        }
    }
}

#[test]
fn integers_have_one_spelling() {
    for text in ["0", "-1", "9223372036854775807", "-9223372036854775808", "10"] {
        assert_eq!(parse_integer(text.as_bytes()), text.parse().ok(), "{text}");
    }
    for text in [
        "",
        "-",
        "+1",
        " 1",
        "1 ",
        "01",
        "-0",
        "00",
        "-01",
        "1.0",
        "1e3",
        "a",
        "1a",
        "--1",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999999",
        "1\0",
    ] {
        assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        let before = live(text, None);
        assert_eq!(
            run(&Update::Add { delta: 1 }, Some(&before)),
            Err(UpdateError::NotInteger),
            "{text}"
        );
    }
}

#[test]
fn sums_keep_the_expiry_and_refuse_to_overflow() {
    let before = live("9223372036854775806", Some(NOW + 5));
    let add = |delta| run(&Update::Add { delta }, Some(&before));
    assert_eq!(add(1), Ok((Outcome::Integer(i64::MAX), put("9223372036854775807", Some(NOW + 5)))));
    assert_eq!(add(2), Err(UpdateError::Overflow));
    let least = live("-9223372036854775808", None);
    assert_eq!(run(&Update::Add { delta: -1 }, Some(&least)), Err(UpdateError::Overflow));
    assert_eq!(
        run(&Update::AddFloat { delta: b"0.5" }, Some(&live("1.25", Some(NOW + 5)))),
        Ok((Outcome::Float("1.75".into()), put("1.75", Some(NOW + 5))))
    );
    assert_eq!(
        run(&Update::AddFloat { delta: b"3.0" }, None),
        Ok((Outcome::Float("3".into()), put("3", None)))
    );
    assert_eq!(
        run(&Update::AddFloat { delta: b"1" }, Some(&live("", None))),
        Err(UpdateError::NotFloat)
    );
}

#[test]
fn ranges_pad_and_stop_at_the_limit() {
    let set = |offset, bytes| Update::SetRange { offset, bytes };
    let before = live("hello", Some(NOW + 5));
    assert_eq!(
        run(&set(6, b"you"), Some(&before)),
        Ok((Outcome::Length(9), put("hello\0you", Some(NOW + 5))))
    );
    assert_eq!(
        run(&set(1, b"a"), Some(&before)),
        Ok((Outcome::Length(5), put("hallo", Some(NOW + 5))))
    );
    assert_eq!(run(&set(99, b""), Some(&before)), Ok((Outcome::Length(5), Change::Keep)));
    assert_eq!(run(&set(99, b""), None), Ok((Outcome::Length(0), Change::Keep)));
    assert_eq!(run(&set(63, b"ab"), None), Err(UpdateError::TooLong));
    assert_eq!(run(&set(62, b"ab"), None).map(|done| done.0), Ok(Outcome::Length(64)));
    assert_eq!(run(&set(u64::MAX, b"a"), None), Err(UpdateError::TooLong));
}

#[test]
fn appending_stops_at_the_limit_and_may_make_an_empty_value() {
    let long = "x".repeat(60);
    let before = live(&long, Some(NOW + 5));
    let append = |suffix| run(&Update::Append { suffix }, Some(&before));
    assert_eq!(append(b"12345"), Err(UpdateError::TooLong));
    assert_eq!(append(b"1234").map(|done| done.0), Ok(Outcome::Length(64)));
    assert_eq!(run(&Update::Append { suffix: b"" }, None), Ok((Outcome::Length(0), put("", None))));
    assert_eq!(apply(&Update::Append { suffix: b"12" }, None, NOW, 1), Err(UpdateError::TooLong));
}

#[test]
fn expiry_conditions_are_those_of_redis() {
    let at = |at, when| Update::Expire { at, when };
    let (none, some) = (
        ExpireWhen { none: true, ..ExpireWhen::default() },
        ExpireWhen { some: true, ..ExpireWhen::default() },
    );
    let (later, earlier) = (
        ExpireWhen { later: true, ..ExpireWhen::default() },
        ExpireWhen { earlier: true, ..ExpireWhen::default() },
    );
    let both = ExpireWhen { some: true, earlier: true, ..ExpireWhen::default() };
    // (condition, met without an expiry, met for an earlier, the same and a later one)
    for (when, eternal, down, same, up) in [
        (ExpireWhen::default(), true, true, true, true),
        (none, true, false, false, false),
        (some, false, true, true, true),
        (later, false, false, false, true),
        (earlier, true, true, false, false),
        (both, false, true, false, false),
    ] {
        let met = |old, new| {
            let before = live("v", old);
            let (outcome, change) = run(&at(new, when), Some(&before)).expect("never refused");
            assert_eq!(outcome == Outcome::Done, change == put("v", Some(new)));
            assert_eq!(outcome == Outcome::Unmet, change == Change::Keep);
            outcome == Outcome::Done
        };
        assert_eq!(met(None, NOW + 10), eternal, "{when:?}");
        assert_eq!(met(Some(NOW + 20), NOW + 10), down, "{when:?}");
        assert_eq!(met(Some(NOW + 10), NOW + 10), same, "{when:?}");
        assert_eq!(met(Some(NOW + 5), NOW + 10), up, "{when:?}");
    }
    assert_eq!(run(&at(NOW + 1, ExpireWhen::default()), None), Ok((Outcome::Unmet, Change::Keep)));
}

#[test]
fn an_expiry_that_has_passed_removes_the_key() {
    let before = live("v", None);
    let expire = Update::Expire { at: NOW, when: ExpireWhen::default() };
    assert_eq!(run(&expire, Some(&before)), Ok((Outcome::Done, Change::Delete)));
}

#[test]
fn persist_takes_an_expiry_away_or_does_nothing() {
    assert_eq!(
        run(&Update::Persist, Some(&live("v", Some(NOW + 5)))),
        Ok((Outcome::Done, put("v", None)))
    );
    assert_eq!(run(&Update::Persist, Some(&live("v", None))), Ok((Outcome::Unmet, Change::Keep)));
}

/// An update that owns its bytes.
#[derive(Clone, Debug)]
enum Op {
    Set(Vec<u8>, SetExpiry, u8),
    Delete,
    Append(Vec<u8>),
    SetRange(u64, Vec<u8>),
    Add(i64),
    Expire(Millis),
    Persist,
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = || {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..30),
            (-20..20_i64).prop_map(|number| number.to_string().into_bytes()),
        ]
    };
    let time = || NOW - 5..NOW + 50;
    let expiry =
        prop_oneof![Just(SetExpiry::Never), Just(SetExpiry::Keep), time().prop_map(SetExpiry::At),];
    prop_oneof![
        (bytes(), expiry, 0..3_u8).prop_map(|(value, expiry, when)| Op::Set(value, expiry, when)),
        Just(Op::Delete),
        bytes().prop_map(Op::Append),
        (0..80_u64, bytes()).prop_map(|(offset, bytes)| Op::SetRange(offset, bytes)),
        prop_oneof![-5..5_i64, any::<i64>()].prop_map(Op::Add),
        time().prop_map(Op::Expire),
        Just(Op::Persist),
    ]
}

impl Op {
    fn update(&self) -> Update<'_> {
        match self {
            Self::Set(value, expiry, when) => Update::Set {
                value,
                expiry: *expiry,
                when: [When::Always, When::Absent, When::Present][usize::from(*when)],
            },
            Self::Delete => Update::Delete { when: When::Always },
            Self::Append(suffix) => Update::Append { suffix },
            Self::SetRange(offset, bytes) => Update::SetRange { offset: *offset, bytes },
            Self::Add(delta) => Update::Add { delta: *delta },
            Self::Expire(at) => Update::Expire { at: *at, when: ExpireWhen::default() },
            Self::Persist => Update::Persist,
        }
    }
}

/// A value with its expiry, as a naive model holds it.
type State = Option<(Vec<u8>, Option<Millis>)>;

/// The same rules, spelled out the long way. `None` where the op is refused.
fn model(state: &State, op: &Op, now: Millis) -> Option<State> {
    let seen = state.clone().filter(|(_, at)| at.is_none_or(|at| at > now));
    let (bytes, expiry) = seen.clone().unwrap_or_default();
    let next = match op {
        Op::Set(_, _, 1) if seen.is_some() => seen,
        Op::Set(_, _, 2) if seen.is_none() => seen,
        Op::Set(value, SetExpiry::Never | SetExpiry::Forever, _) => Some((value.clone(), None)),
        Op::Set(value, SetExpiry::Keep, _) => Some((value.clone(), expiry)),
        Op::Set(value, SetExpiry::At(at), _) => Some((value.clone(), Some(*at))),
        Op::Delete => None,
        Op::Append(suffix) => Some(([bytes, suffix.clone()].concat(), expiry)),
        Op::SetRange(_, new) if new.is_empty() => seen,
        Op::SetRange(offset, new) => {
            let mut bytes = bytes;
            for (at, byte) in (usize::try_from(*offset).expect("small")..).zip(new) {
                while bytes.len() <= at {
                    bytes.push(0);
                }
                bytes[at] = *byte;
            }
            Some((bytes, expiry))
        }
        Op::Add(delta) => {
            let text = if seen.is_some() { String::from_utf8(bytes).ok()? } else { "0".into() };
            let number: i128 = text.parse().ok()?;
            if number.to_string() != text || i64::try_from(number).is_err() {
                return None;
            }
            let sum = i64::try_from(number + i128::from(*delta)).ok()?;
            Some((sum.to_string().into_bytes(), expiry))
        }
        Op::Expire(at) => seen.map(|(bytes, _)| (bytes, Some(*at))),
        Op::Persist => seen.map(|(bytes, _)| (bytes, None)),
    };
    let next = next.filter(|(_, at)| at.is_none_or(|at| at > now));
    let long = next.as_ref().is_some_and(|(bytes, _)| bytes.len() > LIMIT);
    if long { None } else { Some(next) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn apply_does_what_a_naive_model_does(
        steps in prop::collection::vec((op(), 0..10_u64), 1..30),
    ) {
        let mut state: State = None;
        let mut now = NOW - 20;
        for (op, pause) in steps {
            now += pause;
            let held = state.clone();
            let before = held.as_ref().map(|(b, at)| Record::live(version(2), *at, b));
            let result = apply(&op.update(), before.as_ref(), now, LIMIT);
            let expected = model(&state, &op, now);
            prop_assert_eq!(result.is_err(), expected.is_none(), "{:?} on {:?}", op, state);
            let (Ok((outcome, change)), Some(expected)) = (result, expected) else { continue };
            state = match change {
                Change::Keep => {
                    prop_assert!(matches!(outcome, Outcome::Unmet | Outcome::Length(_)));
                    state
                }
                Change::Delete => None,
                Change::Put { value, expires_at } => Some((value.into_owned(), expires_at)),
            };
            if let (Outcome::Length(len), Some((bytes, _))) = (&outcome, &expected) {
                prop_assert_eq!(*len, bytes.len() as u64);
            }
            let visible = state.clone().filter(|(_, at)| at.is_none_or(|at| at > now));
            prop_assert_eq!(visible, expected, "after {:?}", op);
        }
    }
}

#[test]
fn a_change_at_a_successor_wins_over_what_it_was_made_from() {
    let before = live("1", None);
    let (_, change) = run(&Update::Add { delta: 1 }, Some(&before)).expect("an integer");
    let Change::Put { value, expires_at } = change else { panic!("a sum is stored") };
    let after = Record::live(before.version.successor(NodeId(1)), expires_at, &value);
    assert_eq!(merge(before, after), after);
}
