//! What the HTTP library answers by itself, before it ever asks us: refusals of heads that it
//! cannot read, put into the form that all refusals have.
//!
//! Holds: what is not such a refusal passes as it is. The connection closes after one, as the
//! library decided.
//!
//! Does not know: HTTP/2, where such refusals are frames, not texts.

use super::reply::Reply;
use super::{MAX_HEAD, MAX_HEADERS};
use shoal_node::{Code, Refusal};
use std::fmt::Write;

/// The end of a head.
const END: &str = "\r\n\r\n";

/// The library's refusal `said` in our form; `None` if it is none.
pub(super) fn in_our_form(said: &[u8]) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(said).ok()?.strip_suffix(END)?;
    let (first, headers) = head.split_once("\r\n")?;
    let status = first.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let refusal = match status {
        "400" => Refusal::new(Code::BadRequest, "the request line or a header is malformed"),
        "414" => Refusal::new(Code::HeadTooLarge, "the request's target is too long"),
        "431" => {
            let why = format!("a head has at most {MAX_HEAD} bytes and {MAX_HEADERS} headers");
            Refusal::new(Code::HeadTooLarge, why)
        }
        _ => return None,
    };
    let reply = Reply::refusal(&refusal);
    let (status, body) = reply.status_and_body();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16());
    // The library's own date and its word on closing stay.
    let kept = |header: &&str| {
        let name = header.split(':').next().unwrap_or_default();
        name.eq_ignore_ascii_case("date") || name.eq_ignore_ascii_case("connection")
    };
    for header in headers.split("\r\n").filter(kept) {
        let _infallible = write!(text, "{header}\r\n");
    }
    let _infallible =
        write!(text, "content-type: application/json\r\ncontent-length: {}{END}", body.len());
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: &str) -> Option<(String, serde_json::Value)> {
        let said = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n"
        );
        let bytes = in_our_form(said.as_bytes())?;
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once(END).expect("a head");
        assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{head}");
        assert_eq!(head.matches("content-length").count(), 1);
        assert!(head.contains("\r\nconnection: close") && head.contains("\r\ndate: now"), "{head}");
        Some((head.to_owned(), serde_json::from_str(body).expect("JSON")))
    }

    #[test]
    fn refusals_get_a_code_and_its_status() {
        for (status, first, code) in [
            ("400 Bad Request", "HTTP/1.1 400 Bad Request\r\n", "bad_request"),
            (
                "414 URI Too Long",
                "HTTP/1.1 431 Request Header Fields Too Large\r\n",
                "head_too_large",
            ),
            (
                "431 Request Header Fields Too Large",
                "HTTP/1.1 431 Request Header Fields Too Large\r\n",
                "head_too_large",
            ),
        ] {
            let (head, body) = told(status).expect(status);
            assert!(head.starts_with(first), "{head}");
            assert_eq!(body["error"]["code"], code);
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for said in [
            &b"HTTP/1.1 100 Continue\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno",
            b"HTTP/1.1 400",
            b"\xff\r\n\r\n",
            b"",
        ] {
            assert_eq!(in_our_form(said), None, "{}", String::from_utf8_lossy(said));
        }
    }
}
