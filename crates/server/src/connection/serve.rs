//! From acceptance to the protocol: waits until the first bytes decide, then hands over.

use super::registry::{Entry, Protocol};
use super::wire::{End, Wire};
use super::{Pace, Shared, resp};
use crate::http;
use crate::listener::{Prefixed, Sniffed, TOO_MANY, sniff};
use bytes::Bytes;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Room for the first read: a usual request, or a batch of small ones.
const FIRST_READ: usize = 4 << 10;

/// Serves one connection from its first byte to its end.
pub(crate) async fn serve<S>(shared: Arc<Shared>, stream: S, entry: Entry, loopback_tcp: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let client = Arc::clone(&entry.client);
    let mut wire = Wire::new(stream, shared, entry);
    let end = match decide(&mut wire).await {
        Ok((Sniffed::Resp, first)) => serve_resp(wire, first).await,
        Ok((Sniffed::Http1, first)) => serve_http(wire, first, loopback_tcp, false).await,
        Ok((Sniffed::Http2, first)) => serve_http(wire, first, loopback_tcp, true).await,
        Ok((Sniffed::Tls, _)) => {
            End::Unserved("it began with a TLS handshake; this server speaks no TLS yet")
        }
        Err(end) => end,
    };
    match end {
        End::Closed | End::Stopping => {
            tracing::debug!(client = client.id, ?end, "a connection ended");
        }
        End::Failed(error) => {
            // A peer that resets its connection is its own business.
            tracing::debug!(client = client.id, %error, "a connection failed");
        }
        End::Unserved(why) => {
            tracing::info!(client = client.id, address = %client.address, "closed: {why}");
        }
        _ => {
            tracing::info!(client = client.id, address = %client.address, ?end, "closed");
        }
    }
}

/// Reads until the first bytes decide the protocol.
async fn decide<S>(wire: &mut Wire<S>) -> Result<(Sniffed, Vec<u8>), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = Vec::with_capacity(FIRST_READ);
    let mut pace = Pace::new(wire.shared.config.slow_request);
    loop {
        // Time counts from the first byte on: a connection may be opened long before its use.
        let started = !bytes.is_empty();
        wire.read(&mut bytes, started.then_some(&mut pace)).await?;
        if let Some(sniffed) = sniff(&bytes) {
            return Ok((sniffed, bytes));
        }
    }
}

async fn serve_resp<S>(mut wire: Wire<S>, first: Vec<u8>) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    wire.client().update(|shown| shown.protocol = Protocol::Resp);
    if wire.shared.registry.count() > wire.shared.client_limit() {
        wire.shared.registry.count_refusal();
        if let Err(end) = wire.write_all(TOO_MANY).await {
            return end;
        }
        wire.close().await;
        return End::Closed;
    }
    resp::converse(wire, first).await
}

async fn serve_http<S>(wire: Wire<S>, first: Vec<u8>, loopback_tcp: bool, is_h2: bool) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    wire.client().update(|shown| shown.protocol = Protocol::Http);
    let (stream, shared, entry) = wire.into_parts();
    let stream = Prefixed::new(Bytes::from(first), stream);
    http::serve_connection(shared, stream, entry, loopback_tcp, is_h2).await
}
