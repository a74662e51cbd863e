//! The encoder of Redis replies, for both versions of the protocol.
//!
//! A reply is written piece by piece, in order, straight into the connection's output: nothing is
//! built up and nothing is allocated beyond the output itself. Arrays, maps and sets are announced
//! by their length, so the caller counts before it writes.
//!
//! Holds: whatever bytes a status or an error is made of, it stays one line.
//! Does not know: sockets, and which client asked.

use super::integer::Digits;

/// The version of the protocol a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What every connection starts with.
    #[default]
    Resp2,
    /// What `HELLO 3` switches to.
    Resp3,
}

/// Writes one connection's replies.
#[derive(Debug)]
pub struct Reply<'a> {
    /// Where replies go.
    out: &'a mut Vec<u8>,
    /// Which version is spoken.
    protocol: Protocol,
    /// How long the output may become.
    most: usize,
}

impl<'a> Reply<'a> {
    /// A writer of replies to the end of `out`.
    pub const fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol, most: usize::MAX }
    }

    /// The same, for replies that are to have `limit` bytes together at most. Whoever writes
    /// long ones asks [`Reply::is_too_long`] now and then; nothing else holds them up.
    #[must_use]
    pub const fn within(mut self, limit: usize) -> Self {
        self.most = self.out.len().saturating_add(limit);
        self
    }

    /// The same writer, lent for a while.
    pub const fn again(&mut self) -> Reply<'_> {
        Reply { out: self.out, protocol: self.protocol, most: self.most }
    }

    /// Whether more was written than there may be: the command is refused.
    #[must_use]
    pub const fn is_too_long(&self) -> bool {
        self.out.len() > self.most
    }

    /// How many more bytes may be written.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.most.saturating_sub(self.out.len())
    }

    /// The version of the protocol that is written.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes the other version from here on: what HELLO does before it answers.
    pub const fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// How long the output is, for [`Reply::rewind`].
    #[must_use]
    pub const fn position(&self) -> usize {
        self.out.len()
    }

    /// Takes back everything written after `position`.
    pub fn rewind(&mut self, position: usize) {
        self.out.truncate(position);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A status, such as `+PONG`. One line; line breaks become blanks.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error, its code first: `ERR syntax error`. One line: line breaks at its ends go, those
    /// within become blanks, as in Redis.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let ends: &[u8] = b"\r\n";
        let mut text = text.as_ref();
        while let Some((_, rest)) = text.split_first().filter(|(byte, _)| ends.contains(byte)) {
            text = rest;
        }
        while let Some((_, rest)) = text.split_last().filter(|(byte, _)| ends.contains(byte)) {
            text = rest;
        }
        self.line(b'-', text);
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        // The two most frequent answers by far, and those of yes-or-no commands.
        match value {
            0 => self.out.extend_from_slice(b":0\r\n"),
            1 => self.out.extend_from_slice(b":1\r\n"),
            _ => self.number(b':', Digits::signed(value)),
        }
    }

    /// A count, saturated where it does not fit the protocol's 64 signed bits.
    pub fn count(&mut self, value: impl TryInto<i64>) {
        self.integer(value.try_into().unwrap_or(i64::MAX));
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + Digits::MAX_LINE);
        self.length(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A text that a person reads: a verbatim string in RESP3, a bulk string in RESP2.
    pub fn verbatim(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.length(b'=', text.len() + 4);
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text.as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Nothing, where a value could be.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Nothing, where an array could be: what an aborted EXEC answers.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Announces `length` elements.
    #[inline]
    pub fn array(&mut self, length: usize) {
        self.length(b'*', length);
    }

    /// Announces `pairs` keys, each followed by its value; a flat array in RESP2.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.length(b'*', pairs * 2),
            Protocol::Resp3 => self.length(b'%', pairs),
        }
    }

    /// Announces `length` elements in no order; an array in RESP2.
    pub fn set(&mut self, length: usize) {
        match self.protocol {
            Protocol::Resp2 => self.length(b'*', length),
            Protocol::Resp3 => self.length(b'~', length),
        }
    }

    /// One line of `kind`. What would break it becomes a blank.
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(kind);
        let start = self.out.len();
        self.out.extend_from_slice(text);
        for byte in &mut self.out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// A header of `kind` that announces `length`.
    #[inline]
    fn length(&mut self, kind: u8, length: usize) {
        match u8::try_from(length) {
            // One digit: most headers, and no need of the general way.
            Ok(digit @ 0..=9) => self.out.extend_from_slice(&[kind, b'0' + digit, b'\r', b'\n']),
            _ => self.number(kind, Digits::unsigned(length as u64)),
        }
    }

    /// A line of `kind` with a number in it, put together on the stack and copied once.
    fn number(&mut self, kind: u8, digits: Digits) {
        let (line, length) = digits.line(kind);
        self.out.extend_from_slice(&line[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use redis_protocol::resp2::types::OwnedFrame as Frame2;
    use redis_protocol::resp3::types::OwnedFrame as Frame3;
    use redis_protocol::{resp2, resp3};

    fn check(write: impl Fn(&mut Reply<'_>), in_two: &str, in_three: &str) {
        for (protocol, expected) in [(Protocol::Resp2, in_two), (Protocol::Resp3, in_three)] {
            let mut out = b"before".to_vec();
            write(&mut Reply::new(&mut out, protocol));
            assert_eq!(String::from_utf8(out).expect("UTF-8"), format!("before{expected}"));
        }
    }

    fn same(write: impl Fn(&mut Reply<'_>), expected: &str) {
        check(write, expected, expected);
    }

    #[test]
    fn what_both_versions_write_alike() {
        same(|reply| reply.ok(), "+OK\r\n");
        same(|reply| reply.simple("PONG"), "+PONG\r\n");
        same(|reply| reply.error("ERR syntax error"), "-ERR syntax error\r\n");
        same(|reply| reply.error("\nERR unknown 'a\r\nb'\r\n"), "-ERR unknown 'a  b'\r\n");
        same(|reply| reply.integer(i64::MIN), ":-9223372036854775808\r\n");
        same(|reply| reply.count(u64::MAX), ":9223372036854775807\r\n");
        same(|reply| reply.bulk(b""), "$0\r\n\r\n");
        same(|reply| reply.bulk(b"a\r\nbcdefgh"), "$10\r\na\r\nbcdefgh\r\n");
        same(|reply| reply.array(0), "*0\r\n");
        same(|reply| reply.array(1_048_576), "*1048576\r\n");
    }

    #[test]
    fn what_the_versions_write_each_in_its_own_way() {
        check(|reply| reply.null(), "$-1\r\n", "_\r\n");
        check(|reply| reply.null_array(), "*-1\r\n", "_\r\n");
        check(|reply| reply.map(12), "*24\r\n", "%12\r\n");
        check(|reply| reply.set(2), "*2\r\n", "~2\r\n");
        check(|reply| reply.verbatim("a b"), "$3\r\na b\r\n", "=7\r\ntxt:a b\r\n");
    }

    #[test]
    fn a_reply_can_be_taken_back() {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        reply.ok();
        let position = reply.position();
        reply.bulk(b"too much");
        reply.rewind(position);
        assert_eq!(out, b"+OK\r\n");
    }

    #[test]
    fn a_reply_knows_when_it_is_too_long() {
        let mut out = b"+OK\r\n".to_vec();
        let mut reply = Reply::new(&mut out, Protocol::Resp2).within(8);
        assert_eq!((reply.room(), reply.is_too_long()), (8, false));
        reply.bulk(b"ab");
        assert_eq!((reply.room(), reply.is_too_long()), (0, false), "$2 ab");
        let start = reply.position();
        reply.again().integer(1);
        assert!(reply.is_too_long() && reply.again().is_too_long());
        reply.rewind(start);
        assert!(!reply.is_too_long());
    }

    proptest! {
        #[test]
        fn another_implementation_reads_the_same(
            text in any::<String>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            integer in any::<i64>(),
        ) {
            let line = text.replace(['\r', '\n'], " ");
            let mut out = Vec::new();
            let mut reply = Reply::new(&mut out, Protocol::Resp2);
            reply.array(4);
            reply.error(&text);
            reply.bulk(&bytes);
            reply.integer(integer);
            reply.null();
            let decoded = resp2::decode::decode(&out).expect("valid").expect("whole");
            let expected = Frame2::Array(vec![
                Frame2::Error(line),
                Frame2::BulkString(bytes.clone()),
                Frame2::Integer(integer),
                Frame2::Null,
            ]);
            prop_assert_eq!(decoded, (expected, out.len()));

            let mut out = Vec::new();
            let mut reply = Reply::new(&mut out, Protocol::Resp3);
            reply.array(3);
            reply.bulk(&bytes);
            reply.integer(integer);
            reply.null();
            let decoded = resp3::decode::complete::decode(&out).expect("valid").expect("whole");
            let expected = Frame3::Array {
                data: vec![
                    Frame3::BlobString { data: bytes, attributes: None },
                    Frame3::Number { data: integer, attributes: None },
                    Frame3::Null,
                ],
                attributes: None,
            };
            prop_assert_eq!(decoded, (expected, out.len()));
        }
    }
}
