//! What COMMAND answers but for its documentation: the table as clients read it.

use super::reply::Reply;
use super::table::entry::{Category, Command, Flag};
use super::table::keys::KeySpec;
use super::table::{self, COMMANDS};
use super::words::Words;
use shoal_core::glob;

/// Which commands COMMAND LIST names.
#[derive(Clone, Copy, Debug)]
pub enum Filter<'a> {
    /// All.
    All,
    /// Those of a module; there are no modules.
    Module,
    /// Those in the category of this name.
    Category(&'a [u8]),
    /// Those whose name matches this pattern.
    Pattern(&'a [u8]),
}

/// COMMAND COUNT.
pub fn count(reply: &mut Reply<'_>) {
    reply.count(table::COUNT);
}

/// COMMAND, and COMMAND INFO without names: all commands.
pub fn all(reply: &mut Reply<'_>) {
    reply.array(COMMANDS.len());
    for command in COMMANDS {
        info(command, reply);
    }
}

/// COMMAND INFO with these names, of which there is at least one. Breaks off once the reply is
/// too long.
pub fn named(names: Words<'_>, reply: &mut Reply<'_>) {
    reply.array(names.len());
    for name in names.iter() {
        if reply.is_too_long() {
            return;
        }
        match table::find_full(name) {
            Some(command) => info(command, reply),
            None => reply.null(),
        }
    }
}

/// COMMAND LIST.
pub fn list(filter: Filter<'_>, reply: &mut Reply<'_>) {
    let category = match filter {
        Filter::Category(name) => Category::ALL
            .into_iter()
            .find(|category| category.name().as_bytes().eq_ignore_ascii_case(name)),
        _ => None,
    };
    let wanted = |command: &&Command| match filter {
        Filter::All => true,
        Filter::Module => false,
        Filter::Category(_) => category.is_some_and(|category| command.is_in(category)),
        Filter::Pattern(pattern) => glob::matches_nocase(pattern, command.name.as_bytes()),
    };
    reply.array(table::everything().filter(wanted).count());
    for command in table::everything().filter(wanted) {
        reply.bulk(command.name.as_bytes());
    }
}

/// COMMAND GETKEYS for the command that `words` are.
pub fn get_keys(words: Words<'_>, reply: &mut Reply<'_>) {
    let Ok(command) = table::find_words(words) else {
        return reply.error("ERR Invalid command specified");
    };
    if command.keys.is_empty() {
        return reply.error("ERR The command has no key arguments");
    }
    if !command.takes(words.len()) {
        return reply.error("ERR Invalid number of arguments specified for command");
    }
    let keys = || command.keys.iter().flat_map(|spec| spec.find(words));
    reply.array(keys().count());
    keys().for_each(|key| reply.bulk(key));
}

/// One command, as COMMAND INFO tells of it.
fn info(command: &Command, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(i64::from(command.arity));
    let flags = || Flag::ALL.into_iter().filter(|flag| command.has(*flag));
    reply.set(flags().count());
    flags().for_each(|flag| reply.simple(flag.name()));
    let (first, last, step) = command.key_range();
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    let categories = || Category::ALL.into_iter().filter(|category| command.is_in(*category));
    reply.set(categories().count());
    categories().for_each(|category| reply.simple(&format!("@{}", category.name())));
    reply.set(command.tips.len());
    command.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(command.keys.len());
    command.keys.iter().for_each(|spec| key_spec(spec, reply));
    reply.set(command.subcommands.len());
    command.subcommands.iter().for_each(|subcommand| info(subcommand, reply));
}

fn key_spec(spec: &KeySpec, reply: &mut Reply<'_>) {
    reply.map(3 + usize::from(spec.notes.is_some()));
    if let Some(notes) = spec.notes {
        reply.bulk(b"notes");
        reply.bulk(notes.as_bytes());
    }
    reply.bulk(b"flags");
    reply.set(spec.uses.len());
    spec.uses.iter().for_each(|usage| reply.simple(usage.name()));
    reply.bulk(b"begin_search");
    search(reply, "index", &[("index", i64::from(spec.first))]);
    reply.bulk(b"find_keys");
    let (last, step) = (i64::from(spec.last), i64::from(spec.step));
    search(reply, "range", &[("lastkey", last), ("keystep", step), ("limit", 0)]);
}

/// One of the two halves of a key spec: its type and its numbers.
fn search(reply: &mut Reply<'_>, kind: &str, numbers: &[(&str, i64)]) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(numbers.len());
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(*number);
    }
}
