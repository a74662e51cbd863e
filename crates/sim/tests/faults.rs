//! The catalogue of faults against the tree: every test that a row names exists, every row has
//! tests or says what it waits for, and the table that people read is made of it.

#![expect(clippy::panic, reason = "this is how a test fails")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Rows are numbered from one to this.
const ROWS: u32 = 62;

/// By the beginning of a test's path, what kind of test it is.
const TIERS: [(&str, &str); 10] = [
    ("crates/core/", "rules"),
    ("crates/sim/", "simulation"),
    ("crates/storage/", "storage"),
    ("crates/meta/", "map"),
    ("crates/node/", "node"),
    ("crates/server/", "server"),
    ("crates/shoal/", "server"),
    ("crates/cli/", "processes"),
    ("crates/peer/", "transport"),
    ("xtask/", "processes"),
];

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("the crate lies two folders below the root").to_owned()
}

/// Where each test of the tree is.
fn tests_of(folder: &Path, root: &Path, found: &mut BTreeMap<String, String>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    for path in entries.map(|entry| entry.expect("a folder that can be listed").path()) {
        if path.is_dir() && !path.ends_with("target") {
            tests_of(&path, root, found);
        }
        if path.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let name = path.strip_prefix(root).expect("it was found there");
        for (place, _) in text.match_indices("fn ") {
            let rest = &text[place + 3..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(0);
            if rest[end..].starts_with('(') {
                found.insert(rest[..end].to_owned(), name.display().to_string());
            }
        }
    }
}

fn tier_of(test: &str, tests: &BTreeMap<String, String>) -> &'static str {
    let Some(path) = tests.get(test) else { panic!("no test is called {test}") };
    let tier = TIERS.iter().find(|(start, _)| path.starts_with(start));
    tier.unwrap_or_else(|| panic!("{path} is of no tier")).1
}

/// The table, from the catalogue.
fn table(catalogue: &toml::Table, tests: &BTreeMap<String, String>) -> String {
    let mut out = String::from(
        "# What Shoal must survive, and the tests that show it\n\n\
         Made from `faults.toml` by `UPDATE_DOCS=1 cargo test -p shoal-sim --test faults`.\n\n\
         | | fault | passes if | shown by | later |\n| --- | --- | --- | --- | --- |\n",
    );
    for (id, row) in catalogue {
        let text = |name| row.get(name).and_then(toml::Value::as_str);
        let (Some(failure), Some(passes)) = (text("failure"), text("passes")) else {
            panic!("{id} does not say what fails, or what passes");
        };
        let named = row.get("tests").and_then(toml::Value::as_array);
        let named = named.into_iter().flatten().map(|test| test.as_str().expect("a name"));
        let shown: Vec<_> =
            named.map(|test| format!("`{test}` ({})", tier_of(test, tests))).collect();
        let later = text("later");
        assert!(!shown.is_empty() || later.is_some(), "{id} has no test and waits for nothing");
        let (shown, later) = (shown.join("<br>"), later.unwrap_or_default());
        let _ = writeln!(out, "| {id} | {failure} | {passes} | {shown} | {later} |");
    }
    out
}

#[test]
fn every_fault_has_the_tests_it_names_and_the_table_is_current() {
    let root = root();
    let mut tests = BTreeMap::new();
    for folder in ["crates", "xtask"] {
        tests_of(&root.join(folder), &root, &mut tests);
    }
    let text = fs::read_to_string(root.join("docs/faults.toml")).expect("the catalogue is there");
    let catalogue: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}"));
    let ids: Vec<String> = (1..=ROWS).map(|number| format!("F{number:02}")).collect();
    assert_eq!(catalogue.keys().cloned().collect::<Vec<_>>(), ids, "no row is ever dropped");
    let wanted = table(&catalogue, &tests);
    let path = root.join("docs/faults.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).expect("the table can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/faults.md is not current; UPDATE_DOCS=1 writes it");
}
