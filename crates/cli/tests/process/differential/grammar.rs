//! The commands and their arguments, as a table, and sequences made from it.
//!
//! A row is a command with the shape of its arguments: a word in capitals is itself, `[a|b]` may
//! be left out, and of `a|b` one is taken; `x+` comes once to three times. Small words stand for
//! arguments of a kind, see [`argument`].
//!
//! Does not know: keys that are empty, or numbers of databases as names, in which Shoal differs
//! from Redis on purpose; what either server tells of itself.

use crate::client::Words;
use crate::settings::now_ms;
use fastrand::Rng;

/// A step of a sequence.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A command over the connection of this number.
    Command(usize, Words),
    /// A command that sets a key for a few milliseconds, run at once, and time enough for the
    /// key to be gone from both servers.
    Fleeting(usize, Words),
}

/// Every command that is compared.
pub(crate) const TABLE: &[&str] = &[
    "GET k",
    "SET k v [EX s|PX ms|EXAT sa|PXAT msa|KEEPTTL] [NX|XX] [GET]",
    "SETNX k v",
    "SETEX k s v",
    "PSETEX k ms v",
    "GETSET k v",
    "GETDEL k",
    "GETEX k [EX s|PX ms|EXAT sa|PXAT msa|PERSIST]",
    "MGET k+",
    "MSET kv+",
    "MSETNX kv+",
    "APPEND k v",
    "STRLEN k",
    "GETRANGE k i i",
    "SUBSTR k i i",
    "SETRANGE k o v",
    "INCR k",
    "DECR k",
    "INCRBY k i",
    "DECRBY k i",
    "INCRBYFLOAT k f",
    "LCS k k [LEN|IDX] [MINMATCHLEN i] [WITHMATCHLEN]",
    "DEL k+",
    "UNLINK k+",
    "EXISTS k+",
    "TOUCH k+",
    "TYPE k",
    "EXPIRE k s [NX|XX|GT|LT] [NX|XX|GT|LT]",
    "PEXPIRE k ms [NX|XX|GT|LT]",
    "EXPIREAT k sa [NX|XX|GT|LT]",
    "PEXPIREAT k msa [NX|XX|GT|LT]",
    "TTL k",
    "PTTL k",
    "EXPIRETIME k",
    "PEXPIRETIME k",
    "PERSIST k",
    "KEYS g",
    "SCAN 0 [MATCH g] [COUNT i] [TYPE string|list|nonsense]",
    "RANDOMKEY",
    "RENAME k k",
    "RENAMENX k k",
    "COPY k k [DB d] [REPLACE]",
    "MOVE k d",
    "DBSIZE",
    "FLUSHDB [ASYNC|SYNC|NOW]",
    "FLUSHALL [ASYNC|SYNC|NOW]",
    "SWAPDB d d",
    "SELECT d",
    "OBJECT ENCODING|REFCOUNT|IDLETIME|FREQ k",
    "OBJECT HELP",
    "OBJECT NONSENSE k",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH k+",
    "UNWATCH",
    "PING [v]",
    "ECHO v",
    "RESET",
    "HELLO [2|3|1|4|x]",
    "HELLO 3 SETNAME n",
    "HELLO 2 AUTH default v",
    "AUTH v [v]",
    "CLIENT GETNAME",
    "CLIENT SETNAME n",
    "CLIENT ID",
    "CLIENT NO-EVICT ON|OFF|x",
    "CLIENT UNPAUSE",
    "CLIENT NONSENSE",
    "CLIENT REPLY ON|x",
    "CLIENT KILL ID 0|x|-1",
    "CONFIG GET maxmemory-policy|timeout|nonsense|maxmemory-pol*|appendf?ync",
    "CONFIG NONSENSE",
    "WAIT 0 0|1",
    "ROLE",
    "ACL WHOAMI",
    "ACL NONSENSE",
    "SLOWLOG LEN|GET|RESET|NONSENSE",
    "SLOWLOG GET i",
    "LATENCY LATEST|NONSENSE",
    "LATENCY HISTORY n",
    "MEMORY USAGE k [SAMPLES i]",
    "MEMORY NONSENSE",
    "COMMAND GETKEYS GET|MGET|MSET|DEL|PING|NONSENSE v+",
    "COMMAND NONSENSE",
    "TIME",
    "LASTSAVE",
    "INFO nonsense",
    "NONSENSE v+",
];

/// Steps of one sequence. It says at its start which protocol it speaks.
pub(crate) fn sequence(rng: &mut Rng, length: usize) -> Vec<Step> {
    let mut steps = opening(if rng.bool() { 2 } else { 3 });
    while steps.len() < length {
        let connection = rng.usize(..super::CONNECTIONS);
        match rng.u8(..40) {
            0..=3 => transaction(connection, rng, &mut steps),
            4 => {
                let (key, value) = (argument("k", rng), argument("v", rng));
                let short = rng.u8(1..8).to_string().into_bytes();
                let words = vec![b"SET".to_vec(), key, value, b"PX".to_vec(), short];
                steps.push(Step::Fleeting(connection, words));
            }
            _ => {
                let row = TABLE[rng.usize(..TABLE.len())];
                steps.push(Step::Command(connection, command(row, rng)));
            }
        }
    }
    steps
}

/// A row's command some times over, valid and not, with some keys there to meet.
pub(crate) fn row_alone(row: &str, protocol: u8, rng: &mut Rng) -> Vec<Step> {
    let mut steps = opening(protocol);
    for _ in 0..40 {
        steps.push(Step::Command(0, vec![b"SET".to_vec(), argument("k", rng), argument("v", rng)]));
        steps.push(Step::Command(0, command(row, rng)));
    }
    steps
}

fn opening(protocol: u8) -> Vec<Step> {
    let hello = vec![b"HELLO".to_vec(), protocol.to_string().into_bytes()];
    (0..super::CONNECTIONS).map(|connection| Step::Command(connection, hello.clone())).collect()
}

fn transaction(connection: usize, rng: &mut Rng, steps: &mut Vec<Step>) {
    let mut add = |row: &str, rng: &mut Rng| {
        steps.push(Step::Command(connection, command(row, rng)));
    };
    if rng.bool() {
        add("WATCH k+", rng);
    }
    add("MULTI", rng);
    for _ in 0..rng.usize(..6) {
        add(TABLE[rng.usize(..TABLE.len())], rng);
    }
    add(if rng.u8(..5) == 0 { "DISCARD" } else { "EXEC" }, rng);
}

/// The words of a row with arguments filled in; one in eight has something wrong with it.
fn command(row: &str, rng: &mut Rng) -> Words {
    let mut words = Vec::new();
    let mut rest = row;
    while !rest.is_empty() {
        rest = rest.trim_start();
        if let Some(inner) = rest.strip_prefix('[') {
            let (option, after) = inner.split_once(']').expect("a bracket is closed");
            if rng.bool() {
                choose(option, rng, &mut words);
            }
            rest = after;
        } else {
            let (token, after) = rest.split_once(' ').unwrap_or((rest, ""));
            choose(token, rng, &mut words);
            rest = after;
        }
    }
    if rng.u8(..8) == 0 {
        spoil(&mut words, rng);
    }
    if rng.u8(..4) == 0 {
        words[0].make_ascii_lowercase();
    }
    words
}

/// Takes one of the alternatives and fills in its arguments.
fn choose(option: &str, rng: &mut Rng, words: &mut Words) {
    let alternatives: Vec<&str> = option.split('|').collect();
    let chosen = alternatives[rng.usize(..alternatives.len())];
    for token in chosen.split(' ') {
        match token.strip_suffix('+') {
            Some(kinds) => {
                for _ in 0..rng.usize(1..=3) {
                    for kind in kinds.chars() {
                        words.push(argument(kind.encode_utf8(&mut [0; 4]), rng));
                    }
                }
            }
            None => words.push(argument(token, rng)),
        }
    }
}

/// Too few words, too many, or a strange one.
fn spoil(words: &mut Words, rng: &mut Rng) {
    let at = rng.usize(..words.len());
    // Never an empty one: as a key that is allowed in Redis only.
    let strange = [argument("v", rng), argument("k", rng)].concat();
    match rng.u8(..4) {
        0 if words.len() > 1 => {
            words.pop();
        }
        1 => words.push(strange),
        2 if at > 0 => words[at] = strange,
        _ => words.push(words[at].clone()),
    }
}

fn argument(kind: &str, rng: &mut Rng) -> Vec<u8> {
    const KEYS: &[&str] = &["a", "b", "c", "{t}1", "{t}2", "a key", "\u{e4}\r\n"];
    const VALUES: &[&str] = &[
        "0",
        "1",
        "-1",
        "10",
        "007",
        "-0",
        "+5",
        " 1",
        "1 ",
        "1.5",
        "3e3",
        "-2.50",
        "0x10",
        "nan",
        "inf",
        "abc",
        "",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "9223372036854775800",
        "ohmytext",
        "mynewtext",
        "3.0",
        "1e-5",
        "12345678901234567",
    ];
    const NUMBERS: &[&str] = &[
        "0",
        "1",
        "-1",
        "2",
        "3",
        "-3",
        "5",
        "10",
        "100",
        "-100",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "1.5",
        "x",
        "",
        "01",
        "-0",
    ];
    const OFFSETS: &[&str] = &["0", "1", "3", "10", "100", "-1", "536870912", "x"];
    const FLOATS: &[&str] = &[
        "1",
        "-1",
        "0.1",
        "1.5",
        "3.0e3",
        "5.0e-5",
        "-0.00001",
        "1e17",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "x",
        "",
        "0",
        "123456789.123456789",
        "1e-20",
    ];
    const SECONDS: &[&str] =
        &["100", "1000", "5000", "0", "-1", "x", "9223372036854775807", "9223372036854775", "1.5"];
    const GLOBS: &[&str] =
        &["*", "a*", "?", "[ab]", "[^a]", "[a-c]", "\\a", "{t}*", "x", "[", "a key", "**"];
    const NAMES: &[&str] = &["name", "two words", "", "n\u{e4}me"];
    let now = now_ms();
    let one = |from: &[&str], rng: &mut Rng| from[rng.usize(..from.len())].as_bytes().to_vec();
    match kind {
        "k" => one(KEYS, rng),
        "v" if rng.u8(..8) == 0 => (0..rng.usize(..200)).map(|_| rng.u8(..)).collect(),
        "v" => one(VALUES, rng),
        "i" => one(NUMBERS, rng),
        "o" => one(OFFSETS, rng),
        "f" => one(FLOATS, rng),
        "s" => one(SECONDS, rng),
        "ms" if rng.bool() => (100_000 + rng.u32(..100_000)).to_string().into_bytes(),
        "ms" => one(&["1000000", "0", "-1", "x", "9223372036854775807"], rng),
        "sa" if rng.bool() => (now / 1_000 + rng.i64(100..10_000)).to_string().into_bytes(),
        "sa" => one(&["1", "0", "-1", "x", "9223372036854775807"], rng),
        "msa" if rng.bool() => (now + rng.i64(100_000..10_000_000)).to_string().into_bytes(),
        "msa" => one(&["1", "0", "-1", "x", "9223372036854775807"], rng),
        "g" => one(GLOBS, rng),
        "d" => one(&["0", "1", "2", "15", "16", "-1"], rng),
        "n" => one(NAMES, rng),
        word => word.as_bytes().to_vec(),
    }
}
