//! Every command of the table is carried out, and nothing that is not in it.

use crate::support::{Host, both, encode, shown, skip};
use shoal_server::resp::manual::ABSENT;
use shoal_server::resp::table::argument::{Argument, Kind};
use shoal_server::resp::table::{self, Command, Id};

/// The fewest words that call `command` by the book.
fn words_of(command: &Command) -> Vec<String> {
    let mut words: Vec<String> = command.name.split('|').map(str::to_owned).collect();
    command.arguments.iter().for_each(|argument| add(argument, &mut words));
    // COMMAND GETKEYS tells the table only that it takes more.
    for word in ["get", "a"] {
        if !command.takes(words.len()) {
            words.push(word.to_owned());
        }
    }
    words
}

fn add(argument: &Argument, words: &mut Vec<String>) {
    if argument.optional {
        return;
    }
    words.extend(argument.token.map(str::to_owned));
    match argument.kind {
        Kind::Key(_) => words.push("key".to_owned()),
        // What AT carries out.
        Kind::String if argument.name == "command" => words.push("ping".to_owned()),
        Kind::String => words.push("default".to_owned()),
        Kind::Integer | Kind::Double => words.push("1".to_owned()),
        Kind::Pattern => words.push("*".to_owned()),
        Kind::UnixTime => words.push("9999999999".to_owned()),
        Kind::PureToken => {}
        Kind::OneOf(parts) => add(&parts[0], words),
        Kind::Block(parts) => parts.iter().for_each(|part| add(part, words)),
    }
}

#[test]
fn every_command_is_carried_out_and_gives_one_reply() {
    for host in both() {
        for command in table::everything().filter(|command| command.id != Id::Container) {
            for greeting in ["2", "3"] {
                let words = words_of(command);
                assert!(command.takes(words.len()), "{words:?}");
                let mut client = host.connect();
                client.local.ask(&encode(&["hello", greeting]));
                let replies = client.local.ask(&encode(&words));
                let text = shown(&replies);
                assert_eq!(skip(&replies), b"", "{words:?} gave {text}");
                for wrong in ["-ERR wrong number", "-ERR unknown", "-ERR syntax error"] {
                    assert!(!text.starts_with(wrong), "{words:?} gave {text}");
                }
            }
        }
    }
}

#[test]
fn commands_that_are_not_there_are_unknown_and_end_a_transaction() {
    let host = Host::memory();
    for name in ABSENT.iter().flat_map(|(_, names)| *names) {
        assert!(table::find_full(name.as_bytes()).is_none(), "{name}");
        let words: Vec<&str> = name.split('|').chain(["x"]).collect();
        let unknown = match words[..] {
            [container, subcommand, _] => {
                let container = container.to_uppercase();
                format!("-ERR unknown subcommand '{subcommand}'. Try {container} HELP.")
            }
            _ => format!("-ERR unknown command '{name}', with args beginning with: 'x'"),
        };
        let mut client = host.connect();
        client.expect(&[("multi", "+OK")]);
        assert_eq!(shown(&client.local.ask(&encode(&words))), unknown);
        client.expect(&[("exec", "-EXECABORT Transaction discarded because of previous errors.")]);
    }
}

/// What COMMAND LIST of Redis 7.0.15 answers.
const NAMES: &str = include_str!("../fixtures/command_list.txt");

#[test]
fn every_command_of_redis_is_there_or_is_said_not_to_be() {
    let absent = |name| ABSENT.iter().any(|(_, names)| names.contains(&name));
    for name in NAMES.lines() {
        let there = table::find_full(name.as_bytes()).is_some();
        let said = absent(name) || name.split_once('|').is_some_and(|(first, _)| absent(first));
        assert!(there != said, "{name}");
    }
    for name in ABSENT.iter().flat_map(|(_, names)| *names) {
        assert!(NAMES.lines().any(|known| known == *name), "{name}");
    }
}
