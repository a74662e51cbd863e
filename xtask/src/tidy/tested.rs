//! Which files are tests as a whole: by their path, by an attribute at their top, or because the
//! module they belong to is one.

use super::masked::Masked;
use crate::root::SourceFile;
use std::collections::BTreeSet;

/// Attributes under which code is compiled for tests alone.
pub(super) const MARKS: &[&str] = &["cfg(test)]", "cfg(all(test", "cfg(any(test"];

/// The files, and folders, that are tests.
#[derive(Debug, Default)]
pub(super) struct TestFiles {
    files: BTreeSet<String>,
    folders: Vec<String>,
}

impl TestFiles {
    /// Finds them.
    pub(super) fn of(files: &[SourceFile]) -> Self {
        let mut found = Self::default();
        for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
            let masked = Masked::new(&file.text);
            if MARKS.iter().any(|mark| masked.text().contains(&format!("#![{mark}"))) {
                found.files.insert(file.path.clone());
                found.folders.push(module_folder(&file.path));
            }
            for name in masked.test_modules() {
                let module = format!("{}{name}", module_folder(&file.path));
                found.files.insert(format!("{module}.rs"));
                found.folders.push(format!("{module}/"));
            }
        }
        found
    }

    /// Whether the file of this path is a test.
    pub(super) fn contains(&self, path: &str) -> bool {
        is_test_path(path)
            || self.files.contains(path)
            || self.folders.iter().any(|folder| path.starts_with(folder.as_str()))
    }
}

/// Whether the path alone tells.
fn is_test_path(path: &str) -> bool {
    path.split('/').any(|name| matches!(name, "tests" | "benches" | "tests.rs"))
}

/// Where the modules lie that a file declares, with a `/` at the end.
fn module_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name.trim_end_matches(".rs") {
        "mod" | "lib" | "main" => format!("{folder}/"),
        stem => format!("{folder}/{stem}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> TestFiles {
        let files = files
            .iter()
            .map(|(path, text)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() });
        TestFiles::of(&files.collect::<Vec<_>>())
    }

    #[test]
    fn paths_tell() {
        for path in ["crates/a/tests/b.rs", "crates/a/src/b/tests.rs", "crates/a/benches/c.rs"] {
            assert!(of(&[]).contains(path), "{path}");
        }
        assert!(!of(&[]).contains("crates/a/src/contests.rs"));
    }

    #[test]
    fn a_module_for_tests_alone_takes_its_files_with_it() {
        let suite = "//! A suite.\n#![cfg(any(test, feature = \"testing\"))]\nmod cases;\n";
        let found = of(&[("crates/a/src/suite/mod.rs", suite)]);
        assert!(found.contains("crates/a/src/suite/mod.rs"));
        assert!(found.contains("crates/a/src/suite/cases.rs"));
        assert!(!found.contains("crates/a/src/lib.rs"));
        let declared = "//! A.\n#[cfg(test)]\npub mod model;\nmod real;\n";
        let found = of(&[("crates/a/src/b.rs", declared)]);
        assert!(found.contains("crates/a/src/b/model.rs"));
        assert!(!found.contains("crates/a/src/b/real.rs"));
        assert!(!found.contains("crates/a/src/b.rs"));
    }
}
