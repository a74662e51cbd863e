//! The images of a disk and what waits between them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// What becomes of a piece of what waits when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It got to the disk.
    Kept,
    /// It did not.
    Lost,
    /// Of written bytes, so many of the first got there; of anything else, nothing.
    Head(usize),
    /// Of written bytes, all but so many of the first got there; of anything else, nothing.
    Tail(usize),
}

/// A change of a file that waits for a sync.
#[derive(Clone, Debug)]
enum Change {
    Bytes { offset: usize, bytes: Vec<u8> },
    Len(usize),
}

/// A file's bytes, under whatever names.
#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    waiting: Vec<Change>,
}

/// A change of names that waits for a sync of their folder.
#[derive(Clone, Debug)]
enum Naming {
    Folder(PathBuf),
    Make(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

impl Naming {
    fn folder(&self) -> &Path {
        let (Self::Folder(path)
        | Self::Make(path, _)
        | Self::Rename(path, ..)
        | Self::Remove(path)) = self;
        path.parent().unwrap_or(Path::new(""))
    }
}

/// Names and what they stand for.
#[derive(Clone, Debug, Default)]
struct Names {
    folders: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, usize>,
}

impl Names {
    fn apply(&mut self, naming: &Naming) {
        match naming {
            Naming::Folder(path) => drop(self.folders.insert(path.clone())),
            Naming::Make(path, inode) => drop(self.files.insert(path.clone(), *inode)),
            Naming::Rename(from, to, inode) => {
                // A file made anew under the old name meanwhile keeps it.
                if self.files.get(from) == Some(inode) {
                    self.files.remove(from);
                }
                self.files.insert(to.clone(), *inode);
            }
            Naming::Remove(path) => drop(self.files.remove(path)),
        }
    }
}

/// Everything on a disk: what is seen, what is safe, and what waits between the two.
#[derive(Clone, Debug)]
pub struct Image {
    inodes: Vec<Inode>,
    live: Names,
    durable: Names,
    waiting: Vec<Naming>,
    sector: usize,
}

impl Image {
    /// An empty disk with the folder `root`, whose sectors have so many bytes.
    #[must_use]
    pub fn empty(root: &Path, sector: usize) -> Self {
        let mut names = Names::default();
        names.folders.insert(root.to_owned());
        Self {
            inodes: Vec::new(),
            live: names.clone(),
            durable: names,
            waiting: Vec::new(),
            sector: sector.max(1),
        }
    }

    /// How many pieces wait, each with a fate of its own.
    #[must_use]
    pub fn pieces(&self) -> usize {
        let bytes = self.inodes.iter().flat_map(|inode| &inode.waiting);
        let bytes: usize = bytes.map(|change| self.cuts(change).count()).sum();
        bytes + self.waiting.len()
    }

    /// The disk as it is found when the power is back, `fate` having decided about every piece
    /// by its number.
    #[must_use]
    pub fn crash(&self, fate: &mut dyn FnMut(usize) -> Fate) -> Self {
        let mut number = 0..;
        let mut next = || number.next().map_or(Fate::Lost, &mut *fate);
        let mut names = self.durable.clone();
        for naming in &self.waiting {
            if next() == Fate::Kept {
                names.apply(naming);
            }
        }
        let inodes = self.inodes.iter().map(|inode| {
            let mut bytes = inode.durable.clone();
            for change in &inode.waiting {
                for (from, to) in self.cuts(change) {
                    settle(&mut bytes, change, from, to, next());
                }
            }
            Inode { live: bytes.clone(), durable: bytes, waiting: Vec::new() }
        });
        let inodes = inodes.collect();
        names.files.retain(|path, _| path.parent().is_some_and(|dir| names.folders.contains(dir)));
        Self {
            inodes,
            live: names.clone(),
            durable: names,
            waiting: Vec::new(),
            sector: self.sector,
        }
    }

    /// The parts of a change that have fates of their own: those in different sectors.
    fn cuts(&self, change: &Change) -> impl Iterator<Item = (usize, usize)> {
        let (offset, len) = match change {
            Change::Bytes { offset, bytes } => (*offset, bytes.len()),
            Change::Len(_) => (0, 1),
        };
        let (sector, mut at) = (self.sector, 0);
        std::iter::from_fn(move || {
            let from = at;
            at = ((offset + from) / sector * sector + sector - offset).min(len);
            (from < len).then_some((from, at))
        })
    }

    /// The bytes of a file, as they are seen.
    #[must_use]
    pub fn bytes(&self, path: &Path) -> Option<&[u8]> {
        self.live.files.get(path).map(|inode| &self.inodes[*inode].live[..])
    }

    /// Changes a file behind everybody's back, on the disk itself.
    pub fn damage(&mut self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(inode) = self.live.files.get(path) {
            let inode = &mut self.inodes[*inode];
            change(&mut inode.live);
            inode.durable.clone_from(&inode.live);
            inode.waiting.clear();
        }
    }

    /// Removes a file behind everybody's back.
    pub fn lose(&mut self, path: &Path) {
        self.live.files.remove(path);
        self.durable.files.remove(path);
    }

    /// The paths of all files that are seen.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.live.files.keys().cloned().collect()
    }

    /// Bytes of all files that are seen.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.live.files.values().map(|inode| self.inodes[*inode].live.len() as u64).sum()
    }

    pub(super) fn len(&self, inode: usize) -> u64 {
        self.inodes[inode].live.len() as u64
    }

    pub(super) fn is_folder(&self, dir: &Path) -> bool {
        self.live.folders.contains(dir)
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<usize> {
        self.live.files.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn make(&mut self, path: &Path) -> io::Result<usize> {
        if !path.parent().is_some_and(|dir| self.is_folder(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if let Ok(inode) = self.find(path) {
            self.set_len(inode, 0);
            return Ok(inode);
        }
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.name(Naming::Make(path.to_owned(), inode));
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        self.name(Naming::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        self.name(Naming::Remove(path.to_owned()));
        Ok(())
    }

    pub(super) fn make_folder(&mut self, dir: &Path) {
        if !self.is_folder(dir) {
            self.name(Naming::Folder(dir.to_owned()));
        }
    }

    fn name(&mut self, naming: Naming) {
        self.live.apply(&naming);
        self.waiting.push(naming);
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        if !self.is_folder(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let files = self.live.files.keys().filter(|path| path.parent() == Some(dir));
        Ok(files.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    pub(super) fn read(&self, inode: usize, offset: u64, buffer: &mut [u8]) -> usize {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.inodes[inode].live.get(offset..).unwrap_or(&[]);
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        len
    }

    pub(super) fn write(&mut self, inode: usize, offset: usize, bytes: &[u8]) {
        let change = Change::Bytes { offset, bytes: bytes.to_vec() };
        let inode = &mut self.inodes[inode];
        settle(&mut inode.live, &change, 0, bytes.len(), Fate::Kept);
        inode.waiting.push(change);
    }

    pub(super) fn set_len(&mut self, inode: usize, len: usize) {
        let inode = &mut self.inodes[inode];
        inode.live.resize(len, 0);
        inode.waiting.push(Change::Len(len));
    }

    pub(super) fn sync(&mut self, inode: usize) {
        let inode = &mut self.inodes[inode];
        // Only what waits: what a failed sync gave up is not made up for.
        for change in std::mem::take(&mut inode.waiting) {
            let len = if let Change::Bytes { bytes, .. } = &change { bytes.len() } else { 1 };
            settle(&mut inode.durable, &change, 0, len, Fate::Kept);
        }
    }

    /// A sync that failed: what waited is given up, and seen on or not.
    pub(super) fn fail_sync(&mut self, inode: usize, seen_on: bool) {
        let inode = &mut self.inodes[inode];
        inode.waiting.clear();
        if !seen_on {
            inode.live.clone_from(&inode.durable);
        }
    }

    pub(super) fn sync_folder(&mut self, dir: &Path) {
        let (durable, waiting) = (&mut self.durable, &mut self.waiting);
        for naming in waiting.extract_if(.., |naming| naming.folder() == dir) {
            durable.apply(&naming);
        }
    }
}

/// Does to `bytes` what fate leaves of the part `from..to` of a change.
fn settle(bytes: &mut Vec<u8>, change: &Change, from: usize, to: usize, fate: Fate) {
    let cut = |at: usize| from + at.min(to - from);
    match (change, fate) {
        (_, Fate::Lost) => {}
        (Change::Len(len), Fate::Kept) => bytes.resize(*len, 0),
        (Change::Len(_), _) => {}
        (Change::Bytes { offset, bytes: new }, _) => {
            let part = match fate {
                Fate::Head(at) => from..cut(at),
                Fate::Tail(at) => cut(at)..to,
                Fate::Kept | Fate::Lost => from..to,
            };
            let place = offset + part.start..offset + part.end;
            if bytes.len() < place.end {
                bytes.resize(place.end, 0);
            }
            bytes[place].copy_from_slice(&new[part]);
        }
    }
}
