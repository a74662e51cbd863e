//! Changes of owners: the control loop, simplified to one that sees everything, and the proofs of
//! those who come in.

use super::World;
use shoal_core::movement::{Intake, IntakeEffect};
use shoal_core::quorum::{Event, Member, Owners};
use shoal_core::{NodeId, ReplicaIncarnation};
use std::collections::BTreeSet;
use std::sync::Arc;

impl World {
    /// Names new owners, at random, or takes up a change that is under way.
    pub(super) fn move_somewhere(&mut self) {
        let owners = Arc::clone(self.map.newest());
        let size = self.rng.usize(1..=(self.options.nodes as usize).min(5));
        let mut nodes: Vec<u32> = (1..=self.options.nodes).collect();
        self.rng.shuffle(&mut nodes);
        let incarnation = ReplicaIncarnation(self.map.next_index());
        let next = nodes.into_iter().take(size).map(|node| {
            let node = NodeId(node);
            let kept = owners.replicas.iter().find(|member| member.node == node);
            kept.copied().unwrap_or(Member { node, incarnation })
        });
        let next: Vec<Member> = next.collect();
        if next != owners.replicas {
            self.propose(&owners, owners.replicas.clone(), next);
        }
    }

    /// Lets copies that lost their state back in, by an intent that names them anew.
    pub(super) fn readmit(&mut self) {
        let owners = Arc::clone(self.map.newest());
        let lost: BTreeSet<NodeId> = self
            .nodes
            .iter()
            .filter(|node| node.up && node.replica.owners().epoch == owners.epoch)
            .filter(|node| node.replica.is_lost())
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
        self.propose(&owners, owners.replicas.clone(), next);
    }

    fn propose(&mut self, seen: &Owners, replicas: Vec<Member>, next: Vec<Member>) {
        if self.map.propose(seen.epoch, replicas, next) {
            self.proven.clear();
        }
    }

    /// A member of `next` begins its proof.
    pub(super) fn begin_intake(&mut self, at: NodeId) {
        let id = self.new_op();
        let node = self.node(at);
        node.intake = None;
        let (me, owners) = (node.replica.member(), Arc::clone(node.replica.owners()));
        if !owners.next.contains(&me) {
            return;
        }
        let mut out = Vec::new();
        let intake = Intake::start(me, owners, &mut out);
        node.intake = Some((id, intake));
        self.carry_out_intake(at, out);
    }

    pub(super) fn tend_intake(&mut self, at: NodeId) {
        let mut out = Vec::new();
        if let Some((_, intake)) = &mut self.node(at).intake {
            intake.tend(&mut out);
            if intake.is_proven() {
                out.push(IntakeEffect::Proven);
            }
        } else {
            return self.begin_intake(at);
        }
        self.carry_out_intake(at, out);
    }

    pub(super) fn intake_event(&mut self, at: NodeId, event: &Event) {
        let Event::Answered(answer) = event else { return };
        let mut out = Vec::new();
        if let Some((_, intake)) = &mut self.node(at).intake {
            intake.answered(answer, &mut out);
        }
        self.carry_out_intake(at, out);
    }

    fn carry_out_intake(&mut self, at: NodeId, effects: Vec<IntakeEffect>) {
        for effect in effects {
            let node = self.node(at);
            let Some((id, intake)) = &mut node.intake else { return };
            let (id, epoch) = (*id, intake.intent().epoch);
            match effect {
                IntakeEffect::Send { to, round, ask } => {
                    self.ask_replica(at, to, id, round, ask, epoch);
                }
                IntakeEffect::KnowFloors { floor, purged } => {
                    node.replica.know_floors(floor, purged);
                    let mut out = Vec::new();
                    intake.floors_known(&mut out);
                    self.carry_out_intake(at, out);
                }
                IntakeEffect::Proven => {
                    let member = node.replica.member();
                    self.report(member, epoch);
                }
            }
        }
    }

    /// A proof reaches the map; the last one makes `next` the owners.
    fn report(&mut self, member: Member, epoch: shoal_core::Epoch) {
        let owners = Arc::clone(self.map.newest());
        if owners.epoch != epoch || !owners.next.contains(&member) {
            return;
        }
        self.proven.insert(member);
        if owners.next.iter().all(|member| self.proven.contains(member)) {
            self.propose(&owners, owners.next.clone(), Vec::new());
            self.cut_overs += 1;
        }
    }

    /// Who is no owner any more, in either set, forgets what it held.
    pub(super) fn forget_if_gone(&mut self, at: NodeId) {
        let node = self.node(at);
        if !node.replica.owners().has_node(at) {
            node.shelf.wipe();
            node.replica.begin(ReplicaIncarnation::default());
        }
    }

    /// Whether one more copy may lose its state without anything acknowledged being lost: in each
    /// set as many must be left as meet every write quorum. Of the owners to be those count that
    /// have proven themselves, since a cut-over relies on them.
    pub(super) fn may_lose(&self, id: NodeId) -> bool {
        let owners = self.map.newest();
        let has_state =
            |member: &Member| self.nodes[member.node.0 as usize - 1].replica.member() == *member;
        let keeps = |set: &[Member], relied_on: &dyn Fn(&Member) -> bool| {
            let gone =
                |member: &&Member| member.node == id || (relied_on(member) && !has_state(member));
            let enough = set.len() + 1 - shoal_core::quorum::quorum(set.len());
            set.is_empty() || set.len() - set.iter().filter(gone).count() >= enough
        };
        keeps(&owners.replicas, &|_| true)
            && keeps(&owners.next, &|member| self.proven.contains(member))
    }
}
