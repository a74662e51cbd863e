//! A reader of replies that keeps nothing: it only tells where each one ends and of what kind it
//! is, so that the load writer spends its time on the socket.
//!
//! Holds: replies may be cut anywhere; the state is a few numbers and the line being read.
//! Does not know: which command a reply answers, push messages (none are asked for).

/// The longest line kept, in bytes; more is no reply of a server that is measured.
const MAX_LINE: usize = 64 * 1024;

/// What one whole reply was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its first byte: `+ - : $ * …`.
    pub(crate) kind: u8,
    /// Whether it was a nil.
    pub(crate) nil: bool,
}

/// The bytes are no reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAReply(pub(crate) String);

/// Where in the stream of replies the reader stands.
#[derive(Debug, Default)]
pub(crate) struct Skimmer {
    /// The line being read, if it was cut.
    line: Vec<u8>,
    /// Bytes of a string still to pass, its line end included.
    skip: usize,
    /// Values still to come in the reply being read; zero between replies.
    pending: u64,
    /// Of the reply being read.
    seen: Option<Seen>,
    /// The first error reply's text.
    pub(crate) first_error: Option<String>,
}

impl Skimmer {
    /// Reads on; calls `each` for every reply that ends in `bytes`.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Seen),
    ) -> Result<(), NotAReply> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                bytes = &bytes[passed..];
                if self.skip == 0 {
                    self.end_value(&mut each);
                }
                continue;
            }
            // Most lines are a few bytes: a plain search beats anything cleverer.
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                if self.line.len() + bytes.len() > MAX_LINE {
                    return Err(NotAReply("a line without an end".to_owned()));
                }
                self.line.extend_from_slice(bytes);
                return Ok(());
            };
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if self.line.is_empty() {
                self.take_line(line, &mut each)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.take_line(&whole, &mut each)?;
                whole.clear();
                self.line = whole;
            }
        }
        Ok(())
    }

    /// Takes a line with its end.
    fn take_line(&mut self, line: &[u8], each: &mut impl FnMut(Seen)) -> Result<(), NotAReply> {
        let [kind, text @ .., b'\r', b'\n'] = line else { return Err(not_a_reply(line)) };
        let kind = *kind;
        let mut nil = kind == b'_';
        let mut inner = 0;
        match kind {
            b'+' | b':' | b'_' | b',' | b'#' | b'(' => {}
            b'-' => {
                if self.first_error.is_none() {
                    self.first_error = Some(String::from_utf8_lossy(text).into_owned());
                }
            }
            b'$' | b'=' | b'!' | b'*' | b'~' | b'%' => match length(text) {
                None if text == b"-1" => nil = true,
                None => return Err(not_a_reply(line)),
                Some(n) if matches!(kind, b'*' | b'~') => inner = n as u64,
                Some(n) if kind == b'%' => inner = 2 * n as u64,
                Some(n) => self.skip = n + 2,
            },
            _ => return Err(not_a_reply(line)),
        }
        if self.seen.is_none() {
            self.seen = Some(Seen { kind, nil });
            self.pending = 1;
        }
        self.pending += inner;
        if self.skip == 0 {
            self.end_value(each);
        }
        Ok(())
    }

    #[inline]
    fn end_value(&mut self, each: &mut impl FnMut(Seen)) {
        self.pending -= 1;
        if self.pending == 0
            && let Some(seen) = self.seen.take()
        {
            each(seen);
        }
    }
}

/// A length of at most 512 Mi.
fn length(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0_usize, |n, digit| {
        digit.is_ascii_digit().then(|| n * 10 + usize::from(digit - b'0'))
    })
}

fn not_a_reply(line: &[u8]) -> NotAReply {
    NotAReply(line[..line.len().min(60)].escape_ascii().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &[u8] =
        b"+OK\r\n$3\r\na\n\r\r\n$-1\r\n:12\r\n*2\r\n$1\r\nx\r\n*1\r\n:1\r\n*0\r\n\
        -ERR no\r\n$0\r\n\r\n_\r\n%1\r\n+a\r\n$2\r\n\r\n\r\n*-1\r\n+PONG\r\n";

    fn kinds(seen: &[Seen]) -> String {
        seen.iter().map(|seen| if seen.nil { 'n' } else { char::from(seen.kind) }).collect()
    }

    proptest! {
        /// However the stream is cut, the same replies are seen.
        #[test]
        fn cuts_change_nothing(cuts in proptest::collection::vec(1_usize..9, 1..200)) {
            let mut skimmer = Skimmer::default();
            let mut seen = Vec::new();
            let mut rest = STREAM;
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                skimmer.feed(now, |one| seen.push(one)).unwrap();
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(kinds(&seen), "+$n:**-$n%n+");
            prop_assert_eq!(skimmer.first_error.as_deref(), Some("ERR no"));
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Skimmer::default().feed(&bytes, |_| ());
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [&b"HTTP/1.1 200 OK\r\n"[..], b"$x\r\n", b"+OK\n", b"\r\n", b"$-2\r\n"] {
            assert!(Skimmer::default().feed(bytes, |_| ()).is_err());
        }
        let long = vec![b'+'; MAX_LINE + 1];
        assert!(Skimmer::default().feed(&long, |_| ()).is_err());
    }
}
