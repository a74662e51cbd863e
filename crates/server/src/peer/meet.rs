//! Carrying out handshakes on connections, on both sides.
//!
//! Holds: a handshake reads little, takes a bounded time, and ends with both sides knowing why it
//! failed, if the connection lasts that long.
//!
//! Does not know: what is done with a connection afterwards.

use super::handshake::{Acceptor, Agreed, Convinced, Dialer, Failure, Me, Nonce, Packet};
use crate::listener::is_loopback;
use bytes::BytesMut;
use rustix::rand::{GetRandomFlags, getrandom};
use shoal_core::NodeId;
use shoal_node::transport::{Admission, Denied, Identity};
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What is read at once during a handshake: more than its longest packet.
const READ: usize = 1 << 10;

/// How many bytes the system takes beyond those that are on their way: two frames of full length.
const UNSENT: u32 = 128 << 10;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoLink {
    /// This side refused.
    #[error("refused: {0}")]
    Refused(Denied),
    /// The other side refused.
    #[error("it refuses: {0}")]
    Told(Denied),
    /// What is there does not speak this protocol.
    #[error("what is there does not speak the protocol of nodes")]
    Foreign,
    /// The handshake came damaged, or makes no sense.
    #[error("the handshake makes no sense")]
    Garbled,
    /// It took too long.
    #[error("no answer in time")]
    Late,
    /// The connection could not be made, or broke.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl NoLink {
    /// What was refused, by either side.
    pub(super) const fn denied(&self) -> Option<Denied> {
        match self {
            Self::Refused(why) | Self::Told(why) => Some(*why),
            Self::Foreign | Self::Garbled | Self::Late | Self::Io(_) => None,
        }
    }
}

/// A connection on which both sides have proven who they are, and what was read beyond that.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) stream: TcpStream,
    pub(super) first: BytesMut,
    pub(super) agreed: Agreed,
}

/// Connects to `address` and proves itself there. `to` is whom to find, zero for whomever; `judge`
/// says whether whoever is found is taken for a peer.
pub(super) async fn dial(
    address: &str,
    me: Me,
    to: NodeId,
    connect_within: Duration,
    meet_within: Duration,
    judge: impl FnOnce(Identity) -> Result<Admission, Denied>,
) -> Result<(Met, Admission), NoLink> {
    let connected = timeout(connect_within, connect(address, me.secret.is_public())).await;
    let mut stream = connected.map_err(|_| NoLink::Late)??;
    let nonce = draw_nonce()?;
    let meeting = async {
        let mut buffer = BytesMut::new();
        let (dialer, hello) = Dialer::hello(me, to, nonce);
        stream.write_all(&hello.to_bytes()).await?;
        let challenge = receive(&mut stream, &mut buffer).await?;
        let (proven, proof) = or_tell(&mut stream, dialer.challenged(challenge)).await?;
        stream.write_all(&proof.to_bytes()).await?;
        let welcome = receive(&mut stream, &mut buffer).await?;
        let (agreed, ready) = or_tell(&mut stream, proven.welcomed(welcome)).await?;
        let admission = match judge(agreed.peer) {
            Ok(admission) => admission,
            Err(why) => return Err(refuse(&mut stream, why).await),
        };
        stream.write_all(&ready.to_bytes()).await?;
        Ok((Met { stream, first: buffer, agreed }, admission))
    };
    timeout(meet_within, meeting).await.map_err(|_| NoLink::Late)?
}

/// Has the system send at once, and take no more at a time than it needs for that: whatever waits
/// there can no longer be overtaken by what is urgent.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)
}

async fn connect(address: &str, loopback_only: bool) -> Result<TcpStream, NoLink> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host(address).await?.collect();
    let mut last = NoLink::Io(io::ErrorKind::AddrNotAvailable.into());
    for one in found {
        // What a name stands for is looked at here, where it is used.
        if loopback_only && !is_loopback(one.ip()) {
            last = NoLink::Refused(Denied::NotLoopback);
            continue;
        }
        match TcpStream::connect(one).await {
            Ok(stream) => {
                prepare(&stream)?;
                return Ok(stream);
            }
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// A connection whose dialer has proven the secret, and now has to be admitted.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) stream: TcpStream,
    buffer: BytesMut,
    convinced: Convinced,
}

/// Takes a connection's handshake up to where the peer has proven the secret.
pub(super) async fn greet(
    mut stream: TcpStream,
    from: SocketAddr,
    me: &Me,
) -> Result<Greeted, NoLink> {
    prepare(&stream)?;
    if me.secret.is_public() && !is_loopback(from.ip()) {
        return Err(refuse(&mut stream, Denied::NotLoopback).await);
    }
    let nonce = draw_nonce()?;
    let mut buffer = BytesMut::new();
    let hello = receive(&mut stream, &mut buffer).await?;
    let (acceptor, challenge) = or_tell(&mut stream, Acceptor::greeted(me, hello, nonce)).await?;
    stream.write_all(&challenge.to_bytes()).await?;
    let proof = receive(&mut stream, &mut buffer).await?;
    let convinced = or_tell(&mut stream, acceptor.proven(proof)).await?;
    Ok(Greeted { stream, buffer, convinced })
}

impl Greeted {
    /// Who dialled.
    pub(super) const fn peer(&self) -> Identity {
        self.convinced.peer
    }

    /// Tells the other side that it is taken for a peer, and hears whether it says the same.
    pub(super) async fn welcome(self) -> Result<Met, NoLink> {
        let Self { mut stream, mut buffer, convinced } = self;
        let (welcomed, welcome) = convinced.welcome();
        stream.write_all(&welcome.to_bytes()).await?;
        let ready = receive(&mut stream, &mut buffer).await?;
        let agreed = or_tell(&mut stream, welcomed.ready(ready)).await?;
        Ok(Met { stream, first: buffer, agreed })
    }
}

/// Tells the other side why it is not.
pub(super) async fn refuse(stream: &mut TcpStream, why: Denied) -> NoLink {
    // Whoever is gone does not need to know.
    let _ = stream.write_all(&Packet::refused(why).to_bytes()).await;
    let _ = stream.shutdown().await;
    NoLink::Refused(why)
}

async fn or_tell<T>(stream: &mut TcpStream, step: Result<T, Failure>) -> Result<T, NoLink> {
    match step {
        Ok(done) => Ok(done),
        Err(Failure::Refuses(why)) => Err(refuse(stream, why).await),
        Err(Failure::Told(why)) => Err(NoLink::Told(why)),
        Err(Failure::Foreign) => Err(NoLink::Foreign),
        Err(Failure::Garbled) => Err(NoLink::Garbled),
    }
}

async fn receive(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<Packet, NoLink> {
    loop {
        match Packet::cut(buffer) {
            Ok(Some(packet)) => return Ok(packet),
            Ok(None) => {}
            Err(Failure::Foreign) => return Err(NoLink::Foreign),
            Err(_) => return Err(NoLink::Garbled),
        }
        buffer.reserve(READ);
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

/// A number by which this process knows itself.
pub(super) fn draw_boot() -> io::Result<u64> {
    draw().map(u64::from_be_bytes)
}

fn draw_nonce() -> io::Result<Nonce> {
    draw()
}

/// Bytes from the operating system that nobody can foresee.
fn draw<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes)
}
