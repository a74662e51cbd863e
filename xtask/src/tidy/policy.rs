//! Which packages from elsewhere may come in: by licence, by name, by version.
//!
//! The tables stand here rather than in a configuration of another tool, so that the check needs
//! nothing but cargo.

use super::metadata::{Metadata, Package};

/// Licences whose terms the binary can keep. No copyleft but that of files (MPL-2.0).
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// A package that must not come in.
struct Ban {
    name: &'static str,
    why: &'static str,
    /// Packages whose use of it is accepted.
    except: &'static [&'static str],
}

const BANS: &[Ban] = &[
    Ban { name: "async-std", why: "no longer kept; tokio is the runtime", except: &[] },
    Ban { name: "bincode", why: "no longer kept; formats on disk are our own", except: &[] },
    Ban { name: "fxhash", why: "no longer kept", except: &[] },
    Ban {
        name: "paste",
        why: "no longer kept",
        // Tests and a macro of the allocator's statistics, which cannot do without.
        except: &["tikv-jemalloc-ctl"],
    },
    Ban { name: "raft", why: "consensus is openraft's, behind shoal-meta", except: &[] },
    Ban { name: "rustls-pemfile", why: "no longer kept; rustls-pki-types reads PEM", except: &[] },
    Ban { name: "serde_yaml", why: "no longer kept", except: &[] },
    Ban { name: "serde_yml", why: "unsound", except: &[] },
    Ban { name: "sled", why: "the sorted store is fjall", except: &[] },
];

/// The oldest versions without a known flaw (RustSec). A line of releases that has its own entry
/// is measured by that, any other by the newest.
const MINIMA: &[(&str, &[&str])] = &[
    ("anyhow", &["1.0.103"]),
    ("aws-lc-sys", &["0.39.0"]),
    ("bytes", &["1.11.1"]),
    ("crossbeam-channel", &["0.5.15"]),
    ("crossbeam-epoch", &["0.9.20"]),
    ("error-stack", &["0.8.0"]),
    ("fjall", &["3.1.13"]),
    ("h2", &["0.4.16"]),
    ("hickory-proto", &["0.26.1"]),
    ("lru", &["0.18.2"]),
    ("lsm-tree", &["3.1.10"]),
    ("lz4_flex", &["0.11.6", "0.12.1"]),
    ("oneshot", &["0.1.12"]),
    ("protobuf", &["3.7.2"]),
    ("rand", &["0.8.6", "0.9.3", "0.10.1"]),
    ("rkyv", &["0.8.17"]),
    ("rustls-webpki", &["0.103.13"]),
    ("scc", &["3.8.4"]),
    ("time", &["0.3.47"]),
    ("tokio", &["1.44.2"]),
    ("tonic", &["0.12.3"]),
    ("tracing-subscriber", &["0.3.20"]),
];

/// Packages whose licence the table does not allow.
pub(super) fn check_licences(metadata: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    for package in metadata.packages() {
        let Package { name, version, license, .. } = package;
        match license {
            None => problems.push(format!("{name} {version} names no licence")),
            Some(license) if !is_allowed(license) => {
                problems.push(format!("{name} {version}: the licence {license} is not allowed"));
            }
            Some(_) => {}
        }
    }
    problems
}

/// Banned packages, and who brought them.
pub(super) fn check_bans(metadata: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    for ban in BANS {
        if !metadata.packages().iter().any(|package| package.name == ban.name) {
            continue;
        }
        let by = metadata.dependents(ban.name);
        let by: Vec<&str> = by.iter().map(|package| package.name.as_str()).collect();
        let refused: Vec<&str> = by.into_iter().filter(|name| !ban.except.contains(name)).collect();
        if !refused.is_empty() || ban.except.is_empty() {
            let by = refused.join(", ");
            problems.push(format!("{} is banned ({}); it comes by {by}", ban.name, ban.why));
        }
    }
    problems
}

/// Packages older than the oldest version without a known flaw.
pub(super) fn check_versions(metadata: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    for package in metadata.packages() {
        let Some((_, minima)) = MINIMA.iter().find(|(name, _)| *name == package.name) else {
            continue;
        };
        if !is_new_enough(&package.version, minima) {
            let minima = minima.join(" or ");
            problems.push(format!(
                "{} {} has a known flaw; use {minima} or newer",
                package.name, package.version
            ));
        }
    }
    problems
}

/// The numbers of a version; what follows `-` or `+` is left out.
fn numbers(version: &str) -> [u64; 3] {
    let plain = version.split(['-', '+']).next().unwrap_or("");
    let mut numbers = [0; 3];
    for (number, text) in numbers.iter_mut().zip(plain.split('.')) {
        *number = text.parse().unwrap_or(0);
    }
    numbers
}

/// What releases that cargo takes for compatible have in common.
fn line([major, minor, patch]: [u64; 3]) -> [u64; 3] {
    match (major, minor) {
        (0, 0) => [0, 0, patch],
        (0, minor) => [0, minor, 0],
        (major, _) => [major, 0, 0],
    }
}

fn is_new_enough(version: &str, minima: &[&str]) -> bool {
    let version = numbers(version);
    let minima = minima.iter().map(|minimum| numbers(minimum));
    let own = minima.clone().find(|minimum| line(*minimum) == line(version));
    let minimum = own.or_else(|| minima.max());
    minimum.is_none_or(|minimum| version >= minimum)
}

/// Whether an SPDX expression can be met with allowed licences alone. The old form with `/`
/// counts as `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words };
    reader.any_of() && reader.words.is_empty()
}

struct Reader<'a> {
    words: &'a [&'a str],
}

impl<'a> Reader<'a> {
    fn take(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    fn next(&mut self) -> &'a str {
        let Some((first, rest)) = self.words.split_first() else { return "" };
        self.words = rest;
        first
    }

    fn any_of(&mut self) -> bool {
        let mut allowed = self.all_of();
        while self.take("OR") {
            let other = self.all_of();
            allowed |= other;
        }
        allowed
    }

    fn all_of(&mut self) -> bool {
        let mut allowed = self.one();
        while self.take("AND") {
            let other = self.one();
            allowed &= other;
        }
        allowed
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let allowed = self.any_of();
            return self.take(")") && allowed;
        }
        let name = self.next();
        if self.take("WITH") {
            let with = format!("{name} WITH {}", self.next());
            return LICENCES.contains(&with.as_str());
        }
        LICENCES.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::{Kind, graph};
    use super::*;

    #[test]
    fn licence_expressions_are_understood() {
        for fine in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "GPL-3.0-only OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert!(is_allowed(fine), "{fine}");
        }
        for wrong in [
            "",
            "GPL-3.0-only",
            "AGPL-3.0-only OR GPL-2.0-only",
            "MIT AND GPL-3.0-only",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "(MIT",
            "MIT MIT",
        ] {
            assert!(!is_allowed(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_package_without_an_allowed_licence_is_named() {
        let metadata = graph(&["shoal-core"], &[("shoal-core", "copyleft", Kind::Normal)])
            .with("copyleft", |package| package.license = Some("GPL-3.0-only".to_owned()));
        assert_eq!(
            check_licences(&metadata),
            ["copyleft 1.0.0: the licence GPL-3.0-only is not allowed"]
        );
        let silent = graph(&["a"], &[]).with("a", |package| package.license = None);
        assert_eq!(check_licences(&silent), ["a 1.0.0 names no licence"]);
    }

    #[test]
    fn versions_are_measured_by_their_own_line() {
        for (version, minima, fine) in [
            ("1.11.1", &["1.11.1"][..], true),
            ("1.11.0", &["1.11.1"], false),
            ("2.0.0", &["1.11.1"], true),
            ("0.9.3", &["0.8.6", "0.9.3", "0.10.1"], true),
            ("0.9.2", &["0.8.6", "0.9.3", "0.10.1"], false),
            ("0.10.0", &["0.8.6", "0.9.3", "0.10.1"], false),
            ("0.11.0", &["0.8.6", "0.9.3", "0.10.1"], true),
            ("0.7.9", &["0.8.6", "0.9.3", "0.10.1"], false),
            ("3.1.13+meta", &["3.1.13"], true),
        ] {
            assert_eq!(is_new_enough(version, minima), fine, "{version} {minima:?}");
        }
        let old = graph(&["a"], &[("a", "tokio", Kind::Normal)])
            .with("tokio", |package| package.version = "1.44.1".to_owned());
        assert_eq!(check_versions(&old).len(), 1);
    }

    #[test]
    fn bans_know_their_exceptions() {
        let banned = graph(&["a"], &[("a", "sled", Kind::Normal)]);
        assert_eq!(
            check_bans(&banned),
            ["sled is banned (the sorted store is fjall); it comes by a"]
        );
        let excepted = graph(
            &["a"],
            &[
                ("a", "tikv-jemalloc-ctl", Kind::Normal),
                ("tikv-jemalloc-ctl", "paste", Kind::Normal),
            ],
        );
        assert_eq!(check_bans(&excepted), Vec::<String>::new());
        let new_use = graph(&["a"], &[("a", "paste", Kind::Normal)]);
        assert_eq!(check_bans(&new_use).len(), 1);
    }
}
