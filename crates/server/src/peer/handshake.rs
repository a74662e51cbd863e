//! How two nodes come to trust a connection before anything else is said on it.
//!
//! ```text
//! dialer                                     acceptor
//! HELLO  versions, who, whom, nonce     →    a foreign cluster, this node itself, …: REFUSED
//! wrong proof, wrong node, …: REFUSED   ←    CHALLENGE  version, who, nonce, proof
//! PROOF  proof                          →    wrong proof, not admitted: REFUSED
//!                                       ←    WELCOME
//! ```
//!
//! A proof is a tag over everything both have said so far, under a key that only those have who
//! know the cluster's secret. The keys of the two directions come from the same bytes, so they
//! are this connection's alone. A node without an id says node 0 and is held to introducing
//! itself.
//!
//! A packet is `SHPR`, its type (1 byte), the length of its payload (2 bytes), the payload, and
//! the CRC32C of it all. A payload may have more fields than are known here: they are proven too
//! and otherwise left alone, so that later versions can say more.
//!
//! Holds: before the other side has proven the secret it is only refused, never accepted: for its
//! version, its cluster, whom it looks for, or because it is this very process. Whoever refuses
//! says why. Nobody but this process is taken for this node.
//!
//! Does not know: sockets, randomness, who is a member.

use bytes::{Buf, BytesMut};
use shoal_core::{ClusterId, NodeId};
use shoal_node::secret::{ClusterSecret, Key, SECRET_BYTES, TAG_BYTES, Tag};
use shoal_node::transport::{Denied, Identity};
use std::ops::RangeInclusive;

/// The versions of the protocol spoken here.
pub(super) const PROTOCOLS: RangeInclusive<u16> = 1..=1;

/// What makes every handshake one of its kind; must never be drawn twice.
pub(super) type Nonce = [u8; 32];

const MAGIC: [u8; 4] = *b"SHPR";
const HEAD: usize = 7;
const TAIL: usize = 4;

/// The longest payload: room for what later versions may add.
const MAX_PAYLOAD: usize = 512;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Hello = 1,
    Challenge = 2,
    Proof = 3,
    Welcome = 4,
    Refused = 5,
}

/// One packet of a handshake, undamaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    kind: Type,
    payload: Vec<u8>,
}

impl Packet {
    /// Takes the first packet off `buffer`, if it is there whole.
    ///
    /// # Errors
    /// These bytes are no packet, told as soon as it shows.
    pub(super) fn cut(buffer: &mut BytesMut) -> Result<Option<Self>, Failure> {
        let known = buffer.len().min(MAGIC.len());
        if buffer[..known] != MAGIC[..known] {
            return Err(Failure::Garbled);
        }
        let Some(head) = buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let kind = match head[4] {
            1 => Type::Hello,
            2 => Type::Challenge,
            3 => Type::Proof,
            4 => Type::Welcome,
            5 => Type::Refused,
            _ => return Err(Failure::Garbled),
        };
        let length = usize::from(u16::from_be_bytes([head[5], head[6]]));
        if length > MAX_PAYLOAD {
            return Err(Failure::Garbled);
        }
        if buffer.len() < HEAD + length + TAIL {
            return Ok(None);
        }
        let packet = buffer.split_to(HEAD + length + TAIL);
        let (covered, crc) = packet.split_at(HEAD + length);
        if crc32c::crc32c(covered).to_be_bytes() != *crc {
            return Err(Failure::Garbled);
        }
        Ok(Some(Self { kind, payload: covered[HEAD..].to_vec() }))
    }

    /// The packet as it is sent.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let length = u16::try_from(self.payload.len()).expect("payloads are at most 512 bytes");
        let mut bytes = MAGIC.to_vec();
        bytes.push(self.kind as u8);
        bytes.extend(length.to_be_bytes());
        bytes.extend(&self.payload);
        bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
        bytes
    }

    /// Tells the other side why it is refused.
    pub(super) fn refused(why: Denied) -> Self {
        let number = Denied::ALL.iter().position(|one| *one == why).unwrap_or(0) + 1;
        let number = u8::try_from(number).expect("there are few reasons");
        Self { kind: Type::Refused, payload: vec![number] }
    }

    /// Tells the other side that it is taken for a peer.
    pub(super) const fn welcome() -> Self {
        Self { kind: Type::Welcome, payload: Vec::new() }
    }

    /// The payload of the packet that must come now.
    fn expect(self, kind: Type) -> Result<Vec<u8>, Failure> {
        if self.kind == kind {
            return Ok(self.payload);
        }
        if self.kind != Type::Refused {
            return Err(Failure::Garbled);
        }
        let number = self.payload.first().copied().unwrap_or(0);
        let why = usize::from(number).checked_sub(1).and_then(|index| Denied::ALL.get(index));
        // A later version may have reasons that are not known here.
        Err(Failure::Told(why.copied().unwrap_or(Denied::IncompatibleProtocol)))
    }
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// This side refuses, and has to say so.
    Refuses(Denied),
    /// The other side refused.
    Told(Denied),
    /// What came is no handshake.
    Garbled,
}

/// Who this node is in handshakes.
#[derive(Clone, Debug)]
pub(super) struct Me {
    pub(super) identity: Identity,
    /// Drawn when the process started, so that a node knows itself.
    pub(super) boot: u64,
    pub(super) secret: ClusterSecret,
    pub(super) protocols: RangeInclusive<u16>,
}

/// What a finished handshake gives.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) peer: Identity,
    pub(super) send: Key,
    pub(super) receive: Key,
}

/// A dialer that said hello.
#[derive(Debug)]
pub(super) struct Dialer {
    me: Me,
    to: NodeId,
    hello: Vec<u8>,
}

/// A dialer that was challenged and gave its proof.
#[derive(Debug)]
pub(super) struct Proven {
    transcript: Transcript,
    peer: Identity,
}

impl Dialer {
    /// Begins a handshake with `to`, or with whoever it is where that is zero.
    pub(super) fn hello(me: Me, to: NodeId, nonce: Nonce) -> (Self, Packet) {
        let mut hello = Vec::with_capacity(MAX_PAYLOAD / 4);
        hello.extend(me.protocols.start().to_be_bytes());
        hello.extend(me.protocols.end().to_be_bytes());
        put_identity(&mut hello, me.identity, me.boot);
        hello.extend(to.0.to_be_bytes());
        hello.extend(nonce);
        let packet = Packet { kind: Type::Hello, payload: hello.clone() };
        (Self { me, to, hello }, packet)
    }

    /// Takes the challenge; gives the proof to send.
    ///
    /// # Errors
    /// Why it ends here.
    pub(super) fn challenged(self, packet: Packet) -> Result<(Proven, Packet), Failure> {
        let challenge = packet.expect(Type::Challenge)?;
        let (said, proof) = challenge.split_last_chunk::<TAG_BYTES>().ok_or(Failure::Garbled)?;
        let mut fields = said;
        let protocol = fields.try_get_u16().map_err(|_| Failure::Garbled)?;
        let (peer, boot) = get_identity(&mut fields)?;
        if fields.remaining() < size_of::<Nonce>() {
            return Err(Failure::Garbled);
        }
        let ours = self.me.identity;
        let refuses = |why| Err(Failure::Refuses(why));
        if !self.me.protocols.contains(&protocol) {
            return refuses(Denied::IncompatibleProtocol);
        }
        if boot == self.me.boot {
            return refuses(Denied::SelfConnection);
        }
        if ours.cluster.0 != 0 && peer.cluster != ours.cluster {
            return refuses(Denied::ForeignCluster);
        }
        let transcript = Transcript::new(&self.me.secret, &self.hello, said);
        if !transcript.key.verify(&[ACCEPTOR, &transcript.said], proof) {
            return refuses(Denied::WrongSecret);
        }
        if self.to.0 != 0 && peer.node != self.to {
            return refuses(Denied::WrongNode);
        }
        if peer.node.0 != 0 && peer.node == ours.node {
            return refuses(Denied::StaleNode);
        }
        let proof = transcript.key.tag(&[DIALER, &transcript.said]);
        let packet = Packet { kind: Type::Proof, payload: proof.to_vec() };
        Ok((Proven { transcript, peer }, packet))
    }
}

impl Proven {
    /// Takes the welcome.
    ///
    /// # Errors
    /// Why it ends here.
    pub(super) fn welcomed(self, packet: Packet) -> Result<Agreed, Failure> {
        packet.expect(Type::Welcome)?;
        let (send, receive) = self.transcript.keys();
        Ok(Agreed { peer: self.peer, send, receive })
    }
}

/// An acceptor that sent its challenge.
#[derive(Debug)]
pub(super) struct Acceptor {
    transcript: Transcript,
    own: NodeId,
    peer: Identity,
}

impl Acceptor {
    /// Takes a hello; gives the challenge to send.
    ///
    /// # Errors
    /// Why it ends here.
    pub(super) fn greeted(
        me: &Me,
        packet: Packet,
        nonce: Nonce,
    ) -> Result<(Self, Packet), Failure> {
        let hello = packet.expect(Type::Hello)?;
        let mut fields = hello.as_slice();
        let garbled = |_| Failure::Garbled;
        let least = fields.try_get_u16().map_err(garbled)?;
        let most = fields.try_get_u16().map_err(garbled)?;
        // The rest may mean something else in a version that is not known here.
        let protocol = most.min(*me.protocols.end());
        if protocol < least.max(*me.protocols.start()) {
            return Err(Failure::Refuses(Denied::IncompatibleProtocol));
        }
        let (peer, boot) = get_identity(&mut fields)?;
        let to = NodeId(fields.try_get_u32().map_err(garbled)?);
        if fields.remaining() < size_of::<Nonce>() {
            return Err(Failure::Garbled);
        }
        let newcomer = peer.node.0 == 0;
        let homeless = peer.cluster.0 == 0;
        if boot == me.boot {
            return Err(Failure::Refuses(Denied::SelfConnection));
        }
        // A newcomer may have no cluster yet; a member always names its own.
        if !(newcomer && homeless) && (homeless || peer.cluster != me.identity.cluster) {
            return Err(Failure::Refuses(Denied::ForeignCluster));
        }
        if to.0 != 0 && to != me.identity.node {
            return Err(Failure::Refuses(Denied::WrongNode));
        }
        let mut said = protocol.to_be_bytes().to_vec();
        put_identity(&mut said, me.identity, me.boot);
        said.extend(nonce);
        let transcript = Transcript::new(&me.secret, &hello, &said);
        let proof = transcript.key.tag(&[ACCEPTOR, &transcript.said]);
        said.extend(proof);
        let packet = Packet { kind: Type::Challenge, payload: said };
        Ok((Self { transcript, own: me.identity.node, peer }, packet))
    }

    /// Takes the proof. The peer has to be admitted and welcomed after it.
    ///
    /// # Errors
    /// Why it ends here.
    pub(super) fn proven(self, packet: Packet) -> Result<Agreed, Failure> {
        let proof = packet.expect(Type::Proof)?;
        let proof: Tag = proof.try_into().map_err(|_| Failure::Garbled)?;
        if !self.transcript.key.verify(&[DIALER, &self.transcript.said], &proof) {
            return Err(Failure::Refuses(Denied::WrongSecret));
        }
        // Another process under this node's id runs on a copy of its directory.
        if self.peer.node.0 != 0 && self.peer.node == self.own {
            return Err(Failure::Refuses(Denied::StaleNode));
        }
        let (receive, send) = self.transcript.keys();
        Ok(Agreed { peer: self.peer, send, receive })
    }
}

const DIALER: &[u8] = b"dialer";
const ACCEPTOR: &[u8] = b"acceptor";

/// Everything both sides have said, and the key that proves it was heard by one who knows the
/// secret.
#[derive(Debug)]
struct Transcript {
    key: Key,
    said: Vec<u8>,
}

impl Transcript {
    fn new(secret: &ClusterSecret, hello: &[u8], challenge: &[u8]) -> Self {
        let length = u32::try_from(hello.len()).expect("payloads are at most 512 bytes");
        let said = [&length.to_be_bytes(), hello, challenge].concat();
        Self { key: secret.derive("peer handshake"), said }
    }

    /// The keys of the two directions, the dialer's first.
    fn keys(&self) -> (Key, Key) {
        let mut bytes = [0; SECRET_BYTES];
        let (first, second) = bytes.split_at_mut(TAG_BYTES);
        first.copy_from_slice(&self.key.tag(&[b"link 1", &self.said]));
        second.copy_from_slice(&self.key.tag(&[b"link 2", &self.said]));
        // Two tags of one key are as good as random to whoever does not have it.
        let link = ClusterSecret::generate(bytes);
        (link.derive("frames of the dialer"), link.derive("frames of the acceptor"))
    }
}

fn put_identity(bytes: &mut Vec<u8>, identity: Identity, boot: u64) {
    bytes.extend(identity.cluster.0.to_be_bytes());
    bytes.extend(identity.node.0.to_be_bytes());
    bytes.extend(identity.token.to_be_bytes());
    bytes.extend(boot.to_be_bytes());
}

fn get_identity(fields: &mut &[u8]) -> Result<(Identity, u64), Failure> {
    let mut get = || {
        let cluster = ClusterId(fields.try_get_u128()?);
        let node = NodeId(fields.try_get_u32()?);
        let identity = Identity { cluster, node, token: fields.try_get_u64()? };
        Ok((identity, fields.try_get_u64()?))
    };
    get().map_err(|_: bytes::TryGetError| Failure::Garbled)
}

#[cfg(test)]
mod tests;
