//! Listing keys of a keyspace in memory: on the connection's own thread, a slice at a time.
//!
//! Tables in memory have no order of keys, so a slot is looked at as a whole, in slices, and the
//! smallest of its keys after the cursor are kept. Between slices others have their turn.
//!
//! Holds: a slice looks at a bounded number of entries and copies a bounded number of bytes. A
//! page looks at a bounded number of entries, and then ends at a slot's end however few keys it
//! has; only a slot that alone has more is looked at to its end.

use super::{Ask, Begin, Item, MAX_PAGE_BYTES, Page, take, unknown};
use crate::http::job;
use shoal_core::Slot;
use shoal_core::quorum::Level;
use shoal_core::record::Body;
use shoal_core::slot::SLOT_COUNT;
use shoal_node::{Access, Halt, Node, Refusal, Target};
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

/// Entries that one slice looks at.
const SLICE_ENTRIES: usize = 1_024;

/// Bytes of values that one slice copies, give or take one value.
const SLICE_BYTES: usize = 1 << 20;

/// Entries that one page looks at before it ends at the next slot.
const PAGE_ENTRIES: usize = 1 << 18;

/// Bits of a scan's cursor below the slot's number.
const POSITION_BITS: u32 = 48;

/// Collects a page.
pub(super) async fn page(node: &Arc<Node>, target: &Target, ask: &Ask) -> Result<Page, Refusal> {
    let mut walk = Walk::new(target.clone(), ask);
    loop {
        let (back, done) = step(node, walk, Walk::look).await?;
        walk = back;
        if done {
            break;
        }
        tokio::task::yield_now().await;
    }
    while walk.values {
        let (back, done) = step(node, walk, Walk::fill).await?;
        walk = back;
        walk.values = !done;
        tokio::task::yield_now().await;
    }
    Ok(Page { items: walk.items, next: walk.next })
}

/// Runs one slice, and gives the walk back.
async fn step(
    node: &Arc<Node>,
    walk: Walk,
    slice: fn(&mut Walk, &mut Access<'_>) -> Result<bool, Halt>,
) -> Result<(Walk, bool), Refusal> {
    let mut walk = Some(walk);
    job::run(node, move |access| {
        let mut here = walk.take().unwrap_or_default();
        access.at(here.level);
        match slice(&mut here, access) {
            Ok(done) => Ok((here, done)),
            Err(halt) => {
                // Where it has become a keyspace on disk in the meantime, the slice is run again.
                walk = Some(here);
                Err(halt)
            }
        }
    })
    .await
}

/// How far a page is.
#[derive(Default)]
struct Walk {
    target: Target,
    level: Option<Level>,
    prefix: Vec<u8>,
    /// Keys up to this one were listed by earlier pages.
    after: Option<Vec<u8>>,
    limit: usize,
    /// Whether values are still to be read.
    values: bool,
    /// Where the next slice begins, as a scan has it.
    cursor: u64,
    /// The slot that is being looked at.
    slot: u16,
    /// The smallest keys of that slot so far.
    smallest: BTreeMap<Vec<u8>, Item>,
    /// Whether some of them had to go.
    overflowed: bool,
    looked_at: usize,
    items: Vec<Item>,
    filled: usize,
    bytes: usize,
    next: Option<Begin>,
}

impl Walk {
    fn new(target: Target, ask: &Ask) -> Self {
        let (slot, after) = match &ask.from {
            Begin::Start => (0, None),
            Begin::Slot(slot) => (*slot, None),
            Begin::After(key) => (Slot::of(key).number(), Some(key.clone())),
        };
        Self {
            target,
            level: ask.level,
            prefix: ask.prefix.clone(),
            after,
            limit: ask.limit,
            values: ask.values,
            cursor: u64::from(slot) << POSITION_BITS,
            slot,
            ..Self::default()
        }
    }

    /// Looks at a slice of the keys; whether the page is complete.
    fn look(&mut self, access: &mut Access<'_>) -> Result<bool, Halt> {
        access.know(&self.target)?;
        if !access.exists(&self.target) {
            return Err(unknown(&self.target).into());
        }
        let mut looked_at = 0;
        // The scan goes on into the next slots by itself; what it finds there is of a new slot.
        let mut found: Vec<(u16, Vec<u8>, Item)> = Vec::new();
        let cursor =
            access.scan(&self.target, self.cursor, SLICE_ENTRIES, &mut |key, record| {
                looked_at += 1;
                if key.starts_with(&self.prefix) {
                    let slot = Slot::of(key).number();
                    let listed = self.after.as_deref().is_some_and(|after| key <= after);
                    if slot != self.slot || !listed {
                        found.push((slot, key.to_vec(), take(&[], &record, false)));
                    }
                }
                true
            })?;
        self.looked_at += looked_at.max(1);
        for (slot, key, item) in found {
            if slot != self.slot && self.end_slot(slot) {
                return Ok(true);
            }
            self.keep(key, item);
        }
        if cursor == 0 {
            self.end_slot(SLOT_COUNT);
            return Ok(true);
        }
        self.cursor = cursor;
        let next = u16::try_from(cursor >> POSITION_BITS).unwrap_or(SLOT_COUNT);
        Ok(next != self.slot && self.end_slot(next))
    }

    fn keep(&mut self, key: Vec<u8>, item: Item) {
        self.smallest.insert(key, item);
        if self.smallest.len() > self.limit - self.items.len() {
            self.smallest.pop_last();
            self.overflowed = true;
        }
    }

    /// The slot has been looked at as a whole, and `next` is where something may be after it;
    /// whether the page ends with it.
    fn end_slot(&mut self, next: u16) -> bool {
        let smallest = mem::take(&mut self.smallest).into_iter();
        self.items.extend(smallest.map(|(key, item)| Item { key, ..item }));
        let full = self.items.len() >= self.limit;
        let more_here = mem::take(&mut self.overflowed);
        (self.slot, self.after) = (next, None);
        if full && (more_here || next < SLOT_COUNT) {
            self.next = self.items.last().map(|item| Begin::After(item.key.clone()));
        } else if next < SLOT_COUNT && self.looked_at >= PAGE_ENTRIES {
            self.next = Some(Begin::Slot(next));
        } else {
            return false;
        }
        true
    }

    /// Reads the values of a few keys; whether they were the last. Keys that are gone by now are
    /// left out.
    fn fill(&mut self, access: &mut Access<'_>) -> Result<bool, Halt> {
        let mut copied = 0;
        while copied < SLICE_BYTES {
            let Some(item) = self.items.get_mut(self.filled) else {
                self.items.retain(|item| item.value.is_some());
                return Ok(true);
            };
            if self.bytes >= MAX_PAGE_BYTES {
                self.items.truncate(self.filled);
                self.next = self.items.last().map(|item| Begin::After(item.key.clone()));
                self.items.retain(|item| item.value.is_some());
                return Ok(true);
            }
            let now = access.read(&self.target, &item.key, |record| {
                record.and_then(|record| match record.body {
                    Body::Live { .. } => Some(take(&[], &record, true)),
                    Body::Tombstone => None,
                })
            })?;
            if let Some(now) = now {
                copied += now.value.as_ref().map_or(0, Vec::len);
                self.bytes += item.key.len() + now.value.as_ref().map_or(0, Vec::len);
                *item = Item { key: mem::take(&mut item.key), ..now };
            }
            self.filled += 1;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_core::update::{SetExpiry, Update, When};
    use shoal_node::NodeConfig;
    use shoal_storage::Patience;
    use std::cell::Cell;
    use std::rc::Rc;

    fn ask(prefix: &[u8], from: Begin, limit: usize, values: bool) -> Ask {
        Ask { prefix: prefix.to_vec(), from, limit, values, level: None }
    }

    fn node(folder: &tempfile::TempDir, keys: impl Iterator<Item = String>) -> Arc<Node> {
        let config = NodeConfig {
            data: folder.path().join("data"),
            default_in_memory: true,
            ..NodeConfig::default()
        };
        let node = Node::start(config).expect("it starts");
        let mut access = node.access(Patience::Block);
        for key in keys {
            let update =
                Update::Set { value: key.as_bytes(), expiry: SetExpiry::Never, when: When::Always };
            access
                .update(&Target::DEFAULT, key.as_bytes(), &update, |_| ())
                .expect("there is room");
        }
        drop(access);
        node
    }

    async fn all(node: &Arc<Node>, prefix: &[u8], limit: usize) -> Vec<Vec<u8>> {
        let (mut listed, mut from) = (Vec::new(), Begin::Start);
        loop {
            let page = page(node, &Target::DEFAULT, &ask(prefix, from, limit, true)).await;
            let page = page.expect("it is there");
            assert!(page.items.len() <= limit);
            for item in page.items {
                assert_eq!(item.value.as_ref(), Some(&item.key));
                listed.push(item.key);
            }
            match page.next {
                Some(next) => from = next,
                None => return listed,
            }
        }
    }

    #[tokio::test]
    async fn pages_of_any_length_list_everything_once_and_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let spread = (0..3_000).map(|n| format!("key{n}"));
        // One slot that takes several slices.
        let together = (0..3_000).map(|n| format!("{{one}}{n}"));
        let names: Vec<String> = spread.chain(together).collect();
        let node = node(&folder, names.iter().cloned());
        for (prefix, limit) in [("", 7), ("", 1_024), ("key1", 10), ("{one}2", 100), ("none", 5)] {
            let mut expected: Vec<Vec<u8>> = names
                .iter()
                .filter(|name| name.starts_with(prefix))
                .map(|name| name.clone().into_bytes())
                .collect();
            expected.sort_by_key(|key| (Slot::of(key).number(), key.clone()));
            let listed = all(&node, prefix.as_bytes(), limit).await;
            assert!(listed == expected, "{prefix:?} by {limit}: {}", listed.len());
        }
        node.stop().expect("it stops cleanly");
    }

    #[tokio::test]
    async fn a_page_is_bounded_and_others_have_their_turn_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let count = PAGE_ENTRIES + PAGE_ENTRIES / 4;
        let node = node(&folder, (0..count).map(|n| format!("key{n}")));
        let turns = Rc::new(Cell::new(0));
        let counted = Rc::clone(&turns);
        let local = tokio::task::LocalSet::new();
        local.spawn_local(async move {
            loop {
                counted.set(counted.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        local
            .run_until(async {
                let start = ask(b"key1234567", Begin::Start, 10, false);
                let first = page(&node, &Target::DEFAULT, &start).await.expect("it is there");
                assert!(first.items.is_empty());
                assert!(matches!(first.next, Some(Begin::Slot(_))), "{:?}", first.next);
                assert!(turns.get() >= PAGE_ENTRIES / SLICE_ENTRIES / 2, "{}", turns.get());
                let there = all(&node, b"key12345", 10).await;
                assert!(there.contains(&b"key12345".to_vec()) && there.len() == 11, "{there:?}");
            })
            .await;
        node.stop().expect("it stops cleanly");
    }
}
