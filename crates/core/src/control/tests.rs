//! Every rule of the planner by itself, and whole lives of toy clusters.

mod lives;
mod rules;
mod standing;
mod world;

use super::{Control, Happened, Limits, Plan, Report, View};
use crate::ids::{ClusterId, NodeId, PartitionId};
use crate::map::{ClusterMap, Command, EngineKind, KeyspaceSpec, Partition, Place, Profile};
use crate::placement::Replication;
use crate::slot::Partitioning;
use std::num::NonZeroUsize;

const PATIENCE_MS: u64 = 1_000;

fn limits() -> Limits {
    let some = |number| NonZeroUsize::new(number).expect("not zero");
    Limits {
        moves_per_node: some(8),
        moves: some(8),
        patience_ms: PATIENCE_MS,
        ..Limits::default()
    }
}

fn node(number: u32) -> NodeId {
    NodeId(number)
}

fn nodes(numbers: &[u32]) -> Vec<NodeId> {
    numbers.iter().copied().map(NodeId).collect()
}

/// A map, its planner, and what the planner sees.
struct Scene {
    map: ClusterMap,
    control: Control,
    view: View,
}

impl Scene {
    /// One node with one keyspace, `default`.
    fn new(engine: EngineKind, partitions: u16, replication: u8) -> Self {
        let partitioning = Partitioning::new(partitions).expect("a power of two");
        let mut default = KeyspaceSpec { partitioning, ..KeyspaceSpec::new(engine) };
        default.options.replication = Replication::Count(replication);
        let found = Command::Found {
            cluster: ClusterId(1),
            node_name: "m1".into(),
            token: 1,
            hash_seed: 7,
            default,
            profile: Profile::default(),
        };
        let map = ClusterMap::default().apply(&found).expect("it is the first");
        let control = Control::new(limits());
        let mut scene = Self { map, control, view: View::default() };
        scene.rises(1);
        scene
    }

    /// So many nodes, all up, with all that is to be held where it is to be.
    fn settled(engine: EngineKind, partitions: u16, replication: u8, members: u32) -> Self {
        let mut scene = Self::new(engine, partitions, replication);
        (1..members).for_each(|_| scene.joins(None));
        scene.settle();
        scene
    }

    fn command(&mut self, command: &Command) {
        self.map = self.map.apply(command).expect("it is in order");
    }

    fn join_only(&mut self, zone: Option<&str>, replaces: Option<NodeId>) -> NodeId {
        let id = self.map.next_node;
        let name = replaces.map_or(format!("m{}", id.0), |node| self.map.nodes[&node].name.clone());
        let profile = Profile { zone: zone.map(str::to_owned), ..Profile::default() };
        let token = u64::from(id.0);
        self.command(&Command::Join { name, token, profile, replaces });
        self.view.up.insert(id);
        id
    }

    fn starts(&mut self, id: NodeId) {
        let (presented, next) = (u64::from(id.0), u64::from(id.0));
        self.command(&Command::StartNode { node: id, presented, next, profile: None });
    }

    fn joins(&mut self, zone: Option<&str>) {
        let id = self.join_only(zone, None);
        self.starts(id);
    }

    fn falls(&mut self, number: u32) {
        self.view.up.remove(&NodeId(number));
        self.view.down_since_ms.insert(NodeId(number), self.view.now_ms);
    }

    fn rises(&mut self, number: u32) {
        self.view.up.insert(NodeId(number));
        self.view.down_since_ms.remove(&NodeId(number));
    }

    fn patience_ends(&mut self) {
        self.view.now_ms += PATIENCE_MS;
    }

    fn plan(&mut self) -> Plan {
        self.control.plan(&self.map, &self.view)
    }

    /// Plans and applies; says what happened.
    fn act(&mut self) -> Vec<Happened> {
        let Plan { steps, notices } = self.plan();
        let mut all = notices;
        for step in steps {
            self.command(&step.command);
            all.extend(step.happened);
        }
        all
    }

    fn partition(&self, number: u16) -> &Partition {
        &self.map.keyspace("default").expect("it was founded").partitions[usize::from(number)]
    }

    fn place(&self, number: u16) -> Place {
        let keyspace = self.map.keyspace("default").expect("it was founded").incarnation;
        let epoch = self.partition(number).epoch;
        Place { keyspace, partition: PartitionId(number), epoch }
    }

    fn replicas(&self, number: u16) -> Vec<NodeId> {
        self.partition(number).replicas.iter().map(|member| member.node).collect()
    }

    fn next(&self, number: u16) -> Vec<NodeId> {
        let mut next: Vec<_> = self.partition(number).next.iter().map(|one| one.node).collect();
        next.sort();
        next
    }

    fn loses(&mut self, number: u32, partition: u16) {
        let place = self.place(partition);
        self.control.on(Report::Lost { node: NodeId(number), place });
    }

    fn proves(&mut self, number: u32, partition: u16) {
        let place = self.place(partition);
        self.control.on(Report::Proven { node: NodeId(number), place });
    }

    fn forgets(&mut self, number: u32, partition: u16) {
        let place = self.place(partition);
        self.control.on(Report::Forgotten { node: NodeId(number), place });
    }

    /// Goes on until nothing is left to do, while everybody who is up does what it has to.
    fn settle(&mut self) {
        let count = self.map.keyspace("default").expect("it was founded").partitions.len();
        let count = u16::try_from(count).expect("a few");
        for _ in 0..1_000 {
            for number in 0..count {
                for node in self.next(number) {
                    if self.view.is_up(node) {
                        self.proves(node.0, number);
                    }
                }
                for node in self.partition(number).outgoing.clone() {
                    self.forgets(node.0, number);
                }
            }
            let is_idle = self.plan().steps.is_empty();
            self.act();
            if is_idle && self.partitions_rest() {
                return;
            }
        }
        panic!("it does not settle");
    }

    fn partitions_rest(&self) -> bool {
        let mut partitions = self.map.keyspaces.values().flat_map(|found| &found.partitions);
        partitions.all(|partition| !partition.is_moving() && partition.outgoing.is_empty())
    }
}
