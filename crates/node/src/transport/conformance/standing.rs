//! The suite's part on who is taken for whom: tokens, reviews, and what is let go at the end.

use super::{LONG, NodeId, Station, Subject, identity, pair};
use crate::transport::{Denied, Identity, Kind, Unreachable};
use std::sync::Arc;

pub(super) async fn run(subject: &impl Subject) {
    an_old_copy_is_neither_asked_nor_answered(subject).await;
    a_review_ends_the_links_of_who_is_no_longer_admitted(subject).await;
    a_review_widens_and_narrows_links(subject).await;
    a_new_token_keeps_the_links(subject).await;
    a_new_token_brings_lost_links_back(subject).await;
    closing_lets_go_of_whoever_serves(subject).await;
}

const ECHO: Result<&[u8], &Unreachable> = Ok(b"echo");

async fn echoes(station: &Station, to: u32) {
    let told = station.ask(to, Kind::Data, b"echo", LONG).await;
    assert_eq!(told.as_deref(), ECHO, "from n{to}");
}

async fn an_old_copy_is_neither_asked_nor_answered(subject: &impl Subject) {
    let mut one = Station::open(subject, identity(1));
    let mut two = Station::open(subject, Identity { token: 7, ..identity(2) });
    one.host.take_for_stale(7, true);
    one.transport.know(NodeId(2), &two.address);
    two.transport.know(NodeId(1), &one.address);
    for station in [&one, &two] {
        station.until("it was denied", |link| link.denied == Some(Denied::StaleNode)).await;
    }
    assert_eq!(one.ask(2, Kind::Control, b"echo", LONG).await, Err(Unreachable::Down));
    assert_eq!(two.ask(1, Kind::Control, b"echo", LONG).await, Err(Unreachable::Down));
    assert_eq!((one.host.seen(), two.host.seen()), (0, 0));
    // It can still be asked by somebody who only introduces itself.
    assert_eq!(one.introduce(&two.address, b"echo").await.as_deref(), Ok(&b"echo"[..]));
    one.host.take_for_stale(7, false);
    one.transport.review();
    assert_eq!(one.link().await, (NodeId(2), true));
    assert_eq!(two.link().await, (NodeId(1), true));
    echoes(&one, 2).await;
    assert_eq!(one.transport.links()[0].denied, None);
}

async fn a_review_ends_the_links_of_who_is_no_longer_admitted(subject: &impl Subject) {
    let (mut one, mut two) = pair(subject).await;
    let asked = one.begin(2, Kind::Data, b"keep");
    let asks = two.begin(1, Kind::Data, b"keep");
    for station in [&one, &two] {
        while station.host.seen() == 0 {
            tokio::task::yield_now().await;
        }
    }
    one.host.take_for_stale(identity(2).token, true);
    one.transport.review();
    assert_eq!(asked.await, Ok(Err(Unreachable::Lost)));
    assert_eq!(asks.await, Ok(Err(Unreachable::Lost)));
    assert_eq!(one.link().await, (NodeId(2), false));
    assert_eq!(two.link().await, (NodeId(1), false));
    two.until("it hears why", |link| link.denied == Some(Denied::StaleNode)).await;
    one.host.take_for_stale(identity(2).token, false);
    one.transport.review();
    assert_eq!(one.link().await, (NodeId(2), true));
    assert_eq!(two.link().await, (NodeId(1), true));
    echoes(&one, 2).await;
    echoes(&two, 1).await;
}

async fn a_review_widens_and_narrows_links(subject: &impl Subject) {
    let (one, two) = pair(subject).await;
    for judge in [&one, &two] {
        judge.host.let_in_for_control_only(true);
        judge.transport.review();
        for (from, to) in [(&one, 2), (&two, 1)] {
            assert_eq!(from.ask(to, Kind::Data, b"echo", LONG).await, Err(Unreachable::Busy));
            let told = from.ask(to, Kind::Control, b"echo", LONG).await;
            assert_eq!(told.as_deref(), ECHO);
        }
        judge.host.let_in_for_control_only(false);
        judge.transport.review();
        echoes(&one, 2).await;
        echoes(&two, 1).await;
    }
    assert_eq!(one.transport.links()[0].connects, 1);
}

async fn a_new_token_keeps_the_links(subject: &impl Subject) {
    let (one, two) = pair(subject).await;
    let asked = one.begin(2, Kind::Data, b"keep");
    while two.host.seen() == 0 {
        tokio::task::yield_now().await;
    }
    // The other side has not heard of it.
    two.host.take_for_stale(50, true);
    one.transport.assume(Identity { token: 50, ..identity(1) });
    echoes(&one, 2).await;
    echoes(&two, 1).await;
    // Now it has.
    two.host.take_for_stale(50, false);
    two.host.take_for_stale(identity(1).token, true);
    two.transport.review();
    echoes(&one, 2).await;
    echoes(&two, 1).await;
    two.host.let_go();
    assert_eq!(asked.await, Ok(Err(Unreachable::Failed)), "it was not lost");
    for station in [&one, &two] {
        assert_eq!(station.transport.links()[0].connects, 1);
    }
}

async fn a_new_token_brings_lost_links_back(subject: &impl Subject) {
    let (mut one, mut two) = pair(subject).await;
    two.host.take_for_stale(identity(1).token, true);
    two.transport.review();
    assert_eq!(one.link().await, (NodeId(2), false));
    assert_eq!(two.link().await, (NodeId(1), false));
    one.transport.assume(Identity { token: 50, ..identity(1) });
    assert_eq!(one.link().await, (NodeId(2), true));
    assert_eq!(two.link().await, (NodeId(1), true));
    echoes(&one, 2).await;
    echoes(&two, 1).await;
}

async fn closing_lets_go_of_whoever_serves(subject: &impl Subject) {
    let (one, two) = pair(subject).await;
    let _asked = two.begin(1, Kind::Data, b"keep");
    while one.host.seen() == 0 {
        tokio::task::yield_now().await;
    }
    // As a node holds its transport, and its transport the node.
    *one.host.holds.lock() = Some(Arc::clone(&one.transport));
    let Station { transport, host, mut links, .. } = one;
    drop(host);
    transport.close();
    drop(transport);
    // The host has the only sender.
    let gone = async { while links.recv().await.is_some() {} };
    tokio::time::timeout(LONG, gone).await.expect("nobody keeps it");
}
