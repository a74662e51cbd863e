//! Walking over and counting the keys of a cluster: each partition at the node that leads it.
//!
//! Holds: a partition that nobody can be asked about is an error, never a shorter answer. Who
//! leads a slot is looked up anew for every page, so that a walk goes on where another node took
//! over; a cursor's position within a slot is then one of the other node's store.
//!
//! Does not know: what is done with the entries.

use crate::access::Access;
use crate::cluster::{Walk, WalkWhat, Walked, walk_over};
use crate::errand::{Reply, What};
use crate::keyspace::Keyspace;
use crate::refusal::{Code, Halt, Refusal};
use crate::request::Target;
use crate::rules::read_record;
use crate::scope::Scope;
use shoal_core::slot::SLOT_COUNT;
use shoal_core::{NodeId, Record, Slot};
use shoal_storage::{Patience, Tally};
use std::ops::Range;

/// Entries, each a key and its record.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

impl Access<'_> {
    /// How many keys there are in `scope`, and how many of them carry an expiry; in a cluster each
    /// counted once.
    ///
    /// # Errors
    /// As [`Access::scan`].
    pub fn count_all(&mut self, target: &Target, scope: Scope) -> Result<Tally, Halt> {
        let Some(keyspace) = self.routing.find(target).cloned() else {
            return Ok(Tally::default());
        };
        if keyspace.local || scope != Scope::Cluster {
            return Ok(self.count_in(target, scope));
        }
        let runs = self.runs(&keyspace);
        let walks = runs.into_iter().map(|(slots, leader)| {
            let walk = Walk { keyspace: keyspace.space(), slots, what: WalkWhat::Count };
            (leader, walk)
        });
        let walks: Vec<(NodeId, Walk)> = walks.collect();
        let me = self.node.id();
        for (ahead, (leader, walk)) in walks.iter().filter(|(at, _)| *at != me).enumerate() {
            self.begin_walk(ahead, *leader, walk)?;
        }
        let mut sum = Tally::default();
        for (leader, walk) in &walks {
            match self.walk(*leader, walk)? {
                Walked::Count { keys, expiring } => sum = sum.plus(Tally { keys, expiring }),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(sum)
    }

    /// As [`Access::scan_slots`], of the whole cluster.
    pub(crate) fn scan_cluster(
        &mut self,
        keyspace: &Keyspace,
        (mut slot, mut position): (u16, u64),
        count: usize,
        visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool,
    ) -> Result<Option<(u16, u64)>, Halt> {
        let mut left = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        while slot < SLOT_COUNT {
            if left == 0 {
                return Ok(Some((slot, position)));
            }
            let (slots, leader) = self.run_from(keyspace, slot)?;
            let what = WalkWhat::Page { position, count: left };
            let walk = Walk { keyspace: keyspace.space(), slots, what };
            let walked = self.walk(leader, &walk)?;
            let Walked::Page { entries, slot: next_slot, position: next } = walked else {
                return Err(unexpected(&walked));
            };
            // What is shown has left the page, so the walk ends behind all of it.
            let mut goes_on = true;
            for (key, record) in &entries {
                goes_on &= visit(key, read_record(key, record)?);
            }
            left = left.saturating_sub(u32::try_from(entries.len()).unwrap_or(u32::MAX));
            (slot, position) = (next_slot, next);
            if !goes_on {
                left = 0;
            }
        }
        Ok(None)
    }

    /// As [`Access::list_slots`], of the whole cluster.
    pub(crate) fn list_cluster(
        &mut self,
        keyspace: &Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool,
    ) -> Result<bool, Halt> {
        let mut slot = after.map_or(0, |key| Slot::of(key).number());
        let mut after = after.map(<[u8]>::to_vec);
        let mut left = u32::try_from(limit).unwrap_or(u32::MAX);
        while slot < SLOT_COUNT && left > 0 {
            let (slots, leader) = self.run_from(keyspace, slot)?;
            let end = slots.end;
            let what = WalkWhat::List { prefix: prefix.to_vec(), after: after.take(), limit: left };
            let walk = Walk { keyspace: keyspace.space(), slots, what };
            let walked = self.walk(leader, &walk)?;
            let Walked::List { entries, until, more } = walked else {
                return Err(unexpected(&walked));
            };
            show(&entries, visit)?;
            left = left.saturating_sub(u32::try_from(entries.len()).unwrap_or(u32::MAX));
            match entries.into_iter().next_back() {
                Some((key, _)) if more => {
                    slot = Slot::of(&key).number();
                    after = Some(key);
                }
                _ => slot = until.min(end),
            }
        }
        Ok(slot < SLOT_COUNT)
    }

    /// A live key of the cluster, from a slot drawn at random on.
    pub(crate) fn random_key_afar(&mut self, keyspace: &Keyspace) -> Result<Option<Vec<u8>>, Halt> {
        const DRAWN: usize = 16;
        if self.patience == Patience::Inline {
            // Run again it would draw another one.
            return Err(Halt::Cold);
        }
        let seed = fastrand::u64(..);
        let first = u16::try_from(seed % u64::from(SLOT_COUNT)).unwrap_or(0);
        for slot in [first, 0] {
            let mut found: Vec<Vec<u8>> = Vec::new();
            let mut at = Some((slot, 0));
            while let Some(from) = at.filter(|_| found.is_empty()) {
                at = self.scan_cluster(keyspace, from, DRAWN, &mut |key, _| {
                    found.push(key.to_vec());
                    found.len() < DRAWN
                })?;
            }
            if !found.is_empty() {
                let nth = usize::try_from(seed >> 32).unwrap_or(0) % found.len();
                return Ok(Some(found.swap_remove(nth)));
            }
        }
        Ok(None)
    }

    /// Who leads which slots.
    fn runs(&self, keyspace: &Keyspace) -> Vec<(Range<u16>, NodeId)> {
        let leaders = self.node.leaders(&keyspace.definition);
        leaders.into_iter().map(|(run, leader)| (*run.start()..*run.end() + 1, leader)).collect()
    }

    /// From `slot` on, as many as one node leads.
    fn run_from(&self, keyspace: &Keyspace, slot: u16) -> Result<(Range<u16>, NodeId), Halt> {
        let runs = self.runs(keyspace);
        let run = runs.into_iter().find(|(run, _)| run.contains(&slot));
        let (run, leader) = run.ok_or_else(|| Halt::from(elsewhere()))?;
        Ok((slot..run.end, leader))
    }

    fn out_of_reach(&self, node: NodeId) -> Halt {
        let known = self.routing.map.nodes.get(&node);
        let name = known.map_or_else(|| node.to_string(), |info| info.name.clone());
        let message = format!("have 0 of 1 needed, unreachable: {name}");
        Refusal::new(Code::NoQuorum, message).into()
    }

    fn begin_walk(&mut self, ahead: usize, leader: NodeId, walk: &Walk) -> Result<(), Halt> {
        let body = walk.encode();
        let Some(cluster) = self.node.cluster() else { return Err(elsewhere().into()) };
        self.errands.foresee(ahead, What::Walk, &body, false, |body, ticket| {
            cluster.ask_to_walk(leader, body, move |walked| ticket.tell(Reply::Walked(walked)));
            Ok(())
        })
    }

    /// What came of a walk at `leader`.
    fn walk(&mut self, leader: NodeId, walk: &Walk) -> Result<Walked, Halt> {
        self.node.is_latest()?;
        let Some(cluster) = self.node.cluster() else { return Err(elsewhere().into()) };
        let walked = if leader == self.node.id() {
            if self.patience == Patience::Inline {
                return Err(Halt::Cold);
            }
            walk_over(self.node, cluster, walk.clone())
        } else {
            let body = walk.encode();
            let reply = self.consult(What::Walk, &body, |body, ticket| {
                cluster.ask_to_walk(leader, body, move |walked| ticket.tell(Reply::Walked(walked)));
                Ok(())
            })?;
            match reply {
                Reply::Walked(Some(walked)) => walked,
                Reply::Walked(None) => return Err(self.out_of_reach(leader)),
                _ => return Err(elsewhere().into()),
            }
        };
        match walked {
            Walked::Elsewhere => Err(elsewhere().into()),
            Walked::Failed(why) => Err(Refusal::new(Code::Storage, why).into()),
            walked => Ok(walked),
        }
    }
}

fn show(entries: &Entries, visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool) -> Result<(), Halt> {
    for (key, record) in entries {
        visit(key, read_record(key, record)?);
    }
    Ok(())
}

fn elsewhere() -> Refusal {
    let message = "who holds a part of the keyspace has just changed; send it again";
    Refusal::new(Code::TryAgain, message)
}

fn unexpected(walked: &Walked) -> Halt {
    Refusal::new(Code::Storage, format!("another answer was expected than {walked:?}")).into()
}
