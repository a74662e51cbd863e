//! Swaps: what clients ask for that depends on several keys of one slot at once.
//!
//! Holds: a client builds a swap on what clients were told of the keys before, as users do who read
//! and then write what they have computed.

use super::World;
use super::requests::index;
use crate::client::{Kind, Next, Request, Told, Wish};
use crate::node::OpId;
use bytes::Bytes;
use shoal_core::quorum::{Condition, Level};
use shoal_core::update::Tag;
use shoal_core::version::Version;
use std::collections::BTreeMap;

/// What the two keys of a pair sum up to, always.
pub(crate) const PAIR_SUM: i64 = 200;

/// By key: the tag and the value that were there last, or that there was none.
pub(super) type Known = BTreeMap<Bytes, Option<(Tag, Bytes)>>;

/// The sum that a value of a pair's key tells.
pub(crate) fn sum_of(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.split(' ').nth(1)?.parse().ok()
}

impl World {
    pub(super) fn random_swap(&mut self) -> Request {
        let number = self.rng.u32(0..self.options.keys);
        if self.rng.bool() { self.transfer(number) } else { self.mixed_swap(number) }
    }

    /// Moves some of what one key of a pair holds to the other. Nobody else touches the two.
    fn transfer(&mut self, number: u32) -> Request {
        let keys = ["left", "right"].map(|name| self.layout.key(name, number));
        if let Some(unknown) = keys.iter().find(|key| !self.known.contains_key(*key)) {
            return Request::read(unknown.clone());
        }
        let held = keys.each_ref().map(|key| self.known[key].clone());
        let amount = self.rng.i64(-9..=9);
        let wishes = match &held {
            [None, None] => [
                Wish { when: Condition::Absent, next: Next::Sum(PAIR_SUM) },
                Wish { when: Condition::Absent, next: Next::Sum(0) },
            ],
            [Some((first, left)), Some((second, right))] => {
                let sums = [left, right].map(|value| sum_of(value).unwrap_or(0));
                [
                    Wish { when: Condition::Tag(*first), next: Next::Sum(sums[0] - amount) },
                    Wish { when: Condition::Tag(*second), next: Next::Sum(sums[1] + amount) },
                ]
            }
            _ => {
                let [left, right] = keys;
                self.known.remove(&right);
                return Request::read(left);
            }
        };
        let kind = Kind::Swap { wishes: wishes.to_vec() };
        Request { keys: keys.to_vec(), level: Level::Quorum, kind }
    }

    /// Changes keys that others write without asking.
    fn mixed_swap(&mut self, number: u32) -> Request {
        let count = self.rng.u32(2..=3);
        let stride = self.layout.stride();
        let keys: Vec<Bytes> =
            (0..count).map(|place| self.layout.key("key", number + place * stride)).collect();
        let unknown = keys.iter().find(|key| !self.known.contains_key(*key));
        if let Some(unknown) = unknown
            && self.rng.bool()
        {
            return Request::read(unknown.clone());
        }
        let mut wishes = Vec::new();
        for key in &keys {
            let when = match self.known.get(key) {
                _ if self.rng.u32(0..4) == 0 => Condition::Any,
                None => Condition::Any,
                Some(None) => Condition::Absent,
                Some(Some((tag, _))) => Condition::Tag(*tag),
            };
            let next = match self.rng.u32(0..8) {
                0 => Next::Gone,
                1 | 2 => Next::Same,
                _ => Next::Serial,
            };
            wishes.push(Wish { when, next });
        }
        Request { keys, level: Level::Quorum, kind: Kind::Swap { wishes } }
    }

    /// The keys that a swap wrote, with their versions.
    pub(super) fn swapped(&self, id: OpId, versions: Vec<Version>) -> Vec<(Bytes, Version)> {
        let request = &self.history[index(self.serial_of[&id])].request;
        let Kind::Swap { wishes } = &request.kind else { return Vec::new() };
        let written = request.keys.iter().zip(wishes).filter(|(_, wish)| wish.writes());
        written.map(|(key, _)| key.clone()).zip(versions).collect()
    }

    /// Clients learn from what one of them was told.
    pub(super) fn learn(&mut self, serial: u64, told: &Told) {
        if self.options.swaps <= 0.0 {
            return;
        }
        let entry = &self.history[index(serial)];
        let Request { keys, level, .. } = entry.request.clone();
        match told {
            Told::Found { rank, value } if level >= Level::Quorum => {
                let tag = rank.map(|rank| Tag { version: rank.version, written: rank.written });
                let held = tag.zip(value.clone());
                self.known.insert(keys[0].clone(), held);
            }
            Told::Swapped { versions } => {
                for (key, version) in versions.clone() {
                    let wish = self.history[index(serial)].wish(&key);
                    let Some(wish) = wish else { continue };
                    let value = match wish.next {
                        Next::Sum(sum) => Some(format!("{serial} {sum}")),
                        Next::Serial => Some(serial.to_string()),
                        Next::Same | Next::Gone => None,
                    };
                    let held = value.map(|value| (Tag::plain(version), Bytes::from(value)));
                    self.known.insert(key, held);
                }
            }
            Told::Unmet | Told::Unknown | Told::Refused => {
                for key in keys {
                    self.known.remove(&key);
                }
            }
            Told::Found { .. } | Told::Written { .. } | Told::Superseded { .. } => {}
        }
    }
}
