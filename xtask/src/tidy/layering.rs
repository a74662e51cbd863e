//! Who may depend on whom, and what a package must never see.
//!
//! A new arrow between packages of the workspace is a decision about the design: it stands in
//! ARCHITECTURE.md with its reason, and in the table here.

use super::masked::Masked;
use super::metadata::{Kind, Metadata};
use super::tested::TestFiles;
use crate::root::SourceFile;

/// A package of the workspace and the ones it may be compiled with.
const ARROWS: &[(&str, &[&str])] = &[
    ("shoal-core", &[]),
    ("shoal-storage", &[]),
    ("shoal-meta", &["shoal-core"]),
    ("shoal-node", &["shoal-core", "shoal-storage", "shoal-meta"]),
    ("shoal-server", &["shoal-core", "shoal-storage", "shoal-node"]),
    ("shoal", &["shoal-server"]),
    ("shoal-cli", &["shoal", "shoal-server"]),
    ("shoal-sim", &["shoal-core"]),
    ("xtask", &[]),
];

/// What tests and benches of a package may use beyond its own arrows.
const DEV_ARROWS: &[(&str, &[&str])] = &[
    // The integration tests boot a node and look below the edge.
    ("shoal-server", &["shoal-meta"]),
];

/// Packages that must not be compiled into a package, directly or through others.
const UNSEEN_PACKAGES: &[(&str, &[&str])] = &[
    ("shoal-core", &["tokio", "serde", "fjall", "mio"]),
    ("shoal-storage", &["tokio", "hyper", "mio"]),
    ("shoal-meta", &["hyper", "tonic", "axum"]),
    ("shoal-node", &["hyper", "axum", "tonic", "clap"]),
    ("shoal-server", &["clap"]),
    ("shoal-sim", &["tokio", "mio"]),
];

/// Paths that the source of a package must not name: sockets, files, clocks and threads belong
/// to the shell.
const UNSEEN_PATHS: &[(&str, &[&str])] = &[
    (
        "crates/core/src/",
        &[
            "std::fs",
            "std::net",
            "std::thread",
            "std::env",
            "std::process",
            "std::time::SystemTime",
            "std::time::Instant",
        ],
    ),
    ("crates/storage/src/", &["std::net"]),
    ("crates/node/src/", &["std::net", "tokio::net"]),
];

/// Arrows that the table does not have, and packages it does not know.
pub(super) fn check_arrows(metadata: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    for package in metadata.members() {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            problems.push(format!("{} is not in tidy's table of layers", package.name));
            continue;
        };
        let extra = DEV_ARROWS.iter().find(|(name, _)| *name == package.name);
        let extra = extra.map_or(&[][..], |(_, extra)| extra);
        for (kind, allowed) in
            [(Kind::Normal, allowed.to_vec()), (Kind::Dev, [*allowed, extra].concat())]
        {
            for to in metadata.direct(package, kind) {
                if metadata.is_member(to) && !allowed.contains(&to.name.as_str()) {
                    let what = if kind == Kind::Dev { "its tests depend" } else { "it depends" };
                    problems.push(format!(
                        "{}: {what} on {}, which is no arrow of the design",
                        package.name, to.name
                    ));
                }
            }
        }
    }
    problems
}

/// Packages that see what they must not see.
pub(super) fn check_unseen_packages(metadata: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    for package in metadata.members() {
        let Some((_, unseen)) = UNSEEN_PACKAGES.iter().find(|(name, _)| *name == package.name)
        else {
            continue;
        };
        let closure = metadata.closure(package);
        for name in *unseen {
            if let Some(way) = closure.get(*name) {
                problems.push(format!("{} must never see {name}: {way}", package.name));
            }
        }
    }
    problems
}

/// Source that names what its package must not see. Tests may.
pub(super) fn check_unseen_paths(files: &[SourceFile]) -> Vec<String> {
    let mut problems = Vec::new();
    let tests = TestFiles::of(files);
    for (folder, unseen) in UNSEEN_PATHS {
        let in_folder = |file: &&SourceFile| {
            file.path.starts_with(folder)
                && file.path.ends_with(".rs")
                && !tests.contains(&file.path)
        };
        for file in files.iter().filter(in_folder) {
            let masked = Masked::new(&file.text);
            for (line, path) in paths_named(&masked) {
                if let Some(unseen) = unseen.iter().find(|unseen| is_within(&path, unseen)) {
                    problems.push(format!("{}:{line}: {unseen} must not be seen here", file.path));
                }
            }
            problems.dedup();
        }
    }
    problems
}

fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The paths that begin with `std`, `core` or `tokio` outside tests, groups in braces unfolded,
/// each with its line.
fn paths_named(masked: &Masked) -> Vec<(usize, String)> {
    let text = masked.text();
    let mut found = Vec::new();
    for start in ["std::", "tokio::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
                continue;
            }
            let line = masked.line_of(at);
            if !masked.is_test_line(line) {
                let mut unfolded = Vec::new();
                unfold(&text[at..], "", &mut unfolded);
                found.extend(unfolded.into_iter().map(|path| (line, path)));
            }
        }
    }
    found
}

/// Reads one path, `a::b` or `a::{b, c::d}`, from the start of `text`; returns what is left.
fn unfold<'a>(text: &'a str, prefix: &str, into: &mut Vec<String>) -> &'a str {
    let mut path = prefix.to_owned();
    let mut rest = text.trim_start();
    loop {
        let end = rest
            .find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '*'))
            .unwrap_or(rest.len());
        path.push_str(&rest[..end]);
        rest = &rest[end..];
        let Some(after) = rest.strip_prefix("::") else { break };
        path.push_str("::");
        rest = after.trim_start();
        if let Some(mut inner) = rest.strip_prefix('{') {
            loop {
                inner = unfold(inner, &path, into).trim_start();
                match inner.strip_prefix(',') {
                    Some(more) if !more.trim_start().starts_with('}') => inner = more,
                    Some(more) => return more.trim_start().strip_prefix('}').unwrap_or(more),
                    None => return inner.strip_prefix('}').unwrap_or(inner),
                }
            }
        }
    }
    into.push(path.trim_end_matches("::self").trim_end_matches("::").to_owned());
    // `a as b` inside a group.
    let end = rest.find([',', '}', ';']).unwrap_or(rest.len());
    if prefix.is_empty() { rest } else { &rest[end..] }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::graph;
    use super::*;

    #[test]
    fn only_the_arrows_of_the_table_pass() {
        let good = graph(
            &["shoal-core", "shoal-meta"],
            &[("shoal-meta", "shoal-core", Kind::Normal), ("shoal-core", "proptest", Kind::Dev)],
        );
        assert_eq!(check_arrows(&good), Vec::<String>::new());
        let upwards =
            graph(&["shoal-core", "shoal-node"], &[("shoal-core", "shoal-node", Kind::Normal)]);
        assert_eq!(
            check_arrows(&upwards),
            ["shoal-core: it depends on shoal-node, which is no arrow of the design"]
        );
        let in_tests =
            graph(&["shoal-core", "shoal-node"], &[("shoal-core", "shoal-node", Kind::Dev)]);
        assert_eq!(check_arrows(&in_tests).len(), 1);
        assert_eq!(
            check_arrows(&graph(&["shoal-utils"], &[])),
            ["shoal-utils is not in tidy's table of layers"]
        );
    }

    #[test]
    fn unseen_packages_are_found_through_others() {
        let hidden = graph(
            &["shoal-core"],
            &[("shoal-core", "helper", Kind::Normal), ("helper", "tokio", Kind::Normal)],
        );
        assert_eq!(
            check_unseen_packages(&hidden),
            ["shoal-core must never see tokio: shoal-core → helper → tokio"]
        );
        let in_tests = graph(&["shoal-core"], &[("shoal-core", "tokio", Kind::Dev)]);
        assert_eq!(check_unseen_packages(&in_tests), Vec::<String>::new());
    }

    fn unseen(path: &str, text: &str) -> Vec<String> {
        check_unseen_paths(&[SourceFile { path: path.to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn paths_are_found_in_groups_too() {
        for text in [
            "use std::fs::File;",
            "use std::{fmt, fs};",
            "use std::{collections::BTreeMap, fs::{self, File}, io};",
            "use std::time::{Duration, Instant};",
            "fn now() { let now = std::time::SystemTime::now(); }",
            "use std::{io::{self, Read}, time::{Instant as Now}};",
        ] {
            assert_eq!(unseen("crates/core/src/a.rs", text).len(), 1, "{text}");
        }
        for text in [
            "use std::time::Duration;",
            "// std::fs",
            "const A: &str = \"std::fs\";",
            "use std::{fmt, ops::Range};",
            "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n",
        ] {
            assert_eq!(unseen("crates/core/src/a.rs", text), Vec::<String>::new(), "{text}");
        }
        assert_eq!(unseen("crates/storage/src/a.rs", "use std::fs;"), Vec::<String>::new());
        assert_eq!(unseen("crates/node/src/a.rs", "use tokio::net::TcpStream;").len(), 1);
    }
}
