//! Commands on the server as a whole: its table of commands, saving, time, memory, logs.

use super::{Context, Done, Fail, bytes_of};
use crate::resp::figures::unix_time;
use crate::resp::integer::Digits;
use crate::resp::table::{Id, find};
use crate::resp::words::Words;
use crate::resp::{arguments, describe, docs};
use shoal_node::Halt;
use shoal_storage::Patience;

/// What a key costs beyond its bytes and its value's, in bytes, about: head, table, allocator.
const KEY_OVERHEAD: usize = 48;

/// COMMAND and its subcommands
pub(crate) fn command(context: &mut Context<'_, '_>, id: Id, words: Words<'_>) -> Done {
    let reply = &mut context.reply;
    match id {
        Id::CommandCount => describe::count(reply),
        Id::CommandInfo if words.len() > 2 => describe::named(words.from(2), reply),
        Id::CommandDocs => docs::docs(words.from(2), reply),
        Id::CommandList => describe::list(arguments::command_list(words)?, reply),
        Id::CommandGetKeys => describe::get_keys(words.from(2), reply),
        _ => describe::all(reply),
    }
    context.bounded()
}

/// HELP of a command with subcommands
pub(crate) fn help(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    if let Some(container) = find(words.word(0)) {
        docs::help(container, &mut context.reply);
    }
    Ok(())
}

/// TIME
pub(crate) fn time(context: &mut Context<'_, '_>) -> Done {
    let now = unix_time();
    context.reply.array(2);
    context.reply.bulk(Digits::unsigned(now.as_secs()).as_bytes());
    context.reply.bulk(Digits::unsigned(now.subsec_micros().into()).as_bytes());
    Ok(())
}

/// SAVE: everything acknowledged is on disk already; what is not synced yet is now
pub(crate) fn save(context: &mut Context<'_, '_>) -> Done {
    if context.patience == Patience::Inline {
        return Err(Halt::Cold.into());
    }
    context.access.node().sync()?;
    context.shared.figures.saved();
    context.reply.ok();
    Ok(())
}

/// BGSAVE [SCHEDULE]
pub(crate) fn bgsave(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    arguments::bgsave(words)?;
    save(context)
}

/// LASTSAVE
pub(crate) fn last_save(context: &mut Context<'_, '_>) -> Done {
    context.reply.count(context.shared.figures.last_save());
    Ok(())
}

/// ROLE
pub(crate) fn role(context: &mut Context<'_, '_>) -> Done {
    context.reply.array(3);
    context.reply.bulk(b"master");
    context.reply.integer(0);
    context.reply.array(0);
    Ok(())
}

/// ACL WHOAMI
pub(crate) fn whoami(context: &mut Context<'_, '_>) -> Done {
    context.reply.bulk(b"default");
    Ok(())
}

/// MEMORY USAGE key [SAMPLES count]
pub(crate) fn memory_usage(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    arguments::memory_usage(words)?;
    let key = words.word(2);
    let bytes = context.read(key, |record| {
        record.map(|record| key.len() + bytes_of(&record).len() + KEY_OVERHEAD)
    })?;
    match bytes {
        Some(bytes) => context.reply.count(bytes),
        None => context.reply.null(),
    }
    Ok(())
}

/// SLOWLOG: nothing is logged yet
pub(crate) fn slowlog(context: &mut Context<'_, '_>, id: Id, words: Words<'_>) -> Done {
    match id {
        Id::SlowLogGet => {
            arguments::slowlog_get(words)?;
            context.reply.array(0);
        }
        Id::SlowLogLen => context.reply.integer(0),
        _ => context.reply.ok(),
    }
    Ok(())
}

/// LATENCY: nothing is monitored yet
pub(crate) fn latency(context: &mut Context<'_, '_>, id: Id, words: Words<'_>) -> Done {
    match id {
        Id::LatencyReset => context.reply.integer(0),
        Id::LatencyHistogram => context.reply.map(0),
        Id::LatencyGraph => {
            let event = String::from_utf8_lossy(words.word(2)).into_owned();
            let text = format!("ERR No samples available for event '{event}'");
            return Err(Fail::Text(text.into()));
        }
        Id::LatencyDoctor => context.reply.verbatim("No latency spikes were monitored.\n"),
        _ => context.reply.array(0),
    }
    Ok(())
}
