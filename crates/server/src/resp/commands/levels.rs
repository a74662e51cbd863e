//! CONSISTENCY, AT and WAIT: how many replicas are waited for, and were.
//!
//! Holds: AT changes the level of one command and of no other, however it ends.

use super::{Context, Done, Fail, dispatch};
use crate::resp::arguments;
use crate::resp::levels::{self, Written};
use crate::resp::table::{self, Group, Id};
use crate::resp::words::Words;
use shoal_core::map::{ClusterMap, Keyspace};
use shoal_core::quorum::Level;
use shoal_node::Target;

const NO_LEVEL: &str = "ERR a level is one, quorum, all or default";

/// CONSISTENCY [level]
pub(crate) fn consistency(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    match words.get(1) {
        None => context.reply.bulk(levels::name(context.client.level).as_bytes()),
        Some(word) => {
            context.client.level = levels::parse(word).ok_or(Fail::text(NO_LEVEL))?;
            context.reply.ok();
        }
    }
    Ok(())
}

/// AT level command [argument ...]
pub(crate) fn at(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let level = levels::parse(words.word(1)).ok_or(Fail::text(NO_LEVEL))?;
    let words = words.from(2);
    let command = match table::resolve(words) {
        Ok(command) => command,
        Err(unresolved) => {
            unresolved.write(words, &mut context.reply);
            return Ok(());
        }
    };
    let is_one = command.group != Group::Transactions
        && !matches!(command.id, Id::At | Id::Consistency | Id::Reset | Id::Quit);
    if !is_one {
        return Err(Fail::text("ERR AT sets the level of one command that reads or writes keys"));
    }
    let before = std::mem::replace(&mut context.client.level, level);
    context.access.at(level);
    let done = dispatch(context, command, words);
    context.client.level = before;
    context.access.at(before);
    done
}

/// WAIT replicas timeout: nothing is waited for, since every write was when it was acknowledged
pub(crate) fn wait(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    arguments::wait(words)?;
    let map = context.shared.node.map();
    let keyspace = selected(&map, &context.client.target);
    let copies = context.client.written.copies(keyspace);
    context.client.written.told();
    // Of nothing anything may be said.
    let copies = copies.or_else(|| Some(levels::least(keyspace?, Level::All)));
    context.reply.count(copies.unwrap_or(0).saturating_sub(1));
    Ok(())
}

/// Takes note that another keyspace is being selected.
pub(crate) fn leave(written: &mut Written, map: &ClusterMap, target: &Target) {
    written.leave(selected(map, target));
}

fn selected<'m>(map: &'m ClusterMap, target: &Target) -> Option<&'m Keyspace> {
    match target {
        Target::Database(number) => map.database(*number),
        Target::Named(name) => map.keyspace(name),
    }
}
