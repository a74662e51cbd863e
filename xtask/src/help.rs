//! What can be asked of the tool: one table, from which every help is made.
//!
//! Holds: every command is in the table, and says what it takes.

use std::fmt::Write as _;

/// A command, as it is written and what it does.
pub(crate) struct Command {
    /// The words after `cargo xtask`.
    pub(crate) words: &'static str,
    /// What it does, in one line.
    pub(crate) does: &'static str,
    /// What may follow, each with what it means.
    pub(crate) options: &'static [(&'static str, &'static str)],
}

const ROWS: (&str, &str) = ("--rows FILTER", "only rows whose name contains this");
const QUICK: (&str, &str) = ("--quick", "small sizes, one short run: a trial of the harness");
const BINARY: (&str, &str) = ("--binary PATH", "measure this program instead of building one");
const RUNS: (&str, &str) = ("--runs N", "counted runs of each, in turns; 5 unless said otherwise");

/// Every command; of those whose words begin alike the longer one comes later.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        words: "verify",
        does: "format, clippy, tidy, tests, docs; writes nothing into the tree",
        options: &[("--full", "then crash, differential and fuzz runs and the README's examples")],
    },
    Command {
        words: "fix",
        does: "format, apply clippy's suggestions, lower the ratchet where code shrank",
        options: &[],
    },
    Command {
        words: "tidy",
        does: "layering, licences, bans, versions, sizes and manners of the source",
        options: &[],
    },
    Command {
        words: "readme",
        does: "run the examples of README.md that are marked for it",
        options: &[],
    },
    Command {
        words: "bench",
        does: "measure Redis and Shoal in turns; writes bench/RESULTS.md, see bench/README.md",
        options: &[ROWS, RUNS, QUICK, BINARY],
    },
    Command {
        words: "bench cluster",
        does: "three Shoal nodes beside etcd and replicated Redis; writes bench/CLUSTER.md",
        options: &[ROWS, RUNS, QUICK, BINARY],
    },
    Command {
        words: "bench against",
        does: "this Shoal beside an older one on the rows of bench; writes bench/AGAINST.md",
        options: &[
            ("--old PATH", "the older program"),
            ROWS,
            ("--runs N", "counted runs of each, in turns; 9 unless said otherwise"),
            QUICK,
            BINARY,
        ],
    },
    Command {
        words: "bench scale",
        does: "plan placements of 3 to 1,000 nodes; writes bench/SCALE.md",
        options: &[],
    },
];

/// All commands, a line each.
pub(crate) fn all() -> String {
    let mut text = "cargo xtask COMMAND\n\n".to_owned();
    for Command { words, does, .. } in COMMANDS {
        let _infallible = writeln!(text, "  {words:<14} {does}");
    }
    text + "\ncargo xtask COMMAND --help says what may follow a command.\n"
}

/// What may follow a command, and what it does.
pub(crate) fn of(command: &Command) -> String {
    let Command { words, does, options } = command;
    let mut text = format!("{}\n\n{does}\n", usage(words));
    if !options.is_empty() {
        text.push('\n');
    }
    for (option, means) in *options {
        let _infallible = writeln!(text, "  {option:<16} {means}");
    }
    text
}

/// A command in one line, for the message about what was not understood.
pub(crate) fn usage(words: &str) -> String {
    let command = COMMANDS.iter().find(|command| command.words == words);
    let options = command.map_or(&[][..], |command| command.options);
    let options: String = options.iter().map(|(option, _)| format!(" [{option}]")).collect();
    format!("cargo xtask {words}{options}")
}

/// The help that `words` ask for, if they do.
pub(crate) fn asked(words: &[&str]) -> Option<String> {
    let rest = match words {
        ["help", rest @ ..] => rest,
        words if words.iter().any(|word| ["--help", "-h"].contains(word)) => words,
        _ => return None,
    };
    let asked = rest.join(" ");
    let is_meant = |command: &&Command| {
        asked
            .strip_prefix(command.words)
            .is_some_and(|more| more.is_empty() || more.starts_with(' '))
    };
    let command = COMMANDS.iter().filter(is_meant).max_by_key(|command| command.words.len());
    Some(command.map_or_else(all, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_says_what_it_takes_however_it_is_asked() {
        for command in COMMANDS {
            let words: Vec<&str> = command.words.split(' ').collect();
            let help = of(command);
            assert!(help.starts_with(&format!("cargo xtask {}", command.words)), "{help}");
            for (option, _) in command.options {
                assert!(help.contains(option), "{help}");
            }
            for flag in ["--help", "-h"] {
                assert_eq!(asked(&[&words[..], &[flag]].concat()).as_deref(), Some(&*help));
            }
            assert_eq!(asked(&[&["help"][..], &words].concat()).as_deref(), Some(&*help));
            assert_eq!(asked(&words), None);
            assert!(all().contains(command.does));
        }
    }

    #[test]
    fn help_is_given_beside_other_options_and_of_everything_where_nothing_is_meant() {
        let help = asked(&["bench", "cluster", "--quick", "-h"]).unwrap();
        assert!(help.contains("etcd"), "{help}");
        for words in [&["help"][..], &["--help"], &["-h"], &["benches", "-h"]] {
            assert_eq!(asked(words), Some(all()), "{words:?}");
        }
    }
}
