//! A toy cluster for the control machine: real maps, real plans, and nodes that do no more than
//! adopt maps, copy, lose, prove, forget and report.
//!
//! Holds: one seed decides everything. A node adopts every map in its order, as one does that
//! pulls commands. A write is acknowledged by the rule of quorums in both sets, so that whether
//! anything was lost can be told from what the copies hold.

use crate::control::{Control, Limits, Report, Step, View};
use crate::ids::{Incarnation, NodeId, PartitionId, ReplicaIncarnation};
use crate::map::{ClusterMap, Command, EngineKind, Intent, NodeState, Partition, Place, Profile};
use crate::quorum::{Level, Member, quorum};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::rc::Rc;

/// How long a turn of the world is.
const TURN_MS: u64 = 100;
const PATIENCE_MS: u64 = 20 * TURN_MS;

/// Tight bounds, so that they bind.
pub(super) fn limits() -> Limits {
    let some = |number| NonZeroUsize::new(number).expect("not zero");
    Limits {
        moves_per_node: some(2),
        moves: some(3),
        partitions_per_command: some(4),
        commands_per_plan: some(6),
        patience_ms: PATIENCE_MS,
    }
}

/// Numbers by chance, the same for the same seed (splitmix64, S. Vigna).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Whether something happens that does so many times in a thousand.
    pub(super) fn permille(&mut self, often: u64) -> bool {
        self.below(1_000) < often
    }

    pub(super) fn one_of<T: Copy>(&mut self, some: &[T]) -> Option<T> {
        let len = u64::try_from(some.len()).expect("a few");
        (len > 0).then(|| some[usize::try_from(self.below(len)).expect("below a few")])
    }
}

type Key = (Incarnation, PartitionId);

/// A node's copy of a partition.
#[derive(Clone, Debug, Default)]
struct Holding {
    life: Option<ReplicaIncarnation>,
    holds: BTreeSet<u32>,
    /// The place it is proving itself for, and whose records it has taken for that.
    taken: Option<(Place, BTreeSet<NodeId>)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) up: bool,
    /// How far it has come in the log of maps.
    adopted: usize,
    copies: BTreeMap<Key, Holding>,
}

/// What goes wrong in a turn, in so many of a thousand cases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) crash: u64,
    pub(super) restart: u64,
    pub(super) lossy_disks: bool,
    pub(super) drop_report: u64,
    pub(super) delay_turns: u64,
    pub(super) leader_change: u64,
    pub(super) stale_view: u64,
    pub(super) slow_node: u64,
}

pub(super) const CALM: Weather = Weather {
    crash: 0,
    restart: 1_000,
    lossy_disks: false,
    drop_report: 0,
    delay_turns: 1,
    leader_change: 0,
    stale_view: 0,
    slow_node: 0,
};

/// Steps that were proposed and are not decided yet.
struct Proposed {
    due: u64,
    steps: Vec<Step>,
    view: View,
    planned_at: usize,
}

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) turn: u64,
    log: Vec<Rc<ClusterMap>>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) control: Control,
    pub(super) view: View,
    mail: Vec<(u64, Report)>,
    proposed: Option<Proposed>,
    acknowledged: BTreeMap<Key, BTreeSet<u32>>,
    next_write: u32,
    proofs: BTreeSet<(NodeId, Place)>,
    /// How often each kind of command was applied.
    pub(super) applied: BTreeMap<&'static str, u32>,
}

impl World {
    pub(super) fn new(seed: u64, map: ClusterMap) -> Self {
        let first = Node { up: true, ..Node::default() };
        let mut world = Self {
            dice: Dice(seed),
            turn: 0,
            log: vec![Rc::default(), Rc::new(map)],
            nodes: BTreeMap::from([(NodeId(1), first)]),
            control: Control::new(limits()),
            view: View::default(),
            mail: Vec::new(),
            proposed: None,
            acknowledged: BTreeMap::new(),
            next_write: 0,
            proofs: BTreeSet::new(),
            applied: BTreeMap::new(),
        };
        world.look_around();
        world
    }

    pub(super) fn map(&self) -> &ClusterMap {
        self.log.last().expect("it begins with one")
    }

    /// What an operator or a node asks for.
    pub(super) fn ask(&mut self, command: &Command) -> bool {
        let Ok(next) = self.map().apply(command) else { return false };
        assert_eq!(next.check(), Ok(()));
        for id in next.nodes.keys() {
            self.nodes.entry(*id).or_default();
        }
        self.log.push(Rc::new(next));
        true
    }

    pub(super) fn up(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.up).map(|(id, _)| *id).collect()
    }

    pub(super) fn in_state(&self, state: NodeState) -> Vec<NodeId> {
        let found = self.map().nodes.iter().filter(|(_, info)| info.state == state);
        found.map(|(id, _)| *id).collect()
    }

    /// Makes a node join under `name`, in the place of another if need be, and start.
    pub(super) fn join(&mut self, name: String, zone: Option<String>, replaces: Option<NodeId>) {
        let id = self.map().next_node;
        let token = u64::from(id.0);
        let profile = Profile { zone, ..Profile::default() };
        if self.ask(&Command::Join { name, token, profile, replaces }) {
            self.start(id);
        }
    }

    pub(super) fn start(&mut self, id: NodeId) {
        let (presented, next) = (u64::from(id.0), u64::from(id.0));
        if self.ask(&Command::StartNode { node: id, presented, next, profile: None })
            && let Some(node) = self.nodes.get_mut(&id)
        {
            node.up = true;
        }
    }

    /// Ends a node; what is in memory is lost, and on a lossy disk everything.
    pub(super) fn crash(&mut self, id: NodeId, loses_disk: bool) {
        let map = self.log.last().expect("it begins with one");
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.up = false;
        for ((keyspace, _), copy) in &mut node.copies {
            let engine = map.keyspace_of(*keyspace).map(|found| found.engine);
            if loses_disk || engine != Some(EngineKind::Disk) {
                *copy = Holding::default();
            }
            copy.taken = None;
        }
    }

    /// One turn. Everything that has to hold at every moment is asserted within.
    pub(super) fn turn(&mut self, weather: Weather) {
        self.turn += 1;
        for id in self.up() {
            if !self.dice.permille(weather.slow_node) {
                self.adopt(id);
            }
            self.act(id, weather);
        }
        self.write();
        self.deliver();
        if !self.dice.permille(weather.stale_view) {
            self.look_around();
        }
        self.lead(weather);
        self.check_data();
    }

    /// Takes some of the maps that it does not know yet, in their order.
    fn adopt(&mut self, id: NodeId) {
        let most = self.dice.one_of(&[1, 2, 4, 8]).expect("there are some");
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let until = self.log.len().min(node.adopted + 1 + most);
        for map in &self.log[node.adopted + 1..until] {
            node.adopted += 1;
            for (place, partition) in places(map) {
                let copy = node.copies.entry((place.keyspace, place.partition)).or_default();
                match named(partition, id) {
                    // A life that begins in this very map is new to everybody.
                    Some(life) if life.0 == map.version.index => copy.life = Some(life),
                    Some(_) => {}
                    None => copy.life = None,
                }
            }
        }
    }

    /// Copies, proves, forgets, and reports.
    fn act(&mut self, id: NodeId, weather: Weather) {
        let adopted = Rc::clone(&self.log[self.nodes[&id].adopted]);
        for (place, partition) in places(&adopted) {
            let key = (place.keyspace, place.partition);
            let life = self.nodes[&id].copies.get(&key).and_then(|copy| copy.life);
            match named(partition, id) {
                Some(named) if life != Some(named) => {
                    self.report(Report::Lost { node: id, place }, weather);
                }
                Some(_) if partition.is_moving() && self.copy(id, place, partition) => {
                    self.proofs.insert((id, place));
                    self.report(Report::Proven { node: id, place }, weather);
                }
                None if partition.outgoing.contains(&id) && self.dice.permille(300) => {
                    let node = self.nodes.get_mut(&id).expect("it is up");
                    node.copies.remove(&key);
                    self.report(Report::Forgotten { node: id, place }, weather);
                }
                _ => {}
            }
        }
    }

    /// Takes over from one more owner, if that one has fenced; says whether it was enough.
    fn copy(&mut self, id: NodeId, place: Place, partition: &Partition) -> bool {
        let key = (place.keyspace, place.partition);
        let ready: Vec<NodeId> = partition
            .replicas
            .iter()
            .filter(|member| self.answers(**member, place))
            .map(|member| member.node)
            .collect();
        let source = self.dice.one_of(&ready).filter(|_| self.dice.permille(500));
        let records = source.map(|source| self.nodes[&source].copies[&key].holds.clone());
        let copy = self.nodes.get_mut(&id).and_then(|node| node.copies.get_mut(&key));
        let Some(copy) = copy else { return false };
        let me = copy.life.map(|incarnation| Member { node: id, incarnation });
        let fresh = || {
            let own = partition.replicas.iter().find(|member| Some(**member) == me);
            (place, own.map(|own| own.node).into_iter().collect())
        };
        let (_, taken) = match &mut copy.taken {
            Some(taken) if taken.0 == place => taken,
            other => other.insert(fresh()),
        };
        if let (Some(source), Some(records)) = (source, records) {
            copy.holds.extend(records);
            taken.insert(source);
        }
        let owners = partition.replicas.len();
        taken.len() > owners - quorum(owners)
    }

    /// Whether a replica is up, has fenced at the place's epoch, and is the one that is meant.
    fn answers(&self, member: Member, place: Place) -> bool {
        let node = &self.nodes[&member.node];
        node.up && self.knows(member.node, place) && self.has_life(member, place)
    }

    /// Whether a node has adopted the place's epoch.
    fn knows(&self, node: NodeId, place: Place) -> bool {
        let adopted = partition_at(&self.log[self.nodes[&node].adopted], place);
        adopted.is_some_and(|partition| partition.epoch == place.epoch)
    }

    fn has_life(&self, member: Member, place: Place) -> bool {
        let copy = self.nodes[&member.node].copies.get(&(place.keyspace, place.partition));
        copy.is_some_and(|copy| copy.life == Some(member.incarnation))
    }

    fn report(&mut self, report: Report, weather: Weather) {
        for _ in 0..2 {
            if !self.dice.permille(weather.drop_report.max(500)) {
                let due = self.turn + self.dice.below(weather.delay_turns);
                self.mail.push((due, report));
            }
        }
    }

    fn deliver(&mut self) {
        let (now, later) = self.mail.iter().partition(|(due, _)| *due <= self.turn);
        self.mail = later;
        let now: Vec<_> = now;
        now.into_iter().for_each(|(_, report)| self.control.on(report));
    }

    /// Writes once, to everybody who can be reached.
    fn write(&mut self) {
        let all: Vec<Place> = places(self.map()).map(|(place, _)| place).collect();
        let Some(place) = self.dice.one_of(&all) else { return };
        let owners = partition_at(self.map(), place).expect("it is there").owners();
        self.next_write += 1;
        let mut took = BTreeSet::new();
        for member in owners.replicas.iter().chain(&owners.next) {
            if self.answers(*member, place) && !self.dice.permille(100) {
                took.insert(*member);
            }
        }
        let key = (place.keyspace, place.partition);
        for member in &took {
            let node = self.nodes.get_mut(&member.node).expect("it answers");
            node.copies.entry(key).or_default().holds.insert(self.next_write);
        }
        if owners.reach(Level::Quorum, |member| took.contains(&member)) {
            self.acknowledged.entry(key).or_default().insert(self.next_write);
        }
    }

    fn look_around(&mut self) {
        self.view.now_ms = self.turn * TURN_MS;
        for (id, node) in &self.nodes {
            if node.up {
                self.view.up.insert(*id);
                self.view.down_since_ms.remove(id);
            } else {
                self.view.up.remove(id);
                self.view.down_since_ms.entry(*id).or_insert(self.view.now_ms);
            }
        }
    }

    /// The leader's part: decides what was proposed, or plans and proposes.
    fn lead(&mut self, weather: Weather) {
        if self.dice.permille(weather.leader_change) {
            // What the old one proposed is decided or lost before the new one plans.
            if self.dice.permille(500) {
                self.decide();
            }
            self.proposed = None;
            self.control = Control::new(limits());
            self.view = View { now_ms: self.view.now_ms, ..View::default() };
            self.look_around();
        }
        if self.proposed.as_ref().is_some_and(|proposed| proposed.due <= self.turn) {
            self.decide();
        }
        if self.proposed.is_none() {
            let map = self.log.last().expect("it begins with one");
            let steps = self.control.plan(map, &self.view).steps;
            assert!(steps.len() <= limits().commands_per_plan.get());
            let due = self.turn + self.dice.below(weather.delay_turns);
            let (view, planned_at) = (self.view.clone(), self.log.len());
            self.proposed = Some(Proposed { due, steps, view, planned_at });
        }
    }

    fn decide(&mut self) {
        let Some(Proposed { steps, view, planned_at, .. }) = self.proposed.take() else { return };
        let nothing_between = planned_at == self.log.len();
        let planned_on = Rc::clone(&self.log[planned_at - 1]);
        for Step { command, .. } in &steps {
            let before = Rc::clone(self.log.last().expect("it begins with one"));
            match before.apply(command) {
                Err(why) => assert!(!nothing_between, "{command:?} is refused: {why}"),
                Ok(after) => {
                    self.check_command(command, &before, &view);
                    if matches!(command, Command::Intend { .. }) {
                        self.check_room(&planned_on, &after, &view);
                    }
                    self.apply(command);
                }
            }
        }
    }

    /// Lets the operator accept what is lost.
    pub(super) fn accept_loss(&mut self) {
        let map = self.log.last().expect("it begins with one");
        for Step { command, .. } in self.control.accept_loss(map, &self.view, None) {
            self.apply(&command);
        }
    }

    fn apply(&mut self, command: &Command) {
        if let Command::Reseat { place, .. } = command {
            self.acknowledged.remove(&(place.keyspace, place.partition));
        }
        let name = match command {
            Command::CutOver { .. } => "cut over",
            Command::Reseat { .. } => "reseat",
            Command::Forgotten { .. } => "forgotten",
            Command::RemoveNode { .. } => "remove",
            Command::Intend { intents } if intents.iter().any(|one| !one.renewed.is_empty()) => {
                "renew"
            }
            _ => "intend",
        };
        *self.applied.entry(name).or_default() += 1;
        assert!(self.ask(command), "{command:?}");
    }

    /// What no command may do, judged by how things really are.
    fn check_command(&self, command: &Command, before: &ClusterMap, view: &View) {
        match command {
            Command::CutOver { partitions } => {
                for place in partitions {
                    let partition = partition_at(before, *place).expect("it was applied");
                    for member in &partition.next {
                        let proof = (member.node, *place);
                        assert!(self.proofs.contains(&proof), "{proof:?} was never proven");
                    }
                }
            }
            Command::Intend { intents } => {
                for intent in intents {
                    check_nobody_is_dropped(before, intent);
                }
            }
            Command::Reseat { place, members } => self.check_reseat(*place, members, before, view),
            _ => {}
        }
    }

    fn check_reseat(&self, place: Place, members: &[NodeId], before: &ClusterMap, view: &View) {
        let keyspace = before.keyspace_of(place.keyspace).expect("it was applied");
        assert_eq!(keyspace.engine, EngineKind::Memory, "nobody accepted that loss");
        let partition = partition_at(before, place).expect("it was applied");
        let lost = partition.replicas.iter().filter(|member| !self.counts(**member, place));
        assert!(lost.count() > 0, "nothing was lost of {place:?}");
        for member in &partition.replicas {
            let is_given_up = view.is_down_for(member.node, PATIENCE_MS);
            let is_left_out = !members.contains(&member.node);
            let is_member = before.is_member(member.node);
            let counts = self.counts(*member, place) && is_member;
            assert!(!(counts && is_left_out) || is_given_up, "{member:?} was left out");
        }
    }

    /// Whether a present owner's copy has kept what it acknowledged, really.
    fn counts(&self, member: Member, place: Place) -> bool {
        self.map().is_member(member.node) && self.has_life(member, place)
    }

    /// Every acknowledged write is seen by every quorum of copies that count.
    fn check_data(&self) {
        for (place, partition) in places(self.map()) {
            let key = (place.keyspace, place.partition);
            let Some(acknowledged) = self.acknowledged.get(&key) else { continue };
            let counting =
                partition.replicas.iter().filter(|member| self.has_life(**member, place));
            let copies: Vec<_> =
                counting.map(|member| &self.nodes[&member.node].copies[&key].holds).collect();
            for write in acknowledged {
                let without = copies.iter().filter(|holds| !holds.contains(write)).count();
                let need = quorum(partition.replicas.len());
                assert!(without < need, "write {write} of {place:?} may be missed: {partition:?}");
            }
        }
    }

    /// No more is under way than may be, as the planner saw it.
    fn check_room(&self, planned_on: &ClusterMap, after: &ClusterMap, view: &View) {
        let (before, after) = (self.under_way(planned_on, view), self.under_way(after, view));
        for (node, moves) in after {
            let most = match node {
                Some(_) => limits().moves_per_node.get(),
                None => limits().moves.get(),
            };
            let most = most.max(before.get(&node).copied().unwrap_or(0));
            assert!(moves <= most, "{moves} moves at {node:?}");
        }
    }

    /// How many changes are under way, in all and by who has to copy. Those that have to wait for
    /// another intent, because a copy was lost on the way, are none.
    fn under_way(&self, map: &ClusterMap, view: &View) -> BTreeMap<Option<NodeId>, usize> {
        let mut moves = BTreeMap::new();
        for (place, partition) in places(map) {
            let next = &partition.next;
            let stands_still = |member: &Member| {
                let is_lost = self.knows(member.node, place) && !self.has_life(*member, place);
                is_lost || !view.is_up(member.node)
            };
            if next.is_empty() || next.iter().any(stands_still) {
                continue;
            }
            *moves.entry(None).or_default() += 1;
            for member in next.iter().filter(|member| !partition.replicas.contains(member)) {
                *moves.entry(Some(member.node)).or_default() += 1;
            }
        }
        moves
    }
}

/// Only nodes that are gone are left out of an intent.
fn check_nobody_is_dropped(before: &ClusterMap, intent: &Intent) {
    let partition = partition_at(before, intent.place()).expect("it was applied");
    for member in &partition.replicas {
        let stays = intent.next.contains(&member.node) || !before.is_member(member.node);
        assert!(stays, "{member:?} was to leave {intent:?}");
    }
}

/// The life that the map wants of a node's copy: of both, the one to come.
fn named(partition: &Partition, node: NodeId) -> Option<ReplicaIncarnation> {
    let mut members = partition.next.iter().chain(&partition.replicas);
    members.find(|member| member.node == node).map(|member| member.incarnation)
}

pub(super) fn places(map: &ClusterMap) -> impl Iterator<Item = (Place, &Partition)> {
    map.keyspaces.values().flat_map(|found| {
        let keyspace = found.incarnation;
        (0..)
            .map(PartitionId)
            .zip(&found.partitions)
            .map(move |(partition, held)| (Place { keyspace, partition, epoch: held.epoch }, held))
    })
}

fn partition_at(map: &ClusterMap, place: Place) -> Option<&Partition> {
    map.keyspace_of(place.keyspace)?.partitions.get(usize::from(place.partition.0))
}
