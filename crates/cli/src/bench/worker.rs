//! One thread of the load writer: an event loop over its connections.
//!
//! Each connection sends a batch of `pipeline` commands in one write, waits for all its replies
//! and sends the next at once. Readiness is edge-triggered and armed for reading only, so that a
//! round trip costs one read, one write and a share of one wait.
//!
//! Holds: every reply is matched with the command it answers; a command's latency runs from just
//! before its batch is built until its reply is read.
//! Does not know: how results are shown.

use super::skim::{NotAReply, Skimmer};
use super::workload::{Generator, Kind, Workload};
use crate::address::Stream;
use crate::failure::Failure;
use hdrhistogram::Histogram;
use mio::event::{Event, Source as _};
use mio::{Events, Interest, Poll, Token};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Latencies from a nanosecond to a minute are told apart by three digits.
const MAX_LATENCY_NS: u64 = 60_000_000_000;

/// What the threads share.
pub(crate) struct Shared<'a> {
    /// What to send.
    pub(crate) workload: &'a Workload,
    /// Commands per batch.
    pub(crate) pipeline: u32,
    /// Commands still to be claimed.
    pub(crate) left: AtomicI64,
    /// Batches sent before this moment warm up and are not counted.
    pub(crate) measure_from: Instant,
    /// No batch is sent after this moment.
    pub(crate) deadline: Option<Instant>,
    /// How long all connections may stay silent.
    pub(crate) patience: Duration,
    /// Set when a thread has failed.
    pub(crate) stop: AtomicBool,
    /// Commands answered so far, for the progress bar.
    pub(crate) progress: AtomicU64,
}

impl Shared<'_> {
    /// How many commands to send now (none when it is over), and whether they count.
    fn claim(&self, now: Instant) -> (u32, bool) {
        if self.stop.load(Ordering::Relaxed) || self.deadline.is_some_and(|end| now >= end) {
            return (0, false);
        }
        if now < self.measure_from {
            return (self.pipeline, false);
        }
        if self.deadline.is_some() {
            return (self.pipeline, true);
        }
        let left = self.left.fetch_sub(i64::from(self.pipeline), Ordering::Relaxed);
        let claimed = left.clamp(0, i64::from(self.pipeline));
        (u32::try_from(claimed).unwrap_or_default(), true)
    }
}

/// What a thread counted.
pub(crate) struct Tally {
    /// Latencies in nanoseconds by kind of command.
    pub(crate) latency_ns: [Histogram<u64>; 7],
    /// Good replies that were nil.
    pub(crate) misses: u64,
    /// Replies that were errors, or not what the command answers.
    pub(crate) errors: u64,
    /// The first of them.
    pub(crate) first_error: Option<String>,
    /// When the last reply came.
    pub(crate) finished: Instant,
}

impl Tally {
    /// Nothing counted yet.
    pub(crate) fn new(start: Instant) -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, MAX_LATENCY_NS, 3)
                .expect("the bounds are constants that fit")
        };
        Self {
            latency_ns: std::array::from_fn(|_| histogram()),
            misses: 0,
            errors: 0,
            first_error: None,
            finished: start,
        }
    }

    /// Adds another thread's.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), Failure> {
        for (mine, theirs) in self.latency_ns.iter_mut().zip(&other.latency_ns) {
            mine.add(theirs).map_err(|error| {
                Failure::new("bench", format!("cannot add latencies ({error})"))
                    .hint("measure with fewer --threads")
            })?;
        }
        self.misses += other.misses;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
        self.finished = self.finished.max(other.finished);
        Ok(())
    }
}

/// Runs the connections until nothing is left to do.
pub(crate) fn run(shared: &Shared<'_>, streams: Vec<Stream>, seed: u64) -> Result<Tally, Failure> {
    let broken = |error: io::Error| {
        Failure::new("bench", format!("the event loop failed ({error})"))
            .hint("measure with fewer --clients")
    };
    let mut poll = Poll::new().map_err(broken)?;
    let mut lanes = Vec::with_capacity(streams.len());
    for (at, stream) in streams.into_iter().enumerate() {
        let mut socket = Socket::from_blocking(stream).map_err(broken)?;
        socket.register(&poll, Token(at), Interest::READABLE, false).map_err(broken)?;
        lanes.push(Lane::new(socket, Token(at)));
    }
    let mut thread = Thread {
        shared,
        generator: Generator::new(shared.workload, seed),
        buffer: vec![0; READ_BYTES],
        tally: Tally::new(shared.measure_from),
        busy: 0,
        answered: 0,
    };
    for lane in &mut lanes {
        thread.next_batch(lane, &poll, Instant::now())?;
    }
    let mut events = Events::with_capacity(1024);
    let mut heard = Instant::now();
    while thread.busy > 0 {
        match poll.poll(&mut events, Some(Duration::from_millis(500))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(broken)?,
        }
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        if events.is_empty() {
            if heard.elapsed() > shared.patience {
                let message = format!("no reply for {} s", shared.patience.as_secs());
                return Err(Failure::new("timeout", message).hint("look at the node's log"));
            }
            continue;
        }
        for event in &events {
            if let Some(lane) = lanes.get_mut(event.token().0) {
                thread.ready(lane, &poll, event)?;
            }
        }
        heard = Instant::now();
        shared.progress.fetch_add(std::mem::take(&mut thread.answered), Ordering::Relaxed);
    }
    if thread.tally.first_error.is_none() {
        thread.tally.first_error =
            lanes.iter_mut().find_map(|lane| lane.skimmer.first_error.take());
    }
    Ok(thread.tally)
}

/// One connection.
struct Lane {
    socket: Socket,
    token: Token,
    /// The batch being sent, and how much of it is on its way.
    out: Vec<u8>,
    written: usize,
    /// Whether the loop waits for room to write.
    blocked: bool,
    skimmer: Skimmer,
    /// The commands of the batch, and how many have their reply.
    kinds: Vec<Kind>,
    answered: usize,
    sent: Instant,
    counted: bool,
}

impl Lane {
    fn new(socket: Socket, token: Token) -> Self {
        Self {
            socket,
            token,
            out: Vec::new(),
            written: 0,
            blocked: false,
            skimmer: Skimmer::default(),
            kinds: Vec::new(),
            answered: 0,
            sent: Instant::now(),
            counted: false,
        }
    }

    /// Writes what the socket takes.
    fn flush(&mut self, poll: &Poll) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.wait_for_room(poll, true);
                }
                Err(error) => return Err(error),
            }
        }
        self.wait_for_room(poll, false)
    }

    fn wait_for_room(&mut self, poll: &Poll, wait: bool) -> io::Result<()> {
        if self.blocked == wait {
            return Ok(());
        }
        self.blocked = wait;
        let interest =
            if wait { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.socket.register(poll, self.token, interest, true)
    }
}

/// What the connections of a thread share.
struct Thread<'a> {
    shared: &'a Shared<'a>,
    generator: Generator<'a>,
    buffer: Vec<u8>,
    tally: Tally,
    /// Connections with a batch under way.
    busy: usize,
    /// Counted replies since progress was last told.
    answered: u64,
}

impl Thread<'_> {
    /// Builds and sends a lane's next batch, if there is one.
    fn next_batch(&mut self, lane: &mut Lane, poll: &Poll, now: Instant) -> Result<(), Failure> {
        let (commands, counted) = self.shared.claim(now);
        lane.out.clear();
        lane.kinds.clear();
        lane.written = 0;
        lane.answered = 0;
        if commands == 0 {
            return Ok(());
        }
        self.busy += 1;
        lane.sent = now;
        lane.counted = counted;
        for _ in 0..commands {
            lane.kinds.push(self.generator.command(&mut lane.out));
        }
        lane.flush(poll).map_err(|error| broken_off(&error))
    }

    fn ready(&mut self, lane: &mut Lane, poll: &Poll, event: &Event) -> Result<(), Failure> {
        // An end that came together with bytes raises no edge of its own.
        let ended = event.is_read_closed();
        if event.is_writable() && lane.blocked {
            lane.flush(poll).map_err(|error| broken_off(&error))?;
        }
        loop {
            let got = match lane.socket.read(&mut self.buffer) {
                Ok(0) if lane.kinds.is_empty() => return Ok(()),
                Ok(0) => return Err(broken_off(&io::ErrorKind::UnexpectedEof.into())),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken_off(&error)),
            };
            let now = Instant::now();
            self.take_replies(lane, got, now)?;
            let mut drained = got < self.buffer.len();
            if lane.answered == lane.kinds.len() {
                self.busy -= 1;
                self.next_batch(lane, poll, now)?;
                // Nothing more can have come: the next replies answer the next batch.
                drained = true;
            }
            if drained && !ended {
                // The next bytes raise a new edge.
                return Ok(());
            }
        }
    }

    /// Counts the replies among the first `got` bytes of the buffer.
    fn take_replies(&mut self, lane: &mut Lane, got: usize, now: Instant) -> Result<(), Failure> {
        let Lane { skimmer, kinds, answered, sent, counted, .. } = lane;
        let Self { buffer, tally, .. } = self;
        let mut good = [0_u64; 7];
        let mut surplus = false;
        let mut misfit = None;
        let read = skimmer.feed(&buffer[..got], |seen| {
            let Some(kind) = kinds.get(*answered) else {
                surplus = true;
                return;
            };
            *answered += 1;
            if !*counted {
                return;
            }
            if kind.fits(seen.kind) {
                good[*kind as usize] += 1;
                tally.misses += u64::from(seen.nil);
            } else {
                tally.errors += 1;
                if seen.kind != b'-' {
                    misfit = Some((*kind, seen.kind));
                }
            }
        });
        if let Err(NotAReply(what)) = read {
            let message = format!("the target does not speak the Redis protocol (`{what}`)");
            return Err(Failure::new("protocol", message).hint("check the address"));
        }
        if surplus {
            return Err(Failure::new("protocol", "the target sent more replies than it was asked")
                .hint("check the address"));
        }
        if let Some((kind, first)) = misfit
            && tally.first_error.is_none()
        {
            let first = first.escape_ascii();
            tally.first_error = Some(format!("{} was answered with `{first}`", kind.name()));
        }
        if *counted {
            tally.finished = now;
            let ns = u64::try_from((now - *sent).as_nanos()).unwrap_or(u64::MAX);
            for (histogram, count) in tally.latency_ns.iter_mut().zip(good) {
                if count > 0 {
                    histogram.saturating_record_n(ns.min(MAX_LATENCY_NS), count);
                    self.answered += count;
                }
            }
        }
        Ok(())
    }
}

fn broken_off(error: &io::Error) -> Failure {
    Failure::new("connection_lost", format!("the target closed a connection ({error})"))
        .hint("look at the server's log, its limit of clients and its longest value")
}

/// A connection that does not block.
enum Socket {
    Tcp(mio::net::TcpStream),
    Unix(mio::net::UnixStream),
}

impl Socket {
    fn from_blocking(stream: Stream) -> io::Result<Self> {
        match stream {
            Stream::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                Ok(Self::Tcp(mio::net::TcpStream::from_std(stream)))
            }
            Stream::Unix(stream) => {
                stream.set_nonblocking(true)?;
                Ok(Self::Unix(mio::net::UnixStream::from_std(stream)))
            }
        }
    }

    fn register(
        &mut self,
        poll: &Poll,
        token: Token,
        interest: Interest,
        again: bool,
    ) -> io::Result<()> {
        let registry = poll.registry();
        match (self, again) {
            (Self::Tcp(stream), false) => stream.register(registry, token, interest),
            (Self::Tcp(stream), true) => stream.reregister(registry, token, interest),
            (Self::Unix(stream), false) => stream.register(registry, token, interest),
            (Self::Unix(stream), true) => stream.reregister(registry, token, interest),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }
}
