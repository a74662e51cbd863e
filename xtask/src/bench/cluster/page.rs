//! The results of clusters as a page to be read.

use super::super::results::{Summary, Verdict};
use super::super::table::{dash, machine, times, values};
use super::results::{Results, RowResult};
use super::rows::Contest;
use std::fmt::Write as _;

/// The page.
pub(super) fn page(results: &Results) -> String {
    let mut page = String::from("# Three nodes on one machine\n\n");
    if results.quick {
        page.push_str("A trial of the harness with short runs; not a result.\n\n");
    }
    page.push_str(&facts(results));
    page.push_str(&summary(results));
    for contest in [Contest::Disk, Contest::Memory] {
        let (title, other) = (title(contest), contest.other());
        let _infallible = write!(
            page,
            "\n## {title}\n\n\
             | row | {other} ops/s | Shoal ops/s | ratio | target | p50 ms {other} | Shoal | \
             p99 ms {other} | Shoal | CPU s/M {other} | Shoal | ratio | verdict |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n"
        );
        for result in results.rows.iter().filter(|result| result.contest == contest) {
            page.push_str(&line(result));
        }
    }
    page.push_str(&notes(results));
    page
}

const fn title(contest: Contest) -> &'static str {
    match contest {
        Contest::Disk => "On disk, level quorum, `sync = always`; etcd, linearizable reads",
        Contest::Memory => {
            "In memory, level quorum; Redis with two replicas, `WAIT 1` in one write with each SET"
        }
    }
}

fn facts(results: &Results) -> String {
    let facts = &results.facts;
    format!(
        "Written by `cargo xtask bench cluster`; how to read it: [README.md](README.md). Every run \
         is in [cluster.json](cluster.json).\n\n\
         {}| etcd | {} |\n| Redis | {} |\n| Shoal | {}, {} |\n\
         | runs | {} of each cluster in turns, {} s a row |\n\n",
        machine(facts),
        results.etcd,
        facts.redis,
        facts.shoal,
        facts.rustc,
        results.runs,
        results.seconds,
    )
}

fn summary(results: &Results) -> String {
    let short = |row: &&RowResult| [Verdict::Missed, Verdict::NotMeasured].contains(&row.verdict);
    let names: Vec<String> =
        results.rows.iter().filter(short).map(|row| format!("`{}`", row.name)).collect();
    let mut text = if names.is_empty() {
        "Every row here that has a target meets it.\n".to_owned()
    } else {
        format!("Missed or not measured: {}.\n", names.join(", "))
    };
    for failure in &results.failures {
        let _infallible = write!(text, "\n- **not measured**: {failure}\n");
    }
    text
}

fn line(result: &RowResult) -> String {
    let of = |side: &Option<Summary>, what: fn(&Summary) -> Option<f64>| {
        side.as_ref().and_then(what).map_or_else(dash, |value| format!("{value:.2}"))
    };
    let mut line = format!(
        "| `{}` | {} | {} | {} | {} |",
        result.name,
        values(result.other.as_ref()),
        values(result.shoal.as_ref()),
        times(result.ratio),
        result.target.map_or_else(dash, |target| format!("≥ {target}×")),
    );
    let columns: [fn(&Summary) -> Option<f64>; 3] = [
        |side| middle(side.samples.iter().filter_map(|sample| sample.p50_ms).collect()),
        |side| middle(side.samples.iter().filter_map(|sample| sample.p99_ms).collect()),
        |side| Some(side.cpu_s_per_million),
    ];
    for column in columns {
        let (other, shoal) = (of(&result.other, column), of(&result.shoal, column));
        let _infallible = write!(line, " {other} | {shoal} |");
    }
    let _infallible = writeln!(line, " {} | {} |", times(result.cpu_ratio), result.verdict.name());
    line
}

/// The middle of the runs; of an even number the upper one.
fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn notes(results: &Results) -> String {
    let mut text = String::new();
    for row in results.rows.iter().filter(|row| row.date != results.facts.date) {
        let (name, date, commit) = (&row.name, &row.date, &row.commit);
        let _infallible = writeln!(text, "- `{name}`: measured {date}, commit {commit}.");
    }
    if text.is_empty() { text } else { format!("\n## Notes\n\n{text}") }
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Facts;
    use super::super::super::results::Sample;
    use super::super::nodes::Kind;
    use super::super::results::Samples;
    use super::super::rows::{ROWS, Row};
    use super::*;

    #[test]
    fn a_row_reads_as_a_line_and_what_was_skipped_is_said() {
        let sample = |value, ms| Sample {
            p50_ms: Some(ms),
            p99_ms: Some(2.0 * ms),
            ..Sample::of_work(value, 2.0, 1_000_000)
        };
        let mut samples = Samples::new();
        samples.insert(("disk-put-200", Kind::Etcd), vec![sample(1000.0, 8.0)]);
        samples.insert(("disk-put-200", Kind::ShoalDisk), vec![sample(9000.0, 2.0)]);
        let mut results = Results {
            facts: Facts::default(),
            etcd: "etcd Version: 3".to_owned(),
            runs: 1,
            seconds: 1.0,
            quick: true,
            rows: Vec::new(),
            failures: vec!["Redis was SKIPPED: no".to_owned()],
        };
        results.take_in(&ROWS.iter().collect::<Vec<&Row>>(), &samples);
        let page = page(&results);
        let line = page.lines().find(|line| line.starts_with("| `disk-put-200`")).unwrap();
        assert_eq!(
            line,
            "| `disk-put-200` | 1,000 | 9,000 | 9.00× | ≥ 10× | 8.00 | 2.00 | 16.00 | 4.00 | 2.00 \
             | 2.00 | 1.00× | **missed** |"
        );
        assert!(page.contains("Redis was SKIPPED: no"));
        assert!(page.contains("not a result"));
        assert_eq!(page.lines().filter(|line| line.starts_with("| `")).count(), ROWS.len());
    }
}
