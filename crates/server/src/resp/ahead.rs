//! Which keys the commands of a pipeline will ask for, read off the bytes before they are parsed.
//!
//! Reads that are found are a guess that makes things faster and decides nothing: any command's
//! second word passes for a key, and whatever is not written as clients write it, or has not come
//! whole, ends the search.
//!
//! Holds: SETs that are found are those that the parser finds, since it is a parser that looks:
//! they are begun before their turn.
//!
//! Does not know: commands.

use super::frame::{Limits, Parser, Step};

/// SETs of so many bytes are found together: they are copied to be sent.
const SET_AHEAD_BYTES: usize = 1 << 20;

/// The commands looked at have this many words at most, so that looking costs little.
const WORDS: usize = 8;

/// The second words of the commands at the start of some bytes.
pub(super) struct KeysAhead<'a> {
    /// Where the next command begins.
    rest: &'a [u8],
}

impl<'a> KeysAhead<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are not looked at yet.
    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for KeysAhead<'a> {
    type Item = &'a [u8];

    /// The next command's key; of a command without one, nothing.
    fn next(&mut self) -> Option<&'a [u8]> {
        let (words, mut rest) = header(self.rest, b'*')?;
        if words > WORDS {
            return None;
        }
        let mut key = None;
        for index in 0..words {
            let (length, bytes) = header(rest, b'$')?;
            if index == 1 {
                key = bytes.get(..length);
            }
            rest = bytes.get(length + 2..)?;
        }
        self.rest = rest;
        key.or(Some(&[]))
    }
}

/// The keys of the plain GETs that `bytes` begin with, how many there are, and how long they are.
pub(super) fn gets_ahead<const MOST: usize>(bytes: &[u8]) -> ([&[u8]; MOST], usize, usize) {
    let (mut keys, mut count, mut rest): ([&[u8]; MOST], _, _) = ([&[]; MOST], 0, bytes);
    while count < MOST
        && let Some((key, after)) = get_ahead(rest)
    {
        keys[count] = key;
        count += 1;
        rest = after;
    }
    (keys, count, bytes.len() - rest.len())
}

/// The key of the GET at the start of `bytes`, and what follows it.
fn get_ahead(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (2, rest) = header(bytes, b'*')? else { return None };
    let (3, rest) = header(rest, b'$')? else { return None };
    if !rest.get(..3)?.eq_ignore_ascii_case(b"get") {
        return None;
    }
    let (length, rest) = header(rest.get(5..)?, b'$')?;
    Some((rest.get(..length)?, rest.get(length + 2..)?))
}

/// A key, and the value to be stored under it.
pub(super) type Pair<'a> = (&'a [u8], &'a [u8]);

/// The keys and values of the plain SETs that `bytes` begin with, each of another key, how many
/// there are, and how long they are; none beyond [`SET_AHEAD_BYTES`] but the first.
pub(super) fn sets_ahead<const MOST: usize>(
    bytes: &[u8],
    limits: Limits,
) -> ([Pair<'_>; MOST], usize, usize) {
    let (mut pairs, mut count, mut rest): ([Pair<'_>; MOST], _, _) = ([(&[], &[]); MOST], 0, bytes);
    let mut parser = Parser::new(limits);
    while count < MOST
        && let Some((pair, after)) = set_ahead(&mut parser, rest)
        && (count == 0 || bytes.len() - after.len() <= SET_AHEAD_BYTES)
        && pairs[..count].iter().all(|(key, _)| *key != pair.0)
    {
        pairs[count] = pair;
        count += 1;
        rest = after;
    }
    (pairs, count, bytes.len() - rest.len())
}

/// The SET without options at the start of `bytes`, and what follows it.
fn set_ahead<'a>(parser: &mut Parser, bytes: &'a [u8]) -> Option<(Pair<'a>, &'a [u8])> {
    if !bytes.starts_with(b"*3\r\n") {
        return None;
    }
    let Ok(Step::Command { consumed }) = parser.next(bytes) else { return None };
    let words = parser.words(bytes);
    if !words.word(0).eq_ignore_ascii_case(b"set") {
        return None;
    }
    Some(((&bytes[words.range(1)?], &bytes[words.range(2)?]), &bytes[consumed..]))
}

/// The number after `sign` at the start of `bytes`, and what follows its line.
fn header(bytes: &[u8], sign: u8) -> Option<(usize, &[u8])> {
    let digits = bytes.strip_prefix(&[sign])?;
    let mut value = 0;
    for (index, byte) in digits.iter().enumerate().take(8) {
        match byte {
            b'0'..=b'9' => value = value * 10 + usize::from(byte - b'0'),
            b'\r' if index > 0 => return Some((value, digits.get(index + 2..)?)),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
        let mut ahead = KeysAhead::new(bytes);
        let keys = ahead.by_ref().collect();
        (keys, ahead.left())
    }

    #[test]
    fn the_second_words_of_whole_commands_are_found() {
        let set = b"*3\r\n$3\r\nSET\r\n$2\r\nk1\r\n$1\r\nv\r\n";
        let ping = b"*1\r\n$4\r\nPING\r\n";
        let get = b"*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n";
        let all = [&set[..], ping, get, &set[..set.len() - 1]].concat();
        assert_eq!(keys(&all), (vec![&b"k1"[..], b"", b"0123456789"], set.len() - 1));
    }

    #[test]
    fn a_run_of_reads_is_found_and_nothing_beyond_it() {
        let get = b"*2\r\n$3\r\nget\r\n$2\r\nk1\r\n";
        let set = b"*3\r\n$3\r\nSET\r\n$2\r\nk1\r\n$1\r\nv\r\n";
        let all = [&get[..], get, set, get].concat();
        let (keys, count, length) = gets_ahead::<4>(&all);
        assert_eq!((&keys[..count], length), (&[&b"k1"[..], b"k1"][..], 2 * get.len()));
        let (_, count, length) = gets_ahead::<1>(&all);
        assert_eq!((count, length), (1, get.len()), "no more than are asked for");
        let (_, count, length) = gets_ahead::<4>(&get[..get.len() - 1]);
        assert_eq!((count, length), (0, 0), "it has not come whole");
        let (_, count, _) = gets_ahead::<4>(b"*2\r\n$3\r\nDEL\r\n$2\r\nk1\r\n");
        assert_eq!(count, 0);
    }

    /// The SETs found, and how long they are.
    fn sets<const MOST: usize>(bytes: &[u8], limits: Limits) -> (Vec<Pair<'_>>, usize) {
        let (pairs, count, length) = sets_ahead::<MOST>(bytes, limits);
        (pairs[..count].to_vec(), length)
    }

    fn set(key: &str, value: &str) -> Vec<u8> {
        let (k, v) = (key.len(), value.len());
        format!("*3\r\n$3\r\nSet\r\n${k}\r\n{key}\r\n${v}\r\n{value}\r\n").into_bytes()
    }

    #[test]
    fn a_run_of_plain_writes_of_different_keys_is_found() {
        let any = Limits::default();
        let get = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".to_vec();
        let run = [set("a", "1"), set("b", ""), set("a", "2"), get.clone()].concat();
        let (pairs, length) = sets::<8>(&run, any);
        assert_eq!(pairs, [(&b"a"[..], &b"1"[..]), (b"b", b"")], "one key once");
        let (pairs, _) = sets::<8>(&run[length..], any);
        assert_eq!(pairs, [(&b"a"[..], &b"2"[..])], "and nothing beyond writes");
        assert_eq!(sets::<1>(&run, any).0.len(), 1, "no more than are asked for");
        assert_eq!(sets::<8>(&get, any).0, []);
        let long = "v".repeat(SET_AHEAD_BYTES);
        let run = [set("a", &long), set("b", &long), set("c", "1")].concat();
        assert_eq!(sets::<8>(&run, any).0.len(), 1, "and no more than are copied at a time");
        for bytes in [
            &b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r"[..],
            b"*3\r\n$3\r\nSET\r\n$01\r\na\r\n$1\r\n1\r\n",
            b"*3\r\n$3\r\nSET\r\n$-1\r\na\r\n$1\r\n1\r\n",
            b"*3\rx$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n",
            b"*4\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n$2\r\nNX\r\n",
            b"*3\r\n$5\r\nSETNX\r\n$1\r\na\r\n$1\r\n1\r\n",
            b"SET a 1\r\n",
        ] {
            assert_eq!(sets::<8>(bytes, any).0, [], "{bytes:?}");
        }
    }

    #[test]
    fn a_write_that_is_refused_for_its_length_is_not_found() {
        let run = [set("a", "1"), set("long", "1"), set("b", "2")].concat();
        let short = Limits { bulk_bytes: 3, ..Limits::default() };
        assert_eq!(sets::<8>(&run, short).0, [(&b"a"[..], &b"1"[..])]);
        let command_bytes = u32::try_from(set("a", "1").len()).expect("a few bytes");
        let short = Limits { command_bytes, ..Limits::default() };
        assert_eq!(sets::<8>(&run, short).0, [(&b"a"[..], &b"1"[..])]);
    }

    #[test]
    fn what_is_not_plain_ends_the_search() {
        for bytes in [
            &b"GET key\r\n"[..],
            b"*-1\r\n",
            b"*\r\n",
            b"*2\r\n+GET\r\n$1\r\nk\r\n",
            b"*2\r\n$3\r\nGET\r\n$-1\r\nk\r\n",
            b"*9\r\n$1\r\nk\r\n",
            b"*123456789\r\n",
            b"*2\r\n$3\r\nGET\r\n$99999999\r\nk\r\n",
        ] {
            assert_eq!(keys(bytes), (vec![], bytes.len()));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_lead_it_astray(bytes in proptest::collection::vec(prop_oneof![
            Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), b'0'..=b'9', any::<u8>(),
        ], 0..200)) {
            let (found, left) = keys(&bytes);
            prop_assert!(found.iter().map(|key| key.len()).sum::<usize>() <= bytes.len());
            prop_assert!(left <= bytes.len());
            prop_assert!(sets::<4>(&bytes, Limits::default()).1 <= bytes.len());
        }
    }
}
