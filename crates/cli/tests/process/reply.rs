//! Answers of the Redis protocol, versions 2 and 3, as a client reads them.

use std::fmt;

/// One answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`, told apart by the byte they begin with.
    Nil(u8),
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    Double(String),
    Boolean(bool),
    Big(String),
    Verbatim(Vec<u8>),
}

impl Reply {
    /// The answer `OK`.
    pub(crate) fn ok() -> Self {
        Self::Simple("OK".to_owned())
    }

    /// Whether it says that there is nothing.
    pub(crate) const fn is_nil(&self) -> bool {
        matches!(self, Self::Nil(_))
    }

    /// The bytes of a bulk string.
    pub(crate) fn bulk(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of an error.
    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// The number of an integer.
    pub(crate) const fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// Reads one answer from the start of `bytes`: it and its length, or `None` when it is not
    /// whole yet.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let mut reader = Reader { bytes, at: 0 };
        Ok(reader.reply()?.map(|reply| (reply, reader.at)))
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(f, "+{text}"),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Integer(number) => write!(f, ":{number}"),
            Self::Bulk(bytes) => write!(f, "{}", shown(bytes)),
            Self::Nil(kind) => write!(f, "nil{}", char::from(*kind)),
            Self::Array(items) => f.debug_list().entries(items).finish(),
            Self::Map(items) => f.debug_map().entries(items.iter().map(|(k, v)| (k, v))).finish(),
            Self::Set(items) => f.debug_set().entries(items).finish(),
            Self::Push(items) => write!(f, ">{items:?}"),
            Self::Double(text) => write!(f, ",{text}"),
            Self::Boolean(value) => write!(f, "#{value}"),
            Self::Big(text) => write!(f, "({text}"),
            Self::Verbatim(bytes) => write!(f, "={}", shown(bytes)),
        }
    }
}

/// Bytes for a person: text where it is text, and never very much of it.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 120;
    let text: String = bytes[..bytes.len().min(MOST)].escape_ascii().to_string();
    if bytes.len() > MOST {
        format!("\"{text}\"… ({} bytes)", bytes.len())
    } else {
        format!("\"{text}\"")
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.at += end + 2;
        Some(&rest[..end])
    }

    fn reply(&mut self) -> Result<Option<Reply>, String> {
        let Some(line) = self.line() else { return Ok(None) };
        let Some((kind, rest)) = line.split_first() else {
            return Err("an empty line where an answer begins".to_owned());
        };
        let text = || String::from_utf8_lossy(rest).into_owned();
        let number = || text().parse::<i64>().map_err(|_| format!("no number: {}", shown(line)));
        Ok(match kind {
            b'+' => Some(Reply::Simple(text())),
            b'-' => Some(Reply::Error(text())),
            b':' => Some(Reply::Integer(number()?)),
            b',' => Some(Reply::Double(text())),
            b'(' => Some(Reply::Big(text())),
            b'#' => Some(Reply::Boolean(rest == b"t")),
            b'_' => Some(Reply::Nil(b'_')),
            b'$' if rest == b"-1" => Some(Reply::Nil(b'$')),
            b'*' if rest == b"-1" => Some(Reply::Nil(b'*')),
            b'$' => self.bytes(number()?)?.map(Reply::Bulk),
            b'=' => self.bytes(number()?)?.map(Reply::Verbatim),
            b'*' => self.items(number()?)?.map(Reply::Array),
            b'~' => self.items(number()?)?.map(Reply::Set),
            b'>' => self.items(number()?)?.map(Reply::Push),
            b'%' => self.items(number()? * 2)?.map(|items| {
                let mut items = items.into_iter();
                let mut pairs = Vec::new();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Reply::Map(pairs)
            }),
            _ => return Err(format!("no answer begins like {}", shown(line))),
        })
    }

    fn bytes(&mut self, length: i64) -> Result<Option<Vec<u8>>, String> {
        let length = usize::try_from(length).map_err(|_| format!("a length of {length}"))?;
        let Some(bytes) = self.bytes.get(self.at..self.at + length + 2) else { return Ok(None) };
        if !bytes.ends_with(b"\r\n") {
            return Err("a bulk string that does not end with its line".to_owned());
        }
        self.at += length + 2;
        Ok(Some(bytes[..length].to_vec()))
    }

    fn items(&mut self, count: i64) -> Result<Option<Vec<Reply>>, String> {
        let count = usize::try_from(count).map_err(|_| format!("a count of {count}"))?;
        let mut items = Vec::new();
        for _ in 0..count {
            let Some(item) = self.reply()? else { return Ok(None) };
            items.push(item);
        }
        Ok(Some(items))
    }
}

#[test]
fn answers_are_read_whole_or_not_at_all() {
    let bytes = b"*4\r\n$1\r\na\r\n:-7\r\n%1\r\n+k\r\n_\r\n*-1\r\n+next\r\n";
    let (reply, length) = Reply::parse(bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len() - "+next\r\n".len());
    let map = Reply::Map(vec![(Reply::Simple("k".to_owned()), Reply::Nil(b'_'))]);
    let items = vec![Reply::Bulk(b"a".to_vec()), Reply::Integer(-7), map, Reply::Nil(b'*')];
    assert_eq!(reply, Reply::Array(items));
    for cut in 0..length {
        assert_eq!(Reply::parse(&bytes[..cut]).unwrap(), None, "{cut}");
    }
    assert!(Reply::parse(b"?\r\n").is_err());
    assert!(Reply::parse(b"$1\r\nab\r\n").is_err());
}
