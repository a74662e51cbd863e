//! The words of one command: its name and arguments, as ranges into bytes that are elsewhere.
//!
//! Holds: every span lies within the bytes it is paired with; a word that is not there reads as
//! empty, so that no index taken from a client can panic.
//! Does not know: what a word means.

use std::ops::Range;

/// Where one word lies in its bytes. Commands are bounded far below 4 GiB, so 32 bits do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its first byte.
    start: u32,
    /// The byte after its last.
    end: u32,
}

impl Span {
    /// The span from `start` up to `end`, both below 4 GiB by the parser's limits.
    #[allow(clippy::cast_possible_truncation, reason = "Limits keeps commands below 4 GiB")]
    pub(super) const fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        Self { start: start as u32, end: end as u32 }
    }

    /// What it covers of `bytes`.
    #[inline]
    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// The words of one command, borrowed.
#[derive(Clone, Copy, Default)]
pub struct Words<'a> {
    /// What the spans point into.
    bytes: &'a [u8],
    /// One span a word.
    spans: &'a [Span],
}

impl<'a> Words<'a> {
    /// The words that `spans` cut out of `bytes`.
    pub(super) const fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    /// How many there are.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.spans.is_empty()
    }

    /// The word at `index`, if there is one.
    #[inline]
    #[must_use]
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| span.of(self.bytes))
    }

    /// The word at `index`, empty if there is none. For words that the arity promises.
    #[inline]
    #[must_use]
    pub fn word(self, index: usize) -> &'a [u8] {
        self.get(index).unwrap_or_default()
    }

    /// Where the word at `index` lies in the bytes, if there is one.
    pub(super) fn range(self, index: usize) -> Option<Range<usize>> {
        self.spans.get(index).map(|span| span.start as usize..span.end as usize)
    }

    /// The words from `index` on.
    #[inline]
    #[must_use]
    pub fn from(self, index: usize) -> Self {
        Self { bytes: self.bytes, spans: self.spans.get(index..).unwrap_or_default() }
    }

    /// All of them in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone {
        self.spans.iter().map(move |span| span.of(self.bytes))
    }

    /// How many bytes the words have together.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.spans.iter().map(|span| (span.end - span.start) as usize).sum()
    }
}

impl std::fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(<[u8]>::escape_ascii)).finish()
    }
}

impl PartialEq for Words<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// Words with bytes of their own: what a transaction keeps until EXEC.
#[derive(Clone, Debug, Default)]
pub struct OwnedWords {
    /// The words' bytes, one after the other.
    bytes: Vec<u8>,
    /// One span a word.
    spans: Vec<Span>,
}

impl OwnedWords {
    /// Adds one word. Beyond 4 GiB, which no parser hands out, words read as empty.
    pub fn push(&mut self, word: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(word);
        self.spans.push(if u32::try_from(self.bytes.len()).is_ok() {
            Span::new(start, self.bytes.len())
        } else {
            Span::default()
        });
    }

    /// The words, borrowed.
    #[must_use]
    pub fn view(&self) -> Words<'_> {
        Words::new(&self.bytes, &self.spans)
    }
}

impl From<Words<'_>> for OwnedWords {
    fn from(words: Words<'_>) -> Self {
        // No more than is needed: it may be kept for long.
        let bytes = Vec::with_capacity(words.bytes());
        let mut owned = Self { bytes, spans: Vec::with_capacity(words.len()) };
        words.iter().for_each(|word| owned.push(word));
        owned
    }
}

impl<'a> FromIterator<&'a [u8]> for OwnedWords {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(words: I) -> Self {
        let mut owned = Self::default();
        words.into_iter().for_each(|word| owned.push(word));
        owned
    }
}

impl<'a> FromIterator<&'a str> for OwnedWords {
    fn from_iter<I: IntoIterator<Item = &'a str>>(words: I) -> Self {
        words.into_iter().map(str::as_bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_shifted_and_kept() {
        let owned: OwnedWords = ["set", "", "value"].into_iter().collect();
        let words = owned.view();
        assert_eq!(words.len(), 3);
        assert_eq!(words.get(2), Some(&b"value"[..]));
        assert_eq!(words.get(3), None);
        assert_eq!(words.word(9), b"");
        assert_eq!(words.from(1).iter().collect::<Vec<_>>(), [&b""[..], b"value"]);
        assert!(words.from(7).is_empty());
        assert_eq!(words.bytes(), 8);
        assert_eq!(OwnedWords::from(words).view(), words);
    }
}
