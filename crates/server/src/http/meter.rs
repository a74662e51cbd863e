//! The socket of an HTTP connection, watched: idle, slow and stuck ones end.
//!
//! Holds: a connection without a request ends after the idle time; a head that trickles and a
//! peer that takes no byte end it sooner. While a request is worked on, only its own body counts.
//! What the library says by itself is put into our form on its way out.
//!
//! Does not know: where a request begins or ends; the service says so through [`Meter`].

use super::own;
use super::screen::Screen;
use crate::config::Resolved;
use crate::connection::{Client, LINGER, LINGER_BYTES, LINGER_READ, Pace, Shared};
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What a connection's socket and its service know of each other.
pub(crate) struct Meter {
    active: Cell<usize>,
    answered: Cell<u64>,
    quiet_since: Cell<Instant>,
    head: RefCell<Pace>,
    head_begun: Cell<bool>,
    screen: RefCell<Screen>,
    lingers: Cell<bool>,
}

impl Meter {
    /// A meter for a connection whose first bytes have come.
    pub(crate) fn new(config: &Resolved) -> Rc<Self> {
        Rc::new(Self {
            active: Cell::new(0),
            answered: Cell::new(0),
            quiet_since: Cell::new(Instant::now()),
            head: RefCell::new(Pace::new(config.slow_request)),
            head_begun: Cell::new(true),
            screen: RefCell::default(),
            lingers: Cell::new(false),
        })
    }

    /// A request's head is complete; it counts as worked on until the answer is dropped.
    pub(crate) fn begin(self: &Rc<Self>) -> Working {
        self.active.set(self.active.get() + 1);
        self.head_begun.set(false);
        self.head.borrow_mut().reset();
        Working(Rc::clone(self))
    }

    /// A body may still be on its way: whoever sends it should be able to read the answer, so
    /// the connection is not reset under it.
    pub(crate) fn linger(&self) {
        self.lingers.set(true);
    }

    /// Why the head that was just completed is refused, if it is.
    pub(crate) fn verdict(&self) -> Option<&'static str> {
        self.screen.borrow_mut().verdict()
    }

    fn came(&self, bytes: &[u8], is_h2: bool) {
        if self.active.get() > 0 || bytes.is_empty() {
            return;
        }
        self.head_begun.set(true);
        self.head.borrow_mut().grew(bytes.len());
        if !is_h2 {
            self.screen.borrow_mut().feed(bytes);
        }
    }
}

/// A request being worked on.
pub(crate) struct Working(Rc<Meter>);

impl Drop for Working {
    fn drop(&mut self) {
        let meter = &self.0;
        meter.active.set(meter.active.get() - 1);
        meter.answered.set(meter.answered.get() + 1);
        meter.quiet_since.set(Instant::now());
    }
}

/// A socket that ends by itself.
pub(crate) struct Metered<S> {
    inner: S,
    meter: Rc<Meter>,
    config: Arc<Resolved>,
    client: Arc<Client>,
    is_h2: bool,
    timer: Pin<Box<Option<Sleep>>>,
    stuck_since: Option<Instant>,
    lingering_since: Option<Instant>,
    drained: usize,
    bytes_in: u64,
    bytes_out: u64,
    shared: Arc<Shared>,
    /// How many answers of ours have left in full.
    sent: u64,
    instead: Option<Instead>,
}

/// What is sent in place of what the library said.
struct Instead {
    bytes: Vec<u8>,
    at: usize,
    /// How long that was.
    said: usize,
}

impl<S> Metered<S> {
    pub(crate) fn new(
        inner: S,
        meter: Rc<Meter>,
        client: Arc<Client>,
        shared: Arc<Shared>,
        is_h2: bool,
    ) -> Self {
        let config = Arc::clone(&shared.config);
        Self {
            inner,
            meter,
            config,
            client,
            is_h2,
            timer: Box::pin(None),
            stuck_since: None,
            lingering_since: None,
            drained: 0,
            bytes_in: 0,
            bytes_out: 0,
            shared,
            sent: 0,
            instead: None,
        }
    }

    /// When a read that waits becomes a reason to end, and whether that is now.
    fn read_deadline(&self, now: Instant) -> Option<(Instant, bool)> {
        let meter = &self.meter;
        if meter.active.get() > 0 {
            return None;
        }
        if meter.head_begun.get() && !self.is_h2 {
            let mut head = meter.head.borrow_mut();
            let slow = head.is_too_slow(now);
            return Some((head.deadline(now), slow));
        }
        // Frames of HTTP/2 are no sign of a request; the first one must come soon.
        let patience = if self.is_h2 && meter.answered.get() == 0 {
            self.config.slow_request
        } else {
            self.config.http_idle
        };
        let deadline = meter.quiet_since.get() + patience;
        Some((deadline, now >= deadline))
    }

    fn wake_at(&mut self, deadline: Instant, cx: &mut Context<'_>) {
        match self.timer.as_mut().as_pin_mut() {
            Some(timer) => timer.reset(deadline),
            None => self.timer.set(Some(sleep_until(deadline))),
        }
        if let Some(timer) = self.timer.as_mut().as_pin_mut()
            && timer.poll(cx).is_ready()
        {
            cx.waker().wake_by_ref();
        }
    }

    /// Notes what the library is about to say, if nobody asked it to.
    fn screen_own(&mut self, said: &[u8]) {
        let meter = &self.meter;
        let ours = meter.active.get() > 0 || meter.answered.get() != self.sent;
        if ours || self.is_h2 || self.instead.is_some() {
            return;
        }
        if let Some(bytes) = own::in_our_form(said) {
            // What it did not read may still be coming.
            meter.linger();
            self.instead = Some(Instead { bytes, at: 0, said: said.len() });
        }
    }

    /// Notes how a write went; a peer that takes nothing for long is given up.
    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Ready(Ok(count)) => {
                if self.stuck_since.take().is_some() {
                    self.client.waits(None);
                }
                self.bytes_out += *count as u64;
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let now = Instant::now();
                if self.stuck_since.is_none() {
                    self.stuck_since = Some(now);
                    self.client.waits(self.stuck_since);
                }
                let deadline = self.stuck_since.unwrap_or(now) + self.config.slow_reader;
                if now >= deadline || self.client.is_killed() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                self.wake_at(deadline, cx);
            }
        }
        outcome
    }
}

impl<S> Drop for Metered<S> {
    fn drop(&mut self) {
        self.shared.counters.add_bytes_in(self.bytes_in);
        self.shared.counters.add_bytes_out(self.bytes_out);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buffer) {
            Poll::Ready(outcome) => {
                let came = &buffer.filled()[before..];
                this.meter.came(came, this.is_h2);
                this.bytes_in += came.len() as u64;
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                match this.read_deadline(Instant::now()) {
                    Some((_, true)) => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    Some((deadline, false)) if this.stuck_since.is_none() => {
                        this.wake_at(deadline, cx);
                    }
                    _ => {}
                }
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Metered<S> {
    /// Throws away what still comes in, until the peer closes; bounded in bytes and in time.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Instant::now();
        let deadline = *self.lingering_since.get_or_insert(now) + LINGER;
        let mut scratch = [0; LINGER_READ];
        while self.drained < LINGER_BYTES && now < deadline {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.drained += buffer.filled().len();
                }
                Poll::Ready(_) => break,
                Poll::Pending => {
                    self.wake_at(deadline, cx);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Metered<S> {
    /// Sends what stands in place of what the library said, then lets it believe that it did.
    fn write_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some(instead) = &mut self.instead {
            let Some(rest) = instead.bytes.get(instead.at..).filter(|rest| !rest.is_empty()) else {
                let said = instead.said;
                self.instead = None;
                return Poll::Ready(Ok(said));
            };
            let outcome = Pin::new(&mut self.inner).poll_write(cx, rest);
            let count = ready!(self.wrote(cx, outcome))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if let Some(instead) = &mut self.instead {
                instead.at += count;
            }
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.screen_own(bytes);
        if this.instead.is_some() {
            return this.write_instead(cx);
        }
        let outcome = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.wrote(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // The library's own words have no body, and so are one piece.
        if let [said] = bytes {
            this.screen_own(said);
        }
        if this.instead.is_some() {
            return this.write_instead(cx);
        }
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(cx, bytes);
        this.wrote(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        if this.meter.active.get() == 0 {
            this.sent = this.meter.answered.get();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_shutdown(cx) {
            Poll::Ready(Ok(())) if this.meter.lingers.get() => this.drain(cx),
            outcome => outcome,
        }
    }
}
