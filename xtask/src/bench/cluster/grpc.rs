//! A client of etcd: gRPC by hand, one call at a time on an HTTP/2 connection of its own.
//!
//! Holds: a call that does not end with `grpc-status: 0` is an error with what the server said.

use super::proto::Numbers;
use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Uri};
use std::future::poll_fn;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Before each message: one byte that says it is not compressed, four of its length.
const PREFIX_BYTES: usize = 5;

/// One connection.
#[derive(Debug)]
pub(super) struct Grpc {
    sender: SendRequest<Bytes>,
    numbers: Arc<Numbers>,
    put: Uri,
    range: Uri,
    status: Uri,
}

impl Grpc {
    /// Connects to a port of this machine.
    pub(super) async fn connect(port: u16, numbers: Arc<Numbers>) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        // Whatever ends it, the call that waits for an answer is told.
        tokio::spawn(async move {
            let _told = connection.await;
        });
        let uri = |path: &str| format!("http://127.0.0.1:{port}{path}").parse::<Uri>();
        let (put, range) = (uri(&numbers.put)?, uri(&numbers.range)?);
        let status = uri(&numbers.status)?;
        Ok(Self { sender, numbers, put, range, status })
    }

    /// Puts a key and waits for the answer.
    pub(super) async fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut message = begun();
        self.numbers.put_request(key, value, &mut message);
        self.call(self.put.clone(), message).await.map(drop)
    }

    /// Gets a key, linearizably, and gives the length of its value.
    pub(super) async fn get(&mut self, key: &[u8]) -> Result<Option<usize>> {
        let mut message = begun();
        self.numbers.range_request(key, &mut message);
        let answer = self.call(self.range.clone(), message).await?;
        self.numbers.found(&answer)
    }

    /// Whether this node leads; `None` while nobody does.
    pub(super) async fn leads(&mut self) -> Result<Option<bool>> {
        let answer = self.call(self.status.clone(), begun()).await?;
        self.numbers.leads(&answer)
    }

    async fn call(&mut self, uri: Uri, mut message: Vec<u8>) -> Result<Bytes> {
        let length = u32::try_from(message.len() - PREFIX_BYTES).context("a message's length")?;
        message[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        poll_fn(|context| self.sender.poll_ready(context)).await?;
        let (response, mut stream) = self.sender.send_request(request, false)?;
        stream.send_data(Bytes::from(message), true)?;

        let response = response.await?;
        let (head, mut body) = response.into_parts();
        let mut answer = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            answer.extend_from_slice(&data);
        }
        match body.trailers().await? {
            Some(trailers) => check(&trailers)?,
            // A refusal has no body, and its trailers are its head.
            None => check(&head.headers)?,
        }
        payload(answer.freeze())
    }
}

/// A message with room for its prefix.
fn begun() -> Vec<u8> {
    let mut message = Vec::with_capacity(256);
    message.resize(PREFIX_BYTES, 0);
    message
}

fn check(trailers: &HeaderMap) -> Result<()> {
    let text = |name| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
    match text("grpc-status") {
        "0" => Ok(()),
        other => bail!("etcd answered status {other}: {}", text("grpc-message")),
    }
}

/// The one message of an answer.
fn payload(mut answer: Bytes) -> Result<Bytes> {
    let Some((&[compressed, ref length @ ..], rest)) = answer.split_first_chunk::<PREFIX_BYTES>()
    else {
        bail!("etcd answered without a message");
    };
    if compressed != 0 || rest.len() as u64 != u64::from(u32::from_be_bytes(*length)) {
        bail!("etcd answered a message that is compressed or not whole");
    }
    Ok(answer.split_off(PREFIX_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_out_of_its_prefix() {
        assert_eq!(payload(Bytes::from_static(b"\0\0\0\0\x02ab")).unwrap(), "ab");
        assert_eq!(payload(Bytes::from_static(b"\0\0\0\0\0")).unwrap(), "");
        for wrong in [&b"\x01\0\0\0\x02ab"[..], b"\0\0\0\0\x03ab", b"\0\0\0", b""] {
            assert!(payload(Bytes::from_static(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_status_other_than_nought_is_an_error() {
        let mut trailers = HeaderMap::new();
        assert!(check(&trailers).is_err());
        trailers.insert("grpc-status", "0".parse().unwrap());
        assert!(check(&trailers).is_ok());
        trailers.insert("grpc-status", "14".parse().unwrap());
        trailers.insert("grpc-message", "no leader".parse().unwrap());
        let error = check(&trailers).unwrap_err().to_string();
        assert!(error.contains("14") && error.contains("no leader"), "{error}");
    }
}
