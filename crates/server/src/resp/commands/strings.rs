//! Commands on string values: GET, SET and their relatives, counters, ranges, several at once.

use super::{Context, Done, Fail, bytes_of};
use crate::resp::arguments;
use crate::resp::words::Words;
use shoal_core::update::{ExpireWhen, Outcome, SetExpiry, Update, When};
use shoal_core::{Slot, lcs};
use shoal_node::{Code, Footprint, Halt, Refusal, Target, Updated};
use shoal_storage::Patience;

/// Pairs of bytes up to which LCS compares on the connection's own thread.
const LCS_INLINE: usize = 1 << 20;
/// What LCS may take of memory for a while: enough for two values of 4 KiB.
const LCS_TABLE_BYTES: usize = 65 << 20;

/// GET key
pub(crate) fn get(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let Context { access, reply, client, .. } = context;
    access.read(&client.target, words.word(1), |record| match record {
        Some(record) => reply.bulk(bytes_of(&record)),
        None => reply.null(),
    })?;
    Ok(())
}

/// STRLEN key
pub(crate) fn strlen(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let length =
        context.read(words.word(1), |record| record.map_or(0, |record| bytes_of(&record).len()))?;
    context.reply.count(length);
    Ok(())
}

/// GETRANGE key start end; SUBSTR is its old name
pub(crate) fn getrange(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let start = arguments::integer(words.word(2))?;
    let end = arguments::integer(words.word(3))?;
    let Context { access, reply, client, .. } = context;
    access.read(&client.target, words.word(1), |record| {
        let value = record.as_ref().map_or(&[][..], bytes_of);
        reply.bulk(range_of(value, start, end));
    })?;
    Ok(())
}

/// The bytes from `start` to `end`, both included, negative ones counted from the end.
fn range_of(value: &[u8], start: i64, end: i64) -> &[u8] {
    let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let from_end = |index: i64| if index < 0 { (length + index).max(0) } else { index };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    if start > end || length == 0 {
        return &[];
    }
    let index = |at: i64| usize::try_from(at).unwrap_or(0);
    &value[index(start)..=index(end)]
}

/// SET key value [options]
pub(crate) fn set(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let options = arguments::set(words, context.access.now())?;
    let update = Update::Set { value: words.word(2), expiry: options.expiry, when: options.when };
    let Context { access, reply, client, .. } = context;
    let answer = |updated: Updated<'_>| {
        if options.get {
            match updated.before {
                Some(record) => reply.bulk(bytes_of(&record)),
                None => reply.null(),
            }
        } else if updated.outcome == Outcome::Done {
            reply.ok();
        } else {
            reply.null();
        }
    };
    if options.get {
        access.exchange(&client.target, words.word(1), &update, answer)?;
    } else {
        access.update(&client.target, words.word(1), &update, answer)?;
    }
    Ok(())
}

/// SETNX key value
pub(crate) fn setnx(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let update = Update::Set { value: words.word(2), expiry: SetExpiry::Never, when: When::Absent };
    let done =
        context.update(words.word(1), &update, |updated| updated.outcome == Outcome::Done)?;
    context.reply.integer(i64::from(done));
    Ok(())
}

/// SETEX key seconds value, PSETEX key milliseconds value
pub(crate) fn setex(
    context: &mut Context<'_, '_>,
    words: Words<'_>,
    unit: arguments::TimeUnit,
) -> Done {
    let at = arguments::setex(words, unit, context.access.now())?;
    let update =
        Update::Set { value: words.word(3), expiry: SetExpiry::At(at), when: When::Always };
    context.update(words.word(1), &update, |_| ())?;
    context.reply.ok();
    Ok(())
}

/// GETSET key value
pub(crate) fn getset(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let update = Update::Set { value: words.word(2), expiry: SetExpiry::Never, when: When::Always };
    context.update_giving_before(words.word(1), &update)
}

/// GETDEL key
pub(crate) fn getdel(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    context.update_giving_before(words.word(1), &Update::Delete { when: When::Always })
}

/// GETEX key [expiry option]
pub(crate) fn getex(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    match arguments::getex(words, context.access.now())? {
        arguments::GetEx::Keep => get(context, words),
        arguments::GetEx::Invalid(error) => {
            if context.read(words.word(1), |record| record.is_some())? {
                return Err(error.into());
            }
            context.reply.null();
            Ok(())
        }
        arguments::GetEx::Persist => context.update_giving_before(words.word(1), &Update::Persist),
        arguments::GetEx::At(at) => {
            let update = Update::Expire { at, when: ExpireWhen::default() };
            context.update_giving_before(words.word(1), &update)
        }
    }
}

/// APPEND key value
pub(crate) fn append(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    context.update_giving_number(words.word(1), &Update::Append { suffix: words.word(2) })
}

/// SETRANGE key offset value
pub(crate) fn setrange(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let offset = arguments::offset(words.word(2))?;
    let update = Update::SetRange { offset, bytes: words.word(3) };
    context.update_giving_number(words.word(1), &update)
}

/// INCR key, DECR key
pub(crate) fn step(context: &mut Context<'_, '_>, words: Words<'_>, delta: i64) -> Done {
    context.update_giving_number(words.word(1), &Update::Add { delta })
}

/// INCRBY key increment
pub(crate) fn incrby(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let delta = arguments::integer(words.word(2))?;
    step(context, words, delta)
}

/// DECRBY key decrement
pub(crate) fn decrby(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let delta = arguments::decrement(words.word(2))?;
    step(context, words, delta)
}

/// INCRBYFLOAT key increment
pub(crate) fn incrbyfloat(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let update = Update::AddFloat { delta: words.word(2) };
    let outcome = context.update(words.word(1), &update, |updated| updated.outcome)?;
    if let Outcome::Float(text) = outcome {
        context.reply.bulk(text.as_bytes());
    }
    Ok(())
}

/// MGET key [key ...]
pub(crate) fn mget(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let keys = words.from(1);
    context.reply.array(keys.len());
    for (index, key) in keys.iter().enumerate() {
        context.read_ahead(index, keys)?;
        let Context { access, reply, client, .. } = context;
        access.read(&client.target, key, |record| match record {
            Some(record) => reply.bulk(bytes_of(&record)),
            None => reply.null(),
        })?;
        context.bounded()?;
    }
    Ok(())
}

/// MSET key value [key value ...], MSETNX likewise
pub(crate) fn mset(context: &mut Context<'_, '_>, words: Words<'_>, only_absent: bool) -> Done {
    let name = if only_absent { "msetnx" } else { "mset" };
    let pairs = arguments::pairs(words, name)?;
    let pairs = || pairs.clone();
    let Context { access, client, .. } = context;
    let target = &client.target;
    let keys: Vec<_> = pairs().map(|(key, _)| (target, key)).collect();
    if only_absent && access.is_spread(target) {
        together(&keys)?;
    }
    let side_by_side = !only_absent;
    let footprint = Footprint { keys: &keys, writes: true, side_by_side, ..Footprint::default() };
    let done = access.transaction(&footprint, |access| {
        if only_absent {
            for (key, _) in pairs() {
                if access.read(target, key, |record| record.is_some())? {
                    return Ok(false);
                }
            }
        }
        for (key, value) in pairs() {
            let update = Update::Set { value, expiry: SetExpiry::Never, when: When::Always };
            access.update(target, key, &update, |_| ())?;
        }
        Ok(true)
    })?;
    if only_absent {
        context.reply.integer(i64::from(done));
    } else {
        context.reply.ok();
    }
    Ok(())
}

/// Refuses keys among several nodes whose conditions cannot be judged as one.
fn together(keys: &[(&Target, &[u8])]) -> Done {
    let Some(((_, first), others)) = keys.split_first() else { return Ok(()) };
    if others.iter().any(|(_, key)| Slot::of(key) != Slot::of(first)) {
        let message = "Keys in request don't hash to the same slot";
        return Err(Refusal::new(Code::CrossSlot, message).into());
    }
    Ok(())
}

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN]
pub(crate) fn lcs(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let options = arguments::lcs(words)?;
    let Context { access, reply, client, patience, .. } = context;
    let target = &client.target;
    let mut value = |key: &[u8]| -> Result<Vec<u8>, Halt> {
        access.read(target, key, |record| {
            record.as_ref().map_or(Vec::new(), |record| bytes_of(record).to_vec())
        })
    };
    let (a, b) = (value(words.word(1))?, value(words.word(2))?);
    if *patience == Patience::Inline && a.len().saturating_mul(b.len()) > LCS_INLINE {
        return Err(Halt::Cold.into());
    }
    let limit = LCS_TABLE_BYTES;
    let too_large = |error: lcs::LcsTooLarge| Fail::Text(format!("ERR {error}").into());
    if options.length {
        reply.count(lcs::length(&a, &b, limit).map_err(too_large)?);
        return Ok(());
    }
    let common = lcs::compute(&a, &b, limit).map_err(too_large)?;
    if !options.matches {
        reply.bulk(&common.bytes);
        return Ok(());
    }
    let matches: Vec<_> =
        common.matches.iter().filter(|found| found.len >= options.shortest).collect();
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(matches.len());
    for found in matches {
        reply.array(if options.with_lengths { 3 } else { 2 });
        for start in [found.a, found.b] {
            reply.array(2);
            reply.count(start);
            reply.count(start + found.len - 1);
        }
        if options.with_lengths {
            reply.count(found.len);
        }
    }
    reply.bulk(b"len");
    reply.count(common.bytes.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::range_of;

    #[test]
    fn ranges_follow_redis() {
        for (start, end, expected) in [
            (0, 3, &b"This"[..]),
            (-3, -1, b"ing"),
            (0, -1, b"This is a string"),
            (10, 100, b"string"),
            (5, 2, b""),
            (-1, -5, b""),
            (100, 200, b""),
            (-100, 3, b"This"),
            (i64::MIN, i64::MAX, b"This is a string"),
        ] {
            assert_eq!(range_of(b"This is a string", start, end), expected, "{start} {end}");
        }
        assert_eq!(range_of(b"", 0, -1), b"");
    }
}
