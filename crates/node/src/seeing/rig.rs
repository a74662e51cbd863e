//! A map for tests.

use shoal_core::NodeId;
use shoal_core::ids::ClusterId;
use shoal_core::map::{ClusterMap, Command, EngineKind, KeyspaceSpec, Profile};

/// A map of three nodes in three zones that all hold everything.
pub(super) fn three() -> ClusterMap {
    let profile = |zone: &str| Profile { zone: Some(zone.to_owned()), ..Profile::default() };
    let found = Command::Found {
        cluster: ClusterId(7),
        node_name: "a".to_owned(),
        token: 1,
        hash_seed: 7,
        default: KeyspaceSpec::new(EngineKind::Disk),
        profile: profile("x"),
    };
    let mut map = ClusterMap::default().apply(&found).expect("it is founded");
    for (node, name, zone) in [(2, "b", "y"), (3, "c", "z")] {
        let (token, profile) = (u64::from(node), Some(profile(zone)));
        let join = Command::Join {
            name: name.to_owned(),
            token,
            profile: Profile::default(),
            replaces: None,
        };
        map = map.apply(&join).expect("it is let in");
        let start = Command::StartNode { node: NodeId(node), presented: token, next: 9, profile };
        map = map.apply(&start).expect("it starts");
    }
    let create = Command::CreateKeyspace {
        name: "ks".to_owned(),
        spec: KeyspaceSpec::new(EngineKind::Memory),
        database: None,
    };
    map.apply(&create).expect("it is made")
}
