//! Changes of owners: the control loop, simplified to one that sees everything, and the proofs of
//! those who come in.

use super::World;
use crate::copy::Errand;
use crate::layout::Place;
use shoal_core::movement::{Intake, IntakeEffect};
use shoal_core::quorum::{Answer, Member, Owners};
use shoal_core::{Epoch, NodeId, ReplicaIncarnation, Slot};
use std::collections::BTreeSet;
use std::sync::Arc;

impl World {
    /// Names new owners, at random, or takes up a change that is under way.
    pub(super) fn move_somewhere(&mut self) {
        let partition = self.rng.usize(0..self.layout.partitions());
        let size = self.rng.usize(1..=(self.options.nodes as usize).min(5));
        let mut nodes: Vec<u32> = (1..=self.options.nodes).collect();
        self.rng.shuffle(&mut nodes);
        nodes.truncate(size);
        self.move_to(partition, &nodes);
    }

    /// Names these nodes the owners to be of a partition.
    pub(crate) fn move_to(&mut self, partition: usize, nodes: &[u32]) {
        let owners = Arc::clone(self.map.newest(partition));
        let incarnation = ReplicaIncarnation(self.map.next_index());
        let next = nodes.iter().map(|node| {
            let node = NodeId(*node);
            let kept = owners.replicas.iter().find(|member| member.node == node);
            kept.copied().unwrap_or(Member { node, incarnation })
        });
        let next: Vec<Member> = next.collect();
        if next != owners.replicas {
            self.propose(partition, &owners, owners.replicas.clone(), next);
        }
    }

    /// Lets copies that lost their state back in, by an intent that names them anew.
    pub(super) fn readmit(&mut self, partition: usize) {
        let owners = Arc::clone(self.map.newest(partition));
        let lost: BTreeSet<NodeId> = self
            .nodes
            .iter()
            .filter(|node| node.up && node.owners(partition).epoch == owners.epoch)
            .filter(|node| node.copies[partition].replica.is_lost())
            .map(|node| node.id)
            .collect();
        if lost.is_empty() {
            return;
        }
        let incarnation = ReplicaIncarnation(self.map.next_index());
        let wanted = if owners.next.is_empty() { &owners.replicas } else { &owners.next };
        let next = wanted.iter().map(|member| {
            let is_lost = lost.contains(&member.node);
            if is_lost { Member { incarnation, ..*member } } else { *member }
        });
        let next = next.collect();
        self.propose(partition, &owners, owners.replicas.clone(), next);
    }

    fn propose(
        &mut self,
        partition: usize,
        seen: &Owners,
        replicas: Vec<Member>,
        next: Vec<Member>,
    ) {
        if self.map.propose(partition, seen.epoch, replicas, next) {
            self.proven[partition].clear();
        }
    }

    /// A member of `next` begins its proofs, one for each slot.
    pub(super) fn begin_intakes(&mut self, at: NodeId, partition: usize) {
        self.node(at).copies[partition].intakes.clear();
        let replica = &self.node(at).copies[partition].replica;
        let (me, owners) = (replica.member(), Arc::clone(replica.owners()));
        if !owners.next.contains(&me) {
            return;
        }
        // Floors are those of the partition: one slot asks for them, the others begin after that.
        if let Some(slot) = self.layout.slots(partition).first().copied() {
            let mut out = Vec::new();
            let machine = Intake::start(me, Arc::clone(&owners), &mut out);
            self.enter_intake(at, Place { partition, slot }, machine, out);
        }
        if owners.replicas.contains(&me) {
            self.begin_other_intakes(at, partition);
        }
    }

    /// The same for the other slots, once the floors are known.
    fn begin_other_intakes(&mut self, at: NodeId, partition: usize) {
        for slot in self.layout.slots(partition).into_iter().skip(1) {
            let copy = &self.node(at).copies[partition];
            if copy.intakes.contains_key(&slot) {
                continue;
            }
            let (me, owners) = (copy.replica.member(), Arc::clone(copy.replica.owners()));
            let mut out = Vec::new();
            let machine = Intake::start_below_known_floors(me, owners, &mut out);
            self.enter_intake(at, Place { partition, slot }, machine, out);
        }
    }

    fn enter_intake(&mut self, at: NodeId, place: Place, machine: Intake, out: Vec<IntakeEffect>) {
        let (id, slot, began_ms) = (self.new_op(), place.slot, self.elapsed_ms);
        let intake = Errand { id, slot, began_ms, machine };
        self.node(at).copies[place.partition].intakes.insert(slot, intake);
        self.carry_out_intake(at, place, out);
    }

    pub(super) fn tend_intakes(&mut self, at: NodeId, partition: usize) {
        if self.node(at).copies[partition].intakes.is_empty() {
            return self.begin_intakes(at, partition);
        }
        for slot in self.layout.slots(partition) {
            let mut out = Vec::new();
            if let Some(intake) = self.node(at).copies[partition].intakes.get_mut(&slot) {
                intake.machine.tend(&mut out);
                if intake.machine.is_proven() {
                    out.push(IntakeEffect::Proven);
                }
            }
            self.carry_out_intake(at, Place { partition, slot }, out);
        }
    }

    pub(super) fn intake_event(&mut self, at: NodeId, place: Place, answer: &Answer) {
        let mut out = Vec::new();
        let intakes = &mut self.node(at).copies[place.partition].intakes;
        if let Some(intake) = intakes.get_mut(&place.slot) {
            intake.machine.answered(answer, &mut out);
        }
        self.carry_out_intake(at, place, out);
    }

    fn carry_out_intake(&mut self, at: NodeId, place: Place, effects: Vec<IntakeEffect>) {
        for effect in effects {
            let copy = &mut self.node(at).copies[place.partition];
            let Some(intake) = copy.intakes.get_mut(&place.slot) else { return };
            let (id, epoch) = (intake.id, intake.machine.intent().epoch);
            match effect {
                IntakeEffect::Send { to, round, ask } => {
                    self.ask_replica((at, to), place.slot, id, round, ask, epoch);
                }
                IntakeEffect::KnowFloors { floor, purged } => {
                    copy.replica.know_floors(floor, purged);
                    let mut out = Vec::new();
                    intake.machine.floors_known(&mut out);
                    self.carry_out_intake(at, place, out);
                    self.begin_other_intakes(at, place.partition);
                }
                IntakeEffect::Proven => {
                    let member = copy.replica.member();
                    self.report(place, member, epoch);
                }
            }
        }
    }

    /// A proof reaches the map; the last one makes `next` the owners.
    fn report(&mut self, place: Place, member: Member, epoch: Epoch) {
        let owners = Arc::clone(self.map.newest(place.partition));
        if owners.epoch != epoch || !owners.next.contains(&member) {
            return;
        }
        self.proven[place.partition].entry(member).or_default().insert(place.slot);
        if owners.next.iter().all(|member| self.is_proven(place.partition, member)) {
            self.propose(place.partition, &owners, owners.next.clone(), Vec::new());
            self.cut_overs += 1;
        }
    }

    /// Whether a member has proven itself in every slot.
    fn is_proven(&self, partition: usize, member: &Member) -> bool {
        let slots: BTreeSet<Slot> = self.layout.slots(partition).into_iter().collect();
        self.proven[partition].get(member).is_some_and(|proven| *proven == slots)
    }

    /// Who is no owner any more, in either set, forgets what it held.
    pub(super) fn forget_if_gone(&mut self, at: NodeId, partition: usize) {
        if !self.node(at).owners(partition).has_node(at) {
            self.empty(at, partition);
            self.node(at).copies[partition].replica.begin(ReplicaIncarnation::default());
        }
    }

    /// Whether one more node may lose its state without anything acknowledged being lost: in each
    /// set as many must be left as meet every write quorum. Of the owners to be those count that
    /// have proven anything themselves, since a cut-over relies on them.
    pub(super) fn may_lose(&self, id: NodeId) -> bool {
        (0..self.layout.partitions()).all(|partition| self.may_lose_copy(id, partition))
    }

    fn may_lose_copy(&self, id: NodeId, partition: usize) -> bool {
        let owners = self.map.newest(partition);
        let has_state = |member: &Member| {
            let node = &self.nodes[member.node.0 as usize - 1];
            node.copies[partition].replica.member() == *member
        };
        let keeps = |set: &[Member], relied_on: &dyn Fn(&Member) -> bool| {
            let gone =
                |member: &&Member| member.node == id || (relied_on(member) && !has_state(member));
            let enough = set.len() + 1 - shoal_core::quorum::quorum(set.len());
            set.is_empty() || set.len() - set.iter().filter(gone).count() >= enough
        };
        let proven = |member: &Member| self.proven[partition].contains_key(member);
        keeps(&owners.replicas, &|_| true) && keeps(&owners.next, &proven)
    }
}
