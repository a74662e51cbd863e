//! `shoal bench`: a load writer for anything that speaks the Redis protocol.
//!
//! Holds: the same tool, with the same options, measures Shoal and Redis; replies are checked to
//! be what their command answers, and errors make the run fail.
//! Does not know: how to start or stop what it measures.

mod report;
mod skim;
mod worker;
mod workload;
mod zipf;

use crate::address::{Address, Stream};
use crate::client::{ConnectArgs, Connection};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, someone_watches};
use crate::units;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use report::Report;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use worker::{Shared, Tally};
use workload::{Distribution, Op, Workload};

/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(100);
/// The longest run unless the user says otherwise.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// The most connections: ports and descriptors of one machine.
const MAX_CLIENTS: i64 = 60_000;
/// The most commands in one batch.
const MAX_PIPELINE: i64 = 100_000;

/// `shoal bench`.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// What to measure instead of --addr: redis://HOST:PORT, HOST:PORT or unix:PATH
    #[arg(long, value_name = "URL")]
    target: Option<Address>,
    /// What to send
    #[arg(long, value_enum, default_value = "mixed")]
    op: Op,
    /// The share of reads in `mixed`, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.8, value_parser = share)]
    read_ratio: f64,
    /// Keys in one MGET or MSET
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Bytes of a value, or a range such as 10..1000
    #[arg(long, value_name = "BYTES", default_value = "100", value_parser = value_size)]
    value_size: RangeInclusive<usize>,
    /// How many different keys
    #[arg(long, value_name = "N", default_value = "1M", value_parser = key_count)]
    keys: u64,
    /// What keys begin with [default: `key:`, for incr `counter:`]
    #[arg(long, value_name = "TEXT")]
    key_prefix: Option<String>,
    /// How keys are chosen: uniform, zipf:EXPONENT, sequential or same
    #[arg(long, value_name = "LAW", default_value = "uniform")]
    key_distribution: Distribution,
    /// Connections
    #[arg(long, short, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=MAX_CLIENTS))]
    clients: u32,
    /// Commands sent before waiting for replies [default: 1, with --load 32]
    #[arg(long, short = 'P', value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=MAX_PIPELINE))]
    pipeline: Option<u32>,
    /// Threads of the load writer [default: half the processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Stop after this many commands
    #[arg(long, short = 'n', value_name = "N", value_parser = units::count)]
    #[arg(conflicts_with = "duration")]
    count: Option<u64>,
    /// Stop after this time [default: 10s]
    #[arg(long, short, value_name = "DURATION", value_parser = units::positive_duration)]
    duration: Option<Duration>,
    /// Run this long before counting [default: 1s, with --count 0s]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    warm_up: Option<Duration>,
    /// Fill in the first N keys, each once, instead of measuring --op
    #[arg(long, value_name = "N", value_parser = key_count)]
    #[arg(conflicts_with_all = ["op", "keys", "key_distribution", "count", "duration", "warm_up"])]
    load: Option<u64>,
    /// Choices follow from this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("write a number from 0 to 1".to_owned()),
    }
}

/// A count of keys that twelve digits can tell apart.
fn key_count(text: &str) -> Result<u64, String> {
    match units::count(text)? {
        count if count <= 1_000_000_000_000 => Ok(count),
        _ => Err("at most a million million keys".to_owned()),
    }
}

fn value_size(text: &str) -> Result<RangeInclusive<usize>, String> {
    let bytes = |text: &str| match units::size(text)? {
        bytes if bytes <= 512 << 20 => usize::try_from(bytes).map_err(|error| error.to_string()),
        _ => Err("a value has at most 512MiB".to_owned()),
    };
    let range = match text.split_once("..") {
        Some((least, most)) => bytes(least)?..=bytes(most)?,
        None => bytes(text)?..=bytes(text)?,
    };
    if range.is_empty() { Err("the range is backwards".to_owned()) } else { Ok(range) }
}

/// What the options mean together.
struct Plan {
    address: Address,
    workload: Workload,
    clients: usize,
    threads: usize,
    pipeline: u32,
    count: Option<u64>,
    duration: Duration,
    warm_up: Duration,
}

impl Bench {
    fn plan(&self, connect: &ConnectArgs) -> Plan {
        let op = if self.load.is_some() { Op::Set } else { self.op };
        let prefix = if op == Op::Incr { "counter:" } else { "key:" };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.map_or(processors / 2, |threads| threads as usize);
        let clients = self.clients as usize;
        let count = self.count.or(self.load);
        let warm_up = if count.is_some() { Duration::ZERO } else { Duration::from_secs(1) };
        Plan {
            address: self.target.clone().unwrap_or_else(|| connect.addr.clone()),
            workload: Workload {
                op,
                read_ratio: self.read_ratio,
                batch: self.batch,
                keys: self.load.unwrap_or(self.keys),
                distribution: match self.load {
                    Some(_) => Distribution::Sequential,
                    None => self.key_distribution.clone(),
                },
                value_bytes: self.value_size.clone(),
                prefix: self.key_prefix.clone().unwrap_or_else(|| prefix.to_owned()),
                next: AtomicU64::new(0),
            },
            clients,
            threads: threads.clamp(1, clients),
            pipeline: self.pipeline.unwrap_or(if self.load.is_some() { 32 } else { 1 }),
            count,
            duration: self.duration.unwrap_or(DEFAULT_DURATION),
            warm_up: self.warm_up.unwrap_or(warm_up),
        }
    }

    /// Measures, prints what was found, and fails if any reply was an error.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let plan = self.plan(connect);
        let (tally, start) = self.measure(&plan, connect, out)?;
        let report = Report {
            workload: &plan.workload,
            target: plan.address.to_string(),
            clients: plan.clients,
            threads: plan.threads,
            pipeline: plan.pipeline,
            warm_up: plan.warm_up,
            elapsed: tally.finished.saturating_duration_since(start),
            tally,
        };
        if out.json {
            out.document(&report.json())?;
        } else {
            out.line(report.text())?;
        }
        match (report.tally.errors, &report.tally.first_error) {
            (0, _) => Ok(Outcome::Done),
            (errors, first) => {
                let first = first.as_deref().unwrap_or("unknown");
                let message = format!("{errors} replies were errors ({first})");
                Err(Failure::new("bench", message).hint(
                    "other keys are had with --key-prefix or --keyspace; the server's log may say more",
                ))
            }
        }
    }

    /// Runs the threads and returns what they counted, from which moment on.
    fn measure(
        &self,
        plan: &Plan,
        connect: &ConnectArgs,
        out: &Output,
    ) -> Result<(Tally, Instant), Failure> {
        let mut shares: Vec<Vec<_>> = (0..plan.threads).map(|_| Vec::new()).collect();
        for client in 0..plan.clients {
            shares[client % plan.threads].push(connect_one(plan, connect)?);
        }
        let measure_from = Instant::now() + plan.warm_up;
        let left = plan.count.map_or(i64::MAX, |count| i64::try_from(count).unwrap_or(i64::MAX));
        let shared = Shared {
            workload: &plan.workload,
            pipeline: plan.pipeline,
            left: AtomicI64::new(left),
            measure_from,
            deadline: plan.count.is_none().then(|| measure_from + plan.duration),
            patience: connect.timeout,
            stop: AtomicBool::new(false),
            progress: AtomicU64::new(0),
        };
        let bar = progress_bar(plan, out);
        let (done, finished) = channel();
        let mut total = Tally::new(measure_from);
        let mut failed = None;
        std::thread::scope(|scope| {
            for (at, share) in (0_u64..).zip(shares) {
                let (done, shared) = (done.clone(), &shared);
                let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(at);
                // The receiver outlives the threads, so that sending cannot fail.
                scope.spawn(move || drop(done.send(worker::run(shared, share, seed))));
            }
            drop(done);
            loop {
                match finished.recv_timeout(TICK) {
                    Ok(result) => {
                        if let Err(failure) = result.and_then(|tally| total.add(&tally)) {
                            shared.stop.store(true, Ordering::Relaxed);
                            failed.get_or_insert(failure);
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => show_progress(bar.as_ref(), &shared, plan),
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        });
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        match failed {
            Some(failure) => Err(failure),
            None => Ok((total, measure_from)),
        }
    }
}

/// A connection in the right keyspace.
fn connect_one(plan: &Plan, connect: &ConnectArgs) -> Result<Stream, Failure> {
    let mut connection = Connection::open(&plan.address, Some(connect.timeout))?;
    if let Some(name) = connect.keyspace.as_ref().or(plan.address.keyspace.as_ref()) {
        connection.select(name)?;
    }
    Ok(connection.into_stream())
}

/// A bar over commands or milliseconds, if someone watches.
fn progress_bar(plan: &Plan, out: &Output) -> Option<ProgressBar> {
    if out.json || !someone_watches() {
        return None;
    }
    let length = plan.count.unwrap_or_else(|| units::ms_of(plan.duration));
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}").ok()?;
    Some(ProgressBar::new(length).with_style(style))
}

fn show_progress(bar: Option<&ProgressBar>, shared: &Shared<'_>, plan: &Plan) {
    let Some(bar) = bar else { return };
    let elapsed = shared.measure_from.elapsed();
    if elapsed.is_zero() {
        bar.set_message("warming up");
        return;
    }
    let answered = shared.progress.load(Ordering::Relaxed);
    bar.set_position(plan.count.map_or(units::ms_of(elapsed), |_| answered));
    let rate = answered.saturating_mul(1_000) / units::ms_of(elapsed).max(1);
    bar.set_message(format!("{}/s", units::show_count(rate)));
}

#[cfg(test)]
mod tests;
