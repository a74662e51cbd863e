//! A client with nothing between the test and the socket.

use crate::reply::Reply;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A command: its words.
pub(crate) type Words = Vec<Vec<u8>>;

/// Longer than anything a healthy node does.
const PATIENCE: Duration = Duration::from_secs(60);

/// The words of a command written as one line.
pub(crate) fn words(line: &str) -> Words {
    line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

/// The bytes of a command.
pub(crate) fn encode<W: AsRef<[u8]>>(words: &[W], into: &mut Vec<u8>) {
    into.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        let word = word.as_ref();
        into.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        into.extend_from_slice(word);
        into.extend_from_slice(b"\r\n");
    }
}

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn close_sending(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Waits for the next answer.
    pub(crate) fn read(&mut self) -> io::Result<Reply> {
        loop {
            let broken = |what| io::Error::new(io::ErrorKind::InvalidData, what);
            if let Some((reply, length)) = Reply::parse(&self.buffer).map_err(broken)? {
                self.buffer.drain(..length);
                return Ok(reply);
            }
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.buffer.extend_from_slice(&chunk[..read]),
            }
        }
    }

    /// Sends one command and waits for its answer.
    pub(crate) fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        encode(words, &mut bytes);
        self.send(&bytes)?;
        self.read()
    }

    /// The same for a command written as one line.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<Reply> {
        self.ask(&words(line))
    }
}

/// Asks for what `line` says of each number, many at a time. The numbers whose answer does not
/// fit.
pub(crate) fn ask_all(
    client: &mut Client,
    numbers: impl IntoIterator<Item = usize>,
    line: impl Fn(usize) -> String,
    fits: impl Fn(usize, &Reply) -> bool,
) -> Vec<usize> {
    const AT_ONCE: usize = 64;
    let numbers: Vec<_> = numbers.into_iter().collect();
    let mut others = Vec::new();
    for some in numbers.chunks(AT_ONCE) {
        let mut bytes = Vec::new();
        some.iter().for_each(|number| encode(&words(&line(*number)), &mut bytes));
        client.send(&bytes).expect("a node that runs can be asked");
        for number in some {
            let answer = client.read().expect("a node that runs answers");
            if !fits(*number, &answer) {
                others.push(*number);
            }
        }
    }
    others
}
