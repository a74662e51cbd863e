//! The envelope of every membership datagram, and the proof that a member sent it.
//!
//! `version u8, cluster u128, kind u8, generation u32, index u64, load u16, body, tag of 16
//! bytes`, all numbers big endian; the tag covers everything before it. The version of the map
//! that the sender has and its load travel with every datagram, whatever it is about, so that
//! news of a newer map needs no messages of its own.
//!
//! Holds: nothing behind the envelope is looked at before the tag was verified; a datagram is at
//! most [`MAX_DATAGRAM`] bytes, either way.
//!
//! Does not know: who is a member. It does not hide what is said, and does not tell a copy from
//! the first.

use super::stats::Refused;
use crate::secret::{ClusterSecret, Key, TAG_BYTES};
use shoal_core::{ClusterId, MapVersion};

/// The most bytes of a datagram: what passes any network unfragmented, tunnels included.
pub const MAX_DATAGRAM: usize = 1_400;

/// The form of the envelope and of everything in it.
const VERSION: u8 = 1;
const HEAD: usize = 1 + 16 + 1 + 4 + 8 + 2;
const PURPOSE: &str = "membership datagram";

/// The most bytes of a body.
pub(super) const MAX_BODY: usize = MAX_DATAGRAM - HEAD - TAG_BYTES;

/// What a node tells with every datagram it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gossip {
    /// The version of the map it has. Whoever hears of a newer one than its own pulls it.
    pub map_version: MapVersion,
    /// How busy it is, in thousandths of what it can do; may exceed 1,000.
    pub load: u16,
}

/// What a datagram is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message of the SWIM protocol.
    Swim,
    /// Somebody asks to be let in, and for everybody there is.
    Hello,
    /// What the sender says of members: all of them to a newcomer, one to whom it concerns.
    Tell,
}

/// A datagram that a member sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened<'a> {
    pub(super) kind: Kind,
    pub(super) gossip: Gossip,
    pub(super) body: &'a [u8],
}

/// Closes and opens envelopes for one cluster.
#[derive(Debug)]
pub(super) struct Envelope {
    cluster: ClusterId,
    key: Key,
}

impl Envelope {
    pub(super) fn new(cluster: ClusterId, secret: &ClusterSecret) -> Self {
        Self { cluster, key: secret.derive(PURPOSE) }
    }

    pub(super) fn seal(&self, kind: Kind, gossip: Gossip, body: &[u8]) -> Vec<u8> {
        debug_assert!(body.len() <= MAX_BODY, "a body is cut to its room before");
        let mut bytes = Vec::with_capacity(HEAD + body.len() + TAG_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.cluster.0.to_be_bytes());
        bytes.push(match kind {
            Kind::Swim => 1,
            Kind::Hello => 2,
            Kind::Tell => 3,
        });
        bytes.extend_from_slice(&gossip.map_version.generation.to_be_bytes());
        bytes.extend_from_slice(&gossip.map_version.index.to_be_bytes());
        bytes.extend_from_slice(&gossip.load.to_be_bytes());
        bytes.extend_from_slice(body);
        let tag = self.key.tag(&[&bytes]);
        bytes.extend_from_slice(&tag);
        bytes
    }

    /// Opens what came in. What is wrong with it is for the counters only: no stranger gets an
    /// answer.
    pub(super) fn open<'a>(&self, bytes: &'a [u8]) -> Result<Opened<'a>, Refused> {
        if bytes.len() > MAX_DATAGRAM {
            return Err(Refused::Oversized);
        }
        let Some(end) = bytes.len().checked_sub(TAG_BYTES).filter(|end| *end >= HEAD) else {
            return Err(Refused::Truncated);
        };
        let (covered, tag) = bytes.split_at(end);
        let (head, body) = covered.split_at(HEAD);
        if head[0] != VERSION {
            return Err(Refused::Version);
        }
        if head[1..17] != self.cluster.0.to_be_bytes() {
            return Err(Refused::Cluster);
        }
        if !self.key.verify(&[covered], tag) {
            return Err(Refused::Tag);
        }
        let kind = match head[17] {
            1 => Kind::Swim,
            2 => Kind::Hello,
            3 => Kind::Tell,
            _ => return Err(Refused::Malformed),
        };
        let map_version = MapVersion {
            generation: u32::from_be_bytes(fixed(&head[18..22])),
            index: u64::from_be_bytes(fixed(&head[22..30])),
        };
        let gossip = Gossip { map_version, load: u16::from_be_bytes(fixed(&head[30..32])) };
        Ok(Opened { kind, gossip, body })
    }
}

/// A slice of known length as an array.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(cluster: u128, secret: u8) -> Envelope {
        Envelope::new(ClusterId(cluster), &ClusterSecret::generate([secret; 32]))
    }

    #[test]
    fn only_the_same_cluster_opens_it() {
        let gossip =
            Gossip { map_version: MapVersion { generation: 1, index: 1 << 40 }, load: 700 };
        let sealed = envelope(7, 1).seal(Kind::Tell, gossip, b"body");
        let opened = envelope(7, 1).open(&sealed).unwrap();
        assert_eq!((opened.kind, opened.gossip, opened.body), (Kind::Tell, gossip, &b"body"[..]));
        assert_eq!(envelope(8, 1).open(&sealed).unwrap_err(), Refused::Cluster);
        assert_eq!(envelope(7, 2).open(&sealed).unwrap_err(), Refused::Tag);
    }

    #[test]
    fn every_bit_is_covered() {
        let envelope = envelope(7, 1);
        let mut sealed = envelope.seal(Kind::Swim, Gossip::default(), b"some body");
        for bit in 0..sealed.len() * 8 {
            sealed[bit / 8] ^= 1 << (bit % 8);
            assert!(envelope.open(&sealed).is_err(), "bit {bit}");
            sealed[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(envelope.open(&sealed).is_ok());
    }

    #[test]
    fn lengths_are_judged_first() {
        let envelope = envelope(7, 1);
        let full = envelope.seal(Kind::Swim, Gossip::default(), &[0; MAX_BODY]);
        assert_eq!(full.len(), MAX_DATAGRAM);
        assert!(envelope.open(&full).is_ok());
        assert_eq!(envelope.open(&[1; MAX_DATAGRAM + 1]).unwrap_err(), Refused::Oversized);
        for length in 0..HEAD + TAG_BYTES {
            assert_eq!(envelope.open(&full[..length]).unwrap_err(), Refused::Truncated);
        }
    }
}
