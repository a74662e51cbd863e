//! Refusals of the map that call nodes by their names: their numbers may be the names of others.
//!
//! Does not know: what is refused, and when.

use crate::refusal::Refusal;
use shoal_core::NodeId;
use shoal_core::map::{ClusterMap, MapError};
use shoal_meta::MetaError;

/// The node's name by `map`; its number where it has none.
pub(crate) fn name_of(map: &ClusterMap, node: NodeId) -> String {
    map.nodes.get(&node).map_or_else(|| node.to_string(), |info| info.name.clone())
}

fn names_of(map: &ClusterMap, nodes: &[NodeId]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| name_of(map, *node)).collect();
    names.join(", ")
}

/// Why a change of `map` was not made.
pub(crate) fn refused(map: &ClusterMap, error: MetaError) -> Refusal {
    let message = match &error {
        MetaError::NoMajority { voters } => format!(
            "the map cannot be changed now: no majority of the voters {} is reachable",
            names_of(map, voters)
        ),
        MetaError::Unknown { voters } => format!(
            "the change of the map was sent to the voters {} and not confirmed in time: it may \
             have been made",
            names_of(map, voters)
        ),
        MetaError::Refused(MapError::LastReplica { node, keyspace, partition }) => format!(
            "node {} has the last replica of partition {} of keyspace '{keyspace}'",
            name_of(map, *node),
            partition.0
        ),
        _ => return error.into(),
    };
    Refusal::new(Refusal::from(error).code, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Code;
    use shoal_core::PartitionId;
    use shoal_core::map::{NodeInfo, NodeState, Profile};

    #[test]
    fn nodes_are_called_by_their_names() {
        let mut map = ClusterMap::default();
        for (id, name) in [(1, "n2"), (2, "n1")] {
            let info = NodeInfo::new(name.to_owned(), 1, Profile::default(), NodeState::Member);
            map.nodes.insert(NodeId(id), info);
        }
        let voters = || vec![NodeId(1), NodeId(2), NodeId(9)];
        let last = MapError::LastReplica {
            node: NodeId(1),
            keyspace: "default".to_owned(),
            partition: PartitionId(7),
        };
        for (error, code, names) in [
            (MetaError::NoMajority { voters: voters() }, Code::NoMajority, "voters n2, n1, n9 is"),
            (MetaError::Unknown { voters: voters() }, Code::Unknown, "voters n2, n1, n9 and"),
            (MetaError::Refused(last), Code::LastReplica, "node n2 has the last replica"),
        ] {
            let refusal = refused(&map, error);
            assert_eq!(refusal.code, code);
            assert!(refusal.message.contains(names), "{refusal}");
        }
    }
}
