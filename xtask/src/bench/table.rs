//! The results as a page to be read.

use super::facts::Facts;
use super::results::{Results, RowResult, Summary};
use super::rows::{ROWS, Row, Target};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The page.
pub(super) fn page(results: &Results) -> String {
    let mut page = String::from("# Measured beside Redis\n\n");
    if results.quick {
        page.push_str("A trial of the harness with small sizes and short runs; not a result.\n\n");
    }
    page.push_str(&facts(results));
    page.push_str(&summary(results));
    for (engine, title) in [
        ("memory-", "Keyspace in memory; Redis with `--save '' --appendonly no`"),
        (
            "disk-",
            "Keyspace on disk, `sync = always`; Redis with `--appendonly yes --appendfsync always --save ''`",
        ),
    ] {
        let _infallible = write!(page, "\n## {title}\n\n");
        page.push_str(
            "| row | | Redis | Shoal | ratio | target | CPU s/M Redis | Shoal | ratio | target | verdict |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|\n",
        );
        for result in results.rows.iter().filter(|result| result.name.starts_with(engine)) {
            page.push_str(&line(result));
        }
    }
    page.push_str(&notes(results));
    page
}

fn facts(results: &Results) -> String {
    let facts = &results.facts;
    format!(
        "Written by `cargo xtask bench`; how to read it: [README.md](README.md). Every run is in \
         [results.json](results.json).\n\n\
         {}| Redis | {} |\n| Shoal | {}, {} |\n\
         | runs | {} of each server in turns after a warm-up, {} s each |\n\n",
        machine(facts),
        facts.redis,
        facts.shoal,
        facts.rustc,
        results.runs,
        results.seconds,
    )
}

/// The beginning of a table of what the numbers come from.
pub(super) fn machine(facts: &Facts) -> String {
    format!(
        "| | |\n|---|---|\n\
         | date | {} |\n| commit | {} |\n| machine | {} cores, {}, {} MiB |\n| kernel | {} |\n\
         | file system | {}, fdatasync of 4 KiB {:.3} ms (median) |\n| load before | {:.2} |\n",
        facts.date,
        facts.commit,
        facts.cores,
        facts.cpu_model,
        facts.memory_mib,
        facts.kernel,
        facts.file_system,
        facts.fdatasync_ms,
        facts.load_before,
    )
}

fn summary(results: &Results) -> String {
    let names: Vec<String> = results.short().map(|row| format!("`{}`", row.name)).collect();
    if names.is_empty() && results.failures.is_empty() {
        "Every row that has a target meets it.\n".to_owned()
    } else {
        let mut text = format!("Missed or not measured: {}.\n", names.join(", "));
        for failure in &results.failures {
            let _infallible = write!(text, "\n- broke off: {failure}\n");
        }
        text
    }
}

fn line(result: &RowResult) -> String {
    let row = ROWS.iter().find(|row| row.name == result.name);
    let cpu = |side: &Option<Summary>| {
        side.as_ref().map_or_else(dash, |side| format!("{:.2}", side.cpu_s_per_million))
    };
    let cpu_target = row.and_then(|row| row.cpu_target);
    format!(
        "| `{}`: {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        result.name,
        result.what,
        result.unit,
        values(result.redis.as_ref()),
        values(result.shoal.as_ref()),
        times(result.ratio),
        row.map_or_else(dash, target),
        cpu(&result.redis),
        cpu(&result.shoal),
        times(result.cpu_ratio),
        cpu_target.map_or_else(dash, |target| format!("≤ {target}×")),
        result.verdict.name(),
    )
}

/// A ratio, where there is one.
pub(super) fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(dash, |ratio| format!("{ratio:.2}×"))
}

pub(super) fn dash() -> String {
    "–".to_owned()
}

fn target(row: &Row) -> String {
    match row.target {
        Target::None => dash(),
        Target::Times(times) if row.unit.is_rate() => format!("≥ {times}×"),
        Target::Times(times) => format!("≤ {times}×"),
        Target::AtMost(most) => format!("≤ {most} {}", row.unit.name()),
    }
}

/// The median, with the least and the most unless there was one run.
pub(super) fn values(summary: Option<&Summary>) -> String {
    let Some(summary) = summary else { return dash() };
    let median = number(summary.median);
    if summary.samples.len() == 1 {
        return median;
    }
    format!("{median} ({}–{})", number(summary.min), number(summary.max))
}

/// Three digits behind the point for small numbers, groups of three before it for large ones.
fn number(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.3}");
    }
    if value < 1000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn notes(results: &Results) -> String {
    let mut text = String::new();
    let mut earlier: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for row in &results.rows {
        if let Some(note) = &row.note {
            let _infallible = writeln!(text, "- `{}`: {note}.", row.name);
        }
        if row.date != results.facts.date {
            earlier.entry((&row.date, &row.commit)).or_default().push(format!("`{}`", row.name));
        }
    }
    for ((date, commit), rows) in earlier {
        let rows = rows.join(", ");
        let _infallible = writeln!(text, "- Measured {date}, commit {commit}: {rows}.");
    }
    if text.is_empty() { text } else { format!("\n## Notes\n\n{text}") }
}

#[cfg(test)]
mod tests {
    use super::super::results::Sample;
    use super::super::scenario::Samples;
    use super::super::server::Side;
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (value, text) in [
            (0.1234, "0.123"),
            (12.34, "12.3"),
            (999.94, "999.9"),
            (1234.4, "1,234"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_row_reads_as_a_line() {
        let sample = |value| Sample::of_work(value, 2.0, 1_000_000);
        let mut samples = Samples::new();
        samples.insert(("memory-set-p16", Side::Redis), vec![sample(1000.0), sample(3000.0)]);
        samples.insert(("memory-set-p16", Side::Shoal), vec![sample(3000.0)]);
        let mut results = Results {
            facts: Facts::default(),
            runs: 2,
            seconds: 1.0,
            quick: true,
            rows: Vec::new(),
            failures: vec!["disk: no".to_owned()],
        };
        results.take_in(&samples, &BTreeMap::new(), |_| true);
        let page = page(&results);
        let line = page.lines().find(|line| line.contains("memory-set-p16`:")).unwrap();
        assert!(
            line.ends_with(
                "| ops/s | 2,000 (1,000–3,000) | 3,000 | 1.50× | ≥ 1.6× | 2.00 | 2.00 | 1.00× | – | **missed** |"
            ),
            "{line}"
        );
        assert!(page.contains("not a result"));
        assert!(page.contains("broke off: disk: no"));
        assert_eq!(page.lines().filter(|line| line.starts_with("| `")).count(), ROWS.len());
    }
}
