//! A small client of the Redis protocol, for what the load generators do not do: waiting for a
//! server, asking it about itself, and walking all its keys.
//!
//! Holds: no call waits longer than the connection's bound. A page of keys is counted without
//! keeping it, so that the walk measures the server.

use anyhow::{Context as _, Result, bail};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Bytes read ahead.
const READ_AHEAD_BYTES: usize = 1 << 16;

/// An answer, as far as this tool asks for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Status(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    replies: Replies<BufReader<TcpStream>>,
}

impl Client {
    /// Connects to a port of this machine; every wait is bounded by `bound`.
    pub(super) fn connect(port: u16, bound: Duration) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(bound))?;
        stream.set_write_timeout(Some(bound))?;
        let reading = BufReader::with_capacity(READ_AHEAD_BYTES, stream.try_clone()?);
        Ok(Self { stream, replies: Replies::new(reading) })
    }

    /// Sends one command and reads its answer.
    pub(super) fn call(&mut self, words: &[&str]) -> Result<Reply> {
        self.send(words)?;
        self.replies.next()
    }

    /// How many keys there are.
    pub(super) fn count_keys(&mut self) -> Result<u64> {
        match self.call(&["DBSIZE"])? {
            Reply::Integer(count) => u64::try_from(count).context("DBSIZE"),
            other => bail!("DBSIZE answered {other:?}"),
        }
    }

    /// Walks all keys with SCAN and gives how often it was shown one.
    pub(super) fn scan(&mut self, count: &str) -> Result<u64> {
        let mut cursor = "0".to_owned();
        let mut seen = 0;
        loop {
            self.send(&["SCAN", &cursor, "COUNT", count])?;
            let (next, keys) = self.replies.next_page()?;
            seen += keys;
            if next == "0" {
                return Ok(seen);
            }
            cursor = next;
        }
    }

    fn send(&mut self, words: &[&str]) -> Result<()> {
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        Ok(self.stream.write_all(bytes.as_bytes())?)
    }
}

/// Reads answers one after the other.
#[derive(Debug)]
struct Replies<R> {
    from: R,
    line: Vec<u8>,
}

impl<R: BufRead> Replies<R> {
    fn new(from: R) -> Self {
        Self { from, line: Vec::new() }
    }

    fn next(&mut self) -> Result<Reply> {
        let (kind, rest) = self.line()?;
        let rest = rest.to_owned();
        Ok(match kind {
            b'+' => Reply::Status(rest),
            b'-' => Reply::Error(rest),
            b':' => Reply::Integer(rest.parse().context("an integer")?),
            b'$' if rest == "-1" => Reply::Nil,
            b'$' => Reply::Bulk(self.bytes(&rest)?),
            other => bail!("an answer of kind {:?} was not expected", char::from(other)),
        })
    }

    /// An answer to SCAN: the next cursor and the number of keys.
    fn next_page(&mut self) -> Result<(String, u64)> {
        if self.length(b'*')? != 2 {
            bail!("SCAN did not answer a pair");
        }
        let length = self.length(b'$')?;
        let cursor = self.bytes(&length.to_string())?;
        let keys = self.length(b'*')?;
        for _ in 0..keys {
            let length = self.length(b'$')?;
            self.skip(length + 2)?;
        }
        Ok((String::from_utf8(cursor)?, keys))
    }

    fn length(&mut self, expected: u8) -> Result<u64> {
        let (kind, rest) = self.line()?;
        if kind != expected {
            bail!("expected {:?}, was answered {:?}{rest}", char::from(expected), char::from(kind));
        }
        rest.parse().context("a length")
    }

    fn line(&mut self) -> Result<(u8, &str)> {
        self.line.clear();
        if self.from.read_until(b'\n', &mut self.line)? == 0 {
            bail!("the server closed the connection");
        }
        match self.line.as_slice() {
            [kind, rest @ .., b'\r', b'\n'] => Ok((*kind, std::str::from_utf8(rest)?)),
            other => bail!("not an answer: {}", String::from_utf8_lossy(other)),
        }
    }

    fn bytes(&mut self, length: &str) -> Result<Vec<u8>> {
        let length: u64 = length.parse().context("a length")?;
        let mut bytes = Vec::new();
        self.from.by_ref().take(length).read_to_end(&mut bytes)?;
        self.skip(2)?;
        Ok(bytes)
    }

    fn skip(&mut self, mut bytes: u64) -> Result<()> {
        while bytes > 0 {
            let ready = self.from.fill_buf()?.len();
            if ready == 0 {
                bail!("the server closed the connection");
            }
            let taken = ready.min(usize::try_from(bytes).unwrap_or(ready));
            self.from.consume(taken);
            bytes -= taken as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(bytes: &[u8]) -> Replies<&[u8]> {
        Replies::new(bytes)
    }

    #[test]
    fn answers_are_read() {
        let mut from = replies(b"+OK\r\n-ERR no\r\n:-7\r\n$5\r\na\r\nb\n\r\n$-1\r\n$0\r\n\r\n");
        assert_eq!(from.next().unwrap(), Reply::Status("OK".to_owned()));
        assert_eq!(from.next().unwrap(), Reply::Error("ERR no".to_owned()));
        assert_eq!(from.next().unwrap(), Reply::Integer(-7));
        assert_eq!(from.next().unwrap(), Reply::Bulk(b"a\r\nb\n".to_vec()));
        assert_eq!(from.next().unwrap(), Reply::Nil);
        assert_eq!(from.next().unwrap(), Reply::Bulk(Vec::new()));
        assert!(from.next().is_err());
    }

    #[test]
    fn a_page_is_counted() {
        let mut from =
            replies(b"*2\r\n$2\r\n17\r\n*3\r\n$1\r\na\r\n$2\r\n\r\n\r\n$0\r\n\r\n+OK\r\n");
        assert_eq!(from.next_page().unwrap(), ("17".to_owned(), 3));
        assert_eq!(from.next().unwrap(), Reply::Status("OK".to_owned()));
    }

    #[test]
    fn an_error_instead_of_a_page_is_told() {
        let error = replies(b"-LOADING wait\r\n").next_page().unwrap_err();
        assert!(error.to_string().contains("LOADING wait"), "{error}");
    }
}
