//! The network in memory against the suite, and its weather.

use super::*;
use crate::transport::conformance::{self, Station, Subject, identity, pair};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Network(Arc<MemoryNetwork>, AtomicUsize);

impl Network {
    fn new(seed: u64) -> Self {
        Self(MemoryNetwork::new(Handle::current(), seed), AtomicUsize::new(0))
    }
}

impl Subject for Network {
    fn open(&self, identity: Identity, serve: Arc<dyn Serve>) -> (Arc<dyn Transport>, String) {
        let address = format!("memory {}", self.1.fetch_add(1, Ordering::Relaxed));
        (Arc::new(self.0.open(&address, identity, serve)), address)
    }
}

const LONG: Duration = Duration::from_secs(60);
const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

#[tokio::test(start_paused = true)]
async fn it_passes_the_suite() {
    conformance::run(&Network::new(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_swallows_then_is_noticed_and_mends() {
    let network = Network::new(1);
    let (mut one, mut two) = pair(&network).await;
    // Only the way back is cut: it is done, and nobody hears of it.
    network.0.cut(TWO, ONE, false);
    let told = one.ask(2, Kind::Data, b"echo", Duration::from_secs(1)).await;
    assert_eq!(told, Err(Unreachable::Late));
    assert_eq!(two.host.seen(), 1);
    let told = one.ask(2, Kind::Data, b"echo", LONG).await;
    assert_eq!(told, Err(Unreachable::Lost), "noticed before the patience is over");
    assert_eq!(one.link().await, (TWO, false));
    assert_eq!(two.link().await, (ONE, false), "a link needs both ways");
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await, Err(Unreachable::Down));
    network.0.mend();
    assert_eq!(one.link().await, (TWO, true));
    assert_eq!(two.link().await, (ONE, true));
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_cut_there_leaves_nothing_done() {
    let network = Network::new(1);
    let (one, two) = pair(&network).await;
    network.0.cut(ONE, TWO, true);
    let told = one.ask(2, Kind::Data, b"echo", Duration::from_secs(1)).await;
    assert_eq!((told, two.host.seen()), (Err(Unreachable::Late), 0));
}

#[tokio::test(start_paused = true)]
async fn one_seed_is_one_run() {
    async fn trace(seed: u64) -> Vec<(bool, u128)> {
        let network = Network::new(seed);
        let (one, _two) = pair(&network).await;
        let delay = Duration::ZERO..=Duration::from_millis(50);
        let rough = Weather { cut: false, delay, loss_per_mille: 200 };
        network.0.set(ONE, TWO, rough.clone());
        network.0.set(TWO, ONE, rough);
        let mut trace = Vec::new();
        for _ in 0..100 {
            let begun = Instant::now();
            let told = one.ask(2, Kind::Data, b"echo", LONG).await;
            assert!(matches!(told, Ok(_) | Err(Unreachable::Lost)));
            trace.push((told.is_ok(), begun.elapsed().as_micros()));
        }
        trace
    }
    let first = trace(7).await;
    assert_eq!(first, trace(7).await);
    assert_ne!(first, trace(8).await);
    let lost = first.iter().filter(|(arrived, _)| !arrived).count();
    assert!((10..70).contains(&lost), "{lost} of 100 lost there or back");
    assert!(first.iter().any(|(_, took)| *took > 30_000), "some take long");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_admitted_late_gets_its_link() {
    let network = Network::new(1);
    let mut one = Station::open(&network, identity(1));
    let two = Station::open(&network, identity(2));
    two.host.deny(Some(Denied::UnknownNode));
    one.transport.know(TWO, &two.address);
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await, Err(Unreachable::Down));
    two.host.deny(None);
    assert_eq!(one.link().await, (TWO, true));
}
