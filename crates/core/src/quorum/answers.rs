//! What the replicas of one round have said so far.

use super::Member;
use crate::ids::NodeId;

/// One answer per node, the last one it gave. Few, so a list.
#[derive(Clone, Debug)]
pub(super) struct Answers<A> {
    given: Vec<(Member, A)>,
    /// Nodes from which nothing will come.
    failed: Vec<NodeId>,
}

impl<A> Answers<A> {
    pub(super) const fn new() -> Self {
        Self { given: Vec::new(), failed: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.given.clear();
        self.failed.clear();
    }

    pub(super) fn insert(&mut self, from: Member, answer: A) {
        self.failed.retain(|node| *node != from.node);
        self.given.retain(|(member, _)| member.node != from.node);
        self.given.push((from, answer));
    }

    /// Nothing will come from `node`; what it said stays said.
    pub(super) fn fail(&mut self, node: NodeId) {
        if !self.has(node) && !self.failed.contains(&node) {
            self.failed.push(node);
        }
    }

    /// Nothing will come from `node`, and what it said counts no more.
    pub(super) fn lose(&mut self, node: NodeId) {
        self.given.retain(|(member, _)| member.node != node);
        self.fail(node);
    }

    pub(super) fn has(&self, node: NodeId) -> bool {
        self.given.iter().any(|(member, _)| member.node == node)
    }

    pub(super) fn has_failed(&self, node: NodeId) -> bool {
        self.failed.contains(&node)
    }

    /// What `member` said; nothing if the node spoke in another life of its copy.
    pub(super) fn of(&self, member: Member) -> Option<&A> {
        self.given.iter().find(|(from, _)| *from == member).map(|(_, answer)| answer)
    }

    /// The same, to be amended.
    pub(super) fn of_mut(&mut self, member: Member) -> Option<&mut A> {
        self.given.iter_mut().find(|(from, _)| *from == member).map(|(_, answer)| answer)
    }

    /// What `node` said, in whatever life of its copy.
    pub(super) fn of_node(&self, node: NodeId) -> Option<&A> {
        self.given.iter().find(|(from, _)| from.node == node).map(|(_, answer)| answer)
    }

    /// How many nodes have answered.
    pub(super) const fn given(&self) -> usize {
        self.given.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Member, &A)> {
        self.given.iter().map(|(member, answer)| (*member, answer))
    }
}
