//! Answers: a status, a few headers, a body; and refusals as the table of errors has them.
//!
//! Holds: every refusal has the same JSON form, whatever refused it. No answer names a key.

use crate::connection::{Client, Held, Output, UNCHARGED_BYTES};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::StatusCode;
use hyper::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, RETRY_AFTER,
};
use serde::Serialize;
use shoal_core::update::Tag;
use shoal_core::version::Millis;
use shoal_node::{Code, Refusal};
use std::sync::Arc;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// When a value expires, in milliseconds since the Unix epoch.
pub(crate) const EXPIRES_AT: HeaderName = HeaderName::from_static("shoal-expires-at");

/// An answer, ready for hyper.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// Bytes that are counted until the last of them is sent.
struct Charged {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A refusal as JSON shows it.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody<'a> {
    code: &'static str,
    message: &'a str,
    may_have_happened: bool,
    retry_helps: bool,
}

impl<'a> From<&'a Refusal> for ErrorBody<'a> {
    fn from(refusal: &'a Refusal) -> Self {
        let row = refusal.code.row();
        Self {
            code: row.code,
            message: &refusal.message,
            may_have_happened: row.may_have_happened,
            retry_helps: row.retry_helps,
        }
    }
}

impl Reply {
    /// A bare status.
    pub(crate) const fn status(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// The bytes of a value.
    pub(crate) fn bytes(value: Bytes) -> Self {
        Self { body: value, ..Self::status(StatusCode::OK) }.with(CONTENT_TYPE, BYTES)
    }

    /// What GET would answer about a value of this length, without it.
    pub(crate) fn head(length: usize) -> Self {
        Self::status(StatusCode::OK)
            .with(CONTENT_TYPE, BYTES)
            .with(CONTENT_LENGTH, HeaderValue::from(length))
    }

    /// A JSON document, with a line's end for those who read it at a terminal.
    pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Self {
        let mut body = Vec::new();
        let written = serde_json::to_writer(&mut body, document);
        body.push(b'\n');
        match written {
            // Without what it grew beyond its length: the length is what counts as waiting.
            Ok(()) => Self { body: body.into_boxed_slice().into(), ..Self::status(status) }
                .with(CONTENT_TYPE, JSON),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                Self::status(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// A text of another kind.
    pub(crate) fn text(kind: &'static str, text: String) -> Self {
        let body = text.into_bytes().into_boxed_slice().into();
        Self { body, ..Self::status(StatusCode::OK) }
            .with(CONTENT_TYPE, HeaderValue::from_static(kind))
    }

    /// A refusal.
    pub(crate) fn refusal(refusal: &Refusal) -> Self {
        #[derive(Serialize)]
        struct Document<'a> {
            error: ErrorBody<'a>,
        }
        let row = refusal.code.row();
        let status =
            StatusCode::from_u16(row.http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reply = Self::json(status, &Document { error: refusal.into() });
        if status == StatusCode::SERVICE_UNAVAILABLE && row.retry_helps {
            return reply.with(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        reply
    }

    /// The refusal of a method, with those that there are.
    pub(crate) fn method_not_allowed(allowed: &[&'static str]) -> Self {
        let allowed = allowed.join(", ");
        let message = format!("this path takes {allowed}");
        let reply = Self::refusal(&Refusal::new(Code::MethodNotAllowed, message));
        match HeaderValue::from_str(&allowed) {
            Ok(value) => reply.with(ALLOW, value),
            Err(_) => reply,
        }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds what is known of a record: its tag and its expiry.
    pub(crate) fn about(self, tag: Option<Tag>, expires_at: Option<Millis>) -> Self {
        let tag = tag.and_then(|tag| HeaderValue::from_str(&super::conditions::etag(tag)).ok());
        let reply = match tag {
            Some(tag) => self.with(ETAG, tag),
            None => self,
        };
        match expires_at {
            Some(at) => reply.with(EXPIRES_AT, HeaderValue::from(at)),
            None => reply,
        }
    }

    /// How long the body is.
    pub(crate) const fn length(&self) -> usize {
        self.body.len()
    }

    /// Counts a long body against what may wait in the whole server until it is sent.
    pub(crate) fn charged(mut self, output: &Arc<Output>, client: &Arc<Client>) -> Self {
        if self.body.len() <= UNCHARGED_BYTES {
            return self;
        }
        let Some(held) = output.hold(client, self.body.len()) else {
            let message = "too many answers wait to be taken by their clients";
            return Self::refusal(&Refusal::new(Code::MemoryFull, message));
        };
        self.body = Bytes::from_owner(Charged { bytes: self.body, _held: held });
        self
    }

    /// Hands the answer to hyper; `last` closes the connection after it.
    pub(crate) fn into_response(self, last: bool) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        if last {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(hyper::header::CONNECTION, close);
        }
        response
    }

    /// The status and the body, for who writes the answer without hyper.
    pub(super) fn status_and_body(&self) -> (StatusCode, &[u8]) {
        (self.status, &self.body)
    }

    #[cfg(test)]
    pub(crate) fn parts(&self) -> (u16, &[u8]) {
        (self.status.as_u16(), &self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Registry;

    #[test]
    fn a_long_body_is_counted_until_it_is_gone() {
        let registry = Arc::new(Registry::default());
        let output = Arc::new(Output::new(1 << 20, Arc::clone(&registry)));
        let entry = registry.enter("a:1".to_owned(), "b:2".to_owned(), false);
        let client = &entry.client;
        let body = Bytes::from(vec![7; 1 << 20]);
        let first = Reply::bytes(body.clone()).charged(&output, client);
        assert_eq!((output.used(), first.parts()), (1 << 20, (200, &body[..])));
        assert_eq!(Reply::bytes(body).charged(&output, client).parts().0, 507);
        let short = Reply::bytes(Bytes::from_static(b"short")).charged(&output, client);
        assert_eq!(short.parts().0, 200);
        drop(first);
        assert_eq!(output.used(), 0);
    }

    #[test]
    fn every_code_has_a_status_and_the_one_form() {
        for code in Code::ALL {
            let reply = Reply::refusal(&Refusal::new(*code, "why"));
            let (status, body) = reply.parts();
            assert_eq!(status, code.row().http_status);
            let document: serde_json::Value = serde_json::from_slice(body).expect("JSON");
            assert_eq!(document["error"]["code"], code.row().code);
            assert_eq!(document["error"]["message"], "why");
            assert_eq!(document["error"]["may_have_happened"], code.row().may_have_happened);
            assert_eq!(document["error"]["retry_helps"], code.row().retry_helps);
        }
    }
}
