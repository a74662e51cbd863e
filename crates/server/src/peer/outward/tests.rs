//! The asking side without a connection: who is told what, and when.

use super::*;
use shoal_node::transport::{Admission, Identity};
use std::sync::mpsc;

type Heard = mpsc::Receiver<Result<Bytes, Unreachable>>;

fn side(limits: Limits) -> (Arc<Outward>, Arc<Figures>) {
    let figures = Arc::<Figures>::default();
    let standing = Standing::new(Identity::default(), Admission::Whole, None);
    let side = Outward::new(Arc::new(limits), Some(standing), Arc::clone(&figures));
    (Arc::new(side), figures)
}

const PATIENCE: Duration = Duration::from_secs(5);

fn ask(side: &Outward, kind: Kind, body: &'static [u8]) -> Heard {
    let (sender, heard) = mpsc::channel();
    // Nobody listens once the test is over.
    let reply = Box::new(move |told| drop(sender.send(told)));
    side.ask(kind, Bytes::from_static(body), PATIENCE, reply);
    heard
}

/// What the writer takes: numbers of questions.
fn take(side: &Outward) -> Vec<u64> {
    let mut batch = Vec::new();
    let _ = side.take(&mut batch);
    batch.iter().filter(|one| one.what != What::Ping).map(|one| one.id).collect()
}

fn answer(side: &Arc<Outward>, id: u64, outcome: Outcome) -> Result<(), Ending> {
    let what = What::Answer(outcome);
    side.receive(Frame { what, id, more: false, body: Bytes::from_static(b"yes") })
}

/// Everything it heard, once nobody can tell it more.
fn all(heard: &Heard) -> Vec<Result<Bytes, Unreachable>> {
    heard.iter().collect()
}

#[tokio::test(start_paused = true)]
async fn answers_find_their_questions_once() {
    let (side, figures) = side(Limits::default());
    let one = ask(&side, Kind::Data, b"a");
    let two = ask(&side, Kind::Control, b"b");
    let three = ask(&side, Kind::Data, b"c");
    assert_eq!(take(&side), [1, 0, 2], "control first");
    assert_eq!(answer(&side, 2, Outcome::Answered), Ok(()));
    assert_eq!(answer(&side, 0, Outcome::Busy), Ok(()));
    assert_eq!(answer(&side, 1, Outcome::Failed), Ok(()));
    assert_eq!(all(&three), [Ok(Bytes::from_static(b"yes"))]);
    assert_eq!(all(&one), [Err(Unreachable::Busy)]);
    assert_eq!(all(&two), [Err(Unreachable::Failed)]);
    assert_eq!(answer(&side, 2, Outcome::Answered), Err(Ending::Unasked), "answered twice");
    assert_eq!(answer(&side, 3, Outcome::Answered), Err(Ending::Unasked), "never asked");
    let count = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    assert_eq!(count(&figures.asked), 3);
    assert_eq!(
        (count(&figures.answered), count(&figures.refused), count(&figures.failed)),
        (1, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_question_was_sent_is_unasked() {
    let (side, _) = side(Limits::default());
    let heard = ask(&side, Kind::Data, b"a");
    assert_eq!(answer(&side, 0, Outcome::Answered), Err(Ending::Unasked));
    assert!(heard.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn patience_ends_with_the_truth() {
    let (side, _) = side(Limits::default());
    let sent = ask(&side, Kind::Data, b"a");
    assert_eq!(take(&side), [0]);
    let unsent = ask(&side, Kind::Data, b"b");
    tokio::time::advance(PATIENCE).await;
    side.tick(Instant::now());
    assert_eq!(all(&sent), [Err(Unreachable::Late)]);
    assert_eq!(all(&unsent), [Err(Unreachable::Unsent)]);
    assert_eq!(take(&side), Vec::<u64>::new(), "what nobody waits for is not sent");
    assert_eq!(answer(&side, 0, Outcome::Answered), Ok(()), "late, and no offence");
    assert_eq!(answer(&side, 0, Outcome::Answered), Err(Ending::Unasked));
}

#[tokio::test(start_paused = true)]
async fn the_end_tells_what_may_have_been_done() {
    let (side, figures) = side(Limits::default());
    let sent = ask(&side, Kind::Data, b"a");
    assert_eq!(take(&side), [0]);
    let unsent = ask(&side, Kind::Data, b"b");
    side.end(Ending::Silent);
    side.end(Ending::Stopped);
    assert_eq!(all(&sent), [Err(Unreachable::Lost)]);
    assert_eq!(all(&unsent), [Err(Unreachable::Down)]);
    assert_eq!(all(&ask(&side, Kind::Data, b"c")), [Err(Unreachable::Down)]);
    assert_eq!(side.stopped().await, Ending::Silent);
    assert_eq!(figures.failed.load(Ordering::Relaxed), 2);
    assert_eq!(side.backlog(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_side_tells_too() {
    let (side, _) = side(Limits::default());
    let heard = ask(&side, Kind::Data, b"a");
    drop(side);
    assert_eq!(all(&heard), [Err(Unreachable::Down)]);
}

#[tokio::test(start_paused = true)]
async fn shares_are_bounded_by_count_and_by_bytes() {
    let mut limits = Limits::default();
    limits.shares[Kind::Data.index()] = super::super::Share { messages: 3, bytes: 10 };
    let (side, _) = side(limits);
    let _one = ask(&side, Kind::Data, b"123456");
    assert_eq!(all(&ask(&side, Kind::Data, b"12345")), [Err(Unreachable::Busy)]);
    assert_eq!(side.backlog(), (1, 6, 0));
    assert_eq!(take(&side), [0]);
    // Bytes are free once sent, places once answered; one message always fits.
    let _two = ask(&side, Kind::Data, b"12345678901234");
    assert_eq!(take(&side), [1]);
    let _three = ask(&side, Kind::Data, b"1");
    assert_eq!(all(&ask(&side, Kind::Data, b"1")), [Err(Unreachable::Busy)]);
    let other = ask(&side, Kind::Meta, b"1");
    assert!(other.try_recv().is_err(), "another kind has its own share");
    assert_eq!(answer(&side, 0, Outcome::Answered), Ok(()));
    assert!(ask(&side, Kind::Data, b"1").try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_keeps_its_place_until_it_is_answered() {
    let mut limits = Limits::default();
    limits.shares[Kind::Data.index()] = super::super::Share { messages: 1, bytes: 10 };
    let (side, _) = side(limits);
    let heard = ask(&side, Kind::Data, b"a");
    assert_eq!(take(&side), [0]);
    tokio::time::advance(PATIENCE).await;
    side.tick(Instant::now());
    assert_eq!(all(&heard), [Err(Unreachable::Late)]);
    assert_eq!(all(&ask(&side, Kind::Data, b"b")), [Err(Unreachable::Busy)]);
    assert_eq!(answer(&side, 0, Outcome::Answered), Ok(()));
    assert!(ask(&side, Kind::Data, b"c").try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn pings_are_sent_in_time_and_measured() {
    let limits = Limits::default();
    let every = limits.ping_every;
    let (side, figures) = side(limits);
    let pong = |id| side.receive(Frame { what: What::Pong, id, more: false, body: Bytes::new() });
    assert_eq!(pong(0), Err(Ending::Unasked));
    side.tick(Instant::now());
    tokio::time::advance(Duration::from_millis(8)).await;
    assert_eq!(pong(0), Ok(()));
    assert_eq!(figures.round_trip(), Some(Duration::from_millis(8)));
    assert_eq!(pong(0), Err(Ending::Unasked), "once is enough");
    for _ in 0..100 {
        tokio::time::advance(every).await;
        side.tick(Instant::now());
    }
    assert_eq!(side.backlog().0, 1, "of pings that wait only the last counts");
    assert_eq!(pong(90), Ok(()));
    assert_eq!(pong(101), Err(Ending::Unasked));
    assert!(figures.round_trip().unwrap() > Duration::from_millis(8));
}

#[tokio::test(start_paused = true)]
async fn only_answers_are_taken() {
    let (side, _) = side(Limits::default());
    for what in [What::Question(Kind::Data), What::Ping, What::Goodbye] {
        let frame = Frame { what, id: 0, more: false, body: Bytes::new() };
        assert_eq!(side.receive(frame), Err(Ending::NotAllowed));
    }
}
