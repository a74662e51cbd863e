//! From acceptance to the protocol: waits until the first bytes decide, then hands over.

use super::registry::{Client, Entry, Protocol};
use super::resp::Talk;
use super::wire::{End, Wire};
use super::{Pace, Shared, resp};
use crate::http;
use crate::listener::{Departures, Prefixed, Sniffed, TOO_MANY, sniff};
use crate::resp::Session;
use bytes::Bytes;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Room for the first read: a usual request, or a batch of small ones.
const FIRST_READ: usize = 4 << 10;

/// The answer to a node that takes this port for the one that nodes listen at.
const NOT_FOR_NODES: &[u8] = b"-ERR this port is for clients; nodes have one of their own\r\n";

/// What became of a connection on this thread.
pub(crate) enum Served<S> {
    /// It ended.
    Ended,
    /// It is to go on, between two requests, on another thread.
    Leaves {
        /// Its socket.
        stream: S,
        /// Its place in the list.
        entry: Entry,
        /// Its state.
        session: Box<Session>,
        /// The thread.
        to: usize,
    },
}

/// Serves one connection from its first byte on.
pub(crate) async fn serve<S>(
    shared: Arc<Shared>,
    stream: S,
    entry: Entry,
    loopback_tcp: bool,
    departures: Arc<Departures>,
) -> Served<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let client = Arc::clone(&entry.client);
    let mut wire = Wire::new(stream, shared, entry);
    let end = match decide(&mut wire).await {
        Ok((Sniffed::Resp, first)) => match serve_resp(wire, first, &departures).await {
            Talk::Ended(end) => end,
            Talk::Leaves(wire, session, to) => return leaving(wire, session, to),
        },
        Ok((Sniffed::Http1, first)) => serve_http(wire, first, loopback_tcp, false).await,
        Ok((Sniffed::Http2, first)) => serve_http(wire, first, loopback_tcp, true).await,
        Ok((Sniffed::Tls, _)) => {
            End::Unserved("it began with a TLS handshake; this server speaks no TLS yet")
        }
        Ok((Sniffed::Peer, _)) => {
            // It is told nothing more, whether this arrives or not.
            let _ = wire.write_all(NOT_FOR_NODES, NOT_FOR_NODES.len()).await;
            wire.close().await;
            End::Unserved("it is a node, which has to ask at the port for nodes (--peer-listen)")
        }
        Err(end) => end,
    };
    note(&client, &end);
    Served::Ended
}

/// Goes on with a connection that another thread served so far.
pub(crate) async fn resume<S>(
    shared: Arc<Shared>,
    stream: S,
    entry: Entry,
    session: Box<Session>,
    departures: Arc<Departures>,
) -> Served<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let client = Arc::clone(&entry.client);
    match resp::go_on(Wire::new(stream, shared, entry), session, &departures).await {
        Talk::Ended(end) => {
            note(&client, &end);
            Served::Ended
        }
        Talk::Leaves(wire, session, to) => leaving(wire, session, to),
    }
}

fn leaving<S>(wire: Wire<S>, session: Box<Session>, to: usize) -> Served<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, _, entry) = wire.into_parts();
    Served::Leaves { stream, entry, session, to }
}

fn note(client: &Client, end: &End) {
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
        // A request's time counts from its first byte on: a connection may be opened long before
        // its use. But where it is crowded, those that never said a word make room.
        if bytes.is_empty() {
            let patience = wire.shared.config.slow_request;
            match tokio::time::timeout(patience, wire.read(&mut bytes, None)).await {
                Ok(read) => {
                    read?;
                }
                Err(_) if wire.shared.registry.count() > wire.shared.client_limit() => {
                    return Err(End::SlowRequest);
                }
                Err(_) => continue,
            }
        } else {
            wire.read(&mut bytes, Some(&mut pace)).await?;
        }
        if let Some(sniffed) = sniff(&bytes) {
            return Ok((sniffed, bytes));
        }
    }
}

async fn serve_resp<S>(mut wire: Wire<S>, first: Vec<u8>, departures: &Departures) -> Talk<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    wire.client().update(|shown| shown.protocol = Protocol::Resp);
    if wire.shared.registry.count() > wire.shared.client_limit() {
        wire.shared.registry.count_refusal();
        if let Err(end) = wire.write_all(TOO_MANY, TOO_MANY.len()).await {
            return Talk::Ended(end);
        }
        wire.close().await;
        return Talk::Ended(End::Closed);
    }
    resp::converse(wire, first, departures).await
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
