//! Requests cut at every byte, malformed ones, and another parser as the oracle.

use super::*;
use proptest::prelude::*;
use redis_protocol::resp2::{decode, types::OwnedFrame};

type Command = Vec<Vec<u8>>;

/// Feeds `input` in pieces of `piece` bytes, dropping what was consumed as a session would.
fn parse(
    parser: &mut Parser,
    input: &[u8],
    piece: usize,
) -> (Vec<Command>, Result<(), ProtocolError>) {
    let mut commands = Vec::new();
    let mut buf = Vec::new();
    for chunk in input.chunks(piece.max(1)) {
        buf.extend_from_slice(chunk);
        loop {
            match parser.next(&buf) {
                Ok(Step::Command { consumed }) => {
                    commands.push(parser.words(&buf).iter().map(<[u8]>::to_vec).collect());
                    buf.drain(..consumed);
                }
                Ok(Step::Blank { consumed }) => drop(buf.drain(..consumed)),
                Ok(Step::More { at_least }) => {
                    assert!(at_least > 0);
                    break;
                }
                Err(error) => {
                    assert_eq!(parser.next(&buf), Err(error), "an error stays");
                    return (commands, Err(error));
                }
            }
        }
    }
    (commands, Ok(()))
}

fn check(input: &[u8], commands: &[&[&str]], end: Result<(), &str>) {
    for piece in [1, 2, 3, input.len()] {
        let (found, result) = parse(&mut Parser::default(), input, piece);
        let found: Vec<Vec<String>> = found
            .iter()
            .map(|command| command.iter().map(|word| word.escape_ascii().to_string()).collect())
            .collect();
        assert_eq!(found, commands, "{} by {piece}", input.escape_ascii());
        let result = result.map_err(|error| error.to_string());
        assert_eq!(result, end.map_err(|text| format!("ERR Protocol error: {text}")));
    }
}

#[test]
fn arrays_and_lines_are_commands() {
    check(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", &[&["GET", "k"]], Ok(()));
    check(b"*1\r\n$0\r\n\r\nPING\r\nPING a\n", &[&[""], &["PING"], &["PING", "a"]], Ok(()));
    check(b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n", &[&["ECHO", r"\r\n\r\n"]], Ok(()));
    check(b"set k \"a\\r b\"\r\nget 'k'\r\n", &[&["set", "k", r"a\r b"], &["get", "k"]], Ok(()));
    check(b"\r\n\n  \r\n*0\r\n*-1\r\n*-99\r\nPING\r\n", &[&["PING"]], Ok(()));
    check(b"*1\r\n$4\r\nPI", &[], Ok(()));
}

#[test]
fn leniencies_are_those_of_redis() {
    // Neither the byte after a header's carriage return nor the two after a bulk are looked at.
    check(b"*1\rX$4\rYPINGzz*1\r\n$4\r\nPING\r\n", &[&["PING"], &["PING"]], Ok(()));
    check(b"\r\rPING\r\n", &[&["PING"]], Ok(()));
}

#[test]
fn malformed_requests_get_the_words_of_redis() {
    for count in ["a", "1a", "", "01", "+1", " 1", "2147483648", "1048577", "9223372036854775808"] {
        let input = format!("PING\r\n*{count}\r\n$4\r\nPING\r\n");
        check(input.as_bytes(), &[&["PING"]], Err("invalid multibulk length"));
    }
    for length in ["a", "", "-1", "-2", "8388609", "2147483648", "00", "4 "] {
        let input = format!("*1\r\n${length}\r\n");
        check(input.as_bytes(), &[], Err("invalid bulk length"));
    }
    check(b"*1\r\n:1\r\n", &[], Err("expected '$', got ':'"));
    check(b"*1\r\n*1\r\n$4\r\nPING\r\n", &[], Err("expected '$', got '*'"));
    check(b"*1\r\n\r\n", &[], Err("expected '$', got ' '"));
    check(b"*1\r\n\n\r\n", &[], Err("expected '$', got ' '"));
    check(b"*1\r\n\xFF1\r\n", &[], Err("expected '$', got '?'"));
    check(b"get \"k\r\n", &[], Err("unbalanced quotes in request"));
    check(b"get 'k'k\r\n", &[], Err("unbalanced quotes in request"));
}

#[test]
fn the_greatest_counts_and_lengths_are_taken_at_their_word_only() {
    let mut parser = Parser::default();
    let header = b"*1048576\r\n$8388608\r\n";
    assert_eq!(parser.next(header), Ok(Step::More { at_least: 8_388_610 }));
    assert!(parser.spans.capacity() <= 4, "nothing is reserved for words that have not come");
    assert!(!matches!(parser.stage, Stage::Start));
}

#[test]
fn lines_end_within_64_kib() {
    let long = |prefix: &str, fill: usize, end: &str| {
        let mut line = prefix.as_bytes().to_vec();
        line.resize(fill, b'1');
        line.extend_from_slice(end.as_bytes());
        line
    };
    for piece in [1000, 65_536, 65_537, 200_000] {
        let end = |input: &[u8]| parse(&mut Parser::default(), input, piece).1;
        assert_eq!(end(&long("P", MAX_LINE_BYTES, "\n")), Ok(()));
        assert_eq!(end(&long("P", MAX_LINE_BYTES + 1, "\n")), Err(ProtocolError::LongInline));
        assert_eq!(end(&long("P", MAX_LINE_BYTES + 1, "")), Err(ProtocolError::LongInline));
        assert_eq!(end(&long("*", MAX_LINE_BYTES, "")), Ok(()));
        assert_eq!(end(&long("*", MAX_LINE_BYTES, "\r\n")), Err(ProtocolError::BadCount));
        assert_eq!(end(&long("*", MAX_LINE_BYTES + 1, "")), Err(ProtocolError::LongCountLine));
        assert_eq!(end(&long("*1\r\n$", MAX_LINE_BYTES + 4, "")), Ok(()));
        assert_eq!(end(&long("*1\r\n$", MAX_LINE_BYTES + 5, "")), Err(ProtocolError::LongBulkLine));
    }
}

#[test]
fn a_command_is_bounded_as_a_whole() {
    let limits = Limits { bulk_bytes: 100, command_bytes: 120, ..Limits::default() };
    let end = |input: &str| parse(&mut Parser::new(limits), input.as_bytes(), 1000).1;
    let word = "x".repeat(100);
    assert_eq!(end(&format!("*2\r\n$100\r\n{word}\r\n$1\r\nx\r\n")), Ok(()));
    assert_eq!(
        end(&format!("*2\r\n$100\r\n{word}\r\n$3\r\nxxx\r\n")),
        Err(ProtocolError::LongCommand)
    );
}

#[test]
fn a_slow_giant_is_searched_once() {
    // By the byte, a header of 64 KiB that never ends: the search goes on where it stopped.
    let mut parser = Parser::default();
    let input = [b"*".as_slice(), &[b'1'; 1000]].concat();
    for end in 1..=input.len() {
        assert_eq!(parser.next(&input[..end]), Ok(Step::More { at_least: 1 }));
        assert_eq!(parser.searched, end);
    }
    // A giant value costs one look at its length per read.
    let mut parser = Parser::default();
    let mut buf = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8388608\r\n".to_vec();
    let head = buf.len();
    while buf.len() < head + 8_388_610 {
        assert!(matches!(parser.next(&buf), Ok(Step::More { .. })));
        assert_eq!((parser.at, parser.spans.len()), (head, 2));
        buf.resize((buf.len() + 16_384).min(head + 8_388_610), b'v');
    }
    assert_eq!(parser.next(&buf), Ok(Step::Command { consumed: buf.len() }));
    assert_eq!(parser.words(&buf).word(2).len(), 8_388_608);
}

#[test]
fn room_taken_by_a_giant_is_given_back() {
    let mut parser = Parser::default();
    let giant = [b"*50000\r\n".to_vec(), b"$1\r\nk\r\n".repeat(50_000)].concat();
    let (commands, _) = parse(&mut parser, &giant, giant.len());
    assert_eq!(commands[0].len(), 50_000);
    let (commands, _) = parse(&mut parser, b"PING\r\n", 6);
    assert_eq!(commands.len(), 1);
    assert!(parser.spans.capacity() <= KEPT_WORDS);
}

fn encode(command: &Command) -> Vec<u8> {
    let mut out = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// What the `redis-protocol` crate makes of the same bytes.
fn oracle(mut input: &[u8]) -> Vec<Command> {
    let mut commands = Vec::new();
    while let Some((frame, taken)) = decode::decode(input).expect("valid frames") {
        let OwnedFrame::Array(words) = frame else { panic!("not an array") };
        let word = |frame| match frame {
            OwnedFrame::BulkString(bytes) => bytes,
            other => panic!("not a bulk string: {other:?}"),
        };
        commands.push(words.into_iter().map(word).collect());
        input = &input[taken..];
    }
    commands
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let word = proptest::collection::vec(any::<u8>(), 0..40);
    proptest::collection::vec(proptest::collection::vec(word, 1..6), 1..6)
}

/// Bytes that look like the protocol often enough to get deep into it.
fn protocol_noise() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"*1\r\n".to_vec()),
        Just(b"*2\r\n".to_vec()),
        Just(b"*-1\r\n".to_vec()),
        Just(b"$4\r\nPING\r\n".to_vec()),
        Just(b"$0\r\n\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\"a b\" 'c' \"\\x41\"\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
        "[*$0-9\r\n'\" a\\\\x-]{0,12}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn every_way_of_cutting_gives_the_same_commands(commands in commands()) {
        let input: Vec<u8> = commands.iter().flat_map(encode).collect();
        prop_assert_eq!(&oracle(&input), &commands);
        for piece in [1, 2, 5, 16, input.len()] {
            let (found, end) = parse(&mut Parser::default(), &input, piece);
            prop_assert_eq!(&found, &commands);
            prop_assert_eq!(end, Ok(()));
        }
        for cut in 0..input.len() {
            let mut parser = Parser::default();
            let mut buf = input[..cut].to_vec();
            let mut found: Vec<Command> = Vec::new();
            let mut taken = 0;
            for _ in 0..2 {
                while let Ok(Step::Command { consumed }) = parser.next(&buf[taken..]) {
                    let words = parser.words(&buf[taken..]);
                    found.push(words.iter().map(<[u8]>::to_vec).collect());
                    taken += consumed;
                }
                buf = input.clone();
            }
            prop_assert_eq!(&found, &commands, "cut at {}", cut);
        }
    }

    #[test]
    fn noise_never_panics_and_means_the_same_however_cut(input in protocol_noise()) {
        let whole = parse(&mut Parser::default(), &input, input.len());
        for piece in [1, 2, 3, 7] {
            prop_assert_eq!(&parse(&mut Parser::default(), &input, piece), &whole);
        }
    }

    #[test]
    fn random_bytes_never_panic(input in proptest::collection::vec(any::<u8>(), 0..400)) {
        let whole = parse(&mut Parser::default(), &input, input.len());
        prop_assert_eq!(&parse(&mut Parser::default(), &input, 1), &whole);
    }
}
