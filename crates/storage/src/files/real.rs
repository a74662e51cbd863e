//! The operating system's files, through the standard library.
//!
//! Holds: a sync is `fdatasync`, which on Linux also writes a changed length; folders are synced
//! with `fsync`.

use super::{File, Files, Open};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// [`Files`] of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let fresh = how == Open::Fresh;
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(fresh).truncate(fresh).mode(0o600);
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let stat = statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // Not every file system can reserve; then the writes that follow will tell.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                if self.len()? < len {
                    self.0.set_len(len)
                } else {
                    Ok(())
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_do_what_the_seam_says() {
        let temp = tempfile::tempdir().expect("a folder");
        let (files, dir) = (RealFiles, temp.path().join("d"));
        files.create_dir(&dir).expect("made");
        files.create_dir(&dir).expect("being there is fine");
        let path = dir.join("a");
        assert!(files.open(&path, Open::Existing).is_err());
        let file = files.open(&path, Open::Fresh).expect("opened");
        assert!(file.is_empty().expect("a length"));
        file.allocate(100).expect("room");
        assert_eq!(file.len().expect("a length"), 100);
        file.write_at(98, b"abcd").expect("written");
        let mut buffer = [9; 8];
        assert_eq!(file.read_at(96, &mut buffer).expect("read"), 6);
        assert_eq!(&buffer, b"\0\0abcd\x09\x09");
        file.set_len(99).expect("cut");
        file.sync_data().expect("synced");
        files.rename(&path, &dir.join("b")).expect("renamed");
        files.sync_dir(&dir).expect("synced");
        assert_eq!(files.list(&dir).expect("names"), ["b"]);
        assert_eq!(
            files.open(&dir.join("b"), Open::Existing).expect("opened").len().expect("a length"),
            99
        );
        assert!(files.open(&dir.join("b"), Open::Fresh).expect("opened").is_empty().expect("len"));
        files.remove(&dir.join("b")).expect("removed");
        assert!(files.list(&dir).expect("names").is_empty());
        assert!(files.free_space(&dir).expect("a figure") > 0);
    }
}
