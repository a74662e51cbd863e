//! Replies of the Redis protocol, versions 2 and 3, read from a blocking stream.
//!
//! Holds: nothing is allocated on the word of a length header; lines, strings, nesting and the
//! number of elements are bounded, and whatever is malformed is named.
//! Does not know: commands, sockets.

use std::io::{self, BufRead, Read};

/// The longest line before its line end, in bytes.
const MAX_LINE: u64 = 64 * 1024;
/// The longest string, in bytes; the protocol's own ceiling.
const MAX_STRING: u64 = 512 * 1024 * 1024;
/// How deep arrays may nest.
const MAX_DEPTH: u32 = 32;
/// How many values one reply may hold; 64 M keys of a `KEYS *`.
const MAX_VALUES: u64 = 64 * 1024 * 1024;
/// Room reserved ahead for an array, in elements; more only when they arrive.
const RESERVED: u64 = 256;

/// One reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// `+OK`.
    Status(Vec<u8>),
    /// `-ERR …`, or a bulk error of version 3.
    Error(Vec<u8>),
    /// `:1`.
    Integer(i64),
    /// A string of any bytes; verbatim strings lose their format prefix.
    Bulk(Vec<u8>),
    /// Nothing, in any of the three spellings.
    Nil,
    /// A list.
    Array(Vec<Reply>),
    /// A version 3 set.
    Set(Vec<Reply>),
    /// Pairs of a version 3 map.
    Map(Vec<(Reply, Reply)>),
    /// A number with a fraction, as written.
    Double(Vec<u8>),
    /// True or false.
    Boolean(bool),
    /// An integer of any size, as written.
    BigNumber(Vec<u8>),
    /// A message nobody asked for.
    Push(Vec<Reply>),
}

/// Why no reply could be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The stream failed or ended.
    Io(io::Error),
    /// The bytes are no reply, or pass a limit.
    Malformed(String),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Reply {
    /// Reads one reply, however it arrives.
    pub(crate) fn read(from: &mut impl BufRead) -> Result<Self, ReadError> {
        Reader { from, values: 0, line: Vec::new() }.value(0)
    }

    /// Whether it is an error.
    pub(crate) const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// The bytes of a status, string or number written as text.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Status(b) | Self::Bulk(b) | Self::Double(b) | Self::BigNumber(b) => Some(b),
            _ => None,
        }
    }

    /// The elements of a list, set or push.
    pub(crate) fn elements(self) -> Option<Vec<Self>> {
        match self {
            Self::Array(all) | Self::Set(all) | Self::Push(all) => Some(all),
            _ => None,
        }
    }

    /// The value under `name` in a map, or in the flat list that version 2 makes of one.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        let named =
            |key: &Self| key.text().is_some_and(|t| t.eq_ignore_ascii_case(name.as_bytes()));
        match self {
            Self::Map(pairs) => pairs.iter().find(|(key, _)| named(key)).map(|(_, value)| value),
            Self::Array(flat) => {
                flat.chunks_exact(2).find(|pair| named(&pair[0])).map(|pair| &pair[1])
            }
            _ => None,
        }
    }
}

struct Reader<'a, R> {
    from: &'a mut R,
    values: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Reader<'_, R> {
    fn value(&mut self, depth: u32) -> Result<Reply, ReadError> {
        if depth > MAX_DEPTH {
            return malformed(format!("it nests deeper than {MAX_DEPTH}"));
        }
        loop {
            self.values += 1;
            if self.values > MAX_VALUES {
                return malformed(format!("it holds more than {MAX_VALUES} values"));
            }
            let kind = self.read_line()?;
            // An attribute is a map that says something about the value after it.
            if kind == b'|' {
                self.pairs(depth)?;
                continue;
            }
            return self.body(kind, depth);
        }
    }

    fn body(&mut self, kind: u8, depth: u32) -> Result<Reply, ReadError> {
        Ok(match kind {
            b'+' => Reply::Status(self.line.clone()),
            b'-' => Reply::Error(self.line.clone()),
            b':' => Reply::Integer(self.number()?),
            b'$' => self.string()?.map_or(Reply::Nil, Reply::Bulk),
            b'*' => self.list(depth)?.map_or(Reply::Nil, Reply::Array),
            b'_' if self.line.is_empty() => Reply::Nil,
            b',' if is_double(&self.line) => Reply::Double(self.line.clone()),
            b'#' if self.line == b"t" => Reply::Boolean(true),
            b'#' if self.line == b"f" => Reply::Boolean(false),
            b'(' if is_big_number(&self.line) => Reply::BigNumber(self.line.clone()),
            b'!' => match self.string()? {
                Some(text) => Reply::Error(text),
                None => return malformed("a bulk error without a length"),
            },
            b'=' => match self.string()? {
                Some(mut text) if text.get(3) == Some(&b':') => Reply::Bulk(text.split_off(4)),
                _ => return malformed("a verbatim string without a format"),
            },
            b'~' => Reply::Set(self.list(depth)?.unwrap_or_default()),
            b'>' => Reply::Push(self.list(depth)?.unwrap_or_default()),
            b'%' => Reply::Map(self.pairs(depth)?),
            _ => {
                let line = String::from_utf8_lossy(&self.line);
                let line: String = line.chars().take(60).collect();
                return malformed(format!("it begins with `{}{line}`", kind.escape_ascii()));
            }
        })
    }

    /// Reads a line into `self.line`, without its first byte, which it returns, and its end.
    fn read_line(&mut self) -> Result<u8, ReadError> {
        self.line.clear();
        let limit = MAX_LINE + 3;
        self.from.by_ref().take(limit).read_until(b'\n', &mut self.line)?;
        if self.line.last() != Some(&b'\n') {
            if self.line.len() as u64 == limit {
                return malformed(format!("a line is longer than {MAX_LINE} bytes"));
            }
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.line.pop();
        if self.line.pop() != Some(b'\r') || self.line.is_empty() {
            return malformed("a line is empty or does not end in CR LF");
        }
        Ok(self.line.remove(0))
    }

    fn number(&self) -> Result<i64, ReadError> {
        let text = std::str::from_utf8(&self.line).ok();
        match text.and_then(|text| text.parse().ok()) {
            Some(number) => Ok(number),
            None => malformed(format!("`{}` is no number", self.line.escape_ascii())),
        }
    }

    /// The length in the line; `None` for -1.
    fn length(&self, most: u64) -> Result<Option<u64>, ReadError> {
        match self.number()? {
            -1 => Ok(None),
            length => match u64::try_from(length) {
                Ok(length) if length <= most => Ok(Some(length)),
                _ => malformed(format!("the length {length} is out of range")),
            },
        }
    }

    fn string(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(length) = self.length(MAX_STRING)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let wanted = length + 2;
        let got = self.from.by_ref().take(wanted).read_to_end(&mut bytes)?;
        if (got as u64) < wanted {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if !bytes.ends_with(b"\r\n") {
            return malformed("a string does not end where its length says");
        }
        bytes.truncate(bytes.len() - 2);
        Ok(Some(bytes))
    }

    fn list(&mut self, depth: u32) -> Result<Option<Vec<Reply>>, ReadError> {
        let Some(length) = self.length(MAX_VALUES)? else { return Ok(None) };
        let mut all = Vec::with_capacity(reserve(length));
        for _ in 0..length {
            all.push(self.value(depth + 1)?);
        }
        Ok(Some(all))
    }

    fn pairs(&mut self, depth: u32) -> Result<Vec<(Reply, Reply)>, ReadError> {
        let length = self.length(MAX_VALUES / 2)?.unwrap_or_default();
        let mut all = Vec::with_capacity(reserve(length));
        for _ in 0..length {
            all.push((self.value(depth + 1)?, self.value(depth + 1)?));
        }
        Ok(all)
    }
}

fn reserve(length: u64) -> usize {
    usize::try_from(length.min(RESERVED)).unwrap_or_default()
}

fn is_double(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok())
}

fn is_big_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

fn malformed<T>(what: impl Into<String>) -> Result<T, ReadError> {
    Err(ReadError::Malformed(what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    /// The bytes of a reply, as a server writes them.
    fn encode(reply: &Reply, out: &mut Vec<u8>) {
        let line = |kind: u8, text: &[u8], out: &mut Vec<u8>| {
            out.push(kind);
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        };
        let length =
            |kind: u8, n: usize, out: &mut Vec<u8>| line(kind, n.to_string().as_bytes(), out);
        match reply {
            Reply::Status(text) => line(b'+', text, out),
            Reply::Error(text) => line(b'-', text, out),
            Reply::Integer(n) => line(b':', n.to_string().as_bytes(), out),
            Reply::Bulk(bytes) => {
                length(b'$', bytes.len(), out);
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Reply::Nil => line(b'_', b"", out),
            Reply::Double(text) => line(b',', text, out),
            Reply::Boolean(yes) => line(b'#', if *yes { b"t" } else { b"f" }, out),
            Reply::BigNumber(text) => line(b'(', text, out),
            Reply::Array(all) | Reply::Set(all) | Reply::Push(all) => {
                let kind = match reply {
                    Reply::Array(_) => b'*',
                    Reply::Set(_) => b'~',
                    _ => b'>',
                };
                length(kind, all.len(), out);
                all.iter().for_each(|one| encode(one, out));
            }
            Reply::Map(pairs) => {
                length(b'%', pairs.len(), out);
                for (key, value) in pairs {
                    encode(key, out);
                    encode(value, out);
                }
            }
        }
    }

    fn any_reply() -> impl Strategy<Value = Reply> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        let leaf = prop_oneof![
            "[ -~]{0,20}".prop_map(|s| Reply::Status(s.into_bytes())),
            "[A-Z]{1,9} [ -~]{0,20}".prop_map(|s| Reply::Error(s.into_bytes())),
            any::<i64>().prop_map(Reply::Integer),
            bytes().prop_map(Reply::Bulk),
            Just(Reply::Nil),
            any::<bool>().prop_map(Reply::Boolean),
            any::<f64>().prop_map(|d| Reply::Double(d.to_string().into_bytes())),
            "-?[0-9]{1,40}".prop_map(|s| Reply::BigNumber(s.into_bytes())),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let many = || proptest::collection::vec(inner.clone(), 0..6);
            prop_oneof![
                many().prop_map(Reply::Array),
                many().prop_map(Reply::Set),
                many().prop_map(Reply::Push),
                proptest::collection::vec((inner.clone(), inner.clone()), 0..4)
                    .prop_map(Reply::Map),
            ]
        })
    }

    fn read(bytes: &[u8]) -> Result<Reply, ReadError> {
        Reply::read(&mut &*bytes)
    }

    proptest! {
        /// Whatever a server writes is read back, in reads of any size, and nothing beyond it.
        #[test]
        fn replies_survive_the_wire(reply in any_reply(), chunk in 1_usize..50) {
            let mut bytes = Vec::new();
            encode(&reply, &mut bytes);
            bytes.extend_from_slice(b"+next\r\n");
            let mut from = BufReader::with_capacity(chunk, bytes.as_slice());
            prop_assert_eq!(Reply::read(&mut from).unwrap(), reply);
            prop_assert_eq!(Reply::read(&mut from).unwrap(), Reply::Status(b"next".to_vec()));
        }

        /// A reply cut short is an end of stream, never a shorter reply.
        #[test]
        fn a_cut_reply_is_no_reply(reply in any_reply(), at in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            encode(&reply, &mut bytes);
            let cut = &bytes[..at.index(bytes.len())];
            prop_assert!(matches!(read(cut), Err(ReadError::Io(_))));
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn version_2_nils_and_attributes() {
        assert_eq!(read(b"$-1\r\n").unwrap(), Reply::Nil);
        assert_eq!(read(b"*-1\r\n").unwrap(), Reply::Nil);
        assert_eq!(read(b"|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n").unwrap(), Reply::Bulk(b"a".to_vec()));
        assert_eq!(read(b"=5\r\ntxt:a\r\n").unwrap(), Reply::Bulk(b"a".to_vec()));
    }

    #[test]
    fn the_malformed_is_refused() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"+no carriage return\n",
            b"\r\n",
            b":one\r\n",
            b"$-2\r\n",
            b"$536870913\r\n",
            b"*67108865\r\n",
            b"$1\r\nab\r\n",
            b"#x\r\n",
            b"(1.5\r\n",
        ] {
            let refused = matches!(read(bytes), Err(ReadError::Malformed(_)));
            assert!(refused, "{}", bytes.escape_ascii());
        }
        let deep = b"*1\r\n".repeat(40);
        assert!(matches!(read(&deep), Err(ReadError::Malformed(_))));
        let long = [b"+", vec![b'x'; 70_000].as_slice(), b"\r\n"].concat();
        assert!(matches!(read(&long), Err(ReadError::Malformed(_))));
    }
}
