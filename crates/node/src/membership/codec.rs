//! The bytes inside a membership datagram: identities, what is said of members, and the messages
//! of the SWIM protocol.
//!
//! All numbers are big endian. An identity is `node u32, start u64, renewals u32, form u8,
//! port u16, address of 4 or 16 bytes`, where the form is 4 or 6, plus 128 for one that leaves.
//! A member is `identity, incarnation u16, state u8`.
//!
//! Holds: decoding takes any bytes without panicking, and accepts exactly what encoding gives,
//! to the last byte; a count never reserves more memory than its bytes stand for.
//!
//! Does not know: the envelope around it, who is trusted.

use super::identity::Identity;
use bytes::{Buf, BufMut};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use foca::{Header, Member, Message, State};
use shoal_core::NodeId;

/// Bytes of a member with an address of the fourth version: the fewest there are.
const MEMBER_MIN: usize = 26;
const FORM_V4: u8 = 4;
const FORM_V6: u8 = 6;
const FORM_LEAVING: u8 = 0x80;

/// Why bytes are not what they should be, or do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    #[error("bytes are missing")]
    Short,
    #[error("bytes are left over")]
    Trailing,
    #[error("a field has a value that it cannot have")]
    Value,
    #[error("no room left")]
    Full,
}

/// The codec given to foca.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire;

/// A SWIM message and what travels with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Swim {
    pub(super) header: Header<Identity>,
    pub(super) updates: Vec<Member<Identity>>,
}

impl Swim {
    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, CodecError> {
        let header = take_header(&mut bytes)?;
        // foca writes no count behind messages that carry nothing.
        let bare = matches!(header.message, Message::Announce | Message::TurnUndead);
        let updates = if bare { Vec::new() } else { take_members(&mut bytes)? };
        at_end(bytes)?;
        Ok(Self { header, updates })
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::new();
        put_header(&self.header, &mut bytes)?;
        if !matches!(self.header.message, Message::Announce | Message::TurnUndead) {
            bytes.put_u16(u16::try_from(self.updates.len()).map_err(|_| CodecError::Full)?);
            for member in &self.updates {
                put_member(member, &mut bytes)?;
            }
        }
        Ok(bytes)
    }
}

/// What one member says of others, outside the SWIM protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tell {
    pub(super) from: Identity,
    pub(super) members: Vec<Member<Identity>>,
}

impl Tell {
    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, CodecError> {
        let from = take_identity(&mut bytes)?;
        let members = take_members(&mut bytes)?;
        at_end(bytes)?;
        Ok(Self { from, members })
    }

    /// As many bodies as it takes to say it all in at most `room` bytes each, one at least.
    pub(super) fn encode(&self, room: usize) -> Vec<Vec<u8>> {
        let mut bodies = Vec::new();
        let mut rest = self.members.as_slice();
        loop {
            let mut body = Vec::with_capacity(room).limit(room);
            // An identity and a count fit any room a datagram leaves.
            let begun = put_identity(&self.from, &mut body).is_ok() && body.remaining_mut() >= 2;
            let tally = body.get_ref().len();
            if begun {
                body.put_u16(0);
            }
            let mut count: u16 = 0;
            while let (true, [member, more @ ..]) = (begun, rest) {
                if count == u16::MAX || put_member(member, &mut body).is_err() {
                    break;
                }
                count += 1;
                rest = more;
            }
            let mut body = body.into_inner();
            if begun {
                body[tally..tally + 2].copy_from_slice(&count.to_be_bytes());
                bodies.push(body);
            }
            if rest.is_empty() || count == 0 {
                return bodies;
            }
        }
    }
}

/// Somebody who asks to be let in.
pub(super) fn encode_hello(from: &Identity) -> Vec<u8> {
    let mut body = Vec::new();
    // A vector has room for an identity.
    let _ = put_identity(from, &mut body);
    body
}

pub(super) fn decode_hello(mut bytes: &[u8]) -> Result<Identity, CodecError> {
    let from = take_identity(&mut bytes)?;
    at_end(bytes)?;
    Ok(from)
}

fn at_end(bytes: &[u8]) -> Result<(), CodecError> {
    if bytes.is_empty() { Ok(()) } else { Err(CodecError::Trailing) }
}

fn need(buf: &impl Buf, bytes: usize) -> Result<(), CodecError> {
    if buf.remaining() < bytes { Err(CodecError::Short) } else { Ok(()) }
}

fn room(buf: &impl BufMut, bytes: usize) -> Result<(), CodecError> {
    if buf.remaining_mut() < bytes { Err(CodecError::Full) } else { Ok(()) }
}

const fn identity_bytes(identity: &Identity) -> usize {
    let address = if identity.address().is_ipv4() { 4 } else { 16 };
    4 + 8 + 4 + 1 + 2 + address
}

fn put_identity(identity: &Identity, buf: &mut impl BufMut) -> Result<(), CodecError> {
    room(buf, identity_bytes(identity))?;
    let leaving = if identity.is_leaving() { FORM_LEAVING } else { 0 };
    buf.put_u32(identity.node().0);
    buf.put_u64(identity.start());
    buf.put_u32(identity.renewals());
    let form = if identity.address().is_ipv4() { FORM_V4 } else { FORM_V6 };
    buf.put_u8(form | leaving);
    buf.put_u16(identity.address().port());
    match identity.address().ip() {
        IpAddr::V4(ip) => buf.put_slice(&ip.octets()),
        IpAddr::V6(ip) => buf.put_slice(&ip.octets()),
    }
    Ok(())
}

fn take_identity(buf: &mut impl Buf) -> Result<Identity, CodecError> {
    need(buf, 4 + 8 + 4 + 1 + 2)?;
    let node = NodeId(buf.get_u32());
    let start = buf.get_u64();
    let renewals = buf.get_u32();
    let form = buf.get_u8();
    let port = buf.get_u16();
    let ip: IpAddr = match form & !FORM_LEAVING {
        FORM_V4 => {
            need(buf, 4)?;
            Ipv4Addr::from(buf.get_u32()).into()
        }
        FORM_V6 => {
            need(buf, 16)?;
            Ipv6Addr::from(buf.get_u128()).into()
        }
        _ => return Err(CodecError::Value),
    };
    let address = SocketAddr::new(ip, port);
    let identity = Identity::new(node, start, address).map_err(|_| CodecError::Value)?;
    // One identity has one form: an address in the other one would be changed on the way.
    if identity.address() != address {
        return Err(CodecError::Value);
    }
    let identity = identity.renewed(renewals);
    Ok(if form & FORM_LEAVING == 0 { identity } else { identity.leaving() })
}

fn put_member(member: &Member<Identity>, buf: &mut impl BufMut) -> Result<(), CodecError> {
    room(buf, identity_bytes(member.id()) + 3)?;
    put_identity(member.id(), buf)?;
    buf.put_u16(member.incarnation());
    buf.put_u8(match member.state() {
        State::Alive => 0,
        State::Suspect => 1,
        State::Down => 2,
    });
    Ok(())
}

fn take_member(buf: &mut impl Buf) -> Result<Member<Identity>, CodecError> {
    let identity = take_identity(buf)?;
    need(buf, 3)?;
    let incarnation = buf.get_u16();
    let state = match buf.get_u8() {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Down,
        _ => return Err(CodecError::Value),
    };
    Ok(Member::new(identity, incarnation, state))
}

fn take_members(buf: &mut impl Buf) -> Result<Vec<Member<Identity>>, CodecError> {
    need(buf, 2)?;
    let count = usize::from(buf.get_u16());
    need(buf, count * MEMBER_MIN)?;
    (0..count).map(|_| take_member(buf)).collect()
}

fn put_header(header: &Header<Identity>, buf: &mut impl BufMut) -> Result<(), CodecError> {
    put_identity(&header.src, buf)?;
    room(buf, 2)?;
    buf.put_u16(header.src_incarnation);
    put_identity(&header.dst, buf)?;
    let (tag, number, other) = match &header.message {
        Message::Ping(number) => (1, Some(*number), None),
        Message::Ack(number) => (2, Some(*number), None),
        Message::PingReq { target, probe_number } => (3, Some(*probe_number), Some(target)),
        Message::IndirectPing { origin, probe_number } => (4, Some(*probe_number), Some(origin)),
        Message::IndirectAck { target, probe_number } => (5, Some(*probe_number), Some(target)),
        Message::ForwardedAck { origin, probe_number } => (6, Some(*probe_number), Some(origin)),
        Message::Announce => (7, None, None),
        Message::Feed => (8, None, None),
        Message::Gossip => (9, None, None),
        Message::TurnUndead => (10, None, None),
        // Nothing is broadcast: what nodes tell each other besides stands in the envelope.
        Message::Broadcast => return Err(CodecError::Value),
    };
    room(buf, 2)?;
    buf.put_u8(tag);
    if let Some(number) = number {
        buf.put_u8(number);
    }
    other.map_or(Ok(()), |other| put_identity(other, buf))
}

fn take_header(buf: &mut impl Buf) -> Result<Header<Identity>, CodecError> {
    let src = take_identity(buf)?;
    need(buf, 2)?;
    let src_incarnation = buf.get_u16();
    let dst = take_identity(buf)?;
    need(buf, 1)?;
    let tag = buf.get_u8();
    let probe_number = if matches!(tag, 1..=6) {
        need(buf, 1)?;
        buf.get_u8()
    } else {
        0
    };
    let message = match tag {
        1 => Message::Ping(probe_number),
        2 => Message::Ack(probe_number),
        3 => Message::PingReq { target: take_identity(buf)?, probe_number },
        4 => Message::IndirectPing { origin: take_identity(buf)?, probe_number },
        5 => Message::IndirectAck { target: take_identity(buf)?, probe_number },
        6 => Message::ForwardedAck { origin: take_identity(buf)?, probe_number },
        7 => Message::Announce,
        8 => Message::Feed,
        9 => Message::Gossip,
        10 => Message::TurnUndead,
        _ => return Err(CodecError::Value),
    };
    Ok(Header { src, src_incarnation, dst, message })
}

impl foca::Codec<Identity> for Wire {
    type Error = CodecError;

    fn encode_header(
        &mut self,
        header: &Header<Identity>,
        mut buf: impl BufMut,
    ) -> Result<(), CodecError> {
        put_header(header, &mut buf)
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Identity>, CodecError> {
        take_header(&mut buf)
    }

    fn encode_member(
        &mut self,
        member: &Member<Identity>,
        mut buf: impl BufMut,
    ) -> Result<(), CodecError> {
        put_member(member, &mut buf)
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Identity>, CodecError> {
        take_member(&mut buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identities() -> impl Strategy<Value = Identity> {
        let ip = prop_oneof![
            (1..=u32::MAX).prop_map(|ip| IpAddr::from(Ipv4Addr::from(ip))),
            (1 << 64..=u128::MAX).prop_map(|ip| IpAddr::from(Ipv6Addr::from(ip))),
        ];
        (1..=u32::MAX, any::<u64>(), any::<u32>(), any::<bool>(), ip, 1..=u16::MAX).prop_map(
            |(node, start, renewals, leaving, ip, port)| {
                let identity = Identity::new(NodeId(node), start, SocketAddr::new(ip, port));
                let identity = identity.unwrap().renewed(renewals);
                if leaving { identity.leaving() } else { identity }
            },
        )
    }

    fn members() -> impl Strategy<Value = Vec<Member<Identity>>> {
        let state = prop_oneof![Just(State::Alive), Just(State::Suspect), Just(State::Down)];
        let member = (identities(), any::<u16>(), state)
            .prop_map(|(id, incarnation, state)| Member::new(id, incarnation, state));
        prop::collection::vec(member, 0..100)
    }

    fn messages() -> impl Strategy<Value = Message<Identity>> {
        (0..10_u8, any::<u8>(), identities()).prop_map(|(tag, probe_number, id)| match tag {
            0 => Message::Ping(probe_number),
            1 => Message::Ack(probe_number),
            2 => Message::PingReq { target: id, probe_number },
            3 => Message::IndirectPing { origin: id, probe_number },
            4 => Message::IndirectAck { target: id, probe_number },
            5 => Message::ForwardedAck { origin: id, probe_number },
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::Gossip,
            _ => Message::TurnUndead,
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            src in identities(), dst in identities(), message in messages(),
            src_incarnation in any::<u16>(), mut updates in members(),
        ) {
            if matches!(message, Message::Announce | Message::TurnUndead) {
                updates.clear();
            }
            let swim = Swim { header: Header { src, src_incarnation, dst, message }, updates };
            let bytes = swim.encode().unwrap();
            prop_assert_eq!(Swim::decode(&bytes), Ok(swim));
            let longer = [bytes.as_slice(), &[0]].concat();
            prop_assert!(Swim::decode(&longer).is_err());
            prop_assert!(Swim::decode(&bytes[..bytes.len() - 1]).is_err());
        }

        #[test]
        fn a_long_list_is_told_in_parts(from in identities(), members in members()) {
            let bodies = Tell { from, members: members.clone() }.encode(1_352);
            let mut told = Vec::new();
            for body in &bodies {
                prop_assert!(body.len() <= 1_352);
                let tell = Tell::decode(body).unwrap();
                prop_assert_eq!(tell.from, from);
                told.extend(tell.members);
            }
            prop_assert!(!bodies.is_empty());
            prop_assert_eq!(told, members);
            prop_assert_eq!(decode_hello(&encode_hello(&from)), Ok(from));
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            // Whatever is accepted has exactly one form.
            if let Ok(swim) = Swim::decode(&bytes) {
                prop_assert_eq!(swim.encode().unwrap(), bytes.clone());
            }
            let _ = (Tell::decode(&bytes), decode_hello(&bytes));
        }
    }
}
