//! The manners of the source: a first sentence in every module, nothing unfinished, no `unwrap`
//! outside tests, lints taken from the workspace, no paths of somebody's machine.

use super::masked::Masked;
use super::tested::TestFiles;
use crate::root::SourceFile;

/// Words that stand for work not done. They are spelt in two halves so that this file passes.
const UNFINISHED: &[&str] = &[
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// Folders that exist on one developer's machine only, spelt in two halves likewise.
const MACHINE: &[&str] = &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/")];

/// Everything these manners complain of in the tree.
pub(super) fn check(files: &[SourceFile]) -> Vec<String> {
    let mut problems = Vec::new();
    let tests = TestFiles::of(files);
    for file in files {
        problems.extend(check_words(file));
        if file.path.ends_with(".rs") {
            problems.extend(check_source(file, tests.contains(&file.path)));
        } else if file.path.ends_with("/Cargo.toml") {
            problems.extend(check_manifest(file));
        }
    }
    problems
}

fn check_words(file: &SourceFile) -> Vec<String> {
    let mut problems = Vec::new();
    // The names in a lock file and the words of a licence are not ours.
    if file.path.ends_with(".lock") || file.path.starts_with("LICENSE") {
        return problems;
    }
    for (at, line) in file.text.lines().enumerate() {
        for word in UNFINISHED.iter().filter(|word| contains_word(line, word)) {
            problems.push(format!("{}:{}: unfinished: {word}", file.path, at + 1));
        }
        for path in MACHINE.iter().filter(|path| names_folder(line, path)) {
            problems.push(format!("{}:{}: a path of one machine: {path}", file.path, at + 1));
        }
    }
    problems
}

fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let joined = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
        !joined(before) && (word.ends_with('(') || !joined(after))
    })
}

/// Whether `line` has an absolute path that begins with `folder`.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || "._-}~".contains(letter))
    })
}

fn check_source(file: &SourceFile, is_test: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let opened = file.text.lines().find(|line| !line.trim().is_empty());
    if !opened.is_some_and(|line| line.starts_with("//! ")) {
        problems.push(format!("{}: does not open with //! and what it is for", file.path));
    }
    if is_test {
        return problems;
    }
    let masked = Masked::new(&file.text);
    for (at, _) in masked.text().match_indices(".unwrap()") {
        let line = masked.line_of(at);
        if !masked.is_test_line(line) {
            problems.push(format!("{}:{line}: unwrap outside tests", file.path));
        }
    }
    problems
}

fn check_manifest(file: &SourceFile) -> Vec<String> {
    let mut section = "";
    let mut inherits = false;
    for line in file.text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let words: String = line.split_whitespace().collect();
        inherits |= section == "[lints]" && words == "workspace=true";
        inherits |= words == "lints.workspace=true";
    }
    if inherits {
        Vec::new()
    } else {
        vec![format!("{}: does not take its lints from the workspace", file.path)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        check(&[SourceFile { path: path.to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn a_module_opens_with_its_purpose() {
        assert_eq!(problems("a.rs", "//! What it is for.\n"), Vec::<String>::new());
        assert_eq!(problems("a.rs", "use std::fmt;\n").len(), 1);
        assert_eq!(problems("a.rs", "// Not a module comment.\n").len(), 1);
        assert_eq!(problems("a.rs", "").len(), 1);
    }

    #[test]
    fn unwrap_is_for_tests() {
        let code = "//! A.\nfn a() { b().unwrap(); }\n";
        assert_eq!(
            problems("crates/a/src/lib.rs", code),
            ["crates/a/src/lib.rs:2: unwrap outside tests"]
        );
        assert_eq!(problems("crates/a/tests/a.rs", code), Vec::<String>::new());
        let fine = "//! A.\n// .unwrap()\nfn a() { b().unwrap_or(1); }\n\
                    #[cfg(test)]\nmod tests { fn c() { d().unwrap(); } }\n";
        assert_eq!(problems("crates/a/src/lib.rs", fine), Vec::<String>::new());
    }

    #[test]
    fn unfinished_work_is_found() {
        for word in UNFINISHED {
            let text = format!("//! A.\nfn a() {{ {word}) }}\n");
            assert_eq!(problems("a.rs", &text).len(), 1, "{word}");
            let joined = format!("//! A.\n// a{word}b\n");
            assert_eq!(problems("a.rs", &joined), Vec::<String>::new(), "{word}");
        }
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let [at_home, ..] = MACHINE else { panic!("the list is not empty") };
        assert_eq!(problems("a.md", &format!("see {at_home}someone/x\n")).len(), 1);
        assert_eq!(
            problems("a.md", &format!("curl http://host{at_home}x\n")),
            Vec::<String>::new()
        );
    }

    #[test]
    fn lints_come_from_the_workspace() {
        let good = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";
        assert_eq!(problems("crates/a/Cargo.toml", good), Vec::<String>::new());
        let bad = "[package]\nname = \"a\"\n[dependencies.b]\nworkspace = true\n";
        assert_eq!(problems("crates/a/Cargo.toml", bad).len(), 1);
    }
}
