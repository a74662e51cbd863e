//! Datagrams that should change nothing: of strangers, of the dead, of nobody.

use super::super::codec::Tell;
use super::super::datagram::{Envelope, Kind};
use super::super::{Config, Effect, Gossip, Identity, Membership, Refused};
use super::*;
use crate::secret::ClusterSecret;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use shoal_core::ClusterId;
use std::time::Duration;

#[test]
fn stale_datagrams_do_not_revive_the_dead() {
    let mut network = Network::new(8);
    network.record = Some(Vec::new());
    for node in 1..=4 {
        network.start(node, 1);
        network.announce(node, 1);
    }
    network.run(secs(5));
    network.crash(2);
    network.run(secs(10));
    network.events.clear();
    let record = network.record.take().unwrap();
    let stale: Vec<_> = record.into_iter().filter(|(from, ..)| *from == 2).collect();
    assert!(stale.len() > 10);

    let replay = |network: &mut Network| {
        for (_, _, bytes) in &stale {
            for node in [1, 3, 4] {
                network.deliver(node, address(2), bytes);
            }
            network.run(ms(20));
        }
        network.run(secs(10));
    };
    replay(&mut network);
    for node in [1, 3, 4] {
        assert_eq!(network.state(node, 2), Some(MemberState::Down));
    }
    let state = |event: &Event| !matches!(event, Event::Heard { .. });
    assert_eq!(network.count(|_, event| state(event)), 0, "{:?}", network.events);

    // Nor do they say anything of its next life.
    network.start(2, 2);
    network.announce(2, 1);
    network.run(secs(2));
    network.assert_all_up();
    network.events.clear();
    replay(&mut network);
    network.assert_all_up();
    assert_eq!(network.count(|_, event| state(event)), 0, "{:?}", network.events);
}

#[test]
fn two_clusters_on_one_network_never_mix() {
    let other_secret = ClusterSecret::generate([1; 32]);
    // Another cluster with another secret, with the same secret, and the same cluster with a
    // wrong one.
    for (cluster, other, reason) in [
        (ClusterId(2), &other_secret, Refused::Cluster),
        (ClusterId(2), &secret(), Refused::Cluster),
        (ClusterId(1), &other_secret, Refused::Tag),
        (ClusterId(1), &ClusterSecret::none(), Refused::Tag),
    ] {
        let mut network = Network::converged(3, 4);
        for node in [11, 12, 13] {
            network.start_as(node, identity(node, 1), other, cluster);
        }
        for _ in 0..20 {
            for (here, there) in [(1, 11), (2, 12), (3, 13), (1, 13)] {
                network.announce(here, there);
                network.announce(there, here);
            }
            for (node, to) in [(12, 11), (13, 11)] {
                network.announce(node, to);
            }
            network.run(secs(1));
        }
        for (ours, theirs) in [([1, 2, 3], [11, 12, 13]), ([11, 12, 13], [1, 2, 3])] {
            for at in ours {
                for of in theirs {
                    assert_eq!(network.state(at, of), None);
                }
            }
        }
        let refused = network.machines[&1].membership.stats().refused(reason);
        // The one without a secret does not even speak to others.
        assert_eq!(refused > 0, !other.is_public(), "{reason:?}");
        let silent = network.machines[&11].membership.stats().refused(Refused::NotLoopback);
        assert_eq!(silent > 0, other.is_public());
    }
}

/// A member with one other that is up, and that other's envelope.
fn pair(secret: &ClusterSecret, max_members: usize) -> (Membership, Envelope, Identity) {
    let here = |node: u32, port: u16| {
        Identity::new(NodeId(node), 1, format!("127.0.0.1:{port}").parse().unwrap()).unwrap()
    };
    let config = Config { max_members: max_members.try_into().unwrap(), ..Config::default() };
    let me = here(1, 7_001);
    let mut membership =
        Membership::new(config, me, secret, ClusterId(1), 1, Duration::ZERO).unwrap();
    let envelope = Envelope::new(ClusterId(1), secret);
    let other = here(2, 7_002);
    let hello =
        envelope.seal(Kind::Hello, Gossip::default(), &super::super::codec::encode_hello(&other));
    let effects = membership.on_datagram(other.address(), &hello, ms(1));
    assert_eq!(effects.len(), 2, "it is up, and is told so: {effects:?}");
    (membership, envelope, other)
}

#[test]
fn whoever_is_said_to_be_down_is_asked_first() {
    let (mut membership, envelope, other) = pair(&secret(), 100);
    let third = Identity::new(NodeId(3), 1, "127.0.0.1:7003".parse().unwrap()).unwrap();
    let mut say = |state, now| {
        let members = vec![foca::Member::new(third, 0, state)];
        let body = Tell { from: other, members }.encode(1_000).remove(0);
        let sealed = envelope.seal(Kind::Tell, Gossip::default(), &body);
        let mut effects = membership.on_datagram(other.address(), &sealed, now);
        effects.extend(membership.on_time(now));
        effects
    };
    let node = NodeId(3);
    let up = Event::Up { node, start: 1, address: third.address() };
    assert_eq!(say(foca::State::Alive, ms(10)), [Effect::Event(up)]);
    let effects = say(foca::State::Down, ms(20));
    assert_eq!(effects[0], Effect::Event(Event::Suspect { node }));
    assert!(matches!(&effects[1], Effect::Send { to, .. } if *to == third.address()));
    assert_eq!(effects.len(), 2);

    // It does not answer. This node's own probe would need longer to find that out.
    let mut effects = Vec::new();
    while let Some(due) = membership.due().filter(|due| *due < ms(2_100)) {
        effects.extend(membership.on_time(due));
    }
    assert!(effects.contains(&Effect::Event(Event::Down { node })), "{effects:?}");
}

#[test]
fn noise_changes_nothing() {
    let mut network = Network::new(8);
    network.record = Some(Vec::new());
    for node in 1..=4 {
        network.start(node, 1);
        network.announce(node, 1);
    }
    network.run(secs(20));
    let record = network.record.take().unwrap();
    let from = address(2);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let machine = network.machines.get_mut(&1).unwrap();
    let before: Vec<_> = machine.membership.view().copied().collect();
    let stats = *machine.membership.stats();
    let pending = machine.membership.pending();
    let rounds = 20_000;
    for round in 0..rounds {
        let mut bytes = record[rng.random_range(0..record.len())].2.clone();
        match round % 4 {
            0 => {
                let bit = rng.random_range(0..bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            1 => bytes.truncate(rng.random_range(0..bytes.len())),
            2 => bytes.extend(vec![0; rng.random_range(1..2_000)]),
            _ => bytes.iter_mut().for_each(|byte| *byte = rng.random()),
        }
        assert_eq!(machine.membership.on_datagram(from, &bytes, network.now), []);
    }
    assert_eq!(machine.membership.view().copied().collect::<Vec<_>>(), before);
    assert_eq!(machine.membership.pending(), pending);
    let counted = |stats: &super::super::Stats| -> u64 {
        Refused::ALL.iter().map(|reason| stats.refused(*reason)).sum()
    };
    assert_eq!(counted(machine.membership.stats()) - counted(&stats), rounds);
}

#[test]
fn proven_nonsense_does_not_panic() {
    // Somebody who knows the secret, and whose memory fails.
    let (mut membership, envelope, other) = pair(&secret(), 100);
    let mut network = Network::new(3);
    network.record = Some(Vec::new());
    for node in 1..=5 {
        network.start(node, 1);
        network.announce(node, 1);
    }
    network.run(secs(10));
    let record = network.record.take().unwrap();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
    let mut now = ms(2);
    for _ in 0..50_000 {
        let bytes = &record[rng.random_range(0..record.len())].2;
        let kind = [Kind::Swim, Kind::Hello, Kind::Tell][rng.random_range(0..3)];
        let mut body = bytes[32..bytes.len() - 16].to_vec();
        for _ in 0..rng.random_range(0..4) {
            let at = rng.random_range(0..body.len());
            body[at] = rng.random();
        }
        let sealed = envelope.seal(kind, Gossip::default(), &body);
        membership.on_datagram(other.address(), &sealed, now);
        now += ms(1);
        membership.on_time(now);
    }
    assert!(membership.view().count() <= 100);
}

#[test]
fn memory_is_bounded_whatever_comes_in() {
    // Without a secret any process of this machine can make proven datagrams.
    let (mut membership, envelope, _) = pair(&ClusterSecret::none(), 64);
    let mut now = ms(2);
    let mut most = 0;
    for round in 0..10_000_u32 {
        let node = NodeId(1_000 + round);
        let address = format!("127.0.0.1:{}", 8_000 + round).parse().unwrap();
        let stranger = Identity::new(node, 1, address).unwrap();
        let hello = super::super::codec::encode_hello(&stranger);
        let sealed = envelope.seal(Kind::Hello, Gossip::default(), &hello);
        let effects = membership.on_datagram(address, &sealed, now);
        let sent = effects.iter().filter(|effect| matches!(effect, Effect::Send { .. })).count();
        assert!(sent <= 3, "{sent} datagrams for one");
        if round % 100 == 0 {
            membership.retain(|node| node < NodeId(1_000), now);
        }
        now += ms(1);
        membership.on_time(now);
        most = most.max(membership.pending());
        assert!(membership.view().count() <= 64);
    }
    assert!(most < 500, "{most} timers");
    assert!(membership.stats().refused(Refused::Full) > 1_000);
}

#[test]
fn without_a_secret_nothing_goes_beyond_this_machine() {
    let (mut membership, envelope, other) = pair(&ClusterSecret::none(), 64);
    let hello = super::super::codec::encode_hello(&other);
    let sealed = envelope.seal(Kind::Hello, Gossip::default(), &hello);
    let mut refused = 0;
    for (address, local) in [
        ("127.0.0.1:7002", true),
        ("127.9.9.9:7002", true),
        ("[::1]:7002", true),
        ("[::ffff:127.0.0.1]:7002", true),
        ("192.0.2.1:7002", false),
        ("[2001:db8::1]:7002", false),
        ("[::ffff:192.0.2.1]:7002", false),
    ] {
        let address = address.parse().unwrap();
        let effects = membership.on_datagram(address, &sealed, ms(5));
        refused += u64::from(!local);
        assert_eq!(membership.stats().refused(Refused::NotLoopback), refused, "from {address}");
        assert_eq!(effects.is_empty(), !local, "from {address}");
        assert_eq!(membership.announce(address, ms(6)).is_empty(), !local, "to {address}");
    }
}
