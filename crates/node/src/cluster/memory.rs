//! Datagrams inside one process, and everything else a node needs to meet others there: whole
//! clusters in one program, for tests.
//!
//! Holds: on one thread and paused time the same calls and the same seed lose the same datagrams.
//! Nobody waits to send; what nobody reads is dropped once a socket would be full.
//!
//! Does not know: what the datagrams say.

use super::network::{Came, Datagrams, Network};
use crate::transport::memory::MemoryNetwork;
use crate::transport::{Identity, Serve, Transport};
use core::net::SocketAddr;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// So many datagrams wait for one reader.
const KEPT: usize = 512;

type Letter = (SocketAddr, Vec<u8>);

/// What carries the datagrams of all nodes of a program.
pub struct MemoryPost {
    inner: Mutex<Inner>,
}

struct Inner {
    boxes: BTreeMap<SocketAddr, mpsc::Sender<Letter>>,
    cut: BTreeSet<(SocketAddr, SocketAddr)>,
    loss_per_mille: u16,
    dice: fastrand::Rng,
}

impl MemoryPost {
    /// One that loses nothing yet; `seed` decides what is lost later.
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        let dice = fastrand::Rng::with_seed(seed);
        let (boxes, cut) = (BTreeMap::new(), BTreeSet::new());
        Arc::new(Self { inner: Mutex::new(Inner { boxes, cut, loss_per_mille: 0, dice }) })
    }

    /// Receives at `address` from now on, in the place of whoever did.
    #[must_use]
    pub fn open(self: &Arc<Self>, address: SocketAddr) -> Arc<MemoryDatagrams> {
        let (sender, receiver) = mpsc::channel(KEPT);
        self.inner.lock().boxes.insert(address, sender);
        let post = Arc::clone(self);
        Arc::new(MemoryDatagrams { address, post, came: tokio::sync::Mutex::new(receiver) })
    }

    /// Loses so many of a thousand datagrams from now on.
    pub fn lose(&self, per_mille: u16) {
        self.inner.lock().loss_per_mille = per_mille;
    }

    /// Lets nothing through any more from one address to the other; the way back stays.
    pub fn cut(&self, from: SocketAddr, to: SocketAddr) {
        self.inner.lock().cut.insert((from, to));
    }

    /// Lets everything through again, and loses nothing.
    pub fn mend(&self) {
        let mut inner = self.inner.lock();
        inner.cut.clear();
        inner.loss_per_mille = 0;
    }
}

/// One node's end of a [`MemoryPost`].
pub struct MemoryDatagrams {
    address: SocketAddr,
    post: Arc<MemoryPost>,
    came: tokio::sync::Mutex<mpsc::Receiver<Letter>>,
}

impl Datagrams for MemoryDatagrams {
    fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let mut inner = self.post.inner.lock();
        let lost = inner.dice.u16(0..1_000) < inner.loss_per_mille;
        if lost || inner.cut.contains(&(self.address, to)) {
            return;
        }
        if let Some(to) = inner.boxes.get(&to) {
            // Like a socket that is full, or that nobody reads any more.
            let _lost = to.try_send((self.address, bytes.to_vec()));
        }
    }

    fn receive(&self) -> Came<'_> {
        Box::pin(async {
            let came = self.came.lock().await.recv().await;
            came.ok_or_else(|| io::Error::other("another receives at this address now"))
        })
    }
}

/// How one node of a program meets the others.
pub struct MemoryPeer {
    network: Arc<MemoryNetwork>,
    post: Arc<MemoryPost>,
    address: SocketAddr,
}

impl MemoryPeer {
    /// A node that others find at `address`.
    #[must_use]
    pub const fn new(
        network: Arc<MemoryNetwork>,
        post: Arc<MemoryPost>,
        address: SocketAddr,
    ) -> Self {
        Self { network, post, address }
    }
}

impl Network for MemoryPeer {
    fn open(
        &self,
        _: &Handle,
        identity: Identity,
        serve: Arc<dyn Serve>,
    ) -> io::Result<Arc<dyn Transport>> {
        Ok(Arc::new(self.network.open(&self.address.to_string(), identity, serve)))
    }

    fn datagrams(&self, _: &Handle) -> io::Result<Arc<dyn Datagrams>> {
        Ok(self.post.open(self.address))
    }

    fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::rig::address_of;

    #[tokio::test]
    async fn datagrams_arrive_unless_cut_or_lost() {
        let post = MemoryPost::new(1);
        let (one, two) = (post.open(address_of(1)), post.open(address_of(2)));
        post.cut(address_of(1), address_of(2));
        one.send(address_of(2), b"cut");
        two.send(address_of(1), b"back");
        assert_eq!(one.receive().await.unwrap(), (address_of(2), b"back".to_vec()));
        post.mend();
        post.lose(1_000);
        one.send(address_of(2), b"lost");
        post.mend();
        one.send(address_of(2), b"there");
        assert_eq!(two.receive().await.unwrap(), (address_of(1), b"there".to_vec()));
        let again = post.open(address_of(2));
        assert!(two.receive().await.is_err());
        one.send(address_of(2), b"anew");
        assert_eq!(again.receive().await.unwrap().1, b"anew");
    }
}
