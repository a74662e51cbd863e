//! The digests of slots, kept up to date by every change.
//!
//! A slot's leaf is not known at first. Whoever walks through the slot makes it known on the way:
//! [`Tree::begin`] says that it is walked through, [`Tree::pass`] takes in what was seen, page by
//! page, and from the last page on the leaf is kept. Writers go on meanwhile: what changes behind
//! the walk is counted at once, and what changes ahead of it is remembered until the walk has
//! passed it, for nobody can tell whether the page under way shows it as it was or as it is.
//!
//! Holds: a leaf that is known is the sum of what is stored, if every change is
//! [told](Tree::changed), and nobody begins a walk, or passes a page, between a change and its
//! telling. A walk that is given up leaves the slot unknown, and what it holds on to is bounded.
//!
//! Does not know: how a slot is walked through, and who holds off writers.

use super::{Leaf, TreeSecret};
use crate::planted::{Bug, planted};
use crate::record::Rank;
use crate::slot::Slot;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;

/// How many changes ahead of a walk are remembered, between two pages of it: more than a page has
/// records by far. Beyond that the walk is void.
const MOST_MEANWHILE: usize = 4_096;

/// The digests of some slots.
#[derive(Clone, Debug)]
pub struct Tree {
    secret: TreeSecret,
    slots: Range<u16>,
    /// What is not in it is not known.
    kept: BTreeMap<Slot, Kept>,
    walks: u64,
}

/// A walk through a slot, by which its leaf becomes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    slot: Slot,
    number: u64,
}

#[derive(Clone, Debug)]
enum Kept {
    Known(Sum),
    Walked(Box<Walked>),
}

/// What some records come to.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    leaf: Leaf,
    /// How many of them are dead, or will be some day.
    mortal: u64,
}

/// A slot that is being walked through.
#[derive(Clone, Debug)]
struct Walked {
    number: u64,
    /// What is stored under the keys up to this one.
    sum: Sum,
    upto: Option<Bytes>,
    /// What was stored under keys after it since the page under way was begun.
    meanwhile: BTreeMap<Bytes, Option<Rank>>,
}

impl Tree {
    /// Knows nothing yet of these slots, and never anything of others.
    #[must_use]
    pub const fn new(secret: TreeSecret, slots: Range<u16>) -> Self {
        Self { secret, slots, kept: BTreeMap::new(), walks: 0 }
    }

    /// The slot's leaf, if it is known.
    #[must_use]
    pub fn leaf(&self, slot: Slot) -> Option<Leaf> {
        self.sum(slot).map(|sum| sum.leaf)
    }

    /// How many records of the slot are dead, or will be some day, if it is known.
    #[must_use]
    pub fn mortal(&self, slot: Slot) -> Option<u64> {
        self.sum(slot).map(|sum| sum.mortal)
    }

    fn sum(&self, slot: Slot) -> Option<&Sum> {
        match self.kept.get(&slot)? {
            Kept::Known(sum) => Some(sum),
            Kept::Walked(_) => None,
        }
    }

    /// What is stored under `key` was `before`, and is `after` from now on.
    pub fn changed(&mut self, slot: Slot, key: &[u8], before: Option<&Rank>, after: Option<&Rank>) {
        if after.is_none() && planted(Bug::RemovalNotTold) {
            return;
        }
        let secret = self.secret;
        let walked = match self.kept.get_mut(&slot) {
            None => return,
            Some(Kept::Known(sum)) => return sum.change(secret, key, before, after),
            Some(Kept::Walked(walked)) => walked,
        };
        if walked.upto.as_ref().is_some_and(|upto| key <= &upto[..]) {
            return walked.sum.change(secret, key, before, after);
        }
        walked.meanwhile.insert(Bytes::copy_from_slice(key), after.copied());
        if walked.meanwhile.len() > MOST_MEANWHILE {
            self.kept.remove(&slot);
        }
    }

    /// Begins to walk through a slot, unless somebody does already. What was known of it is not
    /// until the walk is over.
    pub fn begin(&mut self, slot: Slot) -> Option<Walk> {
        let is_walked = matches!(self.kept.get(&slot), Some(Kept::Walked(_)));
        if is_walked || !self.slots.contains(&slot.number()) {
            return None;
        }
        self.walks += 1;
        let (number, sum) = (self.walks, Sum::default());
        let walked = Walked { number, sum, upto: None, meanwhile: BTreeMap::new() };
        self.kept.insert(slot, Kept::Walked(Box::new(walked)));
        Some(Walk { slot, number })
    }

    /// Takes in what was seen next, in the order of keys; from the last page on the leaf is known.
    pub fn pass(&mut self, walk: Walk, page: &[(Bytes, Rank)], is_last: bool) {
        let secret = self.secret;
        let Some(walked) = self.walked(walk) else { return };
        let meanwhile = std::mem::take(&mut walked.meanwhile);
        for (key, rank) in page.iter().filter(|(key, _)| !meanwhile.contains_key(key)) {
            walked.sum.change(secret, key, None, Some(rank));
        }
        let last = page.last().map(|(key, _)| key);
        let passed = meanwhile.iter().filter(|(key, _)| is_last || Some(*key) <= last);
        for (key, rank) in passed {
            walked.sum.change(secret, key, None, rank.as_ref());
        }
        let sum = walked.sum;
        if is_last {
            self.kept.insert(walk.slot, Kept::Known(sum));
        } else if let Some(last) = last {
            walked.upto = Some(last.clone());
        }
    }

    /// A walk comes to nothing.
    pub fn give_up(&mut self, walk: Walk) {
        if self.walked(walk).is_some() {
            self.kept.remove(&walk.slot);
        }
    }

    fn walked(&mut self, walk: Walk) -> Option<&mut Walked> {
        match self.kept.get_mut(&walk.slot) {
            Some(Kept::Walked(walked)) if walked.number == walk.number => Some(walked),
            _ => None,
        }
    }

    /// Keeps nothing from now on: what is stored changes without being told.
    pub fn end(&mut self) {
        self.slots = 0..0;
        self.kept.clear();
    }

    /// Nothing is known any more of the slots of which `is` is true, and walks through them are
    /// void: something was changed without being told.
    pub fn forget(&mut self, is: impl Fn(Slot) -> bool) {
        self.kept.retain(|slot, _| !is(*slot));
    }
}

impl Sum {
    fn change(
        &mut self,
        secret: TreeSecret,
        key: &[u8],
        before: Option<&Rank>,
        after: Option<&Rank>,
    ) {
        if let Some(before) = before {
            self.leaf.remove(secret, key, before);
            self.mortal = self.mortal.saturating_sub(u64::from(is_mortal(before)));
        }
        if let Some(after) = after {
            self.leaf.add(secret, key, after);
            self.mortal += u64::from(is_mortal(after));
        }
    }
}

const fn is_mortal(rank: &Rank) -> bool {
    rank.tombstone || rank.expires_at.is_some()
}

#[cfg(test)]
mod tests;
