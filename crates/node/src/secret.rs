//! What the members of a cluster share, so that a stranger cannot speak as one of them.
//!
//! The secret itself never leaves the process. Whoever authenticates something derives a key
//! for that one purpose from it (`BLAKE3` in its key derivation mode), and tags bytes with that
//! key (keyed `BLAKE3`, cut to 16 bytes). A cluster without a secret uses a key that everybody
//! knows: its messages have the same form, and whoever opens a link must accept loopback only.
//!
//! Holds: neither the secret nor a key is ever printed; tags are compared in constant time.
//!
//! Does not know: files, variables, what is tagged. It authenticates and does not encrypt.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::fmt;
use std::hint::black_box;

/// The bytes of a secret: as many as of a key of `BLAKE3`.
pub const SECRET_BYTES: usize = 32;

/// The bytes of a tag: guessing one takes 2^128 tries on average over the wire.
pub const TAG_BYTES: usize = 16;

/// What proves that bytes come from somebody who knows the key.
pub type Tag = [u8; TAG_BYTES];

/// What a cluster without a secret derives its keys from. Everybody may know it.
const PUBLIC: [u8; SECRET_BYTES] = *b"a cluster that keeps no secret. ";

/// Stands before every purpose, so that keys of other programs can never be ours.
const CONTEXT: &str = "Shoal cluster secret v1: ";

/// Why a text is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Readable, but fewer bytes than a secret has.
    #[error("the cluster secret is too short: {have} bytes of {SECRET_BYTES}")]
    TooShort {
        /// How many bytes the text stands for.
        have: usize,
    },
    /// Readable, but more bytes than a secret has.
    #[error("the cluster secret is too long: {have} bytes, not {SECRET_BYTES}")]
    TooLong {
        /// How many bytes the text stands for.
        have: usize,
    },
    /// Neither hexadecimal nor base64.
    #[error("the cluster secret is not readable: it must be 64 hexadecimal digits or base64")]
    NotReadable,
}

/// What every member of one cluster knows and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret {
    bytes: [u8; SECRET_BYTES],
    public: bool,
}

impl ClusterSecret {
    /// A new secret of bytes that nobody could guess: the caller took them from the operating
    /// system.
    #[must_use]
    pub const fn generate(random: [u8; SECRET_BYTES]) -> Self {
        Self { bytes: random, public: false }
    }

    /// No secret: keys derived from this one are known to everybody.
    #[must_use]
    pub const fn none() -> Self {
        Self { bytes: PUBLIC, public: true }
    }

    /// Whether this is [`ClusterSecret::none`]: only peers on the loopback may be accepted.
    #[must_use]
    pub const fn is_public(&self) -> bool {
        self.public
    }

    /// Reads what a file or a variable holds: 64 hexadecimal digits, or base64 of either alphabet
    /// with or without padding. Space around it does not count.
    ///
    /// # Errors
    ///
    /// Too short, too long or not readable. The text itself is never part of the error.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        // Hexadecimal first: 64 digits are 48 bytes of base64, which is no secret either.
        let bytes = hexadecimal(text).or_else(|| base64(text)).ok_or(SecretError::NotReadable)?;
        let have = bytes.len();
        match <[u8; SECRET_BYTES]>::try_from(bytes) {
            Ok(bytes) => Ok(Self { bytes, public: false }),
            Err(_) if have < SECRET_BYTES => Err(SecretError::TooShort { have }),
            Err(_) => Err(SecretError::TooLong { have }),
        }
    }

    /// The secret as 64 hexadecimal digits, to be written where only its owner may read.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key for one purpose. Two purposes have keys of which none tells anything of the other.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Key {
        Key(blake3::derive_key(&format!("{CONTEXT}{purpose}"), &self.bytes))
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.public { "ClusterSecret(none)" } else { "ClusterSecret(…)" })
    }
}

/// A key for one purpose, derived from the cluster's secret.
#[derive(Clone)]
pub struct Key([u8; SECRET_BYTES]);

impl Key {
    /// The tag of these bytes in one row. Where they are cut into parts makes no difference, so
    /// whatever is tagged must say itself where its fields end.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> Tag {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        let mut tag = Tag::default();
        tag.copy_from_slice(&hasher.finalize().as_bytes()[..TAG_BYTES]);
        tag
    }

    /// Whether `tag` is the tag of these bytes; takes equally long whichever byte differs.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        let own = self.tag(parts);
        if tag.len() != own.len() {
            return false;
        }
        let mut difference = 0;
        for (own, given) in own.iter().zip(tag) {
            // The optimiser must not see that one difference already decides.
            difference = black_box(difference | (own ^ given));
        }
        difference == 0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |letter: u8| char::from(letter).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    let letters = text.as_bytes();
    if letters.len() % 2 == 1 {
        return None;
    }
    letters.chunks_exact(2).map(pair).collect()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [STANDARD, URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, lenient).decode(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose;
    use proptest::prelude::*;

    #[test]
    fn a_secret_survives_both_texts() {
        let secret = ClusterSecret::generate([0xfb; SECRET_BYTES]);
        assert_eq!(
            ClusterSecret::parse(&format!("\n {}\r\n", secret.to_text())),
            Ok(secret.clone())
        );
        for engine in [
            general_purpose::STANDARD,
            general_purpose::STANDARD_NO_PAD,
            general_purpose::URL_SAFE,
            general_purpose::URL_SAFE_NO_PAD,
        ] {
            let text = engine.encode([0xfb; SECRET_BYTES]);
            assert_eq!(ClusterSecret::parse(&text), Ok(secret.clone()), "{text}");
        }
        assert_eq!(ClusterSecret::parse(&secret.to_text().to_uppercase()), Ok(secret));
    }

    #[test]
    fn what_is_no_secret_is_refused_by_name() {
        for (text, why) in [
            ("", SecretError::TooShort { have: 0 }),
            ("  \n", SecretError::TooShort { have: 0 }),
            ("00ff", SecretError::TooShort { have: 2 }),
            ("aGVsbG8h", SecretError::TooShort { have: 6 }),
            ("correct horse battery", SecretError::NotReadable),
            ("ключ", SecretError::NotReadable),
        ] {
            assert_eq!(ClusterSecret::parse(text), Err(why), "{text:?}");
        }
        let long = "ab".repeat(33);
        assert_eq!(ClusterSecret::parse(&long), Err(SecretError::TooLong { have: 33 }));
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let secret = ClusterSecret::generate([0xab; SECRET_BYTES]);
        let key = secret.derive("a");
        let printed = format!("{secret:?} {key:?} {:?}", ClusterSecret::none());
        assert_eq!(printed, "ClusterSecret(…) Key(…) ClusterSecret(none)");
    }

    #[test]
    fn keys_differ_by_secret_and_purpose() {
        let one = ClusterSecret::generate([1; SECRET_BYTES]);
        let other = ClusterSecret::generate([2; SECRET_BYTES]);
        let none = ClusterSecret::none();
        let mut tags = vec![
            one.derive("a").tag(&[b"x"]),
            one.derive("b").tag(&[b"x"]),
            other.derive("a").tag(&[b"x"]),
            none.derive("a").tag(&[b"x"]),
            one.derive("a").tag(&[b"y"]),
        ];
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), 5);
        assert!(none.is_public() && !one.is_public());
        // Held fast: members of one cluster may run different releases.
        let text: String =
            none.derive("a").tag(&[b"x"]).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(text, "b3bc8102e741545cb632fcd3f0d6da51");
    }

    proptest! {
        #[test]
        fn a_tag_holds_for_its_bytes_only(
            bytes in prop::collection::vec(any::<u8>(), 1..200),
            cut in any::<prop::sample::Index>(),
            bit in any::<prop::sample::Index>(),
        ) {
            let key = ClusterSecret::generate([7; SECRET_BYTES]).derive("test");
            let (left, right) = bytes.split_at(cut.index(bytes.len()));
            let tag = key.tag(&[left, right]);
            prop_assert!(key.verify(&[&bytes], &tag));
            let mut changed = [bytes.as_slice(), tag.as_slice()].concat();
            let bit = bit.index(changed.len() * 8);
            changed[bit / 8] ^= 1 << (bit % 8);
            let (body, tag) = changed.split_at(bytes.len());
            prop_assert!(!key.verify(&[body], tag));
            prop_assert!(!key.verify(&[&bytes], &tag[..15]));
        }
    }
}
