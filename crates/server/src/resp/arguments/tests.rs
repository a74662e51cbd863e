//! Expected errors are those that Redis 7.0.15 gave to the same words.

use super::*;
use crate::resp::describe::Filter;
use crate::resp::inline;
use crate::resp::reply::Protocol;
use crate::resp::words::Words;
use shoal_core::update::{ExpireWhen, SetExpiry, When};
use shoal_core::version::Millis;

/// The time at which everything here happens.
const NOW: Millis = 1_700_000_000_000;

/// Reads `line` with `parse` and gives what came of it, errors as their text.
fn read<T>(
    line: &str,
    parse: impl FnOnce(Words<'_>) -> Result<T, ArgumentError>,
) -> Result<T, String> {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    inline::split(line.as_bytes(), &mut bytes, &mut spans).expect("balanced quotes");
    parse(Words::new(&bytes, &spans)).map_err(|error| error.to_string())
}

fn refused<T>(text: &str) -> Result<T, String> {
    Err(format!("ERR {text}"))
}

const SYNTAX: &str = "syntax error";
const NOT_INTEGER: &str = "value is not an integer or out of range";

#[test]
fn set_takes_the_options_that_redis_takes() {
    let plain = SetOptions { expiry: SetExpiry::Never, when: When::Always, get: false };
    let at = |at| SetOptions { expiry: SetExpiry::At(at), ..plain };
    for (line, expected) in [
        ("SET k v", plain),
        ("SET k v EX 10", at(NOW + 10_000)),
        ("SET k v px 10", at(NOW + 10)),
        ("SET k v EXAT 10", at(10_000)),
        ("SET k v PXAT 10", at(10)),
        ("SET k v PXAT 9223372036854775807", at(9_223_372_036_854_775_807)),
        ("SET k v EXAT 9223372036854775", at(9_223_372_036_854_775_000)),
        ("SET k v EX 10 EX 20", at(NOW + 20_000)),
        ("SET k v KEEPTTL", SetOptions { expiry: SetExpiry::Keep, ..plain }),
        ("SET k v NX", SetOptions { when: When::Absent, ..plain }),
        ("SET k v nx NX", SetOptions { when: When::Absent, ..plain }),
        ("SET k v XX GET", SetOptions { when: When::Present, get: true, ..plain }),
        ("SET k v NX GET", SetOptions { when: When::Absent, get: true, ..plain }),
        ("SET k v GET EX 1 XX", SetOptions { when: When::Present, get: true, ..at(NOW + 1000) }),
    ] {
        assert_eq!(read(line, |words| set(words, NOW)), Ok(expected), "{line}");
    }
    let invalid = "invalid expire time in 'set' command";
    for (line, expected) in [
        ("SET k v EX", SYNTAX),
        ("SET k v NX XX", SYNTAX),
        ("SET k v XX NX", SYNTAX),
        ("SET k v EX 10 PX 20", SYNTAX),
        ("SET k v KEEPTTL EX 10", SYNTAX),
        ("SET k v ex 10 get keepttl", SYNTAX),
        ("SET k v PERSIST", SYNTAX),
        ("SET k v foo", SYNTAX),
        ("SET k v EX abc foo", SYNTAX),
        ("SET k v EX abc", NOT_INTEGER),
        ("SET k v EX 0", invalid),
        ("SET k v EX -1", invalid),
        ("SET k v EX 9223372036854775807", invalid),
        ("SET k v PX 9223372036854775807", invalid),
        ("SET k v EXAT 9223372036854776", invalid),
    ] {
        assert_eq!(read(line, |words| set(words, NOW)), refused(expected), "{line}");
    }
}

#[test]
fn setex_and_getex_take_times() {
    let seconds = |line| read(line, |words| setex(words, TimeUnit::Seconds, NOW));
    let millis = |line| read(line, |words| setex(words, TimeUnit::Millis, NOW));
    assert_eq!(seconds("SETEX k 5 v"), Ok(NOW + 5000));
    assert_eq!(millis("PSETEX k 5 v"), Ok(NOW + 5));
    assert_eq!(seconds("SETEX k 0 v"), refused("invalid expire time in 'setex' command"));
    assert_eq!(millis("PSETEX k -5 v"), refused("invalid expire time in 'psetex' command"));
    assert_eq!(seconds("SETEX k abc v"), refused(NOT_INTEGER));

    let invalid = GetEx::Invalid(ArgumentError::ExpireTime("getex"));
    for (line, expected) in [
        ("GETEX k", Ok(GetEx::Keep)),
        ("GETEX k PERSIST", Ok(GetEx::Persist)),
        ("GETEX k EX 5", Ok(GetEx::At(NOW + 5000))),
        ("GETEX k PXAT 5", Ok(GetEx::At(5))),
        ("GETEX k EX 0", Ok(invalid)),
        ("GETEX k EX abc", Ok(GetEx::Invalid(ArgumentError::NotInteger))),
        ("GETEX k PERSIST EX 10", refused(SYNTAX)),
        ("GETEX k EX 10 PERSIST", refused(SYNTAX)),
        ("GETEX k NX", refused(SYNTAX)),
        ("GETEX k KEEPTTL", refused(SYNTAX)),
        ("GETEX k EX", refused(SYNTAX)),
    ] {
        assert_eq!(read(line, |words| getex(words, NOW)), expected, "{line}");
    }
}

#[test]
fn numbers_have_their_own_bounds() {
    assert_eq!(read("SETRANGE k 5 v", |words| offset(words.word(2))), Ok(5));
    let offset = |line| read(line, |words| offset(words.word(2)));
    assert_eq!(offset("SETRANGE k -1 v"), refused("offset is out of range"));
    assert_eq!(offset("SETRANGE k abc v"), refused(NOT_INTEGER));
    let decrement = |line| read(line, |words| decrement(words.word(2)));
    assert_eq!(decrement("DECRBY k 5"), Ok(-5));
    assert_eq!(decrement("DECRBY k -9223372036854775808"), refused("decrement would overflow"));
    assert_eq!(decrement("DECRBY k 5x"), refused(NOT_INTEGER));
    let database = |line| read(line, |words| database(words.word(1)));
    assert_eq!(database("SELECT 3"), Ok(3));
    assert_eq!(database("SELECT -1"), Ok(-1));
    assert_eq!(database("SELECT abc"), refused(NOT_INTEGER));
    let range = "value is out of range, value must between -2147483648 and 2147483647";
    assert_eq!(database("SELECT 2147483648"), refused(range));
}

#[test]
fn mset_wants_a_value_for_each_key() {
    let pairs = |line| {
        read(line, |words| {
            Ok(pairs(words, "mset")?
                .map(|(key, value)| [key, value].map(|word| word.escape_ascii().to_string()))
                .collect::<Vec<_>>())
        })
    };
    let pair = |key: &str, value: &str| [key.to_owned(), value.to_owned()];
    assert_eq!(pairs("MSET a 1 b 2"), Ok(vec![pair("a", "1"), pair("b", "2")]));
    assert_eq!(pairs("MSET a 1 b"), refused("wrong number of arguments for 'mset' command"));
}

#[test]
fn lcs_answers_one_way_or_the_other() {
    let plain = LcsOptions::default();
    for (line, expected) in [
        ("LCS a b", Ok(plain)),
        ("LCS a b LEN", Ok(LcsOptions { length: true, ..plain })),
        ("LCS a b WITHMATCHLEN", Ok(LcsOptions { with_lengths: true, ..plain })),
        ("LCS a b idx minmatchlen 4", Ok(LcsOptions { matches: true, shortest: 4, ..plain })),
        ("LCS a b IDX MINMATCHLEN -5", Ok(LcsOptions { matches: true, ..plain })),
        (
            "LCS a b LEN IDX",
            refused("If you want both the length and indexes, please just use IDX."),
        ),
        ("LCS a b MINMATCHLEN", refused(SYNTAX)),
        ("LCS a b MINMATCHLEN x", refused(NOT_INTEGER)),
        ("LCS a b FOO", refused(SYNTAX)),
    ] {
        assert_eq!(read(line, lcs), expected, "{line}");
    }
}

#[test]
fn expire_takes_any_time_that_can_be_written() {
    let always = ExpireWhen::default();
    for (line, unit, expected) in [
        ("EXPIRE k 10", TimeUnit::Seconds, (NOW + 10_000, always)),
        ("PEXPIRE k 10 nx", TimeUnit::Millis, (NOW + 10, ExpireWhen { none: true, ..always })),
        ("EXPIREAT k 10", TimeUnit::SecondsAt, (10_000, always)),
        ("PEXPIREAT k -5", TimeUnit::MillisAt, (0, always)),
        ("EXPIRE k -10", TimeUnit::Seconds, (NOW - 10_000, always)),
        ("PEXPIREAT k 9223372036854775807", TimeUnit::MillisAt, (i64::MAX as u64, always)),
        (
            "EXPIRE k 1 XX GT",
            TimeUnit::Seconds,
            (NOW + 1000, ExpireWhen { some: true, later: true, ..always }),
        ),
    ] {
        assert_eq!(read(line, |words| expire(words, unit, NOW)), Ok(expected), "{line}");
    }
    let (nx, gt) = (
        "NX and XX, GT or LT options at the same time are not compatible",
        "GT and LT options at the same time are not compatible",
    );
    for (line, unit, expected) in [
        ("EXPIRE k abc FOO", TimeUnit::Seconds, "Unsupported option FOO"),
        ("EXPIRE k abc", TimeUnit::Seconds, NOT_INTEGER),
        ("EXPIRE k 10 NX XX", TimeUnit::Seconds, nx),
        ("EXPIRE k 10 NX GT", TimeUnit::Seconds, nx),
        ("EXPIRE k abc GT LT", TimeUnit::Seconds, gt),
    ] {
        assert_eq!(read(line, |words| expire(words, unit, NOW)), refused(expected), "{line}");
    }
    for (line, unit) in [
        ("expire k 9223372036854775807", TimeUnit::Seconds),
        ("expire k -9223372036854775808", TimeUnit::Seconds),
        ("pexpire k 9223372036854775807", TimeUnit::Millis),
        ("expireat k 9223372036854776", TimeUnit::SecondsAt),
    ] {
        let command = line.split(' ').next().expect("a name");
        let expected = format!("invalid expire time in '{command}' command");
        assert_eq!(read(line, |words| expire(words, unit, NOW)), refused(&expected), "{line}");
    }
}

#[test]
fn scan_reads_cursors_as_c_does() {
    let cursor = |line| read(line, |words| Ok(scan(words)?.cursor));
    for (line, expected) in [
        ("SCAN 0", 0),
        ("SCAN 0007", 7),
        ("SCAN +5", 5),
        ("SCAN -1", u64::MAX),
        (r#"SCAN """#, 0),
        (r#"SCAN "3\x00a""#, 3),
        ("SCAN 18446744073709551615", u64::MAX),
    ] {
        assert_eq!(cursor(line), Ok(expected), "{line}");
    }
    for line in [r#"SCAN " 0""#, "SCAN 0x", "SCAN 18446744073709551616", "SCAN -", "SCAN x FOO"] {
        assert_eq!(cursor(line), refused("invalid cursor"), "{line}");
    }
}

#[test]
fn scan_takes_its_options_in_pairs() {
    let shape = |line| {
        read(line, |words| {
            let ScanOptions { count, pattern, kind, .. } = scan(words)?;
            let text = |word: Option<&[u8]>| word.map(|word| word.escape_ascii().to_string());
            Ok((count, text(pattern), text(kind)))
        })
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(shape("SCAN 0"), Ok((10, None, None)));
    assert_eq!(shape("SCAN 0 MATCH *"), Ok((10, None, None)));
    assert_eq!(shape("SCAN 0 count 5 MATCH a* TYPE nope"), Ok((5, some("a*"), some("nope"))));
    assert_eq!(shape("SCAN 0 COUNT abc"), refused(NOT_INTEGER));
    for line in ["SCAN 0 COUNT 0", "SCAN 0 COUNT -1", "SCAN 0 MATCH", "SCAN 0 FOO 1"] {
        assert_eq!(shape(line), refused(SYNTAX), "{line}");
    }
}

#[test]
fn copy_swapdb_and_flush_take_what_redis_takes() {
    let none = CopyOptions::default();
    for (line, expected) in [
        ("COPY a b", Ok(none)),
        ("COPY a b DB 3 replace", Ok(CopyOptions { database: Some(3), replace: true })),
        ("COPY a b DB -1", refused("DB index is out of range")),
        ("COPY a b DB 16 FOO", refused("DB index is out of range")),
        ("COPY a b FOO DB 16", refused(SYNTAX)),
        ("COPY a b DB abc", refused(NOT_INTEGER)),
        ("COPY a b DB", refused(SYNTAX)),
        ("COPY a b FOO", refused(SYNTAX)),
    ] {
        assert_eq!(
            read(line, |words| copy(words, |number| (0..16).contains(&number))),
            expected,
            "{line}"
        );
    }
    assert_eq!(read("SWAPDB 0 1", swapdb), Ok((0, 1)));
    assert_eq!(read("SWAPDB a 1", swapdb), refused("invalid first DB index"));
    assert_eq!(read("SWAPDB 1 b", swapdb), refused("invalid second DB index"));
    for line in ["FLUSHALL", "FLUSHDB async", "FLUSHALL SYNC"] {
        assert_eq!(read(line, flush), Ok(()), "{line}");
    }
    for line in ["FLUSHALL foo", "FLUSHDB ASYNC SYNC"] {
        assert_eq!(read(line, flush), refused(SYNTAX), "{line}");
    }
}

#[test]
fn hello_introduces_itself() {
    let check = |line, expected: Result<(Option<Protocol>, bool, Option<&str>), &str>| {
        let found = read(line, |words| {
            let mut name = None;
            let hello = hello(words, |user| user == b"default", &mut name)?;
            let known = hello.credentials == Some((b"default", b"secret"));
            Ok((hello.protocol, known, name))
        });
        let expected = expected
            .map(|(protocol, known, name)| (protocol, known, name.map(str::to_owned)))
            .map_err(str::to_owned);
        assert_eq!(found, expected, "{line}");
    };
    check("HELLO", Ok((None, false, None)));
    check("HELLO 2", Ok((Some(Protocol::Resp2), false, None)));
    check(
        "HELLO 3 AUTH default secret SETNAME app",
        Ok((Some(Protocol::Resp3), true, Some("app"))),
    );
    check(
        "HELLO 2 AUTH no x FOO",
        Err("WRONGPASS invalid username-password pair or user is disabled."),
    );
    check("HELLO abc", Err("ERR Protocol version is not an integer or out of range"));
    check("HELLO 4", Err("NOPROTO unsupported protocol version"));
    check("HELLO 2 FOO", Err("ERR Syntax error in HELLO option 'FOO'"));
    check("HELLO 2 AUTH a", Err("ERR Syntax error in HELLO option 'AUTH'"));
    let name = "ERR Client names cannot contain spaces, newlines or special characters.";
    check(r#"HELLO 2 SETNAME "a b""#, Err(name));
}

#[test]
fn what_clients_are_called_fits_a_line() {
    let name = |line| read(line, |words| client_name(words.word(2)));
    assert_eq!(name("CLIENT SETNAME app"), Ok("app".to_owned()));
    assert_eq!(name(r#"CLIENT SETNAME """#), Ok(String::new()));
    let bad = "Client names cannot contain spaces, newlines or special characters.";
    for line in [r#"CLIENT SETNAME "a b""#, r#"CLIENT SETNAME "\n""#, r#"CLIENT SETNAME "\xff""#] {
        assert_eq!(name(line), refused(bad), "{line}");
    }
    assert_eq!(
        read("CLIENT SETINFO lib-name redis-py", client_setinfo),
        Ok((ClientInfoField::LibraryName, "redis-py".to_owned()))
    );
    assert_eq!(
        read("CLIENT SETINFO LIB-VER 1.2", client_setinfo),
        Ok((ClientInfoField::LibraryVersion, "1.2".to_owned()))
    );
    let bad = "lib-name cannot contain spaces, newlines or special characters.";
    assert_eq!(read(r#"CLIENT SETINFO lib-name "a b""#, client_setinfo), refused(bad));
    assert_eq!(read("CLIENT SETINFO lib x", client_setinfo), refused("Unrecognized option 'lib'"));
    assert_eq!(on_or_off(b"On"), Ok(true));
    assert_eq!(on_or_off(b"OFF"), Ok(false));
    assert_eq!(on_or_off(b"maybe"), Err(ArgumentError::Syntax));
}

#[test]
fn clients_are_listed_by_kind_or_number() {
    for (line, expected) in [
        ("CLIENT LIST", Ok(ClientFilter::All)),
        ("CLIENT LIST TYPE normal", Ok(ClientFilter::Normal)),
        ("CLIENT LIST type PUBSUB", Ok(ClientFilter::None)),
        ("CLIENT LIST ID 1 2", Ok(ClientFilter::Ids(vec![1, 2]))),
        ("CLIENT LIST TYPE foo", refused("Unknown client type 'foo'")),
        ("CLIENT LIST TYPE normal x", refused(SYNTAX)),
        ("CLIENT LIST ID", refused(SYNTAX)),
        ("CLIENT LIST ID abc", refused("Invalid client ID")),
        ("CLIENT LIST FOO", refused(SYNTAX)),
    ] {
        assert_eq!(read(line, client_list), expected, "{line}");
    }
}

#[test]
fn clients_are_closed_by_what_they_are() {
    let all = ClientKill {
        id: None,
        address: None,
        local_address: None,
        user: None,
        kind: None,
        skip_me: true,
        old_form: false,
    };
    let address = Some("1.2.3.4:5".to_owned());
    for (line, expected) in [
        (
            "CLIENT KILL 1.2.3.4:5",
            Ok(ClientKill {
                address: address.clone(),
                skip_me: false,
                old_form: true,
                ..all.clone()
            }),
        ),
        ("CLIENT KILL ADDR 1.2.3.4:5", Ok(ClientKill { address, ..all.clone() })),
        (
            "CLIENT KILL ID 5 TYPE slave SKIPME no",
            Ok(ClientKill {
                id: Some(5),
                kind: Some(ClientKind::Replica),
                skip_me: false,
                ..all.clone()
            }),
        ),
        ("CLIENT KILL USER default SKIPME yes", {
            Ok(ClientKill { user: Some("default".to_owned()), ..all })
        }),
        ("CLIENT KILL ID 0", refused("client-id should be greater than 0")),
        ("CLIENT KILL ID abc", refused("client-id should be greater than 0")),
        ("CLIENT KILL TYPE foo", refused("Unknown client type 'foo'")),
        ("CLIENT KILL SKIPME maybe", refused(SYNTAX)),
        ("CLIENT KILL FOO bar", refused(SYNTAX)),
        ("CLIENT KILL ID 99999 ADDR", refused(SYNTAX)),
    ] {
        assert_eq!(read(line, client_kill), expected, "{line}");
    }
}

#[test]
fn the_server_is_asked_as_redis_is() {
    let filter = |line| {
        read(line, |words| {
            Ok(match command_list(words)? {
                Filter::All => "all",
                Filter::Module => "module",
                Filter::Category(_) => "category",
                Filter::Pattern(_) => "pattern",
            })
        })
    };
    assert_eq!(filter("COMMAND LIST"), Ok("all"));
    assert_eq!(filter("COMMAND LIST filterby ACLCAT x"), Ok("category"));
    assert_eq!(filter("COMMAND LIST FILTERBY PATTERN x"), Ok("pattern"));
    assert_eq!(filter("COMMAND LIST FILTERBY MODULE x"), Ok("module"));
    for line in ["COMMAND LIST FILTERBY X m", "COMMAND LIST FILTERBY MODULE", "COMMAND LIST X y z"]
    {
        assert_eq!(filter(line), refused(SYNTAX), "{line}");
    }

    assert_eq!(read("WAIT 1 100", wait), Ok((1, 100)));
    assert_eq!(read("WAIT -1 1", wait), Ok((-1, 1)));
    assert_eq!(read("WAIT abc 0", wait), refused(NOT_INTEGER));
    assert_eq!(read("WAIT 0 1.5", wait), refused("timeout is not an integer or out of range"));
    assert_eq!(read("WAIT 0 -1", wait), refused("timeout is negative"));

    assert_eq!(read("BGSAVE schedule", bgsave), Ok(()));
    assert_eq!(read("BGSAVE foo", bgsave), refused(SYNTAX));
    assert_eq!(read("BGSAVE SCHEDULE foo", bgsave), refused(SYNTAX));

    assert_eq!(read("MEMORY USAGE k", memory_usage), Ok(()));
    assert_eq!(read("MEMORY USAGE k SAMPLES 0", memory_usage), Ok(()));
    assert_eq!(read("MEMORY USAGE k SAMPLES abc", memory_usage), refused(NOT_INTEGER));
    for line in ["MEMORY USAGE k SAMPLES", "MEMORY USAGE k SAMPLES -1", "MEMORY USAGE k foo"] {
        assert_eq!(read(line, memory_usage), refused(SYNTAX), "{line}");
    }

    let count = "count should be greater than or equal to -1";
    assert_eq!(read("SLOWLOG GET", slowlog_get), Ok(10));
    assert_eq!(read("SLOWLOG GET -1", slowlog_get), Ok(u64::MAX));
    assert_eq!(read("SLOWLOG GET -2", slowlog_get), refused(count));
    assert_eq!(read("SLOWLOG GET abc", slowlog_get), refused(count));
    assert_eq!(
        read("SLOWLOG GET 1 2", slowlog_get),
        refused("unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.")
    );
}
