//! What may be stored: the oracle.
//!
//! The keys of a [`Group`] are changed together by one connection, so their states form a chain.
//! A step of the chain has a mark from before it was sent and one from after it was acknowledged.
//! After a crash at a cut the group must be found in a state of the chain that is not older than
//! the last acknowledged before the cut, and not younger than the last sent before it.
//!
//! Holds: a group is judged as a whole. A transaction that was torn is in none of its states.

use crate::reply::shown;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

/// Where in the run something happened.
pub(crate) type Mark = u64;
/// After everything.
pub(crate) const END: Mark = Mark::MAX;
/// How far the clock that judges an expiry may seem to be from ours, in milliseconds.
const SLACK_MS: i64 = 100;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) value: Vec<u8>,
    /// When it goes, in milliseconds since 1970.
    pub(crate) expires_ms: Option<i64>,
}

/// What each key of a group holds, by its place in the group.
pub(crate) type Shape = BTreeMap<usize, Held>;

/// What a key was found to hold, by GET and PEXPIRETIME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) expire_time: i64,
}

/// When it was looked, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

#[derive(Clone, Debug)]
struct Step {
    shape: Shape,
    sent: Mark,
    acknowledged: Option<Mark>,
}

/// Keys with a common history.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) keys: Vec<Vec<u8>>,
    /// The first is where the history begins and counts as acknowledged before everything.
    steps: Vec<Step>,
}

impl Group {
    /// A group whose keys hold nothing.
    pub(crate) fn new(keys: Vec<Vec<u8>>) -> Self {
        let begin = Step { shape: Shape::new(), sent: 0, acknowledged: Some(0) };
        Self { keys, steps: vec![begin] }
    }

    /// What the keys hold once everything sent has been done.
    pub(crate) fn last(&self) -> &Shape {
        &self.steps.last().expect("a history has a beginning").shape
    }

    /// A change is about to be sent.
    pub(crate) fn send(&mut self, shape: Shape, mark: Mark) {
        self.steps.push(Step { shape, sent: mark, acknowledged: None });
    }

    /// The oldest change that waits for it is acknowledged.
    pub(crate) fn acknowledge(&mut self, mark: Mark) {
        let last = self.steps.iter().rposition(|step| step.acknowledged.is_some()).unwrap_or(0);
        self.steps[last + 1].acknowledged = Some(mark);
    }

    /// This was read, so it must stay; what was on its way may not come any more.
    pub(crate) fn observe(&mut self, shape: Shape, mark: Mark) {
        self.steps.push(Step { shape, sent: mark, acknowledged: Some(mark) });
    }

    /// The states that a crash at `cut` may leave.
    fn possible(&self, cut: Mark) -> &[Step] {
        let kept = |step: &Step| step.acknowledged.is_some_and(|mark| mark <= cut);
        let first = self.steps.iter().rposition(kept).unwrap_or(0);
        let sent = self.steps.iter().rposition(|step| step.sent <= cut).unwrap_or(0);
        &self.steps[first..=sent.max(first)]
    }

    /// Judges what was found after a crash at `cut`; returns the state that it is.
    pub(crate) fn judge(
        &self,
        found: &[Found],
        looked: Looked,
        cut: Mark,
    ) -> Result<Shape, String> {
        let possible = self.possible(cut);
        let is = |step: &&Step| {
            (0..self.keys.len()).all(|key| matches(step.shape.get(&key), &found[key], looked))
        };
        if let Some(step) = possible.iter().rev().find(is) {
            let mut shape = step.shape.clone();
            shape.retain(|key, _| found[*key].value.is_some());
            return Ok(shape);
        }
        let mut why = String::from("found\n");
        for (key, found) in self.keys.iter().zip(found) {
            let value = found.value.as_deref().map_or("nothing".to_owned(), shown);
            let _infallible =
                writeln!(why, "  {} = {value}, expires {}", shown(key), found.expire_time);
        }
        for step in possible {
            let state = if step.acknowledged.is_some_and(|mark| mark <= cut) {
                "acknowledged"
            } else {
                "possible"
            };
            let _infallible = writeln!(why, "{state} (sent at {})", step.sent);
            for (key, held) in &step.shape {
                let _infallible = writeln!(
                    why,
                    "  {} = {}, expires {:?}",
                    shown(&self.keys[*key]),
                    shown(&held.value),
                    held.expires_ms
                );
            }
        }
        Err(why)
    }

    /// Begins a new history with what was found, which from now on must stay.
    pub(crate) fn restart(&mut self, shape: Shape) {
        self.steps = vec![Step { shape, sent: 0, acknowledged: Some(0) }];
    }
}

fn matches(held: Option<&Held>, found: &Found, looked: Looked) -> bool {
    let Some(held) = held else { return found.value.is_none() };
    // What the two questions about a key may say, each by itself, when its end is near.
    let may_be_gone = held.expires_ms.is_some_and(|at| at <= looked.to_ms + SLACK_MS);
    let may_be_there = held.expires_ms.is_none_or(|at| at >= looked.from_ms - SLACK_MS);
    let value = match &found.value {
        Some(value) => may_be_there && *value == held.value,
        None => may_be_gone,
    };
    let expire_time = match found.expire_time {
        -2 => may_be_gone,
        -1 => held.expires_ms.is_none(),
        time => may_be_there && held.expires_ms == Some(time),
    };
    value && expire_time
}

/// A counter that every connection increments.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) key: Vec<u8>,
    base: i64,
    increments: Mutex<Vec<(Mark, Option<Mark>)>>,
}

impl Shared {
    /// A counter at nothing.
    pub(crate) fn new(key: &str) -> Self {
        Self { key: key.as_bytes().to_vec(), base: 0, increments: Mutex::new(Vec::new()) }
    }

    /// An increment is about to be sent; the number returned names it.
    pub(crate) fn send(&self, mark: Mark) -> usize {
        let mut increments = self.increments.lock().expect("no test thread panics here");
        increments.push((mark, None));
        increments.len() - 1
    }

    /// That increment was acknowledged.
    pub(crate) fn acknowledge(&self, name: usize, mark: Mark) {
        self.increments.lock().expect("no test thread panics here")[name].1 = Some(mark);
    }

    /// Judges the value found after a crash at `cut`.
    pub(crate) fn judge(&self, found: i64, cut: Mark) -> Result<(), String> {
        let increments = self.increments.lock().expect("no test thread panics here");
        let acknowledged = increments.iter().filter_map(|(_, acknowledged)| *acknowledged);
        let least = self.base + acknowledged.filter(|mark| *mark <= cut).count() as i64;
        let most = self.base + increments.iter().filter(|(sent, _)| *sent <= cut).count() as i64;
        if (least..=most).contains(&found) {
            return Ok(());
        }
        Err(format!("{}: {found}, must be {least} to {most}", shown(&self.key)))
    }

    /// Goes on from the value found.
    pub(crate) fn restart(&mut self, found: i64) {
        self.base = found;
        self.increments.get_mut().expect("no test thread panics here").clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(value: &str, expires_ms: Option<i64>) -> Held {
        Held { value: value.as_bytes().to_vec(), expires_ms }
    }

    fn found(value: Option<&str>, expire_time: i64) -> Found {
        Found { value: value.map(|value| value.as_bytes().to_vec()), expire_time }
    }

    const LOOKED: Looked = Looked { from_ms: 10_000, to_ms: 10_010 };

    /// A pair set to `1` (sent at 1, acknowledged at 2), then to `2` (sent at 3, never answered).
    fn pair() -> Group {
        let mut group = Group::new(vec![b"a".to_vec(), b"b".to_vec()]);
        let shape = |value: &str| Shape::from([(0, held(value, None)), (1, held(value, None))]);
        group.send(shape("1"), 1);
        group.acknowledge(2);
        group.send(shape("2"), 3);
        group
    }

    #[test]
    fn an_acknowledged_write_must_be_there() {
        let nothing = [found(None, -2), found(None, -2)];
        let one = [found(Some("1"), -1), found(Some("1"), -1)];
        let two = [found(Some("2"), -1), found(Some("2"), -1)];
        let group = pair();
        assert!(group.judge(&nothing, LOOKED, END).is_err());
        assert!(group.judge(&one, LOOKED, END).is_ok());
        assert!(group.judge(&two, LOOKED, END).is_ok());
        assert!(group.judge(&nothing, LOOKED, 1).is_ok());
        assert!(group.judge(&one, LOOKED, 1).is_ok());
        assert!(group.judge(&two, LOOKED, 1).is_err(), "not yet sent at the cut");
    }

    #[test]
    fn a_torn_transaction_is_no_state() {
        let torn = [found(Some("2"), -1), found(Some("1"), -1)];
        let why = pair().judge(&torn, LOOKED, END).unwrap_err();
        assert!(why.contains("acknowledged") && why.contains("possible"), "{why}");
    }

    #[test]
    fn what_was_found_once_must_stay() {
        let mut group = pair();
        let one = [found(Some("1"), -1), found(Some("1"), -1)];
        let two = [found(Some("2"), -1), found(Some("2"), -1)];
        let shape = group.judge(&two, LOOKED, END).unwrap();
        group.restart(shape);
        assert!(group.judge(&one, LOOKED, END).is_err());
        assert!(group.judge(&two, LOOKED, END).is_ok());
    }

    #[test]
    fn what_was_read_is_acknowledged_and_the_past_remains() {
        let mut group = pair();
        let one = [found(Some("1"), -1), found(Some("1"), -1)];
        let two = [found(Some("2"), -1), found(Some("2"), -1)];
        let shape = group.judge(&one, LOOKED, END).unwrap();
        group.observe(shape.clone(), 5);
        assert!(group.judge(&two, LOOKED, 4).is_ok());
        assert!(group.judge(&two, LOOKED, 5).is_err());
        assert!(group.judge(&one, LOOKED, 5).is_ok());
        group.send(Shape::new(), 6);
        group.acknowledge(7);
        assert!(group.judge(&one, LOOKED, 7).is_err());
        assert!(group.judge(&one, LOOKED, 6).is_ok());
    }

    #[test]
    fn expiry_is_judged_by_the_clock() {
        for (expires_ms, value, expire_time, fine) in [
            (20_000, Some("1"), 20_000, true),
            (20_000, Some("1"), 19_999, false),
            (20_000, Some("1"), -1, false),
            (20_000, None, -2, false),
            (5_000, None, -2, true),
            (5_000, Some("1"), 5_000, false),
            (10_005, Some("1"), 10_005, true),
            (10_005, None, -2, true),
        ] {
            let mut group = Group::new(vec![b"a".to_vec()]);
            group.send(Shape::from([(0, held("1", Some(expires_ms)))]), 1);
            group.acknowledge(2);
            let judged = group.judge(&[found(value, expire_time)], LOOKED, END);
            assert_eq!(judged.is_ok(), fine, "{expires_ms} {value:?} {expire_time}");
        }
    }

    #[test]
    fn a_shared_counter_is_held_between_two_bounds() {
        let shared = Shared::new("n");
        let first = shared.send(1);
        shared.acknowledge(first, 2);
        shared.send(3);
        for (value, cut, fine) in [
            (0, END, false),
            (1, END, true),
            (2, END, true),
            (3, END, false),
            (0, 1, true),
            (2, 2, false),
        ] {
            assert_eq!(shared.judge(value, cut).is_ok(), fine, "{value} {cut}");
        }
    }
}
