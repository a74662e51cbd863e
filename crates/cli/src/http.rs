//! The little HTTP/1.1 that administration needs: one request per connection, JSON both ways.
//!
//! Holds: head and body of an answer are bounded; a body arrives by length, in chunks or until
//! the connection ends.
//! Does not know: routes, redirects, TLS, other encodings.

use crate::address::{Address, Endpoint, lost};
use crate::failure::Failure;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::time::Duration;

/// The most bytes a head may have.
const MAX_HEAD: u64 = 64 * 1024;
/// The most bytes a body may have.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// Sends a request and returns the JSON of a 2xx answer; any other answer is a failure.
pub(crate) fn request(
    address: &Address,
    timeout: Option<Duration>,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let mut stream = address.connect(timeout)?;
    let host = match &address.endpoint {
        Endpoint::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
        Endpoint::Tcp(host, port) => format!("{host}:{port}"),
        Endpoint::Unix(_) => "localhost".to_owned(),
    };
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: application/json\r\n"
    );
    let body = body.map(Value::to_string);
    if let Some(body) = &body {
        head.push_str("Content-Type: application/json\r\n");
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    } else if method != "GET" {
        head.push_str("Content-Length: 0\r\n");
    }
    head.push_str("\r\n");
    head.push_str(&body.unwrap_or_default());
    stream.write_all(head.as_bytes()).map_err(|error| lost(address, &error))?;
    let answer = answer(&mut BufReader::new(stream)).map_err(|error| broken(address, &error));
    let (status, body) = answer?;
    decode(address, status, &body)
}

/// An answer that could not be read to its end.
fn broken(address: &Address, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidData => {
            Failure::new("protocol", format!("{address} does not speak HTTP ({error})"))
                .hint("is it a Shoal node? check --addr")
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            Failure::new("connection_lost", format!("{address} broke off its answer"))
                .hint("is it a Shoal node? check --addr, or look at the node's log")
        }
        _ => lost(address, error),
    }
}

/// A failure from an error body, or the JSON of a good one; an empty body is null.
fn decode(address: &Address, status: u16, body: &[u8]) -> Result<Value, Failure> {
    let parsed = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body) };
    if (200..300).contains(&status) {
        return parsed.map_err(|error| {
            Failure::new("protocol", format!("{address} sent no JSON ({error})"))
                .hint("is it a Shoal node? check --addr")
        });
    }
    let body = parsed.unwrap_or_default();
    let error = &body["error"];
    let code = error["code"].as_str().unwrap_or("http");
    let message = match error["message"].as_str() {
        Some(message) => message.to_owned(),
        None => format!("{address} answered with HTTP status {status}"),
    };
    let failure = Failure::new(code, message);
    let is = |name: &str| error[name].as_bool().unwrap_or_default();
    Err(match error["hint"].as_str() {
        Some(hint) => failure.hint(hint),
        None if is("may_have_happened") => failure.hint("it may have been done all the same"),
        None if status == 507 => failure.hint("free disk space or memory; then it goes on"),
        None if is("retry_helps") => failure.hint("try again in a moment"),
        None if is_about_nodes(code) => failure.hint("see `shoal cluster nodes`"),
        None if status == 404 || status == 409 => failure.hint("see `shoal keyspace list`"),
        None if status == 400 => {
            failure.hint("see `shoal keyspace --help` and `shoal keyspace COMMAND --help`")
        }
        None => failure.hint("the node's log may say more"),
    })
}

/// Reads status and body, leaving out interim answers.
fn answer(from: &mut impl BufRead) -> io::Result<(u16, Vec<u8>)> {
    loop {
        let head = Head::read(from)?;
        if !(100..200).contains(&head.status) {
            let body = head.body(from)?;
            return Ok((head.status, body));
        }
    }
}

struct Head {
    status: u16,
    length: Option<u64>,
    chunked: bool,
}

impl Head {
    fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut from = from.take(MAX_HEAD);
        let first = line(&mut from)?;
        let mut words = first.split(' ');
        let version = words.next().unwrap_or_default();
        let status = words.next().and_then(|word| word.parse().ok());
        let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
            let first: String = first.chars().take(60).collect();
            return Err(invalid(format!("its answer begins with `{first}`")));
        };
        let mut head = Self { status, length: None, chunked: false };
        loop {
            let line = line(&mut from)?;
            if line.is_empty() {
                return Ok(head);
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(invalid("a header has no colon".to_owned()));
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.parse().map_err(|_| invalid(format!("length `{value}`")))?;
                head.length = Some(length);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.chunked = value.to_ascii_lowercase().ends_with("chunked");
            }
        }
    }

    fn body(&self, from: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.status == 204 || self.status == 304 {
            return Ok(body);
        }
        if self.chunked {
            while read_chunk(from, &mut body)? {}
        } else if let Some(length) = self.length {
            read_exactly(from, length, &mut body)?;
        } else {
            from.take(MAX_BODY + 1).read_to_end(&mut body)?;
            if body.len() as u64 > MAX_BODY {
                return Err(too_long());
            }
        }
        Ok(body)
    }
}

/// Appends one chunk; false after the last, whose trailers are read too.
fn read_chunk(from: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<bool> {
    let size = line(&mut from.take(MAX_HEAD))?;
    let size = size.split(';').next().unwrap_or_default().trim();
    let size = u64::from_str_radix(size, 16).map_err(|_| invalid(format!("chunk `{size}`")))?;
    if size == 0 {
        let mut trailers = from.take(MAX_HEAD);
        while !line(&mut trailers)?.is_empty() {}
        return Ok(false);
    }
    read_exactly(from, size, body)?;
    let mut end = Vec::new();
    read_exactly(from, 2, &mut end)?;
    if end != b"\r\n" {
        return Err(invalid("a chunk does not end where its size says".to_owned()));
    }
    Ok(true)
}

fn read_exactly(from: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if length > MAX_BODY.saturating_sub(body.len() as u64) {
        return Err(too_long());
    }
    match from.take(length).read_to_end(body)? as u64 {
        got if got == length => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A line without its end.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| invalid("a header is not text".to_owned()))
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn too_long() -> io::Error {
    invalid(format!("its answer is longer than {MAX_BODY} bytes"))
}

/// Whether a refusal of this code is about a node of the cluster.
fn is_about_nodes(code: &str) -> bool {
    ["unknown_node", "node_gone", "node_in_place", "last_replica", "name_in_use"].contains(&code)
}

/// One segment of a path, percent-encoded.
pub(crate) fn segment(name: &str) -> String {
    segment_of(name.as_bytes())
}

/// The same of bytes that may be no text.
pub(crate) fn segment_of(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> io::Result<(u16, String)> {
        answer(&mut text.as_bytes())
            .map(|(status, body)| (status, String::from_utf8(body).unwrap()))
    }

    #[test]
    fn bodies_by_length_in_chunks_and_until_the_end() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[12]rest",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n3;x=y\r\n12]\r\n0\r\nT: 1\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\n[12]",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:4\r\n\r\n[12]",
        ] {
            assert_eq!(read(text).unwrap(), (200, "[12]".to_owned()), "{text}");
        }
        assert_eq!(read("HTTP/1.1 204 No Content\r\n\r\n").unwrap(), (204, String::new()));
    }

    #[test]
    fn bad_answers_are_named() {
        for (text, kind) in [
            ("-ERR unknown command\r\n", io::ErrorKind::InvalidData),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[12]", io::ErrorKind::UnexpectedEof),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", io::ErrorKind::InvalidData),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", io::ErrorKind::InvalidData),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[12",
                io::ErrorKind::InvalidData,
            ),
            ("", io::ErrorKind::UnexpectedEof),
        ] {
            assert_eq!(read(text).unwrap_err().kind(), kind, "{text}");
        }
    }

    #[test]
    fn error_bodies_become_failures() {
        let address = "h".parse().unwrap();
        let body = json!({ "error": { "code": "exists", "message": "it exists", "hint": "drop" } });
        let failure = decode(&address, 409, body.to_string().as_bytes()).unwrap_err();
        assert_eq!(failure, Failure::new("exists", "it exists").hint("drop"));
        assert_eq!(decode(&address, 500, b"oops").unwrap_err().code, "http");
        let body = json!({ "error": { "code": "busy", "message": "m", "retry_helps": true } });
        let failure = decode(&address, 503, body.to_string().as_bytes()).unwrap_err();
        assert_eq!(failure.hint.as_deref(), Some("try again in a moment"));
    }

    #[test]
    fn names_become_segments() {
        assert_eq!(segment("a/b c"), "a%2Fb%20c");
        assert_eq!(segment("ü"), "%C3%BC");
    }
}
