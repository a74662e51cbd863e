//! Several keys as one: EXEC, MSET, MSETNX, RENAME, COPY.
//!
//! Holds: all partitions of the keys are locked, in ascending order of (space, partition), before
//! the first is read, and until the last change is submitted. Changes are staged and go to the
//! engine as one batch, so others see all of them or none, and so does a restart.
//!
//! A transaction over keyspaces of both engines submits memory first and takes it back if the
//! disk refuses; after a crash memory is gone anyway.

use crate::access::{Access, bad_key, key_is_good};
use crate::keyspace::{Keyspace, LaneGuard};
use crate::refusal::{Code, Halt, Refusal};
use crate::request::{Sink, Target};
use crate::rules::read_record;
use crate::step::{Step, counted, minus};
use shoal_core::codec::record::head;
use shoal_core::map::Command;
use shoal_core::update::Update;
use shoal_core::version::Millis;
use shoal_core::{PartitionId, Slot, Version};
use shoal_storage::{Address, Answer, Op, Parts, Tally};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a transaction may touch. It is locked before the first key is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Footprint<'a> {
    /// The keys it reads or writes.
    pub keys: &'a [(&'a Target, &'a [u8])],
    /// Keyspaces it counts, lists, flushes or swaps as a whole.
    pub whole: &'a [&'a Target],
    /// Whether it writes: the databases of `keys` are then made if they are not there.
    pub writes: bool,
    /// Whether it flushes or swaps keyspaces.
    pub catalogue: bool,
    /// Whether the order of its writes says nothing, so that several nodes may take them at once.
    pub side_by_side: bool,
}

/// The changes of a transaction that are not submitted yet, and the locks it holds.
pub(crate) struct Staged {
    entries: BTreeMap<Vec<u8>, Entry>,
    pub(crate) held: Vec<Held>,
}

/// One changed key.
struct Entry {
    keyspace: Arc<Keyspace>,
    /// The stored form to be; `None` removes the key.
    stored: Option<Vec<u8>>,
    /// What the key counted for before the transaction.
    base: Tally,
    tally: Tally,
}

/// A partition's lock.
pub(crate) struct Held {
    pub(crate) space: u32,
    pub(crate) partition: PartitionId,
    pub(crate) guard: LaneGuard,
}

/// A key as WATCH saw it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The keyspace it was seen in.
    pub target: Target,
    /// The key.
    pub key: Vec<u8>,
    version: Option<Version>,
    flag: Flag,
}

/// What tells of a change of a watched key, beside its version.
#[derive(Clone, Debug)]
enum Flag {
    /// Set once the key is changed.
    Here(Arc<AtomicBool>),
    /// Nothing: several nodes hold it, and it cannot come and go without a trace.
    Afar,
    /// There was no keyspace.
    Nowhere,
}

impl Staged {
    /// The staged form of a key: outer `None` where it is not staged.
    pub(crate) fn find(
        &self,
        keyspace: &Keyspace,
        slot: Slot,
        key: &[u8],
    ) -> Option<Option<&[u8]>> {
        if self.entries.is_empty() {
            return None;
        }
        let entry = self.entries.get(&engine_key(keyspace.space(), slot, key))?;
        Some(entry.stored.as_deref())
    }

    /// What the staged changes add to the tally of `space`.
    pub(crate) fn tally(&self, space: u32) -> Tally {
        let entries = self.entries.values().filter(|entry| entry.keyspace.space() == space);
        entries.fold(Tally::default(), |sum, entry| sum.plus(minus(entry.tally, entry.base)))
    }

    /// The staged values of one slot, in key order.
    pub(crate) fn of_slot(&self, space: u32, slot: Slot) -> impl Iterator<Item = (&[u8], &[u8])> {
        let from = engine_key(space, slot, &[]);
        let entries = self.entries.range(from.clone()..);
        entries
            .take_while(move |(key, _)| key[..6] == from[..6])
            .filter_map(|(key, entry)| Some((&key[6..], entry.stored.as_deref()?)))
    }

    /// Whether a key of this slot is staged.
    pub(crate) fn touches(&self, space: u32, slot: Slot) -> bool {
        let from = engine_key(space, slot, &[]);
        let first = self.entries.range(from.clone()..).next();
        first.is_some_and(|(key, _)| key[..6] == from[..])
    }

    /// What the staged changes add to the tally of one slot.
    pub(crate) fn slot_tally(&self, space: u32, slot: Slot) -> Tally {
        let from = engine_key(space, slot, &[]);
        let entries = self.entries.range(from.clone()..);
        let here = entries.take_while(|(key, _)| key[..6] == from[..]);
        here.fold(Tally::default(), |sum, (_, e)| sum.plus(minus(e.tally, e.base)))
    }

    fn lane(&mut self, space: u32, partition: PartitionId) -> Option<&mut Held> {
        self.held.iter_mut().find(|held| (held.space, held.partition) == (space, partition))
    }
}

fn engine_key(space: u32, slot: Slot, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(6 + key.len());
    bytes.extend_from_slice(&space.to_be_bytes());
    bytes.extend_from_slice(&slot.number().to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

impl<'n> Access<'n> {
    /// Runs `f` with everything in `footprint` locked, and applies what it changed as one batch
    /// if it returns `Ok`. Inside, reads, counts and scans see what was changed before. Inside
    /// another transaction `f` simply runs.
    ///
    /// # Errors
    /// Whatever `f` returns; then nothing is applied. Or the engine's refusal of the batch.
    pub fn transaction<R>(
        &mut self,
        footprint: &Footprint<'_>,
        f: impl FnOnce(&mut Self) -> Result<R, Halt>,
    ) -> Result<R, Halt> {
        // Before anything is changed: half a command must not stand in a transaction.
        if !footprint.keys.iter().all(|(_, key)| key_is_good(key)) {
            return Err(bad_key());
        }
        if self.in_transaction() {
            return f(self);
        }
        self.know_all(footprint)?;
        if self.reaches_afar(footprint) {
            return self.transact_afar(footprint, f);
        }
        let node = self.node;
        let changes = footprint.catalogue.then(|| node.catalogue.hold_changes());
        if footprint.catalogue {
            // What was made while the lock was waited for must be locked too.
            self.reload();
        }
        let held = self.hold(footprint);
        if self.reaches_afar(footprint) {
            // The node became one of several while the locks were waited for.
            drop((held, changes));
            return self.transact_afar(footprint, f);
        }
        self.staged = Some(Box::new(Staged { entries: BTreeMap::new(), held }));
        let outcome = f(self).and_then(|result| self.apply_staged().map(|()| result));
        self.staged = None;
        outcome
    }

    /// Sees to it that what is to be touched is known, and there where it is to be written.
    fn know_all(&mut self, footprint: &Footprint<'_>) -> Result<(), Halt> {
        let mut known: Option<&Target> = None;
        for (target, _) in footprint.keys {
            // Most commands name one keyspace for all their keys.
            if known.is_some_and(|known| std::ptr::eq(known, *target)) {
                continue;
            }
            known = Some(target);
            self.know(target)?;
            if footprint.writes && self.routing.find(target).is_none() {
                self.make_implied(target)?;
            }
        }
        footprint.whole.iter().try_for_each(|target| self.know(target))
    }

    fn hold(&mut self, footprint: &Footprint<'_>) -> Vec<Held> {
        loop {
            let mut wanted: BTreeSet<(u32, PartitionId)> = BTreeSet::new();
            let mut spaces: BTreeMap<u32, Arc<Keyspace>> = BTreeMap::new();
            for (target, key) in footprint.keys {
                if let Some(keyspace) = self.routing.find(target) {
                    wanted.insert((keyspace.space(), keyspace.partition_of(Slot::of(key))));
                    spaces.insert(keyspace.space(), Arc::clone(keyspace));
                }
            }
            for target in footprint.whole {
                if let Some(keyspace) = self.routing.find(target) {
                    wanted.extend(keyspace.partitions().map(|id| (keyspace.space(), id)));
                    spaces.insert(keyspace.space(), Arc::clone(keyspace));
                }
            }
            let held: Vec<Held> = wanted
                .into_iter()
                .map(|(space, partition)| {
                    let guard = spaces[&space].hold(partition);
                    Held { space, partition, guard }
                })
                .collect();
            if held.iter().any(|held| held.guard.retired) {
                drop(held);
                self.reload();
                continue;
            }
            return held;
        }
    }

    pub(crate) fn stage_update(
        &mut self,
        keyspace: &Arc<Keyspace>,
        slot: Slot,
        key: &[u8],
        update: &Update<'_>,
        event_time: Option<Millis>,
        sink: &mut dyn Sink,
    ) -> Result<(), Halt> {
        let staged = self.staged.as_mut().expect("only called inside a transaction");
        if staged.lane(keyspace.space(), keyspace.partition_of(slot)).is_none() {
            let message = "a transaction touched a key that it had not announced";
            return Err(Refusal::new(Code::BadRequest, message).into());
        }
        let step = Step::new(self.node, keyspace, self.now, event_time);
        let name = engine_key(keyspace.space(), slot, key);
        let mut base = Tally::default();
        let plan = if let Some(entry) = staged.entries.get(&name) {
            base = entry.base;
            step.plan(key, update, entry.stored.as_deref(), sink)?
        } else {
            let mut planned = None;
            let answer = keyspace.engine.read(
                keyspace.address(slot, key),
                self.patience,
                &mut |stored| {
                    let record = stored.and_then(|bytes| read_record(key, bytes).ok());
                    base = counted(record.as_ref());
                    planned = Some(step.plan(key, update, stored, sink));
                },
            )?;
            let Answer::Given(commit) = answer else { return Err(Halt::Cold) };
            self.commit = self.commit.join(commit);
            planned.expect("a read that is given calls its visitor")?
        };
        let Some(next) = plan.next else {
            if plan.fleeting
                && let Some(held) = staged.lane(keyspace.space(), keyspace.partition_of(slot))
            {
                held.guard.touch(key);
            }
            return Ok(());
        };
        let record = next.record();
        let stored = record.map(|record| {
            let header = head(keyspace.form, key, &record);
            let body = next.put.as_ref().map_or(&[][..], |put| put.bytes());
            [header.as_bytes(), body].concat()
        });
        let tally = counted(record.as_ref());
        let entry = Entry { keyspace: Arc::clone(keyspace), stored, base, tally };
        staged.entries.insert(name, entry);
        self.counts.writes += 1;
        Ok(())
    }

    /// Submits what is staged as one batch per engine; the locks stay.
    pub(crate) fn apply_staged(&mut self) -> Result<(), Halt> {
        let Some(staged) = self.staged.as_mut() else { return Ok(()) };
        let entries = std::mem::take(&mut staged.entries);
        let memory = batch(&entries, true);
        let disk = batch(&entries, false);
        let undo = if memory.is_empty() || disk.is_empty() {
            Vec::new()
        } else {
            remember(&memory, &entries)?
        };
        for ops in [&memory, &disk] {
            let Some(first) = ops.first() else { continue };
            let Some(entry) = entries.values().find(|e| e.keyspace.space() == first.at.space)
            else {
                continue;
            };
            match entry.keyspace.engine.submit(ops) {
                Ok(commit) => self.commit = self.commit.join(commit),
                Err(error) => {
                    take_back(&memory, &undo, &entries);
                    return Err(error.into());
                }
            }
        }
        for (name, entry) in &entries {
            let slot = Slot::new(u16::from_be_bytes([name[4], name[5]])).unwrap_or_default();
            let partition = entry.keyspace.partition_of(slot);
            if let Some(held) = staged.lane(entry.keyspace.space(), partition) {
                held.guard.touch(&name[6..]);
            }
        }
        Ok(())
    }

    /// Empties keyspaces, all at once. Inside a transaction what it changed so far is applied
    /// first, and the emptied keyspaces stay locked until its end; after a crash in between the
    /// first part may be there without the second. Blocks.
    ///
    /// # Errors
    /// [`Code::NoKeyspace`]; nothing changed.
    pub fn flush(&mut self, targets: &[Target]) -> Result<(), Halt> {
        let names = self.node.names(targets)?;
        if names.is_empty() {
            return Ok(());
        }
        self.change_catalogue(&Command::FlushKeyspaces { names })
    }

    /// Exchanges what two database numbers hold, with [`Access::flush`]'s words on transactions.
    ///
    /// # Errors
    /// [`Code::NoKeyspace`]; nothing changed.
    pub fn swap(&mut self, a: u16, b: u16) -> Result<(), Halt> {
        self.change_catalogue(&Command::SwapDatabases { a, b })
    }

    fn change_catalogue(&mut self, command: &Command) -> Result<(), Halt> {
        if self.overlay.is_some() {
            let message = "among several nodes a transaction cannot flush or swap databases";
            return Err(Refusal::new(Code::BadRequest, message).into());
        }
        if self.staged.is_none() {
            self.node.catalogue.change(command)?;
            self.reload();
            return Ok(());
        }
        self.apply_staged()?;
        let before = self.node.catalogue.routing();
        let mut adopted: Vec<Held> = Vec::new();
        self.node.catalogue.change_held(command, |keyspace| {
            adopted.extend(keyspace.partitions().map(|partition| Held {
                space: keyspace.space(),
                partition,
                guard: keyspace.hold(partition),
            }));
        })?;
        self.reload();
        let (routing, staged) = (&self.routing, self.staged.as_mut());
        if let Some(staged) = staged {
            for held in &mut staged.held {
                // Whoever watches a key watches it by the keyspace's name.
                let heir = before
                    .of_space(held.space)
                    .and_then(|old| routing.find(&Target::Named(Arc::clone(&old.name))))
                    .map(|new| (new.space(), held.partition));
                let heir = adopted.iter_mut().find(|new| Some((new.space, new.partition)) == heir);
                if let Some(heir) = heir {
                    heir.guard.inherit(&mut held.guard);
                }
                held.guard.retired |= !routing.serves(held.space) || adopted_again(&adopted, held);
            }
            staged.held.retain(|held| !held.guard.retired);
            staged.held.append(&mut adopted);
        }
        Ok(())
    }

    /// Remembers how `key` is now, for a later [`Access::unchanged`]. Not meant for inside a
    /// transaction.
    ///
    /// # Errors
    /// As [`Access::run`].
    pub fn watch(&mut self, target: &Target, key: &[u8]) -> Result<Watched, Halt> {
        let slot = Slot::of(key);
        // First the flag, then the look: a change in between is noticed twice, not missed.
        let flag = loop {
            let Some(keyspace) = self.routing.find(target) else {
                if self.learns_of(target)? {
                    continue;
                }
                break Flag::Nowhere;
            };
            if !keyspace.local {
                break Flag::Afar;
            }
            let mut lane = keyspace.lock(slot);
            if lane.retired {
                drop(lane);
                self.reload();
                continue;
            }
            break Flag::Here(lane.watch(key));
        };
        let version = self.version_of(target, key)?;
        Ok(Watched { target: target.clone(), key: key.to_vec(), version, flag })
    }

    /// Whether nothing happened to a key since it was watched. Meant for inside a transaction
    /// that has locked the key.
    ///
    /// # Errors
    /// As [`Access::run`].
    pub fn unchanged(&mut self, watched: &Watched) -> Result<bool, Halt> {
        // The version tells of expiry and of a flush, the flag of a key that came and went.
        let untouched = match &watched.flag {
            Flag::Here(flag) => !flag.load(Ordering::Relaxed),
            Flag::Afar => true,
            Flag::Nowhere => self.routing.find(&watched.target).is_none(),
        };
        Ok(untouched && self.version_of(&watched.target, &watched.key)? == watched.version)
    }

    fn version_of(&mut self, target: &Target, key: &[u8]) -> Result<Option<Version>, Halt> {
        self.read(target, key, |record| record.map(|record| record.version))
    }
}

/// Whether a space lives on under a new lock: its keyspace got another name.
fn adopted_again(adopted: &[Held], held: &Held) -> bool {
    adopted.iter().any(|new| (new.space, new.partition) == (held.space, held.partition))
}

fn batch(entries: &BTreeMap<Vec<u8>, Entry>, in_memory: bool) -> Vec<Op<'_>> {
    entries
        .iter()
        .filter(|(_, entry)| entry.keyspace.in_memory() == in_memory)
        .map(|(name, entry)| Op {
            at: address(name),
            put: entry.stored.as_deref().map(|bytes| Parts { head: bytes, body: &[] }),
            tally: minus(entry.tally, entry.base),
        })
        .collect()
}

fn address(name: &[u8]) -> Address<'_> {
    let space = u32::from_be_bytes([name[0], name[1], name[2], name[3]]);
    Address { space, slot: u16::from_be_bytes([name[4], name[5]]), key: &name[6..] }
}

/// The values under `ops` before they are submitted.
fn remember(
    ops: &[Op<'_>],
    entries: &BTreeMap<Vec<u8>, Entry>,
) -> Result<Vec<Option<Vec<u8>>>, Halt> {
    let engine = entries.values().find(|entry| entry.keyspace.in_memory());
    let Some(engine) = engine.map(|entry| &entry.keyspace.engine) else { return Ok(Vec::new()) };
    ops.iter()
        .map(|op| {
            let mut value = None;
            engine.read(op.at, shoal_storage::Patience::Block, &mut |stored| {
                value = stored.map(<[u8]>::to_vec);
            })?;
            Ok(value)
        })
        .collect()
}

fn take_back(ops: &[Op<'_>], before: &[Option<Vec<u8>>], entries: &BTreeMap<Vec<u8>, Entry>) {
    if before.is_empty() {
        return;
    }
    let back: Vec<Op<'_>> = ops
        .iter()
        .zip(before)
        .map(|(op, value)| Op {
            at: op.at,
            put: value.as_deref().map(|bytes| Parts { head: bytes, body: &[] }),
            tally: minus(Tally::default(), op.tally),
        })
        .collect();
    let engine = entries.values().find(|entry| entry.keyspace.in_memory());
    if let Some(entry) = engine
        && let Err(error) = entry.keyspace.engine.submit(&back)
    {
        tracing::error!(%error, "a transaction over memory and disk was half applied");
    }
}
