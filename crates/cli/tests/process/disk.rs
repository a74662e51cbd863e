//! A model of a disk that loses power.
//!
//! A write, a change of length, a new or removed name is *pending* until a sync of its file or of
//! its folder that began later has ended. At a cut every pending change by itself is kept, lost,
//! or (a write) torn at sectors, whatever became of those before it. A rename happens as a whole
//! or not at all.
//!
//! Holds: this is the least that POSIX promises. Real file systems keep more (ext4 orders names;
//! a rename is found after a create), so what survives here survives there.

use crate::trace::{Change, Trace};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

const PAGE: u64 = 4_096;
const SECTOR: u64 = 512;

/// How many of the pending changes a cut keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    LosesAll,
    KeepsAll,
    KeepsFew,
    KeepsHalf,
    LosesFew,
}

impl Mood {
    /// Any of them.
    pub(crate) fn any(rng: &mut Rng) -> Self {
        let all = [Self::LosesAll, Self::KeepsAll, Self::KeepsFew, Self::KeepsHalf, Self::LosesFew];
        all[rng.usize(..all.len())]
    }

    fn keeps(self, rng: &mut Rng) -> bool {
        match self {
            Self::LosesAll => false,
            Self::KeepsAll => true,
            Self::KeepsFew => rng.u8(..8) == 0,
            Self::KeepsHalf => rng.bool(),
            Self::LosesFew => rng.u8(..8) != 0,
        }
    }
}

/// Bytes of a file, with holes.
#[derive(Clone, Default)]
struct Content {
    pages: BTreeMap<u64, Arc<[u8; PAGE as usize]>>,
    size: u64,
}

impl Content {
    fn write(&mut self, at: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let place = at + done as u64;
            let inside = (place % PAGE) as usize;
            let part = (PAGE as usize - inside).min(data.len() - done);
            let bytes = &data[done..done + part];
            done += part;
            // Zeros on a hole leave it a hole: a preallocated file is mostly that.
            if self.pages.contains_key(&(place / PAGE)) || bytes.iter().any(|byte| *byte != 0) {
                let fresh = || Arc::new([0; PAGE as usize]);
                let page = self.pages.entry(place / PAGE).or_insert_with(fresh);
                Arc::make_mut(page)[inside..inside + part].copy_from_slice(bytes);
            }
        }
        self.size = self.size.max(at + data.len() as u64);
    }

    fn truncate(&mut self, to: u64) {
        if to < self.size {
            self.pages.split_off(&to.div_ceil(PAGE));
            if let Some(page) = self.pages.get_mut(&(to / PAGE)) {
                Arc::make_mut(page)[(to % PAGE) as usize..].fill(0);
            }
        }
        self.size = to;
    }

    fn zero(&mut self, at: u64, length: u64) {
        let (size, end) = (self.size, (at + length).min(self.size));
        let zeros = [0; PAGE as usize];
        let mut place = at;
        while place < end {
            let part = (PAGE - place % PAGE).min(end - place);
            if self.pages.contains_key(&(place / PAGE)) {
                self.write(place, &zeros[..part as usize]);
            }
            place += part;
        }
        self.size = size;
    }

    fn store(&self, path: &Path) {
        let file = fs::File::create(path).expect("a file of the image");
        file.set_permissions(fs::Permissions::from_mode(0o600)).expect("its mode");
        file.set_len(self.size).expect("its length");
        for (number, page) in &self.pages {
            let length = PAGE.min(self.size.saturating_sub(number * PAGE)) as usize;
            file.write_all_at(&page[..length], number * PAGE).expect("its bytes");
        }
    }
}

#[derive(Default)]
struct File {
    durable: Content,
    /// Changes with the number of the event that made each.
    pending: Vec<(usize, Change)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder(usize),
}

/// A change to the names in a folder.
struct Naming {
    event: usize,
    removed: Option<String>,
    added: Option<(String, Node)>,
}

#[derive(Default)]
struct Folder {
    durable: BTreeMap<String, Node>,
    live: BTreeMap<String, Node>,
    pending: Vec<Naming>,
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        if let Some(name) = &self.removed {
            names.remove(name);
        }
        if let Some((name, node)) = &self.added {
            names.insert(name.clone(), *node);
        }
    }
}

/// The disk after some of a trace. It begins with an empty root.
pub(crate) struct Disk<'t> {
    trace: &'t Trace,
    /// How many events have happened.
    at: usize,
    files: Vec<File>,
    folders: Vec<Folder>,
    numbers: HashMap<u64, Node>,
    /// Syncs on their way: the number of the event that began each.
    syncs: HashMap<u64, usize>,
}

impl<'t> Disk<'t> {
    /// The disk before the trace. `root` is the system's number of the root.
    pub(crate) fn new(trace: &'t Trace, root: u64) -> Self {
        Self {
            trace,
            at: 0,
            files: Vec::new(),
            folders: vec![Folder::default()],
            numbers: HashMap::from([(root, Node::Folder(0))]),
            syncs: HashMap::new(),
        }
    }

    /// Lets the first `count` events have happened.
    pub(crate) fn advance(&mut self, count: usize) {
        while self.at < count {
            let change = self.trace.events[self.at].change.clone();
            self.happen(change);
            self.at += 1;
        }
    }

    fn happen(&mut self, change: Change) {
        match change {
            Change::Create { path, node } => {
                self.files.push(File::default());
                let made = Node::File(self.files.len() - 1);
                self.numbers.insert(node, made);
                self.rename_in(None, Some((&path, made)));
            }
            Change::Mkdir { path, node } => {
                self.folders.push(Folder::default());
                let made = Node::Folder(self.folders.len() - 1);
                self.numbers.insert(node, made);
                self.rename_in(None, Some((&path, made)));
            }
            Change::Rename { from, to } => {
                let (folder, name) = self.split(&from);
                let node = self.folders[folder].live[name];
                self.rename_in(Some(&from), Some((&to, node)));
            }
            Change::Unlink { path } => self.rename_in(Some(&path), None),
            Change::SyncBegin { number, .. } => {
                self.syncs.insert(number, self.at);
            }
            Change::SyncEnd { node, number } => {
                if let Some(begun) = self.syncs.remove(&number) {
                    self.sync(node, begun);
                }
            }
            Change::Write { node, .. }
            | Change::Truncate { node, .. }
            | Change::Extend { node, .. }
            | Change::Zero { node, .. } => {
                if let Some(Node::File(file)) = self.numbers.get(&node) {
                    self.files[*file].pending.push((self.at, change));
                }
            }
        }
    }

    /// The folder that a path lies in, by the names as they are now, and its last name.
    fn split<'p>(&self, path: &'p str) -> (usize, &'p str) {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut folder = 0;
        for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
            match self.folders[folder].live.get(parent) {
                Some(Node::Folder(next)) => folder = *next,
                other => panic!("{path}: {parent} is {other:?}"),
            }
        }
        (folder, name)
    }

    fn rename_in(&mut self, from: Option<&str>, to: Option<(&str, Node)>) {
        let from = from.map(|path| self.split(path));
        let to = to.map(|(path, node)| (self.split(path), node));
        let removed = from.map(|(folder, name)| (folder, name.to_owned()));
        let added = to.map(|((folder, name), node)| (folder, (name.to_owned(), node)));
        let event = self.at;
        let mut namings = Vec::new();
        match (removed, added) {
            (Some((old, removed)), Some((new, added))) if old == new => {
                namings.push((old, Naming { event, removed: Some(removed), added: Some(added) }));
            }
            (removed, added) => {
                let removed = removed
                    .map(|(old, name)| (old, Naming { event, removed: Some(name), added: None }));
                let added = added
                    .map(|(new, added)| (new, Naming { event, removed: None, added: Some(added) }));
                namings.extend(removed.into_iter().chain(added));
            }
        }
        for (folder, naming) in namings {
            let folder = &mut self.folders[folder];
            naming.apply(&mut folder.live);
            folder.pending.push(naming);
        }
    }

    /// What was pending when the sync began is safe.
    fn sync(&mut self, node: u64, begun: usize) {
        match self.numbers.get(&node) {
            Some(Node::File(file)) => {
                let file = &mut self.files[*file];
                let later = file.pending.partition_point(|(event, _)| *event < begun);
                for (_, change) in file.pending.drain(..later) {
                    write_whole(&mut file.durable, &change, self.trace);
                }
            }
            Some(Node::Folder(folder)) => {
                let pending = &self.folders[*folder].pending;
                let events = pending.iter().map(|naming| naming.event);
                let safe: HashSet<usize> = events.filter(|event| *event < begun).collect();
                // In other folders too: the other half of a rename.
                for folder in &mut self.folders {
                    folder.pending.retain(|naming| {
                        let safe = safe.contains(&naming.event);
                        if safe {
                            naming.apply(&mut folder.durable);
                        }
                        !safe
                    });
                }
            }
            None => {}
        }
    }

    /// Writes what a loss of power now could leave into an empty folder.
    pub(crate) fn cut(&self, mood: Mood, rng: &mut Rng, into: &Path) {
        let pending = self.folders.iter().flat_map(|folder| &folder.pending);
        let events: BTreeSet<usize> = pending.map(|naming| naming.event).collect();
        let kept = events.into_iter().filter(|_| mood.keeps(rng)).collect();
        self.store_folder(0, &kept, mood, rng, into);
    }

    fn store_folder(
        &self,
        folder: usize,
        kept: &HashSet<usize>,
        mood: Mood,
        rng: &mut Rng,
        into: &Path,
    ) {
        fs::create_dir_all(into).expect("a folder of the image");
        fs::set_permissions(into, fs::Permissions::from_mode(0o700)).expect("its mode");
        let folder = &self.folders[folder];
        let mut names = folder.durable.clone();
        for naming in folder.pending.iter().filter(|naming| kept.contains(&naming.event)) {
            naming.apply(&mut names);
        }
        for (name, node) in names {
            let path = into.join(&name);
            match node {
                Node::Folder(folder) => self.store_folder(folder, kept, mood, rng, &path),
                Node::File(file) => self.content_after(file, mood, rng).store(&path),
            }
        }
    }

    fn content_after(&self, file: usize, mood: Mood, rng: &mut Rng) -> Content {
        let file = &self.files[file];
        let mut content = file.durable.clone();
        for (_, change) in &file.pending {
            if !mood.keeps(rng) {
                continue;
            }
            match change {
                Change::Write { at, data, .. } if mood != Mood::KeepsAll && rng.u8(..3) == 0 => {
                    tear(&mut content, *at, self.trace.data(data), rng);
                }
                change => write_whole(&mut content, change, self.trace),
            }
        }
        content
    }
}

fn write_whole(content: &mut Content, change: &Change, trace: &Trace) {
    match change {
        Change::Write { at, data, .. } => content.write(*at, trace.data(data)),
        Change::Truncate { to, .. } => content.truncate(*to),
        Change::Extend { to, .. } => content.size = content.size.max(*to),
        Change::Zero { at, length, .. } => content.zero(*at, *length),
        _ => unreachable!("only changes of bytes are pending in a file"),
    }
}

/// Writes some sectors of `data`: its first ones, or any. The file may have its new length all
/// the same.
fn tear(content: &mut Content, at: u64, data: &[u8], rng: &mut Rng) {
    let end = at + data.len() as u64;
    let (in_order, mut going) = (rng.bool(), true);
    let mut place = at;
    while place < end {
        let next = ((place / SECTOR + 1) * SECTOR).min(end);
        let lucky = rng.bool();
        going &= lucky;
        if if in_order { going } else { lucky } {
            content.write(place, &data[(place - at) as usize..(next - at) as usize]);
        }
        place = next;
    }
    if rng.bool() {
        content.size = content.size.max(end);
    }
}

#[test]
fn content_has_holes_and_ends() {
    let mut content = Content::default();
    content.write(PAGE - 2, b"abcd");
    assert_eq!((content.size, content.pages.len()), (PAGE + 2, 2));
    content.truncate(PAGE - 1);
    content.size = PAGE + 2;
    let folder = crate::folder::Folder::new("content");
    let path = folder.path().join("a");
    content.store(&path);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), PAGE as usize + 2);
    assert_eq!(&bytes[PAGE as usize - 3..], b"\0a\0\0\0");
}
