//! When two answers are the same.
//!
//! Equal, but for what cannot be: times that pass, orders that nobody promises, and what a server
//! says of itself.

use crate::client::Words;
use crate::reply::Reply;

/// How far clocks may be apart between one server's answer and the other's, in milliseconds.
const LATE_MS: i64 = 1_500;

/// What else must be known to compare two answers.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// What an EXEC runs.
    pub(super) queue: &'a [Words],
    /// How many keys have expired: until it has swept them, each server may count them.
    pub(super) expired: i64,
}

/// Whether `ours` and `theirs` are the same answer to `words`.
pub(super) fn same(words: &Words, context: Context<'_>, ours: &Reply, theirs: &Reply) -> bool {
    if ours == theirs {
        return true;
    }
    let name = words.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    if ours.error().is_some() || theirs.error().is_some() {
        // Shoal's keyspaces have names, so what is no number is looked for.
        let both = ours.error().is_some() && theirs.error().is_some();
        return both && name == b"SELECT" && words.len() == 2;
    }
    let queued = Reply::Simple("QUEUED".to_owned());
    if *ours == queued || *theirs == queued {
        return false;
    }
    let word = |at: usize| words.get(at).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    match (&word(0)[..], &word(1)[..]) {
        (b"EXEC", _) => match (ours, theirs) {
            (Reply::Array(ours), Reply::Array(theirs)) => {
                let queue = context.queue;
                let both = ours.iter().zip(theirs);
                ours.len() == theirs.len()
                    && ours.len() == queue.len()
                    && queue.iter().zip(both).all(|(words, (ours, theirs))| {
                        same(words, Context { queue: &[], ..context }, ours, theirs)
                    })
            }
            _ => false,
        },
        (b"TTL" | b"EXPIRETIME", _) => near(ours, theirs, LATE_MS / 1_000 + 1),
        (b"PTTL" | b"PEXPIRETIME", _) => near(ours, theirs, LATE_MS),
        (b"DBSIZE", _) => near(ours, theirs, context.expired),
        (b"KEYS", _) => sorted(ours) == sorted(theirs),
        (b"CONFIG", b"GET") => pairs(ours) == pairs(theirs),
        // Which of the keys is nobody's promise, nor where a cursor stands.
        (b"RANDOMKEY", _) => ours.is_nil() == theirs.is_nil(),
        (b"SCAN", _) => shape(ours) == shape(theirs),
        // How Redis keeps a text depends on how it came to be.
        (b"OBJECT", b"ENCODING") => {
            ours.bulk().is_some_and(is_text) && theirs.bulk().is_some_and(is_text)
        }
        // Redis weighs keys that have expired and are not yet swept.
        (b"MEMORY", b"USAGE") if context.expired > 0 => true,
        (b"OBJECT", b"REFCOUNT" | b"IDLETIME")
        | (b"MEMORY", b"USAGE")
        | (b"CLIENT", b"ID")
        | (b"LASTSAVE", _) => ours.integer().is_some() && theirs.integer().is_some(),
        (b"TIME", _) => shape(ours) == shape(theirs),
        // Ids differ; and Redis tells its help line by line, which nobody parses.
        (b"HELLO", _) => hello(ours) == hello(theirs),
        (b"OBJECT", b"HELP") => matches!((ours, theirs), (Reply::Array(_), Reply::Array(_))),
        // Lists of what there is and of what was slow, which are not the same on both.
        (b"COMMAND" | b"INFO", b"") | (b"SLOWLOG", b"GET" | b"LEN") => kind(ours) == kind(theirs),
        _ => false,
    }
}

fn is_text(encoding: &[u8]) -> bool {
    matches!(encoding, b"int" | b"embstr" | b"raw")
}

fn near(ours: &Reply, theirs: &Reply, apart: i64) -> bool {
    match (ours.integer(), theirs.integer()) {
        (Some(ours), Some(theirs)) => ours >= 0 && theirs >= 0 && (ours - theirs).abs() <= apart,
        _ => false,
    }
}

fn sorted(reply: &Reply) -> Option<Vec<&Reply>> {
    let (Reply::Array(items) | Reply::Set(items)) = reply else { return None };
    let mut items: Vec<&Reply> = items.iter().collect();
    items.sort();
    Some(items)
}

/// The pairs of a map, or of a flat list that stands for one, in order of their names.
fn pairs(reply: &Reply) -> Option<Vec<(&Reply, &Reply)>> {
    let mut pairs: Vec<(&Reply, &Reply)> = match reply {
        Reply::Map(items) => items.iter().map(|(name, value)| (name, value)).collect(),
        Reply::Array(items) => items.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        _ => return None,
    };
    pairs.sort();
    Some(pairs)
}

fn hello(reply: &Reply) -> Option<Vec<(&Reply, &Reply)>> {
    let mut pairs = pairs(reply)?;
    pairs.retain(|(name, _)| name.bulk() != Some(b"id"));
    Some(pairs)
}

fn kind(reply: &Reply) -> std::mem::Discriminant<Reply> {
    std::mem::discriminant(reply)
}

/// An answer's kind, and the kinds of its items.
fn shape(reply: &Reply) -> Vec<std::mem::Discriminant<Reply>> {
    let mut shape = vec![kind(reply)];
    if let Reply::Array(items) = reply {
        shape.extend(items.iter().map(kind));
    }
    shape
}
