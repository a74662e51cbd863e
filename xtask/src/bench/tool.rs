//! The load generators: `redis-benchmark` and `shoal bench`, run with a bound on their time.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a running program is asked whether it has ended. What it measured it says itself.
const POLL_EVERY: Duration = Duration::from_millis(5);

/// What a load generator measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    /// Requests per second.
    pub(super) rate: f64,
    pub(super) operations: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// Sends `operations` requests from 50 connections with `redis-benchmark`. `shape` says which, in
/// its own options.
pub(super) fn redis_benchmark(
    port: u16,
    operations: u64,
    shape: &[&str],
    bound: Duration,
) -> Result<Measured> {
    let (port, count) = (port.to_string(), operations.to_string());
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", "127.0.0.1", "-p", &port, "-c", "50", "-n", &count, "--csv"]).args(shape);
    let output = run(&mut command, bound)?;
    let (rate, p50_ms, p99_ms) = parse_csv(&output)
        .with_context(|| format!("redis-benchmark answered what was not understood: {output}"))?;
    Ok(Measured { rate, operations, p50_ms, p99_ms })
}

/// Rate, median and 99th percentile out of `redis-benchmark --csv` with one test.
fn parse_csv(text: &str) -> Option<(f64, f64, f64)> {
    let mut lines = text.lines().map(split_csv).filter(|fields| fields.len() > 1);
    let header = lines.find(|fields| fields.first().is_some_and(|name| name == "test"))?;
    let values = lines.next()?;
    let field = |name: &str| -> Option<f64> {
        let at = header.iter().position(|field| field == name)?;
        values.get(at)?.parse().ok()
    };
    Some((field("rps")?, field("p50_latency_ms")?, field("p99_latency_ms")?))
}

/// The fields of a line whose fields may be quoted.
fn split_csv(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for letter in line.trim().chars() {
        match (letter, fields.last_mut()) {
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => fields.push(String::new()),
            (letter, Some(field)) => field.push(letter),
            (_, None) => {}
        }
    }
    fields
}

/// What `shoal bench --json` says, as far as it is used here.
#[derive(Clone, Debug, Deserialize)]
struct ShoalBench {
    ops_per_s: f64,
    operations: u64,
    misses: u64,
    errors: u64,
    #[serde(default)]
    first_error: Option<String>,
    latency_ms: Latency,
}

#[derive(Clone, Debug, Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

/// Runs `shoal bench` against a port. An error and a key that is not there end the measurement:
/// everything it asks for was written before.
pub(super) fn shoal_bench(
    program: &Path,
    port: u16,
    shape: &[&str],
    bound: Duration,
) -> Result<Measured> {
    let target = format!("127.0.0.1:{port}");
    let mut command = shoal(program);
    command.args(["bench", "--json", "--timeout", "120s", "--target", &target]).args(shape);
    let output = run(&mut command, bound)?;
    let said: ShoalBench = serde_json::from_str(output.trim())
        .with_context(|| format!("shoal bench answered what was not understood: {output}"))?;
    if said.errors > 0 || said.misses > 0 {
        let first = said.first_error.unwrap_or_default();
        bail!("shoal bench: {} errors, {} keys not there; {first}", said.errors, said.misses);
    }
    Ok(Measured {
        rate: said.ops_per_s,
        operations: said.operations,
        p50_ms: said.latency_ms.p50,
        p99_ms: said.latency_ms.p99,
    })
}

/// The program, deaf to settings in the environment.
pub(super) fn shoal(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SHOAL_") {
            command.env_remove(name);
        }
    }
    command
}

/// A child that does not outlive its guard.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended by itself, which is all that is wanted.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// Runs a program to its end and gives what it wrote; ends it when it takes longer than `bound`.
pub(super) fn run(command: &mut Command, bound: Duration) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut child = Guarded(child);
    let (written, complaints) = (child.0.stdout.take(), child.0.stderr.take());
    let deadline = Instant::now() + bound;
    std::thread::scope(|scope| {
        let written = scope.spawn(move || read_all(written));
        let complaints = scope.spawn(move || read_all(complaints));
        let status = loop {
            if let Some(status) = child.0.try_wait()? {
                break Some(status);
            }
            if Instant::now() >= deadline {
                child.0.kill()?;
                break None;
            }
            std::thread::sleep(POLL_EVERY);
        };
        let written = written.join().unwrap_or_default();
        let complaints = complaints.join().unwrap_or_default();
        match status {
            Some(status) if status.success() => Ok(written),
            Some(status) => bail!("{name} ended with {status}: {}", complaints.trim()),
            None => bail!("{name} took longer than {} s: {}", bound.as_secs(), complaints.trim()),
        }
    })
}

fn read_all(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What was read before an error is what there is.
        let _read = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\
        \"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n";

    #[test]
    fn the_csv_of_redis_benchmark_is_read() {
        let line =
            "\"SET\",\"56274.62\",\"0.604\",\"0.048\",\"0.207\",\"2.191\",\"7.983\",\"81.5\"\n";
        assert_eq!(parse_csv(&format!("{HEADER}{line}")), Some((56274.62, 0.207, 7.983)));
        let noise = "WARNING: Could not fetch server CONFIG\n";
        assert_eq!(parse_csv(&format!("{noise}{HEADER}{line}")), Some((56274.62, 0.207, 7.983)));
    }

    #[test]
    fn a_comma_in_the_name_of_a_test_is_not_a_field() {
        let line = "\"MSET k, v\",\"10.00\",\"1\",\"1\",\"2.5\",\"1\",\"3.5\",\"1\"\n";
        assert_eq!(parse_csv(&format!("{HEADER}{line}")), Some((10.0, 2.5, 3.5)));
    }

    #[test]
    fn what_is_not_a_result_is_none() {
        assert_eq!(parse_csv(""), None);
        assert_eq!(parse_csv(HEADER), None);
        assert_eq!(parse_csv(&format!("{HEADER}\"SET\",\"nought\"\n")), None);
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let error = run(Command::new("sleep").arg("600"), Duration::from_millis(20)).unwrap_err();
        assert!(error.to_string().contains("took longer"), "{error}");
        assert_eq!(run(Command::new("echo").arg("a"), Duration::from_secs(60)).unwrap(), "a\n");
        assert!(run(&mut Command::new("false"), Duration::from_secs(60)).is_err());
    }
}
