//! `cargo xtask bench scale`: what placement gives and costs from 3 to 1,000 nodes, as a page.
//!
//! The numbers come from an ignored test of `shoal-core`, built for release; this only calls it
//! and writes the page. So the tool still builds where the core does not, and the same code that
//! made the page compares it with what placement does now, in every run of the tests.
//!
//! Does not know: what a placement is.

use crate::cargo::cargo;
use crate::root::root;
use anyhow::{Context as _, Result, bail};

/// Where the page lies.
const PAGE: &str = "bench/SCALE.md";

const HEAD: &str = "\
# Placement from 3 to 1,000 nodes

Written by `cargo xtask bench scale`. One keyspace of 4,096 partitions with 3 replicas on nodes of
equal weight, without zones and in three of them. Every column but the two of times is the same on
every machine. Tests compare those of up to 30 nodes with what the code does now, and hold all of
them to what is promised: max/mean at most 1.15 where a node has 300 places or more in the mean,
join at most 1.1, leave at most 1.1, with jump at most 2 (in zones 2.5).

- *max/mean*: places of the fullest node over those of the mean one of its zone, in a plan from
  nothing, and after one more node has joined. Each of three zones holds one replica of everything,
  however many nodes it has.
- *join*: places that move when a node joins on the last seat, over the least possible: what the
  newcomer then holds. *leave*: the same for a node that goes, over what it held; the mean of five
  nodes. With jump the last seat's node takes the place of the one that went, and what both held
  moves; in zones it brings its own along. With 3 nodes everybody holds everything, and nothing has
  anywhere to go.
- *map bytes*: the stored cluster map with this one keyspace, names and zones of ten letters or
  less.
- *plan* and *plan of the join*: milliseconds, the median of five, on one core.

";

const COLUMNS: &str = "\
| nodes | zones | strategy | max/mean | joined | join | leave | map bytes | plan ms | plan of the join ms |
|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|
";

/// Measures and writes the page.
pub(super) fn run() -> Result<bool> {
    let mut command = cargo(&[
        "test",
        "--release",
        "--locked",
        "--package",
        "shoal-core",
        "--test",
        "placement",
        "--",
        "--ignored",
        "--exact",
        "scale::rows",
        "--nocapture",
    ]);
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("scale::rows failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let page = page(&String::from_utf8_lossy(&output.stdout), &machine())?;
    let path = root().join(PAGE);
    std::fs::write(&path, page).with_context(|| path.display().to_string())?;
    println!("written to {PAGE}");
    Ok(true)
}

/// The page made of what the test printed.
fn page(printed: &str, machine: &str) -> Result<String> {
    let rows: Vec<&str> = printed.lines().filter(|line| line.starts_with("| ")).collect();
    if rows.is_empty() {
        bail!("scale::rows printed no rows");
    }
    Ok(format!("{HEAD}Times: profile release, {machine}.\n\n{COLUMNS}{}\n", rows.join("\n")))
}

fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = cpus.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or("unknown processor", |line| line.trim_start_matches([' ', '\t', ':'])).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_rows_and_nothing_else_of_what_was_printed() {
        let printed = "running 1 test\n\n| 3 | a | 1.0 |\n| 5 | a | 1.1 |\ntest ... ok\n";
        let page = page(printed, "some processor").unwrap();
        assert!(page.ends_with("|--:|\n| 3 | a | 1.0 |\n| 5 | a | 1.1 |\n"));
        assert!(page.contains("profile release, some processor"));
        assert!(!page.contains("running"));
    }

    #[test]
    fn a_run_without_rows_leaves_the_page_alone() {
        assert!(super::page("test result: ok. 0 passed", "m").is_err());
    }
}
