//! Bytes in JSON: as text where they are UTF-8, else as base64 in a field of its own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shoal_node::{Code, Refusal};

/// Bytes on their way into JSON.
pub(crate) enum Form {
    /// They are UTF-8.
    Text(String),
    /// They are not; this is their base64.
    Base64(String),
}

impl Form {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Base64(STANDARD.encode(error.as_bytes())),
        }
    }

    /// The two fields, of which one is set.
    pub(crate) fn fields(self) -> (Option<String>, Option<String>) {
        match self {
            Self::Text(text) => (Some(text), None),
            Self::Base64(text) => (None, Some(text)),
        }
    }
}

/// The bytes of a pair of fields of which at most one may be set.
pub(crate) fn read(
    name: &str,
    text: Option<String>,
    base64: Option<&str>,
) -> Result<Option<Vec<u8>>, Refusal> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(Refusal::new(
            Code::BadRequest,
            format!("`{name}` and `{name}_b64` are both given; give one"),
        )),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => STANDARD.decode(base64).map(Some).map_err(|_| {
            Refusal::new(Code::BadRequest, format!("`{name}_b64` is not base64 with padding"))
        }),
        (None, None) => Ok(None),
    }
}

/// Reads a JSON document of a known form.
pub(crate) fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal::new(Code::BadRequest, format!("the body is not the JSON asked for: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_survive_json(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let (text, base64) = Form::of(bytes.clone()).fields();
            prop_assert_eq!(read("value", text, base64.as_deref()), Ok(Some(bytes)));
        }
    }

    #[test]
    fn both_forms_at_once_and_bad_base64_are_refused() {
        assert!(read("key", Some(String::new()), Some("")).is_err());
        for bad in ["=", "a", "ab", "####", "YQ"] {
            assert!(read("key", None, Some(bad)).is_err(), "{bad}");
        }
        assert_eq!(read("key", None, None), Ok(None));
    }
}
