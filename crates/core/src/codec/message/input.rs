//! Reading the parts that messages are made of.

use crate::clock::Stamp;
use crate::codec::CodecError;
use crate::codec::record::{Form, decode, head};
use crate::ids::{Epoch, Incarnation, MapVersion, NodeId, ReplicaIncarnation};
use crate::quorum::{Header, Member};
use crate::record::{Body, OwnedBody, OwnedRecord, Rank};
use crate::replica::Floor;
use crate::slot::Slot;
use crate::version::{MAX_WALL_MS, Version};
use bytes::{Buf as _, Bytes};

/// Bytes being read.
pub(in crate::codec) struct Input {
    rest: Bytes,
}

impl Input {
    /// Opens a message of this format.
    pub(in crate::codec) fn open(bytes: &Bytes, format: u8) -> Result<Self, CodecError> {
        let mut input = Self { rest: bytes.clone() };
        match input.u8()? {
            found if found == format => Ok(input),
            other => Err(CodecError::UnknownVersion(other)),
        }
    }

    /// Ends the message, which must have been read whole.
    pub(in crate::codec) fn finished(&self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError::Invalid("bytes follow the end")) }
    }

    pub(in crate::codec) fn u8(&mut self) -> Result<u8, CodecError> {
        self.rest.try_get_u8().map_err(|_| CodecError::Truncated)
    }

    pub(in crate::codec) fn u16(&mut self) -> Result<u16, CodecError> {
        self.rest.try_get_u16().map_err(|_| CodecError::Truncated)
    }

    pub(in crate::codec) fn u32(&mut self) -> Result<u32, CodecError> {
        self.rest.try_get_u32().map_err(|_| CodecError::Truncated)
    }

    pub(in crate::codec) fn u64(&mut self) -> Result<u64, CodecError> {
        self.rest.try_get_u64().map_err(|_| CodecError::Truncated)
    }

    pub(in crate::codec) fn u128(&mut self) -> Result<u128, CodecError> {
        self.rest.try_get_u128().map_err(|_| CodecError::Truncated)
    }

    pub(in crate::codec) fn bool(&mut self) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Invalid("neither yes nor no")),
        }
    }

    /// A number of items of at least one byte each: more than bytes are left is refused.
    pub(in crate::codec) fn count(&mut self) -> Result<usize, CodecError> {
        let count = self.u32()? as usize;
        if count > self.rest.len() { Err(CodecError::Truncated) } else { Ok(count) }
    }

    pub(in crate::codec) fn bytes(&mut self) -> Result<Bytes, CodecError> {
        let len = self.count()?;
        Ok(self.rest.split_to(len))
    }

    pub(in crate::codec) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(in crate::codec) fn keyspace(&mut self) -> Result<Incarnation, CodecError> {
        self.u32().map(Incarnation)
    }

    pub(in crate::codec) fn slot(&mut self) -> Result<Slot, CodecError> {
        Slot::new(self.u16()?).ok_or(CodecError::Invalid("a slot beyond the last"))
    }

    pub(in crate::codec) fn epoch(&mut self) -> Result<Epoch, CodecError> {
        Ok(MapVersion { generation: self.u32()?, index: self.u64()? })
    }

    pub(in crate::codec) fn header(&mut self) -> Result<Header, CodecError> {
        let (keyspace, slot) = (self.keyspace()?, self.slot()?);
        Ok(Header { keyspace, slot, epoch: self.epoch()?, clock: self.stamp()? })
    }

    pub(in crate::codec) fn stamp(&mut self) -> Result<Stamp, CodecError> {
        self.u64().map(Stamp)
    }

    pub(in crate::codec) fn floor(&mut self) -> Result<Floor, CodecError> {
        self.stamp().map(Floor)
    }

    pub(in crate::codec) fn member(&mut self) -> Result<Member, CodecError> {
        let node = NodeId(self.u32()?);
        Ok(Member { node, incarnation: ReplicaIncarnation(self.u64()?) })
    }

    pub(in crate::codec) fn version(&mut self) -> Result<Version, CodecError> {
        let version =
            Version { wall_ms: self.u64()?, counter: self.u16()?, node: NodeId(self.u32()?) };
        if version.wall_ms > MAX_WALL_MS {
            return Err(CodecError::Invalid("a version beyond the end of time"));
        }
        Ok(version)
    }

    pub(in crate::codec) fn rank(&mut self) -> Result<Rank, CodecError> {
        Ok(Rank {
            version: self.version()?,
            tombstone: self.bool()?,
            expires_at: self.option(Self::u64)?,
            kind: self.u8()?,
            content: self.u128()?,
            written: self.version()?,
        })
    }

    pub(in crate::codec) fn record(&mut self) -> Result<OwnedRecord, CodecError> {
        let stored = self.bytes()?;
        let record = decode(&[], &stored)?;
        let again = head(Form::Plain, &[], &record);
        if !stored.starts_with(again.as_bytes()) {
            return Err(CodecError::Invalid("a record in a form that nobody writes"));
        }
        let body = match record.body {
            Body::Live { kind, bytes } => OwnedBody::Live { kind, bytes: stored.slice_ref(bytes) },
            Body::Tombstone => OwnedBody::Tombstone,
        };
        let (version, written, expires_at) = (record.version, record.written, record.expires_at);
        Ok(OwnedRecord { version, written, expires_at, body })
    }

    pub(in crate::codec) fn pairs(&mut self) -> Result<Vec<(Bytes, Rank)>, CodecError> {
        let count = self.count()?;
        (0..count).map(|_| Ok((self.bytes()?, self.rank()?))).collect()
    }
}
