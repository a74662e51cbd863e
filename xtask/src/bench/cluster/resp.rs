//! A client of the Redis protocol for many connections at once: one request outstanding each.
//!
//! Holds: an answer other than the one expected is an error with what the server said.

use super::super::client::Reply;
use anyhow::{Context as _, Result, bail};
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long `WAIT` may take, in milliseconds.
const WAIT_MS: &str = "5000";

/// One connection.
#[derive(Debug)]
pub(super) struct Resp {
    stream: TcpStream,
    read: BytesMut,
    written: Vec<u8>,
    /// Every set is followed by `WAIT 1` in the same write.
    waits: bool,
}

impl Resp {
    /// Connects to a port of this machine.
    pub(super) async fn connect(port: u16, waits: bool) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: BytesMut::with_capacity(4096), written: Vec::new(), waits })
    }

    /// Says one command and takes its answer.
    pub(super) async fn call(&mut self, words: &[&[u8]]) -> Result<Reply> {
        write(words, &mut self.written);
        self.send().await?;
        self.next().await
    }

    /// Sets a key and waits for the answer, and for that to `WAIT`.
    pub(super) async fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        write(&[b"SET", key, value], &mut self.written);
        if self.waits {
            write(&[b"WAIT", b"1", WAIT_MS.as_bytes()], &mut self.written);
        }
        self.send().await?;
        match self.next().await? {
            Reply::Status(said) if said == "OK" => {}
            other => bail!("SET answered {other:?}"),
        }
        if self.waits {
            match self.next().await? {
                Reply::Integer(1..) => {}
                other => bail!("WAIT 1 answered {other:?}"),
            }
        }
        Ok(())
    }

    /// Gets a key and gives the length of its value.
    pub(super) async fn get(&mut self, key: &[u8]) -> Result<Option<usize>> {
        match self.call(&[b"GET", key]).await? {
            Reply::Bulk(value) => Ok(Some(value.len())),
            Reply::Nil => Ok(None),
            other => bail!("GET answered {other:?}"),
        }
    }

    async fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.written).await?;
        self.written.clear();
        Ok(())
    }

    async fn next(&mut self) -> Result<Reply> {
        loop {
            if let Some((reply, used)) = parse(&self.read)? {
                self.read.advance(used);
                return Ok(reply);
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }
}

fn write(words: &[&[u8]], into: &mut Vec<u8>) {
    into.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        into.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        into.extend_from_slice(word);
        into.extend_from_slice(b"\r\n");
    }
}

/// The first answer and its length in bytes; nothing while it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let (kind, rest) = (bytes[0], std::str::from_utf8(&bytes[1..end.max(1)])?);
    let after = end + 2;
    let reply = match kind {
        b'+' => Reply::Status(rest.to_owned()),
        b'-' => Reply::Error(rest.to_owned()),
        b':' => Reply::Integer(rest.parse().context("an integer")?),
        b'$' if rest == "-1" => Reply::Nil,
        b'$' => {
            let length: usize = rest.parse().context("a length")?;
            let whole = length.saturating_add(after + 2);
            if bytes.len() < whole {
                return Ok(None);
            }
            return Ok(Some((Reply::Bulk(bytes[after..after + length].to_vec()), whole)));
        }
        other => bail!("an answer of kind {:?} was not expected", char::from(other)),
    };
    Ok(Some((reply, after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_when_they_are_whole() {
        let bytes = b"$5\r\na\r\nb\n\r\n+OK\r\n";
        for cut in 0..11 {
            assert_eq!(parse(&bytes[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(parse(bytes).unwrap(), Some((Reply::Bulk(b"a\r\nb\n".to_vec()), 11)));
        assert_eq!(parse(b"+OK\r\n").unwrap(), Some((Reply::Status("OK".to_owned()), 5)));
        assert_eq!(parse(b":2\r\n:1").unwrap(), Some((Reply::Integer(2), 4)));
        assert_eq!(parse(b"$-1\r\n").unwrap(), Some((Reply::Nil, 5)));
        assert!(parse(b"*1\r\n").is_err());
        assert!(parse(b"\r\n").is_err());
    }

    #[test]
    fn a_command_is_written_as_an_array() {
        let mut bytes = Vec::new();
        write(&[b"GET", b"key"], &mut bytes);
        assert_eq!(bytes, b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    }
}
