//! A connection's socket as its owner sees it: reads and writes that end by themselves when the
//! peer is too slow, when somebody kills the connection, or when the server stops.
//!
//! Holds: the common case (bytes are there, or go out at once) reads no clock and arms no timer.
//! Timers are armed only once the socket made us wait.

use super::registry::{Client, Entry};
use super::{Held, Pace, Shared};
use shoal_node::Errands;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// How long a peer may take to read the last reply.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// How much of what it still sends meanwhile is thrown away.
pub(crate) const LINGER_BYTES: usize = 1 << 20;

/// How much of it at a time.
pub(crate) const LINGER_READ: usize = 16 << 10;

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer closed it, or its last command did.
    Closed,
    /// Somebody ended it by CLIENT KILL.
    Killed,
    /// The server stops.
    Stopping,
    /// A started request grew too slowly.
    SlowRequest,
    /// The peer took no byte of its replies for too long.
    SlowReader,
    /// Too many replies wait in the whole server.
    TooMuchOutput,
    /// Too many long requests are coming in, in the whole server.
    TooMuchInput,
    /// What it speaks is not served.
    Unserved(&'static str),
    /// The socket failed.
    Failed(io::Error),
}

/// A connection's socket, with its place in the list of connections.
pub(crate) struct Wire<S> {
    stream: S,
    pub(crate) shared: Arc<Shared>,
    entry: Entry,
    timer: Pin<Box<Option<Sleep>>>,
    waker: Option<Waker>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S, shared: Arc<Shared>, entry: Entry) -> Self {
        Self { stream, shared, entry, timer: Box::pin(None), waker: None }
    }

    pub(crate) const fn client(&self) -> &Arc<Client> {
        &self.entry.client
    }

    /// The socket itself and its place in the list, for a protocol that does its own reading.
    pub(crate) fn into_parts(self) -> (S, Arc<Shared>, Entry) {
        (self.stream, self.shared, self.entry)
    }

    /// Reads what is there, up to the buffer's spare capacity, and returns how much it was; at
    /// least one byte. With a `pace`, a request has begun, and time counts.
    pub(crate) async fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        mut pace: Option<&mut Pace>,
    ) -> Result<usize, End> {
        poll_fn(|cx| {
            let read = pin!(self.stream.read_buf(buffer)).poll(cx);
            match read {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(End::Closed)),
                Poll::Ready(Ok(count)) => {
                    if let Some(pace) = pace.as_deref_mut() {
                        pace.grew(count);
                    }
                    return Poll::Ready(Ok(count));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Failed(error))),
                Poll::Pending => {}
            }
            if let Some(end) = self.asked_to_end(cx) {
                return Poll::Ready(Err(end));
            }
            let Some(pace) = pace.as_deref_mut() else { return Poll::Pending };
            let now = Instant::now();
            if pace.is_too_slow(now) {
                return Poll::Ready(Err(End::SlowRequest));
            }
            self.wake_at(pace.deadline(now), cx);
            Poll::Pending
        })
        .await
    }

    /// Waits until other nodes have answered, which is bounded by their deadline, or until somebody
    /// ends the connection. That the peer has closed its side says nothing: it may have sent all
    /// that it wants to ask. Nor does a server that stops cut off what is half done.
    pub(crate) async fn until_answered(&mut self, errands: &Errands) -> Result<(), End> {
        let mut answered = pin!(errands.answered());
        poll_fn(|cx| {
            if answered.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            self.set_waker(cx);
            if self.client().is_killed() { Poll::Ready(Err(End::Killed)) } else { Poll::Pending }
        })
        .await
    }

    /// Writes of `bytes` what the peer takes without being waited for; how much that was.
    pub(crate) async fn write_now(&mut self, bytes: &[u8]) -> Result<usize, End> {
        let mut sent = 0;
        poll_fn(|cx| {
            while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
                match Pin::new(&mut self.stream).poll_write(cx, rest) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(End::Closed)),
                    Poll::Ready(Ok(count)) => sent += count,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Failed(error))),
                    Poll::Pending => break,
                }
            }
            Poll::Ready(Ok(sent))
        })
        .await
    }

    /// Writes all of `bytes`, which stand in a buffer of `capacity` bytes: those are what the
    /// server holds for as long as the peer has to be waited for.
    pub(crate) async fn write_all(&mut self, bytes: &[u8], capacity: usize) -> Result<(), End> {
        let outcome = self.write_waiting(bytes, capacity).await;
        self.client().waits(None);
        outcome
    }

    async fn write_waiting(&mut self, bytes: &[u8], capacity: usize) -> Result<(), End> {
        let mut rest = bytes;
        let mut waiting_since: Option<Instant> = None;
        let mut held: Option<Held> = None;
        poll_fn(|cx| {
            while !rest.is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, rest) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(End::Closed)),
                    Poll::Ready(Ok(count)) => {
                        rest = &rest[count..];
                        waiting_since = None;
                        continue;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Failed(error))),
                    Poll::Pending => {}
                }
                if self.client().is_killed() {
                    return Poll::Ready(Err(End::Killed));
                }
                self.set_waker(cx);
                if held.is_none() {
                    held = self.shared.output.hold(&self.entry.client, capacity);
                    if held.is_none() {
                        return Poll::Ready(Err(End::TooMuchOutput));
                    }
                }
                let now = Instant::now();
                if waiting_since.is_none() {
                    waiting_since = Some(now);
                    self.client().waits(waiting_since);
                }
                let deadline = waiting_since.unwrap_or(now) + self.shared.config.slow_reader;
                if now >= deadline {
                    return Poll::Ready(Err(End::SlowReader));
                }
                self.wake_at(deadline, cx);
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Closes our side and lets the peer read to the end: a socket closed over unread bytes
    /// would reset the connection, and the last reply with it. Bounded in bytes and in time.
    pub(crate) async fn close(&mut self) {
        let mut scratch = Vec::with_capacity(LINGER_READ);
        let drain = async {
            let _ = self.stream.shutdown().await;
            let mut drained = 0;
            while drained < LINGER_BYTES {
                scratch.clear();
                match self.stream.read_buf(&mut scratch).await {
                    Ok(count) if count > 0 => drained += count,
                    _ => return,
                }
            }
        };
        // A peer that does not close either is left to itself.
        let _ = timeout(LINGER, drain).await;
    }

    /// Whether the connection, which waits for its peer, is to end.
    fn asked_to_end(&mut self, cx: &Context<'_>) -> Option<End> {
        self.set_waker(cx);
        if self.client().is_killed() {
            Some(End::Killed)
        } else if self.shared.is_stopping() {
            Some(End::Stopping)
        } else {
            None
        }
    }

    /// A task keeps its waker, so this costs a comparison but for the first time.
    fn set_waker(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.entry.client.set_waker(cx.waker());
            self.waker = Some(cx.waker().clone());
        }
    }

    fn wake_at(&mut self, deadline: Instant, cx: &mut Context<'_>) {
        let armed = self.timer.as_ref().as_pin_ref().map(|timer| timer.deadline());
        match self.timer.as_mut().as_pin_mut() {
            Some(timer) if armed != Some(deadline) => timer.reset(deadline),
            Some(_) => {}
            None => self.timer.set(Some(sleep_until(deadline))),
        }
        if let Some(timer) = self.timer.as_mut().as_pin_mut()
            && timer.poll(cx).is_ready()
        {
            // It was due between the look at the clock and now; look again.
            cx.waker().wake_by_ref();
        }
    }
}
