//! The answering side without a connection: what is taken, what is refused, what is let go.

use super::*;
use shoal_core::NodeId;
use shoal_node::transport::{Admission, Identity, Serve};

/// Keeps every question until the test answers it.
#[derive(Default)]
struct Keeper(Mutex<Vec<(NodeId, Kind, Bytes, Answerer)>>, Mutex<Option<Denied>>);

impl Serve for Keeper {
    fn serve(&self, from: NodeId, kind: Kind, body: Bytes, answer: Answerer) {
        self.0.lock().push((from, kind, body, answer));
    }

    fn admit(&self, _who: Identity) -> Result<Admission, Denied> {
        let denied = *self.1.lock();
        denied.map_or(Ok(Admission::Whole), Err)
    }
}

impl Keeper {
    fn take(&self) -> (NodeId, Kind, Bytes, Answerer) {
        self.0.lock().pop().expect("a question came")
    }
}

fn side(admission: Admission, share: super::super::Share) -> (Arc<Inward>, Arc<Keeper>) {
    side_for(3, admission, share)
}

fn side_for(
    node: u32,
    admission: Admission,
    share: super::super::Share,
) -> (Arc<Inward>, Arc<Keeper>) {
    let keeper = Arc::<Keeper>::default();
    let limits = Limits { shares: [share; 4], longest: 1_000, ..Limits::default() };
    let serve = Arc::clone(&keeper) as Arc<dyn Serve>;
    let who = Identity { node: NodeId(node), ..Identity::default() };
    let standing = Standing::new(who, admission, Some(Arc::downgrade(&serve)));
    (Arc::new(Inward::new(standing, Arc::new(limits))), keeper)
}

const SHARE: super::super::Share = super::super::Share { messages: 2, bytes: 100 };

fn question(side: &Arc<Inward>, kind: Kind, id: u64, len: usize) -> Result<(), Ending> {
    let body = Bytes::from(vec![0; len]);
    side.receive(Frame { what: What::Question(kind), id, more: false, body })
}

fn taken(side: &Inward) -> Vec<(What, u64)> {
    let mut batch = Vec::new();
    let _ = side.take(&mut batch);
    batch.iter().map(|one| (one.what, one.id)).collect()
}

const ANSWERED: What = What::Answer(Outcome::Answered);
const FAILED: What = What::Answer(Outcome::Failed);
const BUSY: What = What::Answer(Outcome::Busy);

#[test]
fn questions_are_served_and_answered_by_number() {
    let (side, keeper) = side(Admission::Whole, SHARE);
    assert_eq!(question(&side, Kind::Data, 8, 1), Ok(()));
    assert_eq!(question(&side, Kind::Data, 9, 1), Ok(()));
    let (from, kind, _, nine) = keeper.take();
    assert_eq!((from, kind), (NodeId(3), Kind::Data));
    nine.send(Bytes::from_static(b"yes"));
    drop(keeper.take());
    assert_eq!(taken(&side), [(ANSWERED, 9), (FAILED, 8)]);
    assert_eq!(side.served(), 2);
}

#[test]
fn a_full_share_is_busy_and_others_are_not() {
    let (side, keeper) = side(Admission::Whole, SHARE);
    for id in 0..3 {
        assert_eq!(question(&side, Kind::Data, id, 1), Ok(()));
    }
    assert_eq!(question(&side, Kind::Control, 3, 1), Ok(()));
    assert_eq!(taken(&side), [(BUSY, 2)]);
    assert_eq!(keeper.0.lock().len(), 3);
    // By bytes: two of 60 do not fit, one of 1,000 alone does.
    keeper.0.lock().clear();
    assert_eq!(taken(&side).len(), 3);
    assert_eq!(question(&side, Kind::Data, 4, 60), Ok(()));
    assert_eq!(question(&side, Kind::Data, 5, 60), Ok(()));
    assert_eq!(taken(&side), [(BUSY, 5)]);
    keeper.0.lock().clear();
    assert_eq!(taken(&side), [(FAILED, 4)]);
    assert_eq!(question(&side, Kind::Data, 6, 1_000), Ok(()));
    assert_eq!((taken(&side), keeper.0.lock().len()), (vec![], 1));
}

#[test]
fn answers_that_nobody_takes_are_bounded() {
    let (side, keeper) = side(Admission::Whole, SHARE);
    let mut id = 0;
    let flooded = loop {
        if let Err(why) = question(&side, Kind::Data, id, 1) {
            break why;
        }
        let kept = std::mem::take(&mut *keeper.0.lock());
        for (.., answer) in kept {
            answer.send(Bytes::from(vec![0; 90]));
        }
        id += 1;
        assert!(id < 100, "there must be a bound");
    };
    assert_eq!(flooded, Ending::Flooded);
    let (messages, bytes) = side.state.lock().outbox.total();
    assert!(messages <= 2 * SHARE.messages + 1 && bytes <= SHARE.bytes, "{messages} {bytes}");
    let longer = taken(&side);
    assert_eq!(longer[0].0, ANSWERED);
    assert_eq!(question(&side, Kind::Data, 0, 1), Ok(()));
    keeper.take().3.send(Bytes::from(vec![0; 1_001]));
    assert_eq!(taken(&side), [(FAILED, 0)], "an answer longer than any may be");
}

#[test]
fn one_without_an_id_may_only_say_who_it_is() {
    let (side, keeper) = side_for(0, Admission::ControlOnly, SHARE);
    assert_eq!(question(&side, Kind::Control, 0, 1), Ok(()));
    assert_eq!(question(&side, Kind::Data, 1, 1), Err(Ending::NotAllowed));
    let longest = Limits::default().longest_introduction;
    assert_eq!(question(&side, Kind::Control, 2, longest + 1), Err(Ending::NotAllowed));
    assert_eq!(keeper.0.lock().len(), 1);
}

#[test]
fn a_member_let_in_for_control_is_judged_again_when_it_asks_for_more() {
    let (side, keeper) = side(Admission::ControlOnly, SHARE);
    *keeper.1.lock() = Some(Denied::StaleNode);
    assert_eq!(question(&side, Kind::Control, 0, 1), Ok(()));
    assert_eq!(question(&side, Kind::Data, 1, 1), Err(Ending::StaleNode));
    *keeper.1.lock() = None;
    assert_eq!(question(&side, Kind::Data, 2, 1), Ok(()));
    *keeper.1.lock() = Some(Denied::StaleNode);
    assert_eq!(question(&side, Kind::Data, 3, 1), Ok(()), "until it is reviewed");
    assert_eq!(keeper.0.lock().len(), 3);
    assert_eq!(side.review(), Err(Denied::StaleNode));
}

#[test]
fn another_token_is_judged_and_one_without_an_id_has_none() {
    let token = || Frame { what: What::Token, id: 9, more: false, body: Bytes::new() };
    let (member, keeper) = side(Admission::Whole, SHARE);
    assert_eq!(member.receive(token()), Ok(()));
    *keeper.1.lock() = Some(Denied::UnknownNode);
    assert_eq!(member.receive(token()), Err(Ending::UnknownNode));
    let (newcomer, _) = side_for(0, Admission::ControlOnly, SHARE);
    assert_eq!(newcomer.receive(token()), Err(Ending::NotAllowed));
}

#[test]
fn an_ended_link_serves_nothing_more() {
    let (side, keeper) = side(Admission::Whole, SHARE);
    assert_eq!(question(&side, Kind::Data, 0, 1), Ok(()));
    side.end(Ending::Withdrawn);
    assert_eq!(question(&side, Kind::Data, 1, 1), Err(Ending::Withdrawn));
    keeper.take().3.send(Bytes::new());
    assert_eq!((taken(&side), keeper.0.lock().len()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn it_answers_pings_and_shows_that_it_lives() {
    let (side, _) = side(Admission::Whole, SHARE);
    for id in 0..50 {
        assert_eq!(
            side.receive(Frame { what: What::Ping, id, more: false, body: Bytes::new() }),
            Ok(())
        );
    }
    assert_eq!(taken(&side), [(What::Pong, 49)], "a flood of pings costs one pong");
    side.tick(Instant::now());
    side.tick(Instant::now());
    assert_eq!(taken(&side), [(What::Alive, 0)]);
    tokio::time::advance(Limits::default().ping_every).await;
    side.tick(Instant::now());
    assert_eq!(taken(&side), [(What::Alive, 0)]);
    for what in [ANSWERED, What::Pong, What::Alive, What::Goodbye] {
        let frame = Frame { what, id: 0, more: false, body: Bytes::new() };
        assert_eq!(side.receive(frame), Err(Ending::NotAllowed));
    }
}
