//! Who is asked for a part of a walk, and who instead where that one cannot tell.
//!
//! Holds: of the present owners that are up the first is asked, then those after it, each once; then
//! a map is waited for that may say more, a bounded number of times. Nobody who did not answer is
//! asked again.
//!
//! Does not know: what is walked for.

use crate::access::Access;
use crate::cluster::{Cluster, Footing, Walk, WalkWhat, Walked, walk_over};
use crate::errand::{Reply, Ticket, What};
use crate::keyspace::Keyspace;
use crate::refusal::{Code, Halt, Refusal};
use crate::request::Target;
use crate::scope::Slots;
use bytes::Bytes;
use shoal_core::NodeId;
use shoal_core::control::executor;
use shoal_core::slot::SLOT_COUNT;
use shoal_storage::Patience;
use std::ops::Range;
use std::sync::Arc;

/// How often all owners of a part are asked, while none of them can tell.
const ROUNDS: usize = 8;

/// What was heard of a node.
pub(super) enum Heard {
    /// What was asked for.
    Walked(Walked),
    /// It does not hold the first of the slots, or not well enough.
    Elsewhere,
    /// Nothing.
    Nothing,
}

/// Who was asked in vain.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    all: Vec<NodeId>,
    /// Those of them that did not answer.
    silent: Vec<NodeId>,
}

impl Passed {
    /// Whether anybody was.
    pub(super) const fn is_any(&self) -> bool {
        !self.all.is_empty()
    }

    /// Takes note that `node` was asked in vain.
    pub(super) fn by(&mut self, node: NodeId, silently: bool) {
        self.all.push(node);
        if silently {
            self.silent.push(node);
        }
    }
}

impl<'n> Access<'n> {
    /// Who leads which slots.
    pub(super) fn runs(&self, keyspace: &Keyspace) -> Vec<(Range<u16>, NodeId)> {
        let leaders = self.node.leaders(&keyspace.definition);
        leaders.into_iter().map(|(run, leader)| (*run.start()..*run.end() + 1, leader)).collect()
    }

    /// Asks for `what` of `slots`, from the first of them on as far as one node leads them; that far,
    /// and what it said. Where it cannot tell, others are asked that may.
    pub(super) fn ask_around(
        &mut self,
        keyspace: &Arc<Keyspace>,
        slots: &Range<u16>,
        what: &WalkWhat,
        mut passed: Passed,
    ) -> Result<(Range<u16>, Walked), Halt> {
        let mut keyspace = Arc::clone(keyspace);
        for _ in 0..ROUNDS {
            while let Some((run, leader)) = self.run_of(&keyspace, slots, &passed.all) {
                let walk =
                    Walk { keyspace: keyspace.space(), slots: run.clone(), what: what.clone() };
                match self.walk(leader, &walk)? {
                    Heard::Walked(walked) => return Ok((run, walked)),
                    Heard::Elsewhere => passed.by(leader, false),
                    Heard::Nothing => passed.by(leader, true),
                }
            }
            if passed.silent.len() == passed.all.len() {
                break;
            }
            self.await_map()?;
            keyspace = self.as_it_is(&keyspace)?;
            passed.all.clone_from(&passed.silent);
        }
        if passed.silent.is_empty() {
            return Err(elsewhere().into());
        }
        Err(self.out_of_reach(&passed.silent))
    }

    /// The slots from the first of `slots` on that one node leads without those who were `passed`
    /// by; nothing where nobody is left.
    fn run_of(
        &self,
        keyspace: &Keyspace,
        slots: &Range<u16>,
        passed: &[NodeId],
    ) -> Option<(Range<u16>, NodeId)> {
        let may = |node| self.node.is_up(node) && !passed.contains(&node);
        let runs = executor::leaders(&keyspace.definition, may);
        let (run, leader) = runs.into_iter().find(|(run, _)| run.contains(&slots.start))?;
        // Where nobody is up, one is asked all the same: it may be by now.
        (passed.is_empty() || may(leader))
            .then(|| (slots.start..slots.end.min(*run.end() + 1), leader))
    }

    /// The keyspace as the newest map has it, which a transaction does not go by otherwise.
    fn as_it_is(&self, keyspace: &Keyspace) -> Result<Arc<Keyspace>, Halt> {
        let routing = self.node.catalogue.routing();
        let found = routing.find(&Target::Named(Arc::clone(&keyspace.name)));
        found.cloned().ok_or_else(|| elsewhere().into())
    }

    /// Waits a moment for another map: here where waiting is allowed, else by leaving, a few times.
    fn await_map(&mut self) -> Result<(), Halt> {
        let cluster = self.gathered()?;
        let begin = move |_: Bytes, ticket: Ticket| {
            cluster.soon(move || ticket.tell(Reply::Walked(None)));
            Ok(())
        };
        if self.patience == Patience::Inline {
            if !self.errands.retry() {
                return Err(elsewhere().into());
            }
            // As if for a command to come: this one asks for something else when it runs again.
            self.errands.foresee(0, What::Walk, &[], true, begin)?;
            return Err(Halt::Away);
        }
        self.consult(What::Walk, &[], begin)?;
        Ok(())
    }

    fn out_of_reach(&self, nodes: &[NodeId]) -> Halt {
        let name = |node: &NodeId| {
            let known = self.routing.map.nodes.get(node);
            known.map_or_else(|| node.to_string(), |info| info.name.clone())
        };
        let names: Vec<String> = nodes.iter().map(name).collect();
        let message = format!("have 0 of 1 needed, unreachable: {}", names.join(", "));
        Refusal::new(Code::NoQuorum, message).into()
    }

    /// Begins what [`Access::walk`] of another node asks `ahead` questions from now.
    pub(super) fn begin_walk(
        &mut self,
        ahead: usize,
        node: NodeId,
        walk: &Walk,
    ) -> Result<(), Halt> {
        let (body, cluster) = (walk.encode(), self.gathered()?);
        let begun = self.errands.foresee(ahead, What::Walk, &body, false, asking(cluster, node));
        begun.map_err(|halt| self.anew(halt))
    }

    /// What `node` says to a walk.
    pub(super) fn walk(&mut self, node: NodeId, walk: &Walk) -> Result<Heard, Halt> {
        self.node.is_latest()?;
        let cluster = self.gathered()?;
        let walked = if node == self.node.id() {
            if self.patience == Patience::Inline {
                return Err(Halt::Cold);
            }
            walk_over(self.node, cluster, walk.clone())
        } else {
            let body = walk.encode();
            let reply = match self.consult(What::Walk, &body, asking(cluster, node)) {
                // It was asked for something else before it came here, which is forgotten now.
                Err(Halt::Refused(_)) if self.patience == Patience::Block => {
                    self.consult(What::Walk, &body, asking(cluster, node))?
                }
                reply => reply.map_err(|halt| self.anew(halt))?,
            };
            match reply {
                Reply::Walked(Some(walked)) => walked,
                Reply::Refused(refusal) => return Err(refusal.into()),
                _ => return Ok(Heard::Nothing),
            }
        };
        match walked {
            Walked::Elsewhere => Ok(Heard::Elsewhere),
            Walked::Failed(why) => Err(Refusal::new(Code::Storage, why).into()),
            walked => Ok(Heard::Walked(walked)),
        }
    }

    /// A command that asks otherwise than it did, since the map has changed, begins anew.
    fn anew(&mut self, halt: Halt) -> Halt {
        let changed = matches!(halt, Halt::Refused(_)) && self.patience == Patience::Inline;
        if changed && self.errands.retry() { Halt::Away } else { halt }
    }

    /// The cluster that is walked over.
    pub(super) fn gathered(&self) -> Result<&'n Arc<Cluster>, Halt> {
        let node = self.node;
        node.cluster().ok_or_else(|| elsewhere().into())
    }

    /// Does `look` at those of the slots that this node leads, if it holds all of them from the
    /// beginning to the end.
    pub(crate) fn look_at_led<R>(
        &mut self,
        keyspace: &Keyspace,
        slots: &Slots,
        look: impl FnOnce(&mut Self) -> Result<R, Halt>,
    ) -> Result<R, Halt> {
        let cluster = Arc::clone(self.gathered()?);
        let incarnation = keyspace.definition.incarnation;
        let under = |run: Range<u16>| {
            let footing = Footing::under(&cluster, incarnation, &run);
            (footing.end() == run.end).then_some(footing)
        };
        let footings: Option<Vec<Footing>> = slots.runs().map(under).collect();
        let footings = footings.ok_or_else(elsewhere)?;
        let looked = look(self)?;
        if footings.iter().all(|footing| footing.holds(&cluster)) {
            return Ok(looked);
        }
        Err(elsewhere().into())
    }
}

/// Begins to ask `node`.
fn asking(
    cluster: &Arc<Cluster>,
    node: NodeId,
) -> impl FnOnce(Bytes, Ticket) -> Result<(), Refusal> + use<'_> {
    move |body, ticket| {
        cluster.ask_to_walk(node, body, move |walked| ticket.tell(Reply::Walked(walked)));
        Ok(())
    }
}

pub(super) fn elsewhere() -> Refusal {
    let message = "who holds a part of the keyspace has just changed; send it again";
    Refusal::new(Code::TryAgain, message)
}

pub(super) fn unexpected(walked: &Walked) -> Halt {
    let what = match walked {
        Walked::Count { .. } => "a count",
        Walked::Page { .. } => "a page",
        Walked::List { .. } => "a list",
        Walked::Elsewhere | Walked::Failed(_) => "a refusal",
    };
    Refusal::new(Code::Storage, format!("another answer was expected than {what}")).into()
}

/// From `slot` to the last one.
pub(super) const fn rest(slot: u16) -> Range<u16> {
    slot..SLOT_COUNT
}
