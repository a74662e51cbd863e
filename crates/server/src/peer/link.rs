//! One connection after its handshake: reading, writing, and watching that it lives.
//!
//! Holds: everything that waits is framed and written with one call, short bodies copied behind
//! their heads, long ones sent from where they are. What is urgent is not held up by what the
//! system has taken and not sent yet, since it takes little. A connection that is silent, takes nothing,
//! or sends what it must not, ends; the other side is told the reason if it can be.
//!
//! Does not know: what frames mean (its [`Side`] does), handshakes, reconnecting.

use super::assembly::Assembly;
use super::ending::Ending;
use super::frame::{Frame, HEAD, Opener, Sealer, What};
use super::handshake::Agreed;
use super::limits::Limits;
use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use shoal_node::transport::EXPIRY_TICK;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Bodies from this length on are written from where they are.
const LONG: usize = 16 << 10;

/// How long telling the other side why the link ends may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// The most parts that are handed to one write.
const PARTS: usize = 64;

/// What a link is for: the asking or the answering side of it.
pub(super) trait Side: Send + Sync + 'static {
    /// Takes what is to be sent next, or waits for it.
    fn poll_take(&self, context: &Context<'_>, batch: &mut Vec<Frame>) -> Poll<()>;

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
    let sealer = Sealer::new(agreed.send);
    let mut halves = JoinSet::new();
    let reads = read(reader, opener, assembly, Arc::clone(&side), Arc::clone(&heard));
    let reading = halves.spawn(reads);
    halves.spawn(write(writer, sealer, Arc::clone(&side), limits.stalled_after));
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
        loop {
            match opener.next() {
                Ok(Some(frame)) if frame.what == What::Goodbye => {
                    let told = Ending::numbered(frame.id).unwrap_or(Ending::HungUp);
                    return End { why: Ending::HungUp, told: Some(told) };
                }
                Ok(Some(frame)) => {
                    let whole = assembly.take(frame);
                    let taken = whole.and_then(|whole| match whole {
                        Some(frame) => side.receive(frame),
                        None => Ok(()),
                    });
                    if let Err(why) = taken {
                        return why.into();
                    }
                }
                Ok(None) => break,
                Err(why) => return why.into(),
            }
        }
        match reader.read_buf(opener.room()).await {
            Ok(0) => return Ending::HungUp.into(),
            Ok(_) => *heard.lock() = Instant::now(),
            Err(_) => return Ending::Broken.into(),
        }
    }
}

async fn write<S: Side>(
    mut writer: OwnedWriteHalf,
    mut sealer: Sealer,
    side: Arc<S>,
    stalled_after: Duration,
) -> End {
    let mut batch = Vec::new();
    let mut parts = Parts::default();
    loop {
        poll_fn(|context| side.poll_take(context, &mut batch)).await;
        let mut last = false;
        for frame in batch.drain(..) {
            let head = sealer.head(&frame);
            parts.add(&head, frame.body);
            if frame.what == What::Goodbye {
                last = true;
                break;
            }
        }
        if let Err(why) = write_all(&mut writer, &mut parts, stalled_after).await {
            return why.into();
        }
        if last {
            // Gone already is as good as closed.
            let _ = writer.shutdown().await;
            return Ending::Stopped.into();
        }
    }
}

/// Bytes to be written, in pieces.
#[derive(Default)]
struct Parts {
    done: VecDeque<Bytes>,
    open: BytesMut,
}

impl Parts {
    fn add(&mut self, head: &[u8; HEAD], body: Bytes) {
        self.open.extend_from_slice(head);
        if body.len() < LONG {
            self.open.extend_from_slice(&body);
        } else {
            self.done.push_back(self.open.split().freeze());
            self.done.push_back(body);
        }
    }

    fn finish(&mut self) {
        if !self.open.is_empty() {
            self.done.push_back(self.open.split().freeze());
        }
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.done.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.done.pop_front();
        }
    }
}

async fn write_all(
    writer: &mut OwnedWriteHalf,
    parts: &mut Parts,
    stalled_after: Duration,
) -> Result<(), Ending> {
    parts.finish();
    while !parts.done.is_empty() {
        let written = tokio::time::timeout(stalled_after, write_some(writer, &parts.done)).await;
        match written {
            Err(_) => return Err(Ending::Stalled),
            Ok(Ok(0) | Err(_)) => return Err(Ending::Broken),
            Ok(Ok(written)) => parts.advance(written),
        }
    }
    Ok(())
}

async fn write_some(writer: &mut OwnedWriteHalf, parts: &VecDeque<Bytes>) -> io::Result<usize> {
    if let [only] = parts.as_slices().0
        && parts.len() == 1
    {
        return writer.write(only).await;
    }
    let mut slices = [IoSlice::new(&[]); PARTS];
    let mut count = 0;
    for (slice, part) in slices.iter_mut().zip(parts) {
        *slice = IoSlice::new(part);
        count += 1;
    }
    writer.write_vectored(&slices[..count]).await
}
