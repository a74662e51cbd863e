//! A disk that fails.

use super::*;
use crate::MetaError;
use crate::raft::file::RaftFile;
use crate::raft::home;
use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};
use shoal_core::codec;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// A disk in memory that can be broken.
#[derive(Debug)]
struct Disk {
    bytes: InMemoryBackend,
    broken: Arc<AtomicBool>,
}

impl Disk {
    fn works(&self) -> io::Result<()> {
        match self.broken.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the disk is gone")),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.works()?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.works()?;
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.works()?;
        self.bytes.write(offset, data)
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_stops_the_voter_by_name_and_what_it_showed_stays() {
    let broken = Arc::new(AtomicBool::new(false));
    let disk = Disk { bytes: InMemoryBackend::new(), broken: Arc::clone(&broken) };
    let database = Database::builder().create_with_backend(disk).expect("an empty disk");
    let map = ClusterMap::default().apply(&founding().expect("a founding")).expect("a good one");
    let path = Path::new("map.raft");
    let file = RaftFile::begin(path, database, |change| home::first_voter(change, &map));
    let file = Arc::new(file.expect("a new file"));
    let wire = Arc::new(Port { net: Arc::new(Net::default()), from: NodeId(1) });
    let store = RaftStore::over(file, Options::default(), wire, codec::command::decode)
        .await
        .expect("it is whole");
    let map = store.propose_async(&create("books")).await.expect("a good command");

    broken.store(true, Ordering::Relaxed);
    let lost = store.propose_async(&create("lost")).await.expect_err("it cannot be written");
    assert!(matches!(lost, MetaError::Unknown { .. } | MetaError::InDoubt { .. }), "{lost}");
    // The disk is not tried again, even where it would work.
    broken.store(false, Ordering::Relaxed);
    let refused = store.propose_async(&create("lost")).await.expect_err("it has stopped");
    let MetaError::InDoubt { file, what } = &refused else { panic!("{refused}") };
    assert_eq!(file, "map.raft");
    assert!(what.contains("the disk is gone"), "{what}");
    assert_eq!(store.status().role, Role::Stopped);
    assert_eq!(store.current(), map);
}
