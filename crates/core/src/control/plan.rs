//! The planner.
//!
//! Holds: of one partition, one command at a time. What is proven is finished before anything new
//! begins; what is most endangered begins first.

use super::limits::NODES_PER_COMMAND;
use super::report::Reports;
use super::room::Room;
use super::standing::{Left, Standing};
use super::survey::Survey;
use super::wish::{Wish, Wishes};
use super::{Happened, Limits, Plan, Report, Step, View};
use crate::ids::NodeId;
use crate::map::{ClusterMap, Command, Intent, MAX_PLACES, NodeState, Place};
use std::collections::BTreeMap;

/// What the leader of the map plans with. A new leader starts with an empty one.
#[derive(Clone, Debug, Default)]
pub struct Control {
    limits: Limits,
    pub(super) reports: Reports,
    /// What was last told of partitions that wait for a loss to be accepted.
    awaiting: BTreeMap<String, usize>,
}

impl Control {
    /// One that has heard nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Its bounds.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes in a report. Late, early and repeated ones do no harm.
    pub fn on(&mut self, report: Report) {
        self.reports.note(report);
    }

    /// What is to be done now. To be asked after every change of the map or the view, and now and
    /// then while reports come in. `map` is the newest that is decided: whoever has just become
    /// leader first applies all that was decided before.
    pub fn plan(&mut self, map: &ClusterMap, view: &View) -> Plan {
        self.reports.prune(map);
        let mut steps = Vec::new();
        let awaiting: BTreeMap<String, usize> = {
            let survey = Survey::of(map, view, &self.reports, &self.limits);
            self.remove_nodes(&survey, &mut steps);
            self.cut_over(&survey, &mut steps);
            self.forget(&survey, &mut steps);
            self.reseat(&survey, &mut steps);
            self.intend(map, view, survey, &mut steps)
        };
        Plan { steps, notices: self.tell(awaiting) }
    }

    /// Lets partitions on disk that wait for it go on with what is left, those of the keyspace of
    /// this name or all. Call it where somebody has said that the loss is accepted, until nothing
    /// waits any more.
    #[must_use]
    pub fn accept_loss(&self, map: &ClusterMap, view: &View, keyspace: Option<&str>) -> Vec<Step> {
        let chosen = map.keyspaces.values();
        let chosen = chosen.filter(|found| keyspace.is_none_or(|name| found.name == name));
        chosen
            .flat_map(|keyspace| Standing::all(map, view, &self.reports, keyspace))
            .filter(|standing| standing.left(&self.limits) == Left::AwaitsAcceptance)
            .filter(|standing| !standing.is_proven())
            .filter_map(|standing| Some((standing, standing.what_is_left()?)))
            .map(|(standing, left)| go_on(&standing, &left))
            .take(self.limits.commands_per_plan.get())
            .collect()
    }

    fn is_full(&self, steps: &[Step]) -> bool {
        steps.len() >= self.limits.commands_per_plan.get()
    }

    fn remove_nodes(&self, survey: &Survey<'_>, steps: &mut Vec<Step>) {
        for node in survey.unnamed.iter().copied() {
            if self.is_full(steps) {
                return;
            }
            let happened = vec![Happened::NodeRemoved { node }];
            steps.push(Step { command: Command::RemoveNode { node }, happened });
        }
    }

    fn cut_over(&self, survey: &Survey<'_>, steps: &mut Vec<Step>) {
        for proven in survey.proven.chunks(self.limits.partitions_per_command.get()) {
            if self.is_full(steps) {
                return;
            }
            let partitions = proven.iter().map(|standing| standing.place).collect();
            let moved = proven.iter().map(|standing| Happened::Moved {
                keyspace: standing.keyspace.name.clone(),
                partition: standing.place.partition,
                to: standing.partition.next.iter().map(|member| member.node).collect(),
            });
            steps
                .push(Step { command: Command::CutOver { partitions }, happened: moved.collect() });
        }
    }

    fn forget(&self, survey: &Survey<'_>, steps: &mut Vec<Step>) {
        for (node, places) in &survey.forgotten {
            for partitions in places.chunks(self.limits.partitions_per_command.get()) {
                if self.is_full(steps) {
                    return;
                }
                let partitions = partitions.to_vec();
                let command = Command::Forgotten { node: *node, partitions };
                steps.push(Step { command, happened: Vec::new() });
            }
        }
    }

    fn reseat(&self, survey: &Survey<'_>, steps: &mut Vec<Step>) {
        for (standing, left) in &survey.bereft {
            if self.is_full(steps) {
                return;
            }
            steps.push(go_on(standing, left));
        }
    }

    /// Says also how many partitions wait for a loss to be accepted.
    fn intend(
        &self,
        map: &ClusterMap,
        view: &View,
        survey: Survey<'_>,
        steps: &mut Vec<Step>,
    ) -> BTreeMap<String, usize> {
        let Survey { wanting, takers, mut room, mut places, awaiting, .. } = survey;
        let awaiting = awaiting.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        let mut wishes = Wishes::new(map, self.limits, &takers);
        let most = self.limits.partitions_per_command.get();
        let mut batch = Batch::default();
        for standing in &wanting {
            if self.is_full(steps) {
                return awaiting;
            }
            if room.is_full() && !standing.partition.is_moving() {
                continue;
            }
            let all =
                || Standing::all(map, view, &self.reports, standing.keyspace).collect::<Vec<_>>();
            let wish = wishes.of(standing, all);
            let chosen = if standing.partition.is_moving() {
                self.instead(standing, wish, view, &mut room)
            } else {
                begin(map, standing, wish, view, &mut room)
            };
            let Some(wish) = chosen else { continue };
            if places + wish.next.len() > MAX_PLACES {
                continue;
            }
            places += wish.next.len();
            batch.add(standing, wish);
            if batch.is_full(most) {
                steps.push(std::mem::take(&mut batch).into_step());
            }
        }
        if !batch.intents.is_empty() && !self.is_full(steps) {
            steps.push(batch.into_step());
        }
        awaiting
    }

    /// What takes the place of a change that is spoiled.
    fn instead(
        &self,
        standing: &Standing<'_>,
        wish: Wish,
        view: &View,
        room: &mut Room,
    ) -> Option<Wish> {
        if !wish.is_present(standing) && wish.is_up(view) && room.fits(&wish.receivers) {
            room.take(&wish.receivers);
            return Some(wish);
        }
        // Who never came must not make it harder to reach a quorum than it was without them.
        let back = Wish::of_present(standing);
        (back.is_present(standing) && standing.has_given_up(&self.limits)).then_some(back)
    }

    /// What there is to tell of partitions that wait for a loss to be accepted.
    fn tell(&mut self, awaiting: BTreeMap<String, usize>) -> Vec<Happened> {
        let before = std::mem::replace(&mut self.awaiting, awaiting);
        let over = before.keys().filter(|name| !self.awaiting.contains_key(*name));
        let over = over.map(|name| (name.clone(), 0));
        let others = self.awaiting.iter().filter(|(name, count)| before.get(*name) != Some(count));
        let others = others.map(|(name, count)| (name.clone(), *count));
        over.chain(others)
            .map(|(keyspace, partitions)| Happened::AwaitingAcceptance { keyspace, partitions })
            .collect()
    }
}

/// Whether and how a change begins of a partition in which none is under way.
fn begin(
    map: &ClusterMap,
    standing: &Standing<'_>,
    wish: Wish,
    view: &View,
    room: &mut Room,
) -> Option<Wish> {
    let may_begin =
        |wish: &Wish| !wish.is_present(standing) && wish.is_up(view) && room.fits(&wish.receivers);
    let shrinks = |wish: &Wish| wish.next.len() < standing.partition.replicas.len();
    let wish = if may_begin(&wish) {
        wish
    } else {
        // What is lost does not wait for those who would only be one more.
        Some(Wish::of_present(standing)).filter(|wish| !shrinks(wish) && may_begin(wish))?
    };
    // Where there are going to be fewer, whoever is about to become a member is waited for.
    let mut coming = map.nodes.iter().filter(|(_, info)| info.state == NodeState::Joining);
    if shrinks(&wish) && coming.any(|(node, _)| view.is_up(*node)) {
        return None;
    }
    room.take(&wish.receivers);
    Some(wish)
}

fn go_on(standing: &Standing<'_>, left: &[NodeId]) -> Step {
    let lost = Happened::DataLost {
        keyspace: standing.keyspace.name.clone(),
        partition: standing.place.partition,
        from: standing.partition.replicas.iter().map(|member| member.node).collect(),
        left: left.to_vec(),
    };
    let command = Command::Reseat { place: standing.place, members: left.to_vec() };
    Step { command, happened: vec![lost] }
}

/// Intents that go into one command.
#[derive(Default)]
struct Batch {
    intents: Vec<Intent>,
    happened: Vec<Happened>,
    /// How many nodes the intents name.
    nodes: usize,
}

impl Batch {
    fn add(&mut self, standing: &Standing<'_>, wish: Wish) {
        let Place { keyspace, partition, epoch } = standing.place;
        let name = standing.keyspace.name.clone();
        self.happened.push(if wish.is_present(standing) {
            Happened::TakenBack { keyspace: name, partition }
        } else {
            Happened::Moving {
                keyspace: name,
                partition,
                from: standing.partition.replicas.iter().map(|member| member.node).collect(),
                to: wish.next.clone(),
                renewed: wish.renewed.clone(),
            }
        });
        let Wish { next, renewed, .. } = wish;
        self.push(Intent { keyspace, partition, epoch, next, renewed });
    }

    fn push(&mut self, intent: Intent) {
        self.nodes += intent.next.len() + intent.renewed.len();
        self.intents.push(intent);
    }

    /// Whether it has `most` intents, or names as many nodes as one command may.
    const fn is_full(&self, most: usize) -> bool {
        self.intents.len() >= most || self.nodes >= NODES_PER_COMMAND
    }

    fn into_step(self) -> Step {
        Step { command: Command::Intend { intents: self.intents }, happened: self.happened }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::command;
    use crate::ids::{Epoch, Incarnation, PartitionId};
    use crate::map::MAX_NODES;

    /// Every node on every partition: a command stays far below what the map's log takes.
    #[test]
    fn intents_that_name_many_nodes_go_into_several_commands() {
        let nodes: Vec<NodeId> = (1..).map(NodeId).take(MAX_NODES).collect();
        let mut batch = Batch::default();
        for partition in (0..256).map(PartitionId) {
            if batch.is_full(256) {
                break;
            }
            let (next, renewed) = (nodes.clone(), nodes.clone());
            let (keyspace, epoch) = (Incarnation(1), Epoch::default());
            batch.push(Intent { keyspace, partition, epoch, next, renewed });
        }
        assert!(batch.intents.len() < 256, "the nodes fill it before");
        let bytes = command::encode(&batch.into_step().command).len();
        assert!(bytes < 300 << 10, "{bytes} bytes");
    }
}
