//! Which protocol a connection speaks, decided once from its first bytes.
//!
//! Holds: the decision is a function of the bytes alone, and more bytes never change it. A first
//! line that ends in ` HTTP/1.0` or ` HTTP/1.1` is HTTP; `PRI * HTTP/2.0` is HTTP/2; byte 0x16 is
//! the start of TLS; what a node says that dials another is for another port; everything else is the Redis
//! protocol, inline commands included.

use crate::peer::DIALLED;

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// The Redis protocol.
    Resp,
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS.
    Http2,
    /// TLS.
    Tls,
    /// What nodes speak among themselves, which they do on a port of their own.
    Peer,
}

/// The longest first line that is waited for, in bytes: a key of 16,384 bytes, each
/// percent-encoded, in an HTTP request line, and the longest inline command of Redis. A longer
/// line is left to the Redis protocol, which refuses it by name.
pub const MAX_FIRST_LINE: usize = 64 << 10;

/// Decides, or asks for more bytes with `None`.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Option<Sniffed> {
    match bytes.first()? {
        0x16 => return Some(Sniffed::Tls),
        _ if bytes.starts_with(&DIALLED) => return Some(Sniffed::Peer),
        // What begins an HTTP method begins a word of letters. Commands of the Redis protocol
        // proper begin with a star.
        first if !first.is_ascii_alphabetic() => return Some(Sniffed::Resp),
        _ => {}
    }
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return (bytes.len() >= MAX_FIRST_LINE).then_some(Sniffed::Resp);
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    Some(if line == b"PRI * HTTP/2.0" {
        Sniffed::Http2
    } else if line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") {
        Sniffed::Http1
    } else {
        Sniffed::Resp
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_lines_decide() {
        for (bytes, expected) in [
            (&b""[..], None),
            (b"*1\r\n$4\r\nPING\r\n", Some(Sniffed::Resp)),
            (b"*", Some(Sniffed::Resp)),
            (b"\r\n", Some(Sniffed::Resp)),
            (b"PING\r\n", Some(Sniffed::Resp)),
            (b"GET key\r\n", Some(Sniffed::Resp)),
            (b"GET /key\r\n", Some(Sniffed::Resp)),
            (b"GET /key HTTP/1.1", None),
            (b"GET /key HTTP/1.1\r\n", Some(Sniffed::Http1)),
            (b"GET /key HTTP/1.0\n", Some(Sniffed::Http1)),
            (b"GET /key HTTP/1.2\r\n", Some(Sniffed::Resp)),
            (b"SET key HTTP/1.1\r\n", Some(Sniffed::Http1)),
            (b"SET key xHTTP/1.1\r\n", Some(Sniffed::Resp)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Sniffed::Http2)),
            (b"GET * HTTP/2.0\r\n", Some(Sniffed::Resp)),
            (b"\x16\x03\x01", Some(Sniffed::Tls)),
            (b"SHPR", None),
            (b"SHPR\x01\0", Some(Sniffed::Peer)),
            (b"SHPR\r\n", Some(Sniffed::Resp)),
        ] {
            assert_eq!(sniff(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_line_without_end_is_not_waited_for_for_ever() {
        assert_eq!(sniff(&vec![b'A'; MAX_FIRST_LINE - 1]), None);
        assert_eq!(sniff(&vec![b'A'; MAX_FIRST_LINE]), Some(Sniffed::Resp));
    }

    #[test]
    fn every_split_comes_to_the_same_decision() {
        for bytes in [
            &b"GET /k%20y HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"set a b\r\nGET / HTTP/1.1\r\n",
            b"\x16\x03\x01\x02\x00",
            b"SHPR\x01\x00\n",
        ] {
            let whole = sniff(bytes);
            assert!(whole.is_some());
            for end in 0..bytes.len() {
                let early = sniff(&bytes[..end]);
                assert!(early.is_none() || early == whole, "split at {end}");
            }
        }
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_a_decision(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            more in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            if let Some(decided) = sniff(&bytes) {
                let mut all = bytes;
                all.extend(more);
                prop_assert_eq!(sniff(&all), Some(decided));
            }
        }
    }
}
