//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Holds: between MULTI and EXEC commands are only looked up and counted, never run. EXEC locks
//! every key that any of them names before it runs the first.

use super::{Context, Done, Fail, dispatch, error_text, too_long};
use crate::connection::Shared;
use crate::resp::reply::Reply;
use crate::resp::state::{NoRoom, Queue, Watching};
use crate::resp::table::{Command, Flag, Id};
use crate::resp::words::Words;
use shoal_core::map::database_name;
use shoal_node::{Code, Footprint, Halt, Refusal, Target};

/// MULTI
pub(crate) fn multi(context: &mut Context<'_, '_>) -> Done {
    if context.client.queue.is_some() {
        return Err(Fail::text("ERR MULTI calls can not be nested"));
    }
    context.client.queue = Some(Queue::default());
    context.reply.ok();
    Ok(())
}

/// DISCARD
pub(crate) fn discard(context: &mut Context<'_, '_>) -> Done {
    if context.client.queue.take().is_none() {
        return Err(Fail::text("ERR DISCARD without MULTI"));
    }
    context.client.watching = Watching::default();
    context.reply.ok();
    Ok(())
}

/// WATCH key [key ...]
pub(crate) fn watch(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    if context.client.queue.is_some() {
        return Err(Fail::text("ERR WATCH inside MULTI is not allowed"));
    }
    let target = context.client.target.clone();
    let mut seen = Vec::with_capacity(words.len());
    for key in words.from(1).iter() {
        if !context.client.watching.knows(&target, key) {
            seen.push(context.access.watch(&target, key)?);
        }
    }
    context.client.watching.extend(seen, &context.shared.input).map_err(
        |no_room| match no_room {
            NoRoom::TooLarge => Fail::text("ERR too many keys are watched"),
            NoRoom::MemoryFull => memory_full("too many keys are watched in the whole server"),
        },
    )?;
    context.reply.ok();
    Ok(())
}

/// UNWATCH
pub(crate) fn unwatch(context: &mut Context<'_, '_>) -> Done {
    context.client.watching = Watching::default();
    context.reply.ok();
    Ok(())
}

/// Puts a command into the queue of a transaction.
pub(crate) fn enqueue(
    queue: &mut Queue,
    command: &'static Command,
    words: Words<'_>,
    shared: &Shared,
    reply: &mut Reply<'_>,
) -> Done {
    queue.push(command, words, &shared.input).map_err(|no_room| match no_room {
        NoRoom::TooLarge => Fail::text("ERR the transaction is too large"),
        NoRoom::MemoryFull => memory_full("too many commands wait for EXEC in the whole server"),
    })?;
    reply.simple("QUEUED");
    Ok(())
}

fn memory_full(message: &'static str) -> Fail {
    Refusal::new(Code::MemoryFull, message).into()
}

/// What the commands of a transaction touch, in owned form.
#[derive(Default)]
pub(crate) struct Reach {
    keys: Vec<(Target, Vec<u8>)>,
    whole: Vec<Target>,
    writes: bool,
    catalogue: bool,
}

/// What `queue` touches, when it starts out in `target`.
pub(crate) fn footprint_of(context: &Context<'_, '_>, queue: &Queue, mut target: Target) -> Reach {
    let mut reach = Reach::default();
    for (command, words) in &queue.commands {
        let words = words.view();
        reach.writes |= command.has(Flag::Write);
        let numbered = |at: usize| -> Option<Target> {
            let number = crate::resp::integer::parse(words.get(at)?)?;
            Some(Target::Database(u16::try_from(number).ok()?))
        };
        match command.id {
            Id::Select | Id::Use => {
                if let Ok(next) = super::connection::target_of(context, command.id, words.word(1)) {
                    target = next;
                }
            }
            Id::Keys
            | Id::Scan
            | Id::RandomKey
            | Id::DbSize
            | Id::ClusterGetKeysInSlot
            | Id::ClusterCountKeysInSlot => reach.whole.push(target.clone()),
            Id::FlushDb => {
                reach.catalogue = true;
                reach.whole.push(target.clone());
            }
            Id::FlushAll => {
                reach.catalogue = true;
                // Those too that are made between here and the locks.
                let numbers = (0..).take_while(|number| database_name(*number).is_some());
                reach.whole.extend(numbers.map(Target::Database));
            }
            Id::SwapDb => {
                reach.catalogue = true;
                reach.whole.extend([numbered(1), numbered(2)].into_iter().flatten());
            }
            Id::Move => {
                let key = words.word(1);
                let other = numbered(2).into_iter();
                let both = other.chain([target.clone()]);
                reach.keys.extend(both.map(|target| (target, key.to_vec())));
            }
            Id::Copy => {
                let mut to = target.clone();
                for at in 3..words.len() {
                    if words.word(at).eq_ignore_ascii_case(b"db") {
                        to = numbered(at + 1).unwrap_or(to);
                    }
                }
                reach.keys.push((target.clone(), words.word(1).to_vec()));
                reach.keys.push((to, words.word(2).to_vec()));
            }
            _ => {
                let keys = command.keys.iter().flat_map(|spec| spec.find(words));
                reach.keys.extend(keys.map(|key| (target.clone(), key.to_vec())));
            }
        }
    }
    // A keyspace that is not there has nothing to lock; commands on it fail each by itself.
    reach.keys.retain(|(target, _)| context.access.exists(target));
    reach
}

/// EXEC
pub(crate) fn exec(context: &mut Context<'_, '_>) -> Done {
    let Some(queue) = context.client.queue.take() else {
        return Err(Fail::text("ERR EXEC without MULTI"));
    };
    let watching = std::mem::take(&mut context.client.watching);
    if queue.broken {
        return Err(Fail::text("EXECABORT Transaction discarded because of previous errors."));
    }
    let mut reach = footprint_of(context, &queue, context.client.target.clone());
    if reach.catalogue && context.patience == shoal_storage::Patience::Inline {
        (context.client.queue, context.client.watching) = (Some(queue), watching);
        return Err(Halt::Cold.into());
    }
    let keys = watching.keys.iter().filter(|watched| context.access.exists(&watched.target));
    reach.keys.extend(keys.map(|watched| (watched.target.clone(), watched.key.clone())));
    let before = (context.client.target.clone(), context.client.protocol);
    let done = run(context, &queue, &watching, &reach);
    if matches!(done, Err(Fail::Halt(_))) {
        (context.client.target, context.client.protocol) = before;
    }
    if matches!(done, Err(Fail::Halt(Halt::Cold | Halt::Away))) {
        // Nothing was done: the same EXEC comes again, where it may wait or when it is answered.
        (context.client.queue, context.client.watching) = (Some(queue), watching);
    }
    done
}

fn run(context: &mut Context<'_, '_>, queue: &Queue, watching: &Watching, reach: &Reach) -> Done {
    let keys: Vec<_> = reach.keys.iter().map(|(target, key)| (target, key.as_slice())).collect();
    let whole: Vec<_> = reach.whole.iter().collect();
    let Reach { writes, catalogue, .. } = *reach;
    let footprint =
        Footprint { keys: &keys, whole: &whole, writes, catalogue, side_by_side: false };
    let Context { access, reply, client, shared, patience } = context;
    let start = reply.position();
    access.transaction(&footprint, |access| {
        for watched in &watching.keys {
            if !access.unchanged(watched)? {
                reply.rewind(start);
                reply.null_array();
                return Ok(());
            }
        }
        reply.array(queue.commands.len());
        for (command, words) in &queue.commands {
            let position = reply.position();
            let mut inner =
                Context { access, reply: reply.again(), client, shared, patience: *patience };
            let done = dispatch(&mut inner, command, words.view());
            reply.set_protocol(client.protocol);
            match done {
                // CLIENT REPLY OFF has no reply, but the array has been announced.
                Ok(()) if reply.position() == position => reply.null(),
                Ok(()) => {}
                Err(Fail::Text(text)) => {
                    reply.rewind(position);
                    reply.error(text.as_bytes());
                }
                // The storage's own trouble ends the whole transaction, with nothing applied, and
                // so does a reply that gets too long.
                Err(Fail::Halt(halt)) if ends_all(&halt) => return Err(halt),
                Err(Fail::Halt(Halt::Refused(refusal))) => {
                    reply.rewind(position);
                    reply.error(error_text(&refusal));
                }
                Err(Fail::Halt(halt)) => return Err(halt),
            }
            if reply.is_too_long() {
                return Err(too_long(shared));
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// Whether a halt inside a transaction is not the command's own but the whole's.
fn ends_all(halt: &Halt) -> bool {
    match halt {
        Halt::Cold | Halt::Away => true,
        Halt::Refused(refusal) => matches!(
            refusal.code,
            Code::StorageStopped
                | Code::Storage
                | Code::Corrupt
                | Code::ClockSkewed
                | Code::NoQuorum
                | Code::TryAgain
                | Code::Unknown
                | Code::TooLarge
                | Code::MemoryFull
        ),
    }
}
