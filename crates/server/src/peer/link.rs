//! One connection after its handshake: reading, writing, and watching that it lives.
//!
//! Holds: what is urgent is not held up by what the system has taken and not sent yet, since it
//! takes little. A connection that is silent, takes nothing, or sends what it must not, ends; the
//! other side is told the reason if it can be.
//!
//! Does not know: what frames mean (its [`Side`] does), handshakes, reconnecting.

use super::assembly::Assembly;
use super::ending::Ending;
use super::frame::{Frame, Opener, Sealer, What};
use super::handshake::Agreed;
use super::limits::Limits;
use super::pen::{Pen, Wrote};
use bytes::BytesMut;
use parking_lot::Mutex;
use shoal_node::transport::EXPIRY_TICK;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long telling the other side why the link ends may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// What a link is for: the asking or the answering side of it.
pub(super) trait Side: Send + Sync + 'static {
    /// Is given what it may write with itself, where that spares a thread being woken.
    fn equip(&self, pen: &Arc<Pen>);

    /// Waits until something is to be sent.
    fn poll_waits(&self, context: &Context<'_>) -> Poll<()>;

    /// Takes what is to be sent next; whether more waits behind it.
    fn take(&self, batch: &mut Vec<Frame>) -> bool;

    /// The task that waits for something to send, which whoever takes this wakes.
    fn writer(&self) -> Option<Waker>;

    /// Messages come in one after the other from now on, or did: meanwhile nobody need be woken for
    /// what answers them.
    fn reads(&self, now: bool);

    /// Takes a message that came, whole in one frame.
    fn receive(self: &Arc<Self>, frame: Frame) -> Result<(), Ending>;

    /// Does what is due. Called every [`EXPIRY_TICK`].
    fn tick(&self, now: Instant);

    /// Takes nothing more, and tells whoever waits. The first reason stays.
    fn end(&self, why: Ending);

    /// Puts a goodbye ahead of all that waits.
    fn say_goodbye(&self, why: Ending);

    /// Waits until the link is to end.
    fn stopped(&self) -> impl Future<Output = Ending> + Send;
}

/// How a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) why: Ending,
    /// The reason that the other side gave, where it ended the link.
    pub(super) told: Option<Ending>,
}

impl From<Ending> for End {
    fn from(why: Ending) -> Self {
        Self { why, told: None }
    }
}

/// When something was last read.
type Heard = Arc<Mutex<Instant>>;

/// Serves a connection until it ends. `first` is what was read after the handshake.
pub(super) async fn run<S: Side>(
    stream: TcpStream,
    first: BytesMut,
    agreed: Agreed,
    longest: usize,
    side: Arc<S>,
    limits: &Limits,
) -> End {
    let (reader, writer) = stream.into_split();
    let heard: Heard = Arc::new(Mutex::new(Instant::now()));
    let opener = Opener::new(agreed.receive, first);
    let assembly = Assembly::new(longest);
    let pen = Arc::new(Pen::new(writer, Sealer::new(agreed.send)));
    let _closing = Closing(Arc::clone(&pen));
    side.equip(&pen);
    let mut halves = JoinSet::new();
    let reads = read(reader, opener, assembly, Arc::clone(&side), Arc::clone(&heard));
    let reading = halves.spawn(reads);
    halves.spawn(write(pen, Arc::clone(&side), limits.stalled_after));
    let end = tokio::select! {
        half = halves.join_next() => match half {
            Some(Ok(end)) => end,
            // A half ends by itself or by a panic.
            Some(Err(_)) | None => Ending::Panicked.into(),
        },
        why = watch(&*side, &heard, limits.silent_after) => why.into(),
        why = side.stopped() => why.into(),
    };
    side.end(end.why);
    if end.told.is_none() && end.why != Ending::HungUp {
        reading.abort();
        side.say_goodbye(end.why);
        // The writer ends after a goodbye, if it is not stuck.
        let both = async { while halves.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GOODBYE, both).await;
    }
    end
}

async fn watch(side: &impl Side, heard: &Heard, silent_after: Duration) -> Ending {
    let mut ticks = tokio::time::interval(EXPIRY_TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = Instant::now();
    loop {
        ticks.tick().await;
        let now = Instant::now();
        side.tick(now);
        // Whoever was held up has not listened either; what came meanwhile is read first.
        let held_up = now.duration_since(before) > silent_after / 2;
        let silence = {
            let mut last = heard.lock();
            if held_up {
                *last = now;
            }
            now.saturating_duration_since(*last)
        };
        if silence > silent_after {
            return Ending::Silent;
        }
        before = now;
    }
}

async fn read<S: Side>(
    mut reader: OwnedReadHalf,
    mut opener: Opener,
    mut assembly: Assembly,
    side: Arc<S>,
    heard: Heard,
) -> End {
    loop {
        side.reads(true);
        let taken = take_in(&mut opener, &mut assembly, &side);
        side.reads(false);
        if let Err(end) = taken {
            return end;
        }
        match reader.read_buf(opener.room()).await {
            Ok(0) => return Ending::HungUp.into(),
            Ok(_) => *heard.lock() = Instant::now(),
            Err(_) => return Ending::Broken.into(),
        }
    }
}

/// Takes in what was read, as far as it is whole.
fn take_in<S: Side>(
    opener: &mut Opener,
    assembly: &mut Assembly,
    side: &Arc<S>,
) -> Result<(), End> {
    while let Some(frame) = opener.next()? {
        if frame.what == What::Goodbye {
            let told = Ending::numbered(frame.id).unwrap_or(Ending::HungUp);
            return Err(End { why: Ending::HungUp, told: Some(told) });
        }
        if let Some(whole) = assembly.take(frame)? {
            side.receive(whole)?;
        }
    }
    Ok(())
}

async fn write<S: Side>(pen: Arc<Pen>, side: Arc<S>, stalled_after: Duration) -> End {
    loop {
        poll_fn(|context| {
            // Registered first: whoever leaves something wakes whom it finds.
            let waits = side.poll_waits(context);
            if pen.has_left() { Poll::Ready(()) } else { waits }
        })
        .await;
        match pen.write(&mut |batch| side.take(batch)) {
            // There may always be more, and others share the thread.
            Wrote::All | Wrote::More => tokio::task::consume_budget().await,
            Wrote::Full => {
                if tokio::time::timeout(stalled_after, pen.writable()).await.is_err() {
                    return Ending::Stalled.into();
                }
            }
            Wrote::Over(why) => return why.into(),
        }
    }
}

/// Writes what waits, on the thread of whoever made it wait; what cannot be written at once is
/// left to the task, which is woken.
pub(super) fn write_here(pen: &Pen, side: &impl Side) {
    let wrote = pen.write(&mut |batch| side.take(batch));
    if wrote != Wrote::All
        && let Some(waker) = side.writer()
    {
        waker.wake();
    }
}

/// Closes the writing end, however the link ends.
struct Closing(Arc<Pen>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}
