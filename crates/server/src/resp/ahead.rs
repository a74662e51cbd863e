//! Which keys the commands of a pipeline will ask for, read off the bytes before they are parsed.
//!
//! What is found here is a guess that makes things faster and decides nothing: any command's
//! second word passes for a key, and whatever is not written as clients write it, or has not come
//! whole, ends the search.
//!
//! Does not know: commands, and what the parser accepts.

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
        }
    }
}
