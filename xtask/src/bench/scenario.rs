//! How rows are measured together: a scenario starts a server, measures one row after the other
//! on it, and is run in turns for both servers.
//!
//! Holds: in every pair of runs the other server begins. The first pair warms the machine up and
//! finds how many requests fill a measurement; it is not counted.

use super::folder::Folder;
use super::options::{Options, Sizes};
use super::results::Sample;
use super::rows::ROWS;
use super::server::{Keeping, READY_WITHIN, Server, Side};
use super::tool::{self, Measured};
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Requests sent to find a first rate.
const TRIAL_OPERATIONS: u64 = 5_000;
/// The fewest and the most requests of one measurement.
const OPERATIONS: (f64, f64) = (1_000.0, 100_000_000.0);
/// How long loading may take.
const LOADED_WITHIN: Duration = Duration::from_secs(900);

/// What all scenarios share.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) options: Options,
    pub(super) sizes: Sizes,
    /// The program under measurement.
    pub(super) shoal: PathBuf,
    /// The older one that it is measured beside.
    pub(super) old: Option<PathBuf>,
    /// Which two are measured in turns.
    pub(super) sides: [Side; 2],
    pub(super) folder: Folder,
    pub(super) begun: Instant,
}

impl Bench {
    /// Whether this row was asked for.
    pub(super) fn wants(&self, row: &str) -> bool {
        self.options.wants(row)
    }

    /// Whether any of these rows was asked for.
    pub(super) fn wants_any(&self, rows: &[&str]) -> bool {
        rows.iter().any(|row| self.wants(row))
    }

    /// Says what is going on, with the minutes since the beginning.
    pub(super) fn say(&self, words: &str) {
        let seconds = self.begun.elapsed().as_secs();
        println!("[{:02}:{:02}] {words}", seconds / 60, seconds % 60);
    }

    /// The program of a side that is Shoal.
    pub(super) fn program(&self, side: Side) -> &Path {
        let old = self.old.as_ref().filter(|_| side == Side::Old);
        old.unwrap_or(&self.shoal)
    }

    /// Starts a server and waits until it answers.
    pub(super) fn start(&self, side: Side, keeping: Keeping, folder: &Folder) -> Result<Server> {
        let mut server = Server::start(side, keeping, self.program(side), folder.path(), &[])?;
        server.wait_for(&["PING"], READY_WITHIN)?;
        Ok(server)
    }

    /// Writes the first `keys` keys, each once, with random values of `bytes` bytes. The keys are
    /// those that `redis-benchmark` asks for: `key:` and twelve digits.
    pub(super) fn load(&self, server: &Server, keys: u64, bytes: u64) -> Result<Measured> {
        let (keys, bytes) = (keys.to_string(), bytes.to_string());
        let shape = ["--load", &keys, "--value-size", &bytes, "--pipeline", "64"];
        tool::shoal_bench(&self.shoal, server.port(), &shape, LOADED_WITHIN)
            .with_context(|| format!("loading {keys} keys into {}", server.side().name()))
    }
}

/// The samples of every row, of either server, in the order of the runs.
pub(super) type Samples = BTreeMap<(&'static str, Side), Vec<Sample>>;

/// Rows that are measured on one server.
pub(super) trait Scenario {
    /// What the progress calls it.
    fn name(&self) -> &'static str;

    /// The rows it measures.
    fn rows(&self) -> &'static [&'static str];

    /// What is made once per server and used by all its runs; nothing unless said otherwise.
    fn prepare(&mut self, _bench: &Bench, _side: Side) -> Result<()> {
        Ok(())
    }

    /// Measures every row that is wanted, once.
    fn measure(&self, run: &mut Run<'_>) -> Result<()>;
}

/// Runs a scenario for both servers in turns; the samples come into `samples` as they are made.
pub(super) fn alternate(
    bench: &Bench,
    scenario: &mut dyn Scenario,
    samples: &mut Samples,
) -> Result<()> {
    if !bench.wants_any(scenario.rows()) {
        return Ok(());
    }
    for side in bench.sides {
        scenario.prepare(bench, side)?;
    }
    let mut rates = BTreeMap::new();
    for pair in 0..=bench.options.runs {
        for side in order(bench.sides, pair) {
            let what = match pair {
                0 => "warm-up".to_owned(),
                pair => format!("run {pair} of {}", bench.options.runs),
            };
            bench.say(&format!("{}, {what}, {}", scenario.name(), side.name()));
            let mut run =
                Run { bench, side, warm_up: pair == 0, rates: &mut rates, found: Vec::new() };
            let done = scenario.measure(&mut run).with_context(|| side.name());
            for (row, sample) in run.found {
                if pair > 0 {
                    samples.entry((row, side)).or_default().push(sample);
                }
            }
            done?;
        }
    }
    Ok(())
}

/// Who begins, turn by turn, so that neither always finds the machine as the other left it.
const fn order([one, other]: [Side; 2], pair: usize) -> [Side; 2] {
    if pair.is_multiple_of(2) { [one, other] } else { [other, one] }
}

/// One run of a scenario on one server.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) bench: &'a Bench,
    pub(super) side: Side,
    warm_up: bool,
    /// Requests per second seen last, by row and server.
    rates: &'a mut BTreeMap<(&'static str, Side), f64>,
    found: Vec<(&'static str, Sample)>,
}

impl Run<'_> {
    /// Measures a row with `redis-benchmark`, for about the time of one measurement.
    pub(super) fn redis_benchmark(
        &mut self,
        row: &'static str,
        server: &Server,
        shape: &[&str],
    ) -> Result<()> {
        let send =
            |operations, bound| tool::redis_benchmark(server.port(), operations, shape, bound);
        self.timed(row, server, TRIAL_OPERATIONS, send)
    }

    /// Measures a row with `shoal bench`, for about the time of one measurement.
    pub(super) fn shoal_bench(
        &mut self,
        row: &'static str,
        server: &Server,
        shape: &[&str],
    ) -> Result<()> {
        let program = self.bench.shoal.clone();
        let send = |operations: u64, bound| {
            let count = operations.to_string();
            let shape = [shape, &["--count", &count]].concat();
            tool::shoal_bench(&program, server.port(), &shape, bound)
        };
        self.timed(row, server, TRIAL_OPERATIONS, send)
    }

    fn timed(
        &mut self,
        row: &'static str,
        server: &Server,
        trial: u64,
        send: impl Fn(u64, Duration) -> Result<Measured>,
    ) -> Result<()> {
        if !self.bench.wants(row) {
            return Ok(());
        }
        let seconds =
            if self.warm_up { self.bench.sizes.seconds.min(1.0) } else { self.bench.sizes.seconds };
        // A server may be slower than the last time, and a run must end all the same.
        let bound = Duration::from_secs_f64(60.0 + 10.0 * seconds);
        let rate = match self.rates.get(&(row, self.side)) {
            Some(rate) => *rate,
            None => send(trial, bound).with_context(|| row)?.rate,
        };
        let operations = whole((rate * seconds).clamp(OPERATIONS.0, OPERATIONS.1));
        let cpu_before = server.cpu_seconds()?;
        let measured = send(operations, bound).with_context(|| row)?;
        let cpu = server.cpu_seconds()? - cpu_before;
        self.rates.insert((row, self.side), measured.rate);
        self.found(row, Sample::of_rate(&measured, cpu));
        Ok(())
    }

    /// Takes down what a row's value was, if the row is wanted.
    pub(super) fn found(&mut self, row: &'static str, sample: Sample) {
        if self.bench.wants(row) {
            let unit =
                ROWS.iter().find(|known| known.name == row).map_or("", |row| row.unit.name());
            let cpu = sample.cpu_s_per_million;
            println!("        {row}: {:.3} {unit}, {cpu:.2} CPU s per million", sample.value);
            self.found.push((row, sample));
        }
    }
}

/// A count out of a positive number of ordinary size.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of requests, bounded far below 2^53"
)]
fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_server_begins_in_every_pair() {
        let sides = [Side::Redis, Side::Shoal];
        assert_eq!(order(sides, 0), sides);
        assert_eq!(order(sides, 1), [Side::Shoal, Side::Redis]);
        assert_eq!(order(sides, 2), sides);
    }

    #[test]
    fn counts_are_whole() {
        assert_eq!(whole(1234.9), 1234);
        assert_eq!(whole(-1.0), 0);
    }
}
