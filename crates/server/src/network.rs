//! The sockets over which nodes meet: one address for messages by TCP and for datagrams by UDP.
//!
//! Both are opened before the node is, so that a port that is taken is found out before anything
//! is touched, and a free one is known before the node says where it is.
//!
//! Holds: the two ports are the same. A datagram that cannot be sent at once is dropped.
//!
//! Does not know: what is said.

use crate::listener::{Bound, ListenAddress, Socket, bind};
use crate::peer::{Limits, PeerCounts, Setup, TcpTransport};
use parking_lot::Mutex;
use shoal_node::cluster::{Came, Datagrams, Network, Resolved};
use shoal_node::membership::MAX_DATAGRAM;
use shoal_node::secret::{ClusterSecret, SECRET_BYTES};
use shoal_node::transport::{Identity, Serve, Transport};
use socket2::{Domain, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Weak};
use tokio::runtime::Handle;

/// How often a free port is looked for that nobody uses in either way.
const ATTEMPTS: usize = 32;
/// A byte more than nodes send: a longer datagram is cut to that, and so told to be too long.
const LONGEST_DATAGRAM: usize = MAX_DATAGRAM + 1;
/// Datagrams that wait to be received, in bytes: some hundred of the usual size.
const WAITING_DATAGRAMS: usize = 1 << 20;

/// The sockets of one node.
pub struct TcpNetwork {
    bound: SocketAddr,
    advertised: SocketAddr,
    secret: ClusterSecret,
    messages: Mutex<Option<TcpListener>>,
    datagrams: Mutex<Option<UdpSocket>>,
    transport: Mutex<Weak<TcpTransport>>,
}

impl TcpNetwork {
    /// Listens at `at`. Others are told to come to `advertise`, if that is given; its port 0
    /// stands for the one that is listened on.
    ///
    /// # Errors
    /// What the system says of the address.
    pub fn bind(
        at: SocketAddr,
        advertise: Option<SocketAddr>,
        secret: ClusterSecret,
    ) -> io::Result<Self> {
        let (messages, datagrams) = bind_both(at)?;
        let bound = messages.local_addr()?;
        let mut advertised = advertise.unwrap_or(bound);
        if advertised.port() == 0 {
            advertised.set_port(bound.port());
        }
        Ok(Self {
            bound,
            advertised,
            secret,
            messages: Mutex::new(Some(messages)),
            datagrams: Mutex::new(Some(datagrams)),
            transport: Mutex::default(),
        })
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub const fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// What was counted over all links; `None` while there is no transport.
    #[must_use]
    pub fn counts(&self) -> Option<PeerCounts> {
        Some(self.transport.lock().upgrade()?.counts())
    }
}

impl Network for TcpNetwork {
    fn open(
        &self,
        runtime: &Handle,
        identity: Identity,
        serve: Arc<dyn Serve>,
    ) -> io::Result<Arc<dyn Transport>> {
        let listener = self.messages.lock().take().ok_or_else(opened_before)?;
        let setup = Setup { identity, secret: self.secret.clone(), limits: Limits::default() };
        let transport = TcpTransport::start(runtime.clone(), listener, setup, serve)?;
        let transport = Arc::new(transport);
        *self.transport.lock() = Arc::downgrade(&transport);
        Ok(transport)
    }

    fn datagrams(&self, runtime: &Handle) -> io::Result<Arc<dyn Datagrams>> {
        let socket = self.datagrams.lock().take().ok_or_else(opened_before)?;
        let sending = socket.try_clone()?;
        let _inside = runtime.enter();
        let receiving = tokio::net::UdpSocket::from_std(socket)?;
        Ok(Arc::new(UdpDatagrams { sending, receiving }))
    }

    fn address(&self) -> SocketAddr {
        self.advertised
    }
}

impl std::fmt::Debug for TcpNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bound, advertised, .. } = self;
        let mut shown = f.debug_struct("TcpNetwork");
        shown.field("bound", bound).field("advertised", advertised).finish_non_exhaustive()
    }
}

fn opened_before() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "the network was opened before")
}

/// Datagrams over UDP.
struct UdpDatagrams {
    /// The same socket, asked directly: tokio would first have to learn that it can be written.
    sending: UdpSocket,
    receiving: tokio::net::UdpSocket,
}

impl Datagrams for UdpDatagrams {
    fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.sending.send_to(bytes, to) {
            tracing::debug!(%to, %error, "a datagram was not sent");
        }
    }

    fn receive(&self) -> Came<'_> {
        Box::pin(async {
            loop {
                self.receiving.readable().await?;
                // Taken only once something is there: a future that is dropped holds nothing.
                let mut bytes = vec![0; LONGEST_DATAGRAM];
                match self.receiving.try_recv_from(&mut bytes) {
                    Ok((length, from)) => {
                        bytes.truncate(length);
                        return Ok((from, bytes));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        })
    }

    fn resolve(&self, address: &str) -> Resolved {
        let address = address.to_owned();
        Box::pin(async move {
            match tokio::net::lookup_host(&address).await {
                Ok(found) => found.collect(),
                Err(error) => {
                    tracing::debug!(address, %error, "a name leads nowhere");
                    Vec::new()
                }
            }
        })
    }
}

/// Listens at `at` both ways, on one port.
fn bind_both(at: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let mut attempt = 1;
    loop {
        let messages = bind_tcp(at)?;
        match bind_udp(messages.local_addr()?) {
            Ok(datagrams) => return Ok((messages, datagrams)),
            // Somebody has that port for datagrams: another one may be free both ways.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && at.port() == 0
                    && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn bind_tcp(at: SocketAddr) -> io::Result<TcpListener> {
    match bind(&ListenAddress::Tcp(at)) {
        Ok(Bound { socket: Socket::Tcp(listener), .. }) => Ok(listener),
        Ok(_) => Err(io::ErrorKind::Unsupported.into()),
        Err(error) => Err(error.into_io()),
    }
}

fn bind_udp(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(at), Type::DGRAM, None)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A system that grants less has a smaller buffer, that is all.
    if let Err(error) = socket.set_recv_buffer_size(WAITING_DATAGRAMS) {
        tracing::debug!(%error, "the buffer for datagrams keeps its size");
    }
    socket.bind(&at.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A cluster secret that nobody could guess, as it is written into a file.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn fresh_secret() -> io::Result<String> {
    let mut random = [0; SECRET_BYTES];
    let mut have = 0;
    while have < random.len() {
        have +=
            rustix::rand::getrandom(&mut random[have..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(ClusterSecret::generate(random).to_text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use shoal_core::NodeId;
    use shoal_node::transport::{Admission, Answerer, Denied, Kind};
    use std::time::Duration;

    struct Echo;

    impl Serve for Echo {
        fn serve(&self, _: NodeId, _: Kind, body: Bytes, answer: Answerer) {
            answer.send(body);
        }

        fn admit(&self, _: Identity) -> Result<Admission, Denied> {
            Ok(Admission::ControlOnly)
        }
    }

    fn any() -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    fn network() -> TcpNetwork {
        TcpNetwork::bind(any(), None, ClusterSecret::none()).expect("a port is free")
    }

    #[tokio::test]
    async fn datagrams_and_messages_come_to_one_address() {
        let (one, other, here) = (network(), network(), Handle::current());
        let from = one.datagrams(&here).expect("a socket");
        let to = other.datagrams(&here).expect("a socket");
        from.send(other.address(), b"hello");
        let came = to.receive().await.expect("it arrives");
        assert_eq!(came, (one.address(), b"hello".to_vec()));
        assert_eq!(from.resolve("localhost:0").await.first().map(SocketAddr::port), Some(0));
        assert_eq!(from.resolve(&any().to_string()).await, [any()]);
        assert!(other.counts().is_none());
        let nobody = Identity::default();
        let _listening = other.open(&here, nobody, Arc::new(Echo)).expect("a listener");
        let asking = one.open(&here, nobody, Arc::new(Echo)).expect("a listener");
        let (tell, told) = tokio::sync::oneshot::channel();
        let reply = Box::new(move |answer| drop(tell.send(answer)));
        let (address, body) = (other.address().to_string(), Bytes::from_static(b"hi"));
        asking.introduce(&address, body.clone(), Duration::from_secs(30), reply);
        assert_eq!(told.await.expect("there is an answer"), Ok(body));
        assert!(other.counts().is_some());
        assert!(other.open(&here, nobody, Arc::new(Echo)).is_err(), "it is opened once");
        assert!(other.datagrams(&here).is_err());
    }

    #[test]
    fn what_is_advertised_has_the_real_port() {
        let outside = ([10, 0, 0, 7], 0).into();
        let network = TcpNetwork::bind(any(), Some(outside), ClusterSecret::none());
        let network = network.expect("a port is free");
        assert_ne!(network.bound().port(), 0);
        assert_eq!(network.address(), (outside.ip(), network.bound().port()).into());
        let mapped = ([10, 0, 0, 7], 9).into();
        let network = TcpNetwork::bind(any(), Some(mapped), ClusterSecret::none());
        assert_eq!(network.expect("a port is free").address(), mapped);
    }

    #[test]
    fn a_port_that_is_taken_either_way_is_refused() {
        let network = network();
        let again = |at| TcpNetwork::bind(at, None, ClusterSecret::none()).expect_err("taken");
        assert_eq!(again(network.bound()).kind(), io::ErrorKind::AddrInUse);
        let datagrams = UdpSocket::bind(any()).expect("a port is free");
        let at = datagrams.local_addr().expect("it has one");
        assert_eq!(again(at).kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn secrets_are_fresh_and_can_be_read() {
        let (one, other) = (fresh_secret().expect("bytes"), fresh_secret().expect("bytes"));
        assert_ne!(one, other);
        assert!(!ClusterSecret::parse(&one).expect("it is one").is_public());
    }
}
