//! What people read about commands: COMMAND DOCS and the HELP subcommands.

use super::reply::Reply;
use super::table::argument::{Argument, Kind};
use super::table::entry::Command;
use super::table::{self, COMMANDS};
use super::words::Words;
use std::fmt::Write as _;

/// COMMAND DOCS; without names, of all commands. Names that are not there are passed over. Breaks
/// off once the reply is too long.
pub fn docs(names: Words<'_>, reply: &mut Reply<'_>) {
    if names.is_empty() {
        reply.map(COMMANDS.len());
        for command in COMMANDS {
            named(command, reply);
        }
        return;
    }
    let found = || names.iter().filter_map(table::find_full);
    reply.map(found().count());
    for command in found() {
        if reply.is_too_long() {
            return;
        }
        named(command, reply);
    }
}

/// HELP of a command with subcommands: how each is called and what it does.
pub fn help(container: &Command, reply: &mut Reply<'_>) {
    let name = container.name.to_ascii_uppercase();
    reply.array(1 + container.subcommands.len() * 2);
    reply.simple(&format!("{name} takes one of these subcommands:"));
    for subcommand in container.subcommands {
        reply.simple(&usage(subcommand));
        reply.simple(&format!("    {}", subcommand.summary));
    }
}

/// How a command is called: its name in capitals, a container's not repeated, and its arguments.
#[must_use]
pub fn usage(command: &Command) -> String {
    let mut text = command.short_name().to_ascii_uppercase();
    for argument in command.arguments {
        // Writing to a string cannot fail.
        let _ = write!(text, " {argument}");
    }
    text
}

/// A name and what it documents.
fn named(command: &Command, reply: &mut Reply<'_>) {
    reply.bulk(command.name.as_bytes());
    let lists = [!command.arguments.is_empty(), !command.subcommands.is_empty()];
    let deprecated = if command.deprecated.is_some() { 3 } else { 0 };
    reply.map(4 + deprecated + count(lists));
    field(reply, "summary", command.summary);
    field(reply, "since", command.since);
    field(reply, "group", command.group.name());
    field(reply, "complexity", command.complexity);
    if let Some(deprecated) = command.deprecated {
        reply.bulk(b"doc_flags");
        reply.set(1);
        reply.simple("deprecated");
        field(reply, "deprecated_since", deprecated.since);
        field(reply, "replaced_by", deprecated.replaced_by);
    }
    if !command.arguments.is_empty() {
        reply.bulk(b"arguments");
        arguments(command.arguments, reply);
    }
    if !command.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        command.subcommands.iter().for_each(|subcommand| named(subcommand, reply));
    }
}

fn arguments(list: &[Argument], reply: &mut Reply<'_>) {
    reply.array(list.len());
    for argument in list {
        let flags = [argument.optional, argument.multiple];
        let spec = if let Kind::Key(spec) = argument.kind { Some(spec) } else { None };
        let fields = [
            spec.is_some(),
            argument.token.is_some(),
            argument.since.is_some(),
            argument.deprecated_since.is_some(),
            count(flags) > 0,
            !argument.parts().is_empty(),
        ];
        reply.map(2 + count(fields));
        field(reply, "name", argument.name);
        field(reply, "type", argument.kind.name());
        if let Some(spec) = spec {
            reply.bulk(b"key_spec_index");
            reply.integer(i64::from(spec));
        }
        for (name, text) in [
            ("token", argument.token),
            ("since", argument.since),
            ("deprecated_since", argument.deprecated_since),
        ] {
            if let Some(text) = text {
                field(reply, name, text);
            }
        }
        if count(flags) > 0 {
            reply.bulk(b"flags");
            reply.set(count(flags));
            for (flag, name) in flags.into_iter().zip(["optional", "multiple"]) {
                if flag {
                    reply.simple(name);
                }
            }
        }
        if !argument.parts().is_empty() {
            reply.bulk(b"arguments");
            arguments(argument.parts(), reply);
        }
    }
}

fn field(reply: &mut Reply<'_>, name: &str, text: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(text.as_bytes());
}

/// How many of these hold.
fn count<const N: usize>(conditions: [bool; N]) -> usize {
    conditions.into_iter().filter(|holds| *holds).count()
}
