//! Keys in paths: percent-decoded once, never normalised.
//!
//! Holds: every key of 1 to 16,384 bytes has a path, and the path gives back exactly that key:
//! `..`, `//`, `%00` and bytes that are not UTF-8 included. Nothing here touches a file.

use shoal_node::{Code, Refusal};

/// Decodes `%XX` once. `+` is a plus.
///
/// # Errors
/// [`Code::BadRequest`], if a `%` is not followed by two hexadecimal digits.
pub fn percent_decode(text: &str) -> Result<Vec<u8>, Refusal> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let [high, low, after @ ..] = rest else { return Err(bad_escape()) };
        let (Some(high), Some(low)) = (hex(*high), hex(*low)) else { return Err(bad_escape()) };
        decoded.push(high << 4 | low);
        rest = after;
    }
    Ok(decoded)
}

/// The path segment for `bytes`: everything but letters, digits and `-._~` is escaped.
#[must_use]
pub fn percent_encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    text
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn bad_escape() -> Refusal {
    Refusal::new(
        Code::BadRequest,
        "a % must be followed by two hexadecimal digits; write %25 for the character itself",
    )
}

/// Whether `/{key}` belongs to the server: such keys are reachable under `/v1/keyspaces` only.
#[must_use]
pub fn is_reserved(key: &[u8]) -> bool {
    key == b"metrics" || key.starts_with(b"v1/") || key.starts_with(b"_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_spellings_are_just_keys() {
        for (text, key) in [
            ("%2e%2e%2fetc", &b"../etc"[..]),
            ("../etc", b"../etc"),
            ("%252e", b"%2e"),
            ("%00", b"\0"),
            ("a//b", b"a//b"),
            ("/a", b"/a"),
            ("%ff%FE", b"\xff\xfe"),
            ("a+b", b"a+b"),
            ("%C3%A4", "ä".as_bytes()),
            ("", b""),
        ] {
            assert_eq!(percent_decode(text).expect(text), key, "{text}");
        }
    }

    #[test]
    fn broken_escapes_are_refused() {
        for text in ["%", "%a", "a%", "%g0", "%0g", "%%20", "% 20"] {
            assert_eq!(percent_decode(text).expect_err(text).code, Code::BadRequest);
        }
    }

    #[test]
    fn reserved_keys_are_the_server_s() {
        for key in [&b"metrics"[..], b"v1/x", b"v1/", b"_", b"_health"] {
            assert!(is_reserved(key));
        }
        for key in [&b"metric"[..], b"metrics/", b"v1", b"v2/x", b"a_", b"/metrics"] {
            assert!(!is_reserved(key));
        }
    }

    proptest! {
        #[test]
        fn any_key_survives_its_path(key in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = percent_encode(&key);
            prop_assert_eq!(percent_decode(&text).expect("it was encoded"), key);
        }

        #[test]
        fn no_text_makes_decoding_panic(text in "\\PC*") {
            let _ = percent_decode(&text);
        }
    }
}
