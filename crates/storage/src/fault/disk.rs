//! [`Files`] over an [`Image`], with errors and a power switch.

use super::image::Image;
use crate::files::{File, Files, Open};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The kinds of calls that can be counted and made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// Any of the others.
    Any,
    /// Opening a file.
    Open,
    /// Reading from one.
    Read,
    /// Writing to one.
    Write,
    /// Changing a file's length or taking room for it.
    Resize,
    /// Syncing a file.
    Sync,
    /// Syncing a folder.
    SyncDir,
    /// Renaming or removing a file, or making a folder.
    Name,
}

/// What a failed sync leaves to be seen of the bytes it gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dirty {
    /// They are seen on, though no sync will ever write them.
    #[default]
    SeenOn,
    /// They are gone at once.
    Gone,
}

struct State {
    image: Image,
    calls: BTreeMap<Call, u64>,
    failing: Vec<(Call, u64, io::ErrorKind)>,
    power_off_at: u64,
    off: bool,
    capacity: u64,
    dirty: Dirty,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct FaultDisk(Arc<Mutex<State>>);

impl FaultDisk {
    /// A disk that holds `image`.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self(Arc::new(Mutex::new(State {
            image,
            calls: BTreeMap::new(),
            failing: Vec::new(),
            power_off_at: u64::MAX,
            off: false,
            capacity: u64::MAX,
            dirty: Dirty::default(),
        })))
    }

    /// Makes the `nth` call of a kind fail, counted from 0 and from now on.
    pub fn fail(&self, call: Call, nth: u64, error: io::ErrorKind) {
        let mut state = self.0.lock();
        let nth = state.count(call) + nth;
        state.failing.push((call, nth, error));
    }

    /// Switches the power off in the middle of the `nth` call that could change the disk,
    /// counted from 0 and from now on: it and all later calls fail.
    pub fn power_off_at(&self, nth: u64) {
        let mut state = self.0.lock();
        state.power_off_at = state.count(Call::Any) + nth;
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.0.lock().off
    }

    /// Lets the disk take so many bytes and no more.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity = bytes;
    }

    /// Sets what a failed sync leaves to be seen.
    pub fn set_dirty(&self, dirty: Dirty) {
        self.0.lock().dirty = dirty;
    }

    /// How many calls of a kind there were.
    #[must_use]
    pub fn calls(&self, call: Call) -> u64 {
        self.0.lock().count(call)
    }

    /// The disk's present image.
    #[must_use]
    pub fn image(&self) -> Image {
        self.0.lock().image.clone()
    }
}

impl State {
    fn count(&self, call: Call) -> u64 {
        self.calls.get(&call).copied().unwrap_or(0)
    }

    /// Counts a call; an error where it is to fail without having done anything.
    fn enter(&mut self, call: Call) -> io::Result<()> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        // Reading changes nothing, so there is no point in losing power there.
        let counted = if call == Call::Read { vec![call] } else { vec![call, Call::Any] };
        let mut result = Ok(());
        for kind in counted {
            let nth = self.count(kind);
            self.calls.insert(kind, nth + 1);
            if kind == Call::Any && nth >= self.power_off_at {
                self.off = true;
            }
            if let Some(failing) = self.failing.iter().find(|it| (it.0, it.1) == (kind, nth)) {
                result = Err(failing.2.into());
            }
        }
        result
    }

    /// The call's answer once its effect waits: an error where the power went during it.
    fn leave(&self) -> io::Result<()> {
        if self.off { Err(io::Error::other("the power went off")) } else { Ok(()) }
    }

    fn make_room(&self, inode: usize, len: u64) -> io::Result<()> {
        let more = len.saturating_sub(self.image.len(inode));
        if more > 0 && self.image.used() + more > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Files for FaultDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let mut state = self.0.lock();
        state.enter(Call::Open)?;
        let inode = match how {
            Open::Existing => state.image.find(path)?,
            Open::Fresh => state.image.make(path)?,
        };
        state.leave()?;
        Ok(Box::new(FaultFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.enter(Call::Name)?;
        state.image.rename(from, to)?;
        state.leave()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.enter(Call::Name)?;
        state.image.remove(path)?;
        state.leave()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.0.lock();
        state.enter(Call::Read)?;
        state.image.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.enter(Call::Name)?;
        state.image.make_folder(dir);
        state.leave()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.enter(Call::SyncDir)?;
        state.leave()?;
        state.image.sync_folder(dir);
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        Ok(state.capacity.saturating_sub(state.image.used()))
    }
}

struct FaultFile {
    disk: FaultDisk,
    inode: usize,
}

impl FaultFile {
    fn resize(&self, len: u64, shrink: bool) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.enter(Call::Resize)?;
        state.make_room(self.inode, len)?;
        if shrink || len > state.image.len(self.inode) {
            state.image.set_len(self.inode, to_usize(len)?);
        }
        state.leave()
    }
}

impl File for FaultFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.0.lock();
        state.enter(Call::Read)?;
        Ok(state.image.len(self.inode))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        state.enter(Call::Read)?;
        Ok(state.image.read(self.inode, offset, buffer))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let entered = state.enter(Call::Write);
        let at = to_usize(offset)?;
        if let Err(error) = entered {
            // A write that fails may have written some of it.
            if !state.off {
                state.image.write(self.inode, at, &bytes[..bytes.len() / 2]);
            }
            return Err(error);
        }
        state.make_room(self.inode, offset + bytes.len() as u64)?;
        state.image.write(self.inode, at, bytes);
        state.leave()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.resize(len, true)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.resize(len, false)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let was_off = state.off;
        if let Err(error) = state.enter(Call::Sync) {
            if !was_off {
                let seen_on = state.dirty == Dirty::SeenOn;
                state.image.fail_sync(self.inode, seen_on);
            }
            return Err(error);
        }
        state.leave()?;
        state.image.sync(self.inode);
        Ok(())
    }
}

fn to_usize(len: u64) -> io::Result<usize> {
    usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput.into())
}
