//! What the tests of every store begin with.

use shoal_core::ids::ClusterId;
use shoal_core::map::{Command, EngineKind, KeyspaceSpec, Profile};

/// What founds a cluster of one node, in the form in which a store asks for it.
pub(crate) fn founding() -> Option<Command> {
    Some(Command::Found {
        cluster: ClusterId(7),
        node_name: "n1".to_owned(),
        token: 9,
        hash_seed: 11,
        default: KeyspaceSpec::new(EngineKind::Disk),
        profile: Profile::default(),
    })
}

/// Makes a keyspace, and is refused where there is one of that name.
pub(crate) fn create(name: &str) -> Command {
    let spec = KeyspaceSpec::new(EngineKind::Memory);
    Command::CreateKeyspace { name: name.to_owned(), spec, database: None }
}
