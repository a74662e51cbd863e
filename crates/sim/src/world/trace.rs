//! A digest of everything that happens in a run, by which two runs are compared. Messages go into
//! it in their wire form, which is read back now and then.

use super::{Happening, Packet};
use bytes::Bytes;
use shoal_core::codec::message::{read_answer, read_envelope, write_answer, write_envelope};
use std::io::Write as _;
use xxhash_rust::xxh3::Xxh3;

/// How many messages go by between two that are read back.
const READ_BACK_EVERY: u64 = 16;

#[derive(Default)]
pub(super) struct Trace {
    digest: Xxh3,
    buffer: Vec<u8>,
    messages: u64,
}

impl Trace {
    pub(super) fn digest(&self) -> u64 {
        self.digest.digest()
    }

    /// Notes what happens at this time of the run.
    pub(super) fn note(&mut self, at_ms: u64, happening: &Happening) {
        self.buffer.clear();
        match happening {
            Happening::Arrives { to, from, packet } => {
                self.buffer.extend([to.0, from.0].map(u32::to_be_bytes).as_flattened());
                self.note_packet(packet);
            }
            Happening::Map { node, owners, .. } => {
                for owners in owners {
                    let epoch = owners.epoch.index;
                    let _ = write!(self.buffer, "map {node} {epoch}");
                }
            }
            other => {
                let _ = write!(self.buffer, "{other:?}");
            }
        }
        self.digest.update(&at_ms.to_be_bytes());
        self.digest.update(&self.buffer);
    }

    fn note_packet(&mut self, packet: &Packet) {
        let start = self.buffer.len();
        self.messages += 1;
        let read_back = self.messages.is_multiple_of(READ_BACK_EVERY);
        match packet {
            Packet::Ask { op, envelope } => {
                write_envelope(envelope, &mut self.buffer);
                if read_back {
                    let bytes = Bytes::copy_from_slice(&self.buffer[start..]);
                    let read = read_envelope(&bytes).expect("what was written can be read");
                    assert_eq!(read, *envelope, "the wire changed a question");
                }
                self.buffer.extend(op.to_be_bytes());
            }
            Packet::Answer { op, answer } => {
                write_answer(answer, &mut self.buffer);
                if read_back {
                    let bytes = Bytes::copy_from_slice(&self.buffer[start..]);
                    let read = read_answer(&bytes).expect("what was written can be read");
                    assert_eq!(read, *answer, "the wire changed an answer");
                }
                self.buffer.extend(op.to_be_bytes());
            }
            Packet::Forward { .. } | Packet::Forwarded { .. } => {
                let _ = write!(self.buffer, "{packet:?}");
            }
        }
    }
}
