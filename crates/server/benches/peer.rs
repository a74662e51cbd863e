//! How fast one node asks another over the loopback: one question at a time, and 64 at once.
//!
//! Both nodes share one thread, as one of a server's does.
#![allow(missing_docs, reason = "the macros of the bench make public items")]

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shoal_core::{ClusterId, NodeId};
use shoal_node::secret::ClusterSecret;
use shoal_node::transport::{Admission, Answerer, Denied, Identity, Kind, Serve, Transport};
use shoal_server::peer::{Limits, Setup, TcpTransport};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

struct Echo(mpsc::UnboundedSender<()>);

impl Serve for Echo {
    fn serve(&self, _from: NodeId, _kind: Kind, body: Bytes, answer: Answerer) {
        answer.send(body);
    }

    fn admit(&self, _who: Identity) -> Result<Admission, Denied> {
        Ok(Admission::Whole)
    }

    fn linked(&self, _node: NodeId, _up: bool) {
        // Nobody listens once the bench is over.
        let _ = self.0.send(());
    }
}

fn open(runtime: &Runtime, node: u32, linked: mpsc::UnboundedSender<()>) -> TcpTransport {
    let identity = Identity { cluster: ClusterId(1), node: NodeId(node), token: 1 };
    let secret = ClusterSecret::generate([1; 32]);
    let setup = Setup { identity, secret, limits: Limits::default() };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let serve = Arc::new(Echo(linked));
    TcpTransport::start(runtime.handle().clone(), listener, setup, serve).expect("it starts")
}

async fn ask(one: &TcpTransport, count: u64, at_once: u64, body: &Bytes) -> Duration {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let begun = Instant::now();
    let mut asked = 0;
    for answered in 0..count {
        while asked < count && asked - answered < at_once {
            let sender = sender.clone();
            let reply = Box::new(move |told: Result<Bytes, _>| {
                sender.send(told.is_ok()).expect("the bench waits");
            });
            one.ask(NodeId(2), Kind::Data, body.clone(), Duration::from_secs(60), reply);
            asked += 1;
        }
        assert_eq!(receiver.recv().await, Some(true));
    }
    begun.elapsed()
}

fn asks(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (linked, mut links) = mpsc::unbounded_channel();
    let two = open(&runtime, 2, linked.clone());
    let one = open(&runtime, 1, linked);
    one.know(NodeId(2), &two.address().to_string());
    runtime.block_on(links.recv()).expect("the link comes up");
    let mut group = criterion.benchmark_group("peer");
    for (name, at_once, length) in
        [("1 in flight", 1, 100), ("64 in flight", 64, 100), ("1 of 1 MiB", 1, 1 << 20)]
    {
        let body = Bytes::from(vec![7; length]);
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bench| {
            bench.iter_custom(|count| runtime.block_on(ask(&one, count, at_once, &body)));
        });
    }
    group.finish();
}

criterion_group!(benches, asks);
criterion_main!(benches);
