//! Questions, their answers, and what becomes of both.

use super::board::MOST_AHEAD;
use super::*;
use shoal_core::quorum::{Found, NoQuorum};
use shoal_core::record::{OwnedBody, OwnedRecord, PLAIN};
use shoal_core::replica::Floor;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// An answer that can be told from others.
fn reply(have: usize) -> Reply {
    Reply::Read(ReadOutcome::NoQuorum(NoQuorum { have, need: 9, unreachable: Vec::new() }))
}

fn have(reply: Option<Reply>) -> Option<usize> {
    match reply? {
        Reply::Read(ReadOutcome::NoQuorum(lack)) => Some(lack.have),
        other => panic!("{other:?}"),
    }
}

/// Asks, and hands out the right to answer where the question is a new one.
fn ask(errands: &mut Errands, key: &str) -> (Result<Option<usize>, Halt>, Option<Ticket>) {
    let mut begun = None;
    let answer = errands.ask(What::Read, key.as_bytes(), |_, ticket| {
        begun = Some(ticket);
        Ok(())
    });
    (answer.map(have), begun)
}

fn foresee(errands: &mut Errands, ahead: usize, key: &str) -> Option<Ticket> {
    let mut begun = None;
    let foreseen = errands.foresee(ahead, What::Read, key.as_bytes(), true, |_, ticket| {
        begun = Some(ticket);
        Ok(())
    });
    foreseen.expect("it is no part of the command");
    begun
}

#[test]
fn the_same_questions_find_the_same_answers_and_are_begun_once() {
    let mut errands = Errands::default();
    assert!(errands.is_empty());
    let (answer, ticket) = ask(&mut errands, "a");
    assert_eq!(answer, Ok(None));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(errands.poll_answered(&waker).is_pending());
    let ticket = ticket.expect("it is begun");
    std::thread::spawn(move || ticket.tell(reply(1))).join().expect("it is told");
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert!(errands.poll_answered(&waker).is_ready());
    errands.again();
    let (answer, again) = ask(&mut errands, "a");
    assert_eq!((answer, again.is_none()), (Ok(Some(1)), true));
    let (answer, second) = ask(&mut errands, "b");
    assert_eq!(answer, Ok(None));
    second.expect("it is begun").tell(reply(2));
    errands.again();
    assert_eq!(ask(&mut errands, "a").0, Ok(Some(1)));
    assert_eq!(ask(&mut errands, "b").0, Ok(Some(2)));
    errands.over();
    assert!(errands.is_empty());
}

#[test]
fn a_command_that_asks_otherwise_is_refused_and_forgotten() {
    let mut errands = Errands::default();
    let (_, ticket) = ask(&mut errands, "a");
    errands.again();
    let (answer, begun) = ask(&mut errands, "b");
    assert!(begun.is_none());
    match answer {
        Err(Halt::Refused(refusal)) => assert_eq!(refusal.code, Code::TryAgain),
        other => panic!("{other:?}"),
    }
    assert!(errands.is_empty());
    // An answer that comes late finds nobody, whatever was asked since.
    let (_, other) = ask(&mut errands, "b");
    ticket.expect("it is begun").tell(reply(1));
    errands.again();
    assert_eq!(ask(&mut errands, "b").0, Ok(None));
    drop(other);
}

#[test]
fn what_was_begun_for_later_commands_is_theirs_or_nobodys() {
    let mut errands = Errands::default();
    let tickets = [foresee(&mut errands, 0, "a"), foresee(&mut errands, 1, "b")];
    assert!(foresee(&mut errands, 1, "b").is_none(), "it is begun");
    for ticket in tickets.into_iter().flatten() {
        ticket.tell(reply(3));
    }
    assert_eq!(ask(&mut errands, "a").0, Ok(Some(3)));
    errands.over();
    assert_eq!(ask(&mut errands, "b").0, Ok(Some(3)));
    errands.over();
    assert!(errands.is_empty());
    let _tickets = [foresee(&mut errands, 0, "a"), foresee(&mut errands, 1, "b")];
    let (answer, begun) = ask(&mut errands, "b");
    assert_eq!((answer, begun.is_some()), (Ok(None), true), "asked anew, in its own turn");
    assert_eq!(errands.slots.len(), 1);
}

#[test]
fn what_was_begun_for_a_command_that_did_not_ask_answers_no_other() {
    let mut errands = Errands::default();
    let tickets = [foresee(&mut errands, 0, "a"), foresee(&mut errands, 1, "b")];
    for ticket in tickets.into_iter().flatten() {
        ticket.tell(reply(3));
    }
    assert_eq!(ask(&mut errands, "a").0, Ok(Some(3)));
    errands.over();
    // The next one was refused before it asked.
    errands.over();
    assert!(errands.is_empty());
    let (answer, begun) = ask(&mut errands, "b");
    assert_eq!((answer, begun.is_some()), (Ok(None), true), "whoever asks so later asks anew");
}

#[test]
fn what_could_not_be_begun_for_a_later_command_is_begun_in_its_turn() {
    let mut errands = Errands::default();
    let refuse = |_: Bytes, _: Ticket| Err(Refusal::new(Code::TryAgain, "not now"));
    errands.foresee(0, What::Write, b"a", true, refuse).expect("it may be asked");
    let answer = |_: Bytes, ticket: Ticket| {
        ticket.tell(written());
        Ok(())
    };
    errands.foresee(1, What::Write, b"b", true, answer).expect("it may be asked");
    assert!(matches!(errands.ask(What::Write, b"a", answer), Ok(Some(Reply::Write(_)))));
    errands.over();
    let again = |_: Bytes, _: Ticket| panic!("it was begun before");
    assert!(matches!(errands.ask(What::Write, b"b", again), Ok(Some(Reply::Write(_)))));
    errands.over();
    assert!(errands.is_empty());
}

#[test]
fn what_a_command_began_and_did_not_ask_goes_with_it() {
    let mut errands = Errands::default();
    for ahead in 0..3 {
        let begun = errands.foresee(ahead, What::Update, &[0], false, |_, _| Ok(()));
        begun.expect("it is the command's first run");
    }
    assert!(matches!(errands.ask(What::Update, &[0], |_, _| Ok(())), Ok(Some(Reply::Lost))));
    errands.over();
    assert!(errands.is_empty());
}

#[test]
fn who_will_not_answer_is_not_waited_for() {
    let mut errands = Errands::default();
    let (_, ticket) = ask(&mut errands, "a");
    drop(ticket);
    errands.wait();
    assert!(matches!(errands.last(), Some(Reply::Lost)));
    let refusal = Refusal::new(Code::ClockSkewed, "no stamp");
    let refused = errands.ask(What::Write, b"b", |_, _| Err(refusal.clone()));
    assert!(matches!(refused, Ok(Some(Reply::Refused(why))) if why == refusal));
}

#[test]
fn a_command_begins_anew_a_few_times_at_most() {
    let mut errands = Errands::default();
    let begun = (0..10).filter(|_| errands.retry()).count();
    assert_eq!(begun, usize::from(MOST_RETRIES));
    errands.over();
    assert!(errands.retry(), "another command");
}

fn bytes_of(length: usize) -> Reply {
    let version = shoal_core::Version::ZERO;
    let bytes = vec![7; length].into();
    let body = OwnedBody::Live { kind: PLAIN, bytes };
    let record = Some(OwnedRecord { version, written: version, expires_at: None, body });
    let (newest, floor, mark) = (None, Floor::default(), version);
    Reply::Read(ReadOutcome::Found(Found { record, newest, floor, mark, now_ms: 1 }))
}

/// How long the value is that came, or why none did.
fn length(reply: Option<Reply>) -> Result<usize, Option<Code>> {
    match reply {
        Some(Reply::Read(ReadOutcome::Found(found))) => match found.record.map(|r| r.body) {
            Some(OwnedBody::Live { bytes, .. }) => Ok(bytes.len()),
            other => panic!("{other:?}"),
        },
        Some(Reply::Refused(refusal)) => Err(Some(refusal.code)),
        None => Err(None),
        other => panic!("{other:?}"),
    }
}

fn ask_for(errands: &mut Errands, key: &str) -> (Result<usize, Option<Code>>, Option<Ticket>) {
    let mut begun = None;
    let answer = errands.ask(What::Read, key.as_bytes(), |_, ticket| {
        begun = Some(ticket);
        Ok(())
    });
    (length(answer.expect("it asks the same")), begun)
}

const MIB: usize = 1 << 20;

#[test]
fn what_does_not_fit_before_its_turn_is_asked_again_in_it() {
    let mut errands = Errands::default();
    let keys = ["a", "b", "c"];
    let tickets = (0..).zip(keys).filter_map(|(ahead, key)| foresee(&mut errands, ahead, key));
    for ticket in tickets.collect::<Vec<_>>() {
        ticket.tell(bytes_of(10 * MIB));
    }
    assert_eq!(ask_for(&mut errands, "a").0, Ok(10 * MIB));
    errands.over();
    let (answer, again) = ask_for(&mut errands, "b");
    assert_eq!(answer, Err(None), "it was dropped, and is awaited");
    again.expect("it is asked again").tell(bytes_of(100 * MIB));
    errands.again();
    assert!(foresee(&mut errands, 0, "b").is_none(), "it is begun");
    assert_eq!(ask_for(&mut errands, "b").0, Ok(100 * MIB), "alone it may be as long as it is");
    errands.over();
    let (_, again) = ask_for(&mut errands, "c");
    drop(again.expect("the third did not fit either"));
}

#[test]
fn what_its_command_waits_for_already_counts_as_its_own() {
    let mut errands = Errands::default();
    let ticket = foresee(&mut errands, 0, "a").expect("it is begun");
    assert_eq!(ask_for(&mut errands, "a").0, Err(None));
    ticket.tell(bytes_of(MOST_AHEAD + 1));
    errands.again();
    assert_eq!(ask_for(&mut errands, "a").0, Ok(MOST_AHEAD + 1));
}

#[test]
fn the_answers_to_all_commands_are_bounded_and_given_back() {
    let budget = Arc::new(Budget::new(20 * MIB as u64));
    let mut waiting = [Errands::default(), Errands::default(), Errands::default()];
    for (nth, errands) in waiting.iter_mut().enumerate() {
        errands.bound_by(&budget);
        let (_, ticket) = ask_for(errands, "a");
        ticket.expect("it is begun").tell(bytes_of(8 * MIB));
        errands.again();
        let fits = if nth < 2 { Ok(8 * MIB) } else { Err(Some(Code::MemoryFull)) };
        assert_eq!(ask_for(errands, "a").0, fits);
    }
    let [mut first, second, _third] = waiting;
    assert_eq!(budget.used(), 16 * MIB as u64);
    first.over();
    assert_eq!(budget.used(), 8 * MIB as u64);
    // What comes for whoever has gone is not held.
    let (_, ticket) = ask_for(&mut first, "b");
    drop((first, second));
    ticket.expect("it is begun").tell(bytes_of(8 * MIB));
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_change_whose_answer_is_not_held_may_have_happened() {
    let mut errands = Errands::default();
    errands.bound_by(&Arc::new(Budget::new(1)));
    let Reply::Read(ReadOutcome::Found(found)) = bytes_of(MIB) else { panic!("it is a read") };
    let (outcome, before) = (Outcome::Done, found.record);
    let told = Reply::Update(Forwarded::Done { outcome, before, version: None });
    let answer = errands.ask(What::Update, b"a", |_, ticket| {
        ticket.tell(told);
        Ok(())
    });
    assert_eq!(length(answer.expect("it is asked")), Err(Some(Code::Unknown)));
}

/// Asks to change `key`, which is answered at once by `reply`.
fn change(errands: &mut Errands, key: &str, reply: Reply) -> Result<(), Halt> {
    let asked = errands.ask(What::Write, key.as_bytes(), |_, ticket| {
        ticket.tell(reply);
        Ok(())
    });
    asked.map(|_| ())
}

fn written() -> Reply {
    Reply::Write(WriteOutcome::Done { version: shoal_core::Version::ZERO })
}

#[test]
fn who_may_have_changed_something_and_asks_otherwise_is_told_so_and_begins_nothing_more() {
    let refused = |reply: Reply| {
        let mut errands = Errands::default();
        change(&mut errands, "a", reply).expect("it is the first");
        errands.again();
        let otherwise = change(&mut errands, "b", written()).expect_err("it asks otherwise");
        let Halt::Refused(refusal) = otherwise else { panic!("{otherwise:?}") };
        (errands, refusal.code)
    };
    let (mut errands, code) = refused(written());
    assert_eq!(code, Code::Unknown);
    assert!(!errands.retry(), "it would be done twice");
    errands.again();
    change(&mut errands, "a", written()).expect_err("it would be done twice");
    errands.over();
    change(&mut errands, "a", written()).expect("another command");
    let lack = NoQuorum { have: 0, need: 1, unreachable: Vec::new() };
    let (mut errands, code) = refused(Reply::Write(WriteOutcome::NoQuorum(lack)));
    assert_eq!(code, Code::TryAgain, "nothing was sent");
    assert!(errands.retry());
}
