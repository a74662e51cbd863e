//! How two nodes come to trust a connection before anything else is said on it.
//!
//! ```text
//! dialer                                     acceptor
//! HELLO  versions, who, whom, nonce     →    a foreign cluster, this node itself, …: REFUSED
//! wrong proof, wrong node, …: REFUSED   ←    CHALLENGE  version, who, nonce, proof
//! PROOF  token, proof                   →    wrong proof, not admitted: REFUSED
//! not admitted: REFUSED                 ←    WELCOME  token, proof
//! READY  proof                          →
//! ```
//!
//! A proof is a tag over everything both have said so far, under a key that only those have who
//! know the cluster's secret. The keys of the two directions come from the same bytes, so they
//! are this connection's alone. Each side says the token of its start only once the other has
//! proven the secret, and each judges the other by it: whoever was started from an old copy of a
//! directory is neither let in nor taken for the node that it says it is. A node without an id
//! says node 0 and is held to introducing itself.
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
pub(super) const PROTOCOLS: RangeInclusive<u16> = 2..=2;

/// What makes every handshake one of its kind; must never be drawn twice.
pub(super) type Nonce = [u8; 32];

/// What every packet begins with.
const MAGIC: [u8; 4] = *b"SHPR";

/// What whoever dials a node says first.
pub(crate) const DIALLED: [u8; 5] = {
    let [a, b, c, d] = MAGIC;
    [a, b, c, d, Type::Hello as u8]
};

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
    Ready = 6,
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
            return Err(Failure::Foreign);
        }
        let Some(head) = buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let kind = match head[4] {
            1 => Type::Hello,
            2 => Type::Challenge,
            3 => Type::Proof,
            4 => Type::Welcome,
            5 => Type::Refused,
            6 => Type::Ready,
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
    /// What came is something else than a packet of a handshake.
    Foreign,
    /// What came is no handshake, or a damaged one.
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
    /// Without its token, which it has not said yet.
    peer: Identity,
}

impl Dialer {
    /// Begins a handshake with `to`, or with whoever it is where that is zero.
    pub(super) fn hello(me: Me, to: NodeId, nonce: Nonce) -> (Self, Packet) {
        let mut hello = Vec::with_capacity(MAX_PAYLOAD / 4);
        hello.extend(me.protocols.start().to_be_bytes());
        hello.extend(me.protocols.end().to_be_bytes());
        put_name(&mut hello, me.identity, me.boot);
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
        let (peer, boot) = get_name(&mut fields)?;
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
        let mut transcript = Transcript::new(&self.me.secret);
        transcript.add(&self.hello);
        transcript.add(said);
        if !transcript.holds(CHALLENGE, proof) {
            return refuses(Denied::WrongSecret);
        }
        if self.to.0 != 0 && peer.node != self.to {
            return refuses(Denied::WrongNode);
        }
        if peer.node.0 != 0 && peer.node == ours.node {
            return refuses(Denied::StaleNode);
        }
        let payload = transcript.say_token(PROOF, ours.token);
        Ok((Proven { transcript, peer }, Packet { kind: Type::Proof, payload }))
    }
}

impl Proven {
    /// Takes the welcome; gives what is to be sent once the peer is admitted here.
    ///
    /// # Errors
    /// Why it ends here.
    pub(super) fn welcomed(mut self, packet: Packet) -> Result<(Agreed, Packet), Failure> {
        let welcome = packet.expect(Type::Welcome)?;
        let token = self.transcript.hear_token(WELCOME, &welcome)?;
        let ready = self.transcript.tag(READY);
        let (send, receive) = self.transcript.keys();
        let peer = Identity { token, ..self.peer };
        let ready = Packet { kind: Type::Ready, payload: ready.to_vec() };
        Ok((Agreed { peer, send, receive }, ready))
    }
}

/// An acceptor that sent its challenge.
#[derive(Debug)]
pub(super) struct Acceptor {
    transcript: Transcript,
    own: Identity,
    /// Without its token, which it has not said yet.
    peer: Identity,
}

/// An acceptor that has the dialer's proof.
#[derive(Debug)]
pub(super) struct Convinced {
    transcript: Transcript,
    own: Identity,
    pub(super) peer: Identity,
}

/// An acceptor that has welcomed the dialer.
#[derive(Debug)]
pub(super) struct Welcomed {
    transcript: Transcript,
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
        let (peer, boot) = get_name(&mut fields)?;
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
        put_name(&mut said, me.identity, me.boot);
        said.extend(nonce);
        let mut transcript = Transcript::new(&me.secret);
        transcript.add(&hello);
        transcript.add(&said);
        said.extend(transcript.tag(CHALLENGE));
        let packet = Packet { kind: Type::Challenge, payload: said };
        Ok((Self { transcript, own: me.identity, peer }, packet))
    }

    /// Takes the proof. The peer has to be admitted and welcomed after it.
    ///
    /// # Errors
    /// Why it ends here.
    pub(super) fn proven(mut self, packet: Packet) -> Result<Convinced, Failure> {
        let proof = packet.expect(Type::Proof)?;
        let token = self.transcript.hear_token(PROOF, &proof)?;
        // Another process under this node's id runs on a copy of its directory.
        if self.peer.node.0 != 0 && self.peer.node == self.own.node {
            return Err(Failure::Refuses(Denied::StaleNode));
        }
        let Self { transcript, own, peer } = self;
        Ok(Convinced { transcript, own, peer: Identity { token, ..peer } })
    }
}

impl Convinced {
    /// The packet that tells the dialer that it is taken for a peer.
    pub(super) fn welcome(mut self) -> (Welcomed, Packet) {
        let payload = self.transcript.say_token(WELCOME, self.own.token);
        let Self { transcript, peer, .. } = self;
        (Welcomed { transcript, peer }, Packet { kind: Type::Welcome, payload })
    }
}

impl Welcomed {
    /// Takes the dialer's word that it takes this node for a peer too.
    ///
    /// # Errors
    /// Why it ends here.
    pub(super) fn ready(self, packet: Packet) -> Result<Agreed, Failure> {
        let proof = packet.expect(Type::Ready)?;
        if !self.transcript.holds(READY, &proof) {
            return Err(Failure::Refuses(Denied::WrongSecret));
        }
        let (receive, send) = self.transcript.keys();
        Ok(Agreed { peer: self.peer, send, receive })
    }
}

/// What stands before what was said so far in the proof of each packet.
const CHALLENGE: &[u8] = b"challenge";
const PROOF: &[u8] = b"proof";
const WELCOME: &[u8] = b"welcome";
const READY: &[u8] = b"ready";

/// Everything both sides have said, and the key that proves it was heard by one who knows the
/// secret.
#[derive(Debug)]
struct Transcript {
    key: Key,
    said: Vec<u8>,
}

impl Transcript {
    fn new(secret: &ClusterSecret) -> Self {
        Self { key: secret.derive("peer handshake 2"), said: Vec::with_capacity(MAX_PAYLOAD) }
    }

    fn add(&mut self, said: &[u8]) {
        let length = u32::try_from(said.len()).expect("payloads are at most 512 bytes");
        self.said.extend(length.to_be_bytes());
        self.said.extend(said);
    }

    fn tag(&self, packet: &[u8]) -> Tag {
        self.key.tag(&[packet, &self.said])
    }

    fn holds(&self, packet: &[u8], proof: &[u8]) -> bool {
        self.key.verify(&[packet, &self.said], proof)
    }

    /// The payload of a packet that says a token and proves it.
    fn say_token(&mut self, packet: &[u8], token: u64) -> Vec<u8> {
        let mut payload = token.to_be_bytes().to_vec();
        self.add(&payload);
        payload.extend(self.tag(packet));
        payload
    }

    /// The token that a packet says, and maybe more.
    fn hear_token(&mut self, packet: &[u8], payload: &[u8]) -> Result<u64, Failure> {
        let (said, proof) = payload.split_last_chunk::<TAG_BYTES>().ok_or(Failure::Garbled)?;
        self.add(said);
        if !self.holds(packet, proof) {
            return Err(Failure::Refuses(Denied::WrongSecret));
        }
        let mut fields = said;
        fields.try_get_u64().map_err(|_| Failure::Garbled)
    }

    /// The keys of the two directions, the dialer's first.
    fn keys(&self) -> (Key, Key) {
        let mut bytes = [0; SECRET_BYTES];
        let (first, second) = bytes.split_at_mut(TAG_BYTES);
        first.copy_from_slice(&self.tag(b"link 1"));
        second.copy_from_slice(&self.tag(b"link 2"));
        // Two tags of one key are as good as random to whoever does not have it.
        let link = ClusterSecret::generate(bytes);
        (link.derive("frames of the dialer"), link.derive("frames of the acceptor"))
    }
}

fn put_name(bytes: &mut Vec<u8>, identity: Identity, boot: u64) {
    bytes.extend(identity.cluster.0.to_be_bytes());
    bytes.extend(identity.node.0.to_be_bytes());
    bytes.extend(boot.to_be_bytes());
}

fn get_name(fields: &mut &[u8]) -> Result<(Identity, u64), Failure> {
    let mut get = || {
        let cluster = ClusterId(fields.try_get_u128()?);
        let node = NodeId(fields.try_get_u32()?);
        Ok((Identity { cluster, node, token: 0 }, fields.try_get_u64()?))
    };
    get().map_err(|_: bytes::TryGetError| Failure::Garbled)
}

#[cfg(test)]
mod tests;
