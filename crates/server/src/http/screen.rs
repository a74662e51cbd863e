//! A second look at heads: what hyper lets pass although two readers could understand it
//! differently.
//!
//! Holds: a head with both `Content-Length` and `Transfer-Encoding`, which a proxy in front of us
//! may have cut elsewhere than we do, and a target with a `#`, which would lose the end of a key
//! in silence, are noticed, however the bytes were split. Heads that were sent ahead, before the
//! answer to the last one, are not looked at; hyper ends the connection after such a request.

/// The longest name that is compared.
const LONGEST: usize = "transfer-encoding".len();

/// Looks at one head at a time.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    name: [u8; LONGEST],
    at: usize,
    in_value: bool,
    past_target: bool,
    ended: bool,
    has_length: bool,
    has_encoding: bool,
    has_fragment: bool,
}

impl Screen {
    /// More bytes of the head, and perhaps of what follows it.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.ended {
                return;
            }
            self.step(*byte);
        }
    }

    /// Why the head is refused, if it is; and on to the next head.
    pub(crate) fn verdict(&mut self) -> Option<&'static str> {
        let seen = std::mem::take(self);
        if seen.has_length && seen.has_encoding {
            Some("Content-Length and Transfer-Encoding are both given; give one")
        } else if seen.has_fragment {
            Some("a # in a path is written %23")
        } else {
            None
        }
    }

    fn step(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.ended = self.past_target && self.at == 0;
                self.past_target = true;
                self.in_value = false;
                self.at = 0;
            }
            b'\r' => {}
            _ if !self.past_target => self.has_fragment |= byte == b'#',
            _ if self.in_value => {}
            b':' => {
                let name = self.name.get(..self.at).unwrap_or_default();
                self.has_length |= name == b"content-length";
                self.has_encoding |= name == b"transfer-encoding";
                self.in_value = true;
            }
            _ => {
                if let Some(place) = self.name.get_mut(self.at) {
                    *place = byte.to_ascii_lowercase();
                }
                self.at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_judged_alike_however_they_are_split() {
        for (head, refused) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], false),
            (b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nTransfer-Encoding: x\r\n", false),
            (b"PUT / HTTP/1.1\r\nX: Content-Length: Transfer-Encoding:\r\n\r\n", false),
            (b"PUT / HTTP/1.1\r\nTransfer-Encodings: a\r\nContent-Length: 1\r\n\r\n", false),
            (b"PUT / HTTP/1.1\r\ncontent-LENGTH: 5\r\nTRANSFER-encoding: chunked\r\n\r\n", true),
            (b"PUT / HTTP/1.1\nTransfer-Encoding:chunked\nContent-Length:5\n\n", true),
            (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", true),
            (b"GET /a HTTP/1.1\r\nX: #\r\n\r\n", false),
        ] {
            for split in 0..=head.len() {
                let mut screen = Screen::default();
                screen.feed(&head[..split]);
                screen.feed(&head[split..]);
                let text = String::from_utf8_lossy(head);
                assert_eq!(screen.verdict().is_some(), refused, "{text} at {split}");
                assert!(screen.verdict().is_none(), "one verdict a head");
            }
        }
    }
}
