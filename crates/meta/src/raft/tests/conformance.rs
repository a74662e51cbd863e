//! What openraft demands of its storage.

use crate::raft::file::RaftFile;
use crate::raft::known::Known;
use crate::raft::log::Log;
use crate::raft::machine::Machine;
use crate::raft::types::Types;
use crate::raft::wire::Members;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use std::sync::Arc;
use tempfile::TempDir;

struct Fresh;

impl StoreBuilder<Types, Log, Machine, TempDir> for Fresh {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError<Types>> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("map.raft");
        let file = Arc::new(RaftFile::create(&path, |_| Ok(())).expect("a new file"));
        let known = Arc::new(Known::new(Arc::default(), Members::default(), 1 << 20));
        let machine = Machine::open(Arc::clone(&file), known, shoal_core::codec::command::decode)
            .expect("an empty one");
        Ok((directory, Log::new(file), machine))
    }
}

#[tokio::test]
async fn the_storage_keeps_openrafts_contract() {
    Suite::test_all(Fresh).await.expect("every test of the suite passes");
}
