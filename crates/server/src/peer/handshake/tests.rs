//! Handshakes: the two that agree, and every way not to.

use super::*;
use proptest::prelude::*;

const CLUSTER: ClusterId = ClusterId(5);

fn me(node: u32) -> Me {
    Me {
        identity: Identity { cluster: CLUSTER, node: NodeId(node), token: u64::from(node) + 70 },
        boot: u64::from(node) + 900,
        secret: ClusterSecret::generate([3; 32]),
        protocols: PROTOCOLS,
    }
}

fn newcomer() -> Me {
    let identity = Identity { token: 4, ..Identity::default() };
    Me { identity, ..me(99) }
}

/// What both sides end with, and the packets on the way.
struct Course {
    dialer: Result<Agreed, Failure>,
    acceptor: Result<Agreed, Failure>,
    packets: Vec<Packet>,
}

/// Runs a handshake; whoever refuses tells the other. `harm` may change packets on the way.
fn run(one: Me, two: &Me, to: u32, harm: impl Fn(usize, &mut Vec<u8>)) -> Course {
    let mut packets = Vec::new();
    let mut pass = |packet: Packet| {
        let mut bytes = packet.to_bytes();
        harm(packets.len(), &mut bytes);
        packets.push(packet);
        let cut = Packet::cut(&mut BytesMut::from(bytes.as_slice()));
        // A packet that is cut short breaks the connection.
        cut.and_then(|packet| packet.ok_or(Failure::Garbled))
    };
    let course = || {
        let both = |why| (Err(why), Err(why));
        let (dialer, hello) = Dialer::hello(one, NodeId(to), [1; 32]);
        let greeted = pass(hello).and_then(|hello| Acceptor::greeted(two, hello, [2; 32]));
        let (acceptor, challenge) = match greeted {
            Ok(greeted) => greeted,
            Err(Failure::Refuses(why)) => {
                let told = pass(Packet::refused(why)).and_then(|packet| dialer.challenged(packet));
                return (told.map(|_| unreachable!("it was refused")), Err(Failure::Refuses(why)));
            }
            Err(why) => return both(why),
        };
        let challenged = pass(challenge).and_then(|challenge| dialer.challenged(challenge));
        let (proven, proof) = match challenged {
            Ok(challenged) => challenged,
            Err(Failure::Refuses(why)) => {
                let told = pass(Packet::refused(why)).and_then(|packet| acceptor.proven(packet));
                let told = told.map(|_| unreachable!("it was refused"));
                return (Err(Failure::Refuses(why)), told);
            }
            Err(why) => return both(why),
        };
        let convinced = match pass(proof).and_then(|proof| acceptor.proven(proof)) {
            Ok(convinced) => convinced,
            Err(Failure::Refuses(why)) => {
                let told = pass(Packet::refused(why)).and_then(|packet| proven.welcomed(packet));
                return (told.map(|(agreed, _)| agreed), Err(Failure::Refuses(why)));
            }
            Err(why) => return both(why),
        };
        let (welcomed, welcome) = convinced.welcome();
        match pass(welcome).and_then(|packet| proven.welcomed(packet)) {
            Ok((agreed, ready)) => {
                (Ok(agreed), pass(ready).and_then(|packet| welcomed.ready(packet)))
            }
            Err(Failure::Refuses(why)) => {
                let told = pass(Packet::refused(why)).and_then(|packet| welcomed.ready(packet));
                (Err(Failure::Refuses(why)), told)
            }
            Err(why) => both(why),
        }
    };
    let (dialer, acceptor) = course();
    Course { dialer, acceptor, packets }
}

fn unharmed(_: usize, _: &mut Vec<u8>) {}

#[test]
fn two_members_agree_on_who_they_are_and_on_two_keys() {
    let course = run(me(1), &me(2), 2, unharmed);
    let (dialer, acceptor) = (course.dialer.unwrap(), course.acceptor.unwrap());
    assert_eq!((dialer.peer, acceptor.peer), (me(2).identity, me(1).identity));
    let tag = |key: &Key| key.tag(&[b"x"]);
    assert_eq!(tag(&dialer.send), tag(&acceptor.receive));
    assert_eq!(tag(&dialer.receive), tag(&acceptor.send));
    assert_ne!(tag(&dialer.send), tag(&dialer.receive));
    // Another connection of the same two has other keys.
    let (other, _) = Dialer::hello(me(1), NodeId(2), [9; 32]);
    let challenge = course.packets[1].clone();
    assert_eq!(other.challenged(challenge).err(), Some(Failure::Refuses(Denied::WrongSecret)));
}

#[test]
fn a_newcomer_is_taken_for_one() {
    let course = run(newcomer(), &me(2), 0, unharmed);
    assert_eq!(course.acceptor.unwrap().peer, newcomer().identity);
    assert_eq!(course.dialer.unwrap().peer, me(2).identity);
    // One that was told its cluster before finds it again, and no other.
    let mut returning = newcomer();
    returning.identity.cluster = CLUSTER;
    assert!(run(returning.clone(), &me(2), 0, unharmed).dialer.is_ok());
    returning.identity.cluster = ClusterId(6);
    let why = run(returning, &me(2), 0, unharmed).dialer.err();
    assert_eq!(why, Some(Failure::Told(Denied::ForeignCluster)));
}

#[test]
fn both_sides_hear_why_they_do_not_agree() {
    let foreign = Identity { cluster: ClusterId(6), ..me(1).identity };
    let homeless = Identity { cluster: ClusterId(0), ..me(1).identity };
    let stranger = ClusterSecret::generate([4; 32]);
    let with = |identity| Me { identity, ..me(1) };
    let dialer_refuses = [
        (Me { secret: stranger, ..me(1) }, 2, Denied::WrongSecret),
        (Me { secret: ClusterSecret::none(), ..me(1) }, 2, Denied::WrongSecret),
        // A copy of the other's directory.
        (with(me(2).identity), 2, Denied::StaleNode),
    ];
    for (one, to, why) in dialer_refuses {
        let course = run(one, &me(2), to, unharmed);
        assert_eq!(course.dialer.err(), Some(Failure::Refuses(why)));
        assert_eq!(course.acceptor.err(), Some(Failure::Told(why)));
    }
    let acceptor_refuses = [
        (with(foreign), 2, Denied::ForeignCluster),
        (with(homeless), 2, Denied::ForeignCluster),
        (me(1), 3, Denied::WrongNode),
        (Me { boot: me(2).boot, ..me(1) }, 2, Denied::SelfConnection),
        (Me { protocols: 3..=9, ..me(1) }, 2, Denied::IncompatibleProtocol),
        (Me { protocols: 1..=1, ..me(1) }, 2, Denied::IncompatibleProtocol),
    ];
    for (one, to, why) in acceptor_refuses {
        let course = run(one, &me(2), to, unharmed);
        assert_eq!(course.acceptor.err(), Some(Failure::Refuses(why)));
        assert_eq!(course.dialer.err(), Some(Failure::Told(why)));
    }
}

#[test]
fn later_versions_may_say_more_and_speak_the_common_one() {
    let later = Me { protocols: 2..=4, ..me(2) };
    assert!(run(me(1), &later, 2, unharmed).dialer.is_ok());
    assert!(run(later, &me(1), 1, unharmed).dialer.is_ok());
    let (_, mut hello) = Dialer::hello(me(1), NodeId(2), [1; 32]);
    hello.payload.extend(b"what a later version says");
    assert!(Acceptor::greeted(&me(2), hello, [2; 32]).is_ok());
    let unknown = Packet { kind: Type::Refused, payload: vec![200] };
    let told = unknown.expect(Type::Welcome);
    assert_eq!(told, Err(Failure::Told(Denied::IncompatibleProtocol)));
}

#[test]
fn a_proof_is_not_good_for_another_challenge_or_the_other_role() {
    let recorded = run(me(1), &me(2), 2, unharmed).packets;
    let [hello, challenge, proof, welcome, ready] = recorded.as_slice() else {
        panic!("five packets")
    };
    let (again, _) = Acceptor::greeted(&me(2), hello.clone(), [8; 32]).unwrap();
    assert_eq!(again.proven(proof.clone()).err(), Some(Failure::Refuses(Denied::WrongSecret)));
    let (acceptor, _) = Acceptor::greeted(&me(2), hello.clone(), [2; 32]).unwrap();
    let turned = &challenge.payload[challenge.payload.len() - TAG_BYTES..];
    let turned = Packet { kind: Type::Proof, payload: turned.to_vec() };
    let wrong = Some(Failure::Refuses(Denied::WrongSecret));
    assert_eq!(acceptor.proven(turned).err(), wrong);
    // One's token and proof are not the other's, nor is a proof good for a later packet.
    let (acceptor, _) = Acceptor::greeted(&me(2), hello.clone(), [2; 32]).unwrap();
    let turned = Packet { kind: Type::Proof, ..welcome.clone() };
    assert_eq!(acceptor.proven(turned).err(), wrong);
    let (dialer, _) = Dialer::hello(me(1), NodeId(2), [1; 32]);
    let (proven, _) = dialer.challenged(challenge.clone()).unwrap();
    let turned = Packet { kind: Type::Welcome, ..proof.clone() };
    assert_eq!(proven.welcomed(turned).err(), wrong);
    let (acceptor, _) = Acceptor::greeted(&me(2), hello.clone(), [2; 32]).unwrap();
    let (welcomed, _) = acceptor.proven(proof.clone()).unwrap().welcome();
    assert!(welcomed.ready(ready.clone()).is_ok());
    let (acceptor, _) = Acceptor::greeted(&me(2), hello.clone(), [2; 32]).unwrap();
    let (welcomed, _) = acceptor.proven(proof.clone()).unwrap().welcome();
    let end = proof.payload.len() - TAG_BYTES;
    let turned = Packet { kind: Type::Ready, payload: proof.payload[end..].to_vec() };
    assert_eq!(welcomed.ready(turned).err(), wrong);
}

#[test]
fn a_token_is_told_to_those_alone_who_have_proven_the_secret() {
    let says = |packet: &Packet, token: u64| {
        packet.to_bytes().windows(8).any(|bytes| bytes == token.to_be_bytes())
    };
    let (mut one, mut two) = (me(1), me(2));
    (one.identity.token, two.identity.token) = (0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321);
    let (ours, theirs) = (one.identity.token, two.identity.token);
    let course = run(one.clone(), &two, 2, unharmed);
    let said: Vec<_> =
        course.packets.iter().map(|packet| (says(packet, ours), says(packet, theirs))).collect();
    let expected = [(false, false), (false, false), (true, false), (false, true), (false, false)];
    assert_eq!(said, expected);
    // Those who do not know the secret hear neither, whoever dials.
    let stranger = ClusterSecret::generate([4; 32]);
    for course in [
        run(Me { secret: stranger.clone(), ..one.clone() }, &two, 2, unharmed),
        run(one, &Me { secret: stranger, ..two }, 2, unharmed),
    ] {
        assert!(course.packets.iter().all(|one| !says(one, ours) && !says(one, theirs)));
    }
}

#[test]
fn every_flipped_bit_keeps_them_apart() {
    for packet in 0..5 {
        let length = run(me(1), &me(2), 2, unharmed).packets[packet].to_bytes().len();
        for bit in 0..length * 8 {
            let course = run(me(1), &me(2), 2, |at, bytes| {
                if at == packet {
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            });
            let apart = course.acceptor.is_err() && (packet == 4 || course.dialer.is_err());
            assert!(apart, "packet {packet}, bit {bit}");
        }
    }
}

#[test]
fn changes_with_a_right_checksum_are_found_by_the_proof() {
    let fields = run(me(1), &me(2), 2, unharmed).packets;
    for (packet, sent) in fields.iter().enumerate() {
        for at in 0..sent.payload.len() {
            let course = run(me(1), &me(2), 2, |number, bytes| {
                if number == packet {
                    let end = bytes.len() - TAIL;
                    bytes[HEAD + at] ^= 1;
                    let crc = crc32c::crc32c(&bytes[..end]).to_be_bytes();
                    bytes[end..].copy_from_slice(&crc);
                }
            });
            let apart = course.acceptor.is_err() && (packet == 4 || course.dialer.is_err());
            assert!(apart, "packet {packet}, byte {at}");
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_no_packet(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut buffer = BytesMut::from(bytes.as_slice());
        let cut = Packet::cut(&mut buffer);
        prop_assert!(cut.is_err() || bytes.len() < MAGIC.len());
    }

    #[test]
    fn random_payloads_never_panic(
        kind in 1..=6_u8,
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = MAGIC.to_vec();
        bytes.push(kind);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(&payload);
        bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
        let packet = Packet::cut(&mut BytesMut::from(bytes.as_slice())).unwrap().unwrap();
        prop_assert_eq!(packet.to_bytes(), bytes);
        let (dialer, hello) = Dialer::hello(me(1), NodeId(2), [1; 32]);
        prop_assert!(dialer.challenged(packet.clone()).is_err());
        let _ = Acceptor::greeted(&me(2), packet.clone(), [2; 32]);
        let (acceptor, _) = Acceptor::greeted(&me(2), hello, [2; 32]).unwrap();
        prop_assert!(acceptor.proven(packet).is_err());
    }
}
