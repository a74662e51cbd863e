//! Writing the parts that messages are made of.

use crate::codec::record::{Form, head};
use crate::ids::Epoch;
use crate::quorum::Header;
use crate::record::{OwnedBody, OwnedRecord, Rank};
use crate::version::Version;
use bytes::Bytes;

/// Bytes being written.
pub(in crate::codec) struct Output<'a>(pub(in crate::codec) &'a mut Vec<u8>);

impl Output<'_> {
    pub(in crate::codec) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(in crate::codec) fn u16(&mut self, value: u16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(in crate::codec) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(in crate::codec) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_be_bytes());
    }

    pub(in crate::codec) fn u128(&mut self, value: u128) {
        self.0.extend(value.to_be_bytes());
    }

    pub(in crate::codec) fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub(in crate::codec) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("messages are bounded far below 4 GiB"));
    }

    pub(in crate::codec) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub(in crate::codec) fn option<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T),
    ) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(in crate::codec) fn epoch(&mut self, epoch: Epoch) {
        self.u32(epoch.generation);
        self.u64(epoch.index);
    }

    pub(in crate::codec) fn header(&mut self, header: &Header) {
        let Header { keyspace, slot, epoch, clock } = *header;
        self.u32(keyspace.0);
        self.u16(slot.number());
        self.epoch(epoch);
        self.u64(clock.0);
    }

    pub(in crate::codec) fn version(&mut self, version: Version) {
        self.u64(version.wall_ms);
        self.u16(version.counter);
        self.u32(version.node.0);
    }

    pub(in crate::codec) fn rank(&mut self, rank: &Rank) {
        self.version(rank.version);
        self.bool(rank.tombstone);
        self.option(rank.expires_at, Output::u64);
        self.u8(rank.kind);
        self.u128(rank.content);
        self.version(rank.written);
    }

    /// The plain stored form, as memory has it: the frame around messages has its own checksum.
    pub(in crate::codec) fn record(&mut self, record: &OwnedRecord) {
        let head = head(Form::Plain, &[], &record.borrow());
        let value = match &record.body {
            OwnedBody::Live { bytes, .. } => &bytes[..],
            OwnedBody::Tombstone => &[],
        };
        self.count(head.as_bytes().len() + value.len());
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(value);
    }

    pub(in crate::codec) fn pairs(&mut self, pairs: &[(Bytes, Rank)]) {
        self.count(pairs.len());
        for (key, rank) in pairs {
            self.bytes(key);
            self.rank(rank);
        }
    }
}
