//! Commands on keys whatever their value: existence, expiry, names, listing.

use super::{Context, Done, Fail, bytes_of, too_long};
use crate::resp::arguments;
use crate::resp::integer;
use crate::resp::reply::Reply;
use crate::resp::words::Words;
use shoal_core::update::{Outcome, SetExpiry, Update, When};
use shoal_core::version::Millis;
use shoal_core::{Record, glob};
use shoal_node::{Footprint, Halt, Target, removed};
use shoal_storage::Patience;

/// Keys up to which KEYS and SCAN answer on the connection's own thread.
const KEYS_INLINE: i64 = 10_000;

/// DEL key [key ...]; UNLINK is the same here, for nothing is freed on the caller's time
pub(crate) fn del(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let keys = words.from(1);
    let delete = Update::Delete { when: When::Always };
    let count = if keys.len() == 1 {
        i64::from(context.update(keys.word(0), &delete, |updated| removed(&updated))?)
    } else if context.access.is_spread(&context.client.target) && !context.access.in_transaction() {
        context.access.remove_all(&context.client.target, keys.iter())?
    } else {
        let Context { access, client, .. } = context;
        let target = &client.target;
        let footprint: Vec<_> = keys.iter().map(|key| (target, key)).collect();
        // Not for the sake of atomicity alone: a disk that has to be waited for in the middle
        // makes the whole command start again, and it must not count what it removed itself.
        let footprint = Footprint { keys: &footprint, writes: true, ..Footprint::default() };
        access.transaction(&footprint, |access| {
            let mut count = 0;
            for key in keys.iter() {
                count += i64::from(access.update(target, key, &delete, |u| removed(&u))?);
            }
            Ok(count)
        })?
    };
    context.reply.integer(count);
    Ok(())
}

/// EXISTS key [key ...], TOUCH key [key ...]
pub(crate) fn exists(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let mut count = 0;
    let keys = words.from(1);
    for (index, key) in keys.iter().enumerate() {
        context.read_ahead(index, keys)?;
        count += i64::from(context.read(key, |record| record.is_some())?);
    }
    context.reply.integer(count);
    Ok(())
}

/// TYPE key
pub(crate) fn type_of(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let there = context.read(words.word(1), |record| record.is_some())?;
    context.reply.simple(if there { "string" } else { "none" });
    Ok(())
}

/// EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT key time [NX|XX|GT|LT]
pub(crate) fn expire(
    context: &mut Context<'_, '_>,
    words: Words<'_>,
    unit: arguments::TimeUnit,
) -> Done {
    let (at, when) = arguments::expire(words, unit, context.access.now())?;
    let update = Update::Expire { at, when };
    let done =
        context.update(words.word(1), &update, |updated| updated.outcome == Outcome::Done)?;
    context.reply.integer(i64::from(done));
    Ok(())
}

/// PERSIST key
pub(crate) fn persist(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let done = context
        .update(words.word(1), &Update::Persist, |updated| updated.outcome == Outcome::Done)?;
    context.reply.integer(i64::from(done));
    Ok(())
}

/// How a key's expiry is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// TTL: seconds left.
    SecondsLeft,
    /// PTTL: milliseconds left.
    MillisLeft,
    /// EXPIRETIME: seconds since the Unix epoch.
    Seconds,
    /// PEXPIRETIME: milliseconds since the Unix epoch.
    Millis,
}

/// TTL, PTTL, EXPIRETIME, PEXPIRETIME key
pub(crate) fn ttl(context: &mut Context<'_, '_>, words: Words<'_>, shown: Shown) -> Done {
    let expiry = context.read(words.word(1), |record| record.map(|record| record.expires_at))?;
    let now = context.access.now();
    let answer = match expiry {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => {
            let left: Millis = at.saturating_sub(now);
            let number = match shown {
                Shown::SecondsLeft => left.saturating_add(500) / 1_000,
                Shown::MillisLeft => left,
                Shown::Seconds => at.saturating_add(500) / 1_000,
                Shown::Millis => at,
            };
            i64::try_from(number).unwrap_or(i64::MAX)
        }
    };
    context.reply.integer(answer);
    Ok(())
}

/// RENAME key newkey, RENAMENX key newkey
pub(crate) fn rename(context: &mut Context<'_, '_>, words: Words<'_>, only_absent: bool) -> Done {
    let (from, to) = (words.word(1), words.word(2));
    let target = context.client.target.clone();
    let moved = transfer(
        context,
        (&target, from),
        (&target, to),
        &Transfer { replace: !only_absent, remove: true },
    )?;
    match (moved, only_absent) {
        (Moved::Absent, _) => return Err(Fail::text("ERR no such key")),
        (moved, true) => context.reply.integer(i64::from(moved == Moved::Done)),
        (_, false) => context.reply.ok(),
    }
    Ok(())
}

/// COPY source destination [DB n] [REPLACE]
pub(crate) fn copy(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let options = arguments::copy(words, |number| context.database(number).is_ok())?;
    let from = context.client.target.clone();
    let to = match options.database {
        Some(number) => context.database(number)?,
        None => from.clone(),
    };
    if words.word(1) == words.word(2) && context.is_same(&from, &to) {
        return Err(Fail::text("ERR source and destination objects are the same"));
    }
    let moved = transfer(
        context,
        (&from, words.word(1)),
        (&to, words.word(2)),
        &Transfer { replace: options.replace, remove: false },
    )?;
    context.reply.integer(i64::from(moved == Moved::Done));
    Ok(())
}

/// MOVE key db
pub(crate) fn move_key(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let from = context.client.target.clone();
    let to = context.database(arguments::database(words.word(2))?)?;
    if context.is_same(&from, &to) {
        return Err(Fail::text("ERR source and destination objects are the same"));
    }
    let key = words.word(1);
    let moved =
        transfer(context, (&from, key), (&to, key), &Transfer { replace: false, remove: true })?;
    context.reply.integer(i64::from(moved == Moved::Done));
    Ok(())
}

struct Transfer {
    /// Whether a value at the destination is overwritten.
    replace: bool,
    /// Whether the source goes.
    remove: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    Absent,
    Occupied,
    Done,
}

/// Puts the value and expiry of one key under another, as one step.
fn transfer(
    context: &mut Context<'_, '_>,
    from: (&Target, &[u8]),
    to: (&Target, &[u8]),
    how: &Transfer,
) -> Result<Moved, Fail> {
    let keys = [from, to];
    let footprint = Footprint { keys: &keys, writes: true, ..Footprint::default() };
    let moved = context.access.transaction(&footprint, |access| {
        let source = access.read(from.0, from.1, |record| {
            record.map(|record| (bytes_of(&record).to_vec(), record.expires_at))
        })?;
        let Some((value, expires_at)) = source else { return Ok(Moved::Absent) };
        if !how.replace && access.read(to.0, to.1, |record| record.is_some())? {
            return Ok(Moved::Occupied);
        }
        if from == to {
            return Ok(Moved::Done);
        }
        let expiry = expires_at.map_or(SetExpiry::Forever, SetExpiry::At);
        let put = Update::Set { value: &value, expiry, when: When::Always };
        access.update(to.0, to.1, &put, |_| ())?;
        if how.remove {
            access.update(from.0, from.1, &Update::Delete { when: When::Always }, |_| ())?;
        }
        Ok(Moved::Done)
    })?;
    Ok(moved)
}

/// KEYS pattern
pub(crate) fn keys(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let pattern = words.word(1);
    let Context { access, reply, client, patience, .. } = context;
    if *patience == Patience::Inline && access.count(&client.target).keys > KEYS_INLINE {
        return Err(Halt::Cold.into());
    }
    let mut found = Found::default();
    let mut cursor = 0;
    loop {
        cursor = access.scan_in(&client.target, client.scope, cursor, 1_000, &mut |key, _| {
            if glob::matches(pattern, key) {
                found.push(key);
            }
            found.fits(reply)
        })?;
        if cursor == 0 || !found.fits(reply) {
            break;
        }
    }
    found.reply(context)
}

/// SCAN cursor [MATCH pattern] [COUNT n] [TYPE type]
pub(crate) fn scan(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let options = arguments::scan(words)?;
    let Context { access, reply, client, patience, .. } = context;
    let many = i64::try_from(options.count).is_ok_and(|count| count > KEYS_INLINE);
    if many && *patience == Patience::Inline && access.count(&client.target).keys > KEYS_INLINE {
        return Err(Halt::Cold.into());
    }
    let mut found = Found::default();
    let wanted = options.kind.is_none_or(|kind| kind.eq_ignore_ascii_case(b"string"));
    let count = usize::try_from(options.count).unwrap_or(usize::MAX);
    let mut show = |key: &[u8], _: Record<'_>| {
        if wanted && options.pattern.is_none_or(|pattern| glob::matches(pattern, key)) {
            found.push(key);
        }
        found.fits(reply)
    };
    let (target, scope) = (&client.target, client.scope);
    let cursor = access.scan_in(target, scope, options.cursor, count, &mut show)?;
    reply.array(2);
    reply.bulk(integer::Digits::unsigned(cursor).as_bytes());
    found.reply(context)
}

/// Keys to be answered, in one buffer: their number must be known before the first is written.
#[derive(Default)]
pub(super) struct Found {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Found {
    pub(super) fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// Whether there is any hope that all of them fit into `reply`.
    pub(super) fn fits(&self, reply: &Reply<'_>) -> bool {
        // `$1`, and a line's end before and after the key.
        const AROUND_A_KEY: usize = 6;
        self.bytes.len() + self.ends.len() * AROUND_A_KEY <= reply.room()
    }

    /// Replies with all of them; fails if that would be too long a reply.
    pub(super) fn reply(&self, context: &mut Context<'_, '_>) -> Done {
        let reply = &mut context.reply;
        if !self.fits(reply) {
            return Err(too_long(context.shared).into());
        }
        reply.array(self.ends.len());
        let mut start = 0;
        for end in &self.ends {
            reply.bulk(&self.bytes[start..*end]);
            start = *end;
        }
        context.bounded()
    }
}

/// RANDOMKEY
pub(crate) fn randomkey(context: &mut Context<'_, '_>) -> Done {
    let Context { access, reply, client, .. } = context;
    match access.random_key_in(&client.target, client.scope)? {
        Some(key) => reply.bulk(&key),
        None => reply.null(),
    }
    Ok(())
}

/// DBSIZE
pub(crate) fn dbsize(context: &mut Context<'_, '_>) -> Done {
    let Context { access, client, .. } = context;
    let count = access.count_all(&client.target, client.scope)?.keys;
    context.reply.integer(count);
    Ok(())
}

/// FLUSHDB [ASYNC|SYNC]: always the quick way, the bytes go in the background
pub(crate) fn flushdb(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    arguments::flush(words)?;
    let target = context.client.target.clone();
    context.change_catalogue(|access| access.flush(&[target]))
}

/// FLUSHALL [ASYNC|SYNC]: `default` and `db1` to `db15`
pub(crate) fn flushall(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    arguments::flush(words)?;
    let targets = context.access.node().databases();
    context.change_catalogue(|access| access.flush(&targets))
}

/// SWAPDB index1 index2
pub(crate) fn swapdb(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let (a, b) = arguments::swapdb(words)?;
    let (Target::Database(a), Target::Database(b)) = (context.database(a)?, context.database(b)?)
    else {
        return Err(Fail::text("ERR DB index is out of range"));
    };
    if a == b {
        context.reply.ok();
        return Ok(());
    }
    context.change_catalogue(|access| access.swap(a, b))
}

/// OBJECT ENCODING|IDLETIME|REFCOUNT|FREQ key
pub(crate) fn object(
    context: &mut Context<'_, '_>,
    words: Words<'_>,
    what: ObjectQuestion,
) -> Done {
    let now = context.access.now();
    let Context { access, reply, client, .. } = context;
    let there = access.read(&client.target, words.word(2), |record| {
        let Some(record) = record else {
            reply.null();
            return false;
        };
        let value = bytes_of(&record);
        match what {
            ObjectQuestion::Encoding => reply.bulk(encoding(value).as_bytes()),
            ObjectQuestion::RefCount => reply.integer(match integer::parse(value) {
                // Redis shares these, and says so by this number.
                Some(0..=9_999) => i64::from(i32::MAX),
                _ => 1,
            }),
            ObjectQuestion::IdleTime => {
                reply.count(now.saturating_sub(record.written.wall_ms) / 1_000);
            }
            ObjectQuestion::Freq => {}
        }
        true
    })?;
    if there && what == ObjectQuestion::Freq {
        return Err(Fail::text(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please \
             note that when switching between policies at runtime LRU and LFU data will take some \
             time to adjust.",
        ));
    }
    Ok(())
}

/// What OBJECT is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectQuestion {
    Encoding,
    IdleTime,
    RefCount,
    Freq,
}

/// How Redis would keep a fresh value of these bytes.
fn encoding(value: &[u8]) -> &'static str {
    const EMBEDDED: usize = 44;
    if integer::parse(value).is_some() {
        "int"
    } else if value.len() <= EMBEDDED {
        "embstr"
    } else {
        "raw"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::reply::Protocol;

    #[test]
    fn keys_are_collected_only_as_long_as_they_may_fit() {
        let mut out = Vec::new();
        let reply = Reply::new(&mut out, Protocol::Resp2).within(100);
        let mut found = Found::default();
        for _ in 0..10 {
            assert!(found.fits(&reply));
            found.push(b"four");
        }
        assert!(found.fits(&reply), "100 bytes without the count before them");
        found.push(b"");
        assert!(!found.fits(&reply));
    }
}
