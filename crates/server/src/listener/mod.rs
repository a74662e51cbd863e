//! How connections come in: addresses, sockets, and the threads that serve them.
//!
//! Holds: a connection is counted before it is handed on, and refused by name when there are too
//! many. A unix socket is taken over only from a server that is gone.
//!
//! Does not know: what is said on a connection, beyond which protocol its first bytes begin.

mod address;
mod balance;
mod bind;
mod sniff;
mod stream;
mod worker;

pub use address::{BadAddress, ListenAddress};
pub use bind::BindError;
pub use sniff::{MAX_FIRST_LINE, Sniffed, sniff};

pub(crate) use address::is_loopback;
pub(crate) use bind::{Bound, Socket, bind, bind_for_cluster};
pub(crate) use stream::{Prefixed, Stream};
pub(crate) use worker::{Departures, Workers};

use crate::connection::Shared;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};

/// How long to wait after a failed accept: file descriptors do not come back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often an unused TCP connection is probed.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// What a connection over the limit is told, whatever it speaks.
pub(crate) const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// A freshly accepted connection, not yet at home on any thread.
pub(crate) enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    /// Puts the connection on the thread that will serve it.
    pub(crate) fn settle_here(self) -> io::Result<Stream> {
        match self {
            Self::Tcp(stream) => tokio::net::TcpStream::from_std(stream).map(Stream::Tcp),
            Self::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(Stream::Unix),
        }
    }

    /// Takes the connection off the thread that served it.
    pub(crate) fn uproot(stream: Stream) -> io::Result<Self> {
        match stream {
            Stream::Tcp(stream) => stream.into_std().map(Self::Tcp),
            Stream::Unix(stream) => stream.into_std().map(Self::Unix),
        }
    }

    /// Says that there are too many connections, as far as that goes without waiting.
    fn refuse(mut self) {
        let writer: &mut dyn io::Write = match &mut self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        };
        // A client that is gone already need not hear it.
        let _ = writer.write(TOO_MANY);
    }
}

/// Accepts connections at `bound` until it is dropped.
pub(crate) async fn accept_all(bound: Bound, shared: Arc<Shared>, workers: Arc<Workers>) {
    let Bound { address, socket, file, knows_cluster } = bound;
    let _removed_at_the_end = file;
    let source = match Source::new(socket) {
        Ok(source) => source,
        Err(error) => {
            tracing::error!(%address, %error, "cannot accept connections");
            return;
        }
    };
    let mut failing = false;
    loop {
        match source.accept().await {
            Ok((stream, peer, local)) => {
                failing = false;
                if shared.registry.count() >= shared.config.max_clients {
                    shared.registry.count_refusal();
                    stream.refuse();
                    continue;
                }
                let is_unix = matches!(stream, Accepted::Unix(_));
                let (peer, local) = if is_unix {
                    let path = address.path().unwrap_or(std::path::Path::new(""));
                    (format!("{}:0", path.display()), format!("{}:0", path.display()))
                } else {
                    (peer, local)
                };
                let entry = shared.registry.enter(peer, local, is_unix);
                if knows_cluster {
                    entry.client.knows_cluster();
                }
                workers.hand_over(stream, entry, address.is_loopback_tcp()).await;
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%address, %error, "accepting a connection failed");
                }
                failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A listening socket on this thread's event loop.
enum Source {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Source {
    fn new(socket: Socket) -> io::Result<Self> {
        match socket {
            Socket::Tcp(listener) => TcpListener::from_std(listener).map(Self::Tcp),
            Socket::Unix(listener) => UnixListener::from_std(listener).map(Self::Unix),
        }
    }

    /// The next connection, with the other side's address and this side's.
    async fn accept(&self) -> io::Result<(Accepted, String, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let local = stream.local_addr()?;
                prepare(&stream);
                let stream = Accepted::Tcp(stream.into_std()?);
                Ok((stream, peer.to_string(), local.to_string()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Accepted::Unix(stream.into_std()?), String::new(), String::new()))
            }
        }
    }
}

/// Answers leave at once, and a peer that vanished is noticed. Neither is worth refusing a
/// connection for.
fn prepare(stream: &tokio::net::TcpStream) {
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    let kept = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive);
    if let Err(error) = stream.set_nodelay(true).and(kept) {
        tracing::debug!(%error, "a socket option was refused");
    }
}
