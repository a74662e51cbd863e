//! What a node does while it leads the map: it plans, and proposes what comes of it.
//!
//! Holds: the planner begins with nothing whenever the node comes to lead, and only once all that
//! was decided before is applied here. Steps are proposed one after the other; one that is refused
//! came too late and is planned anew. Which nodes vote is changed beside it, since a new voter may
//! take its time.
//!
//! Does not know: what is planned and why: that is [`Control`]'s.

use super::events::{all_called, called, what};
use super::{Cluster, Events, Liveness, over};
use parking_lot::Mutex;
use shoal_core::NodeId;
use shoal_core::control::{ClusterStatus, Control, Happened, Limits, Report, Step, voters};
use shoal_core::map::ClusterMap;
use shoal_meta::raft::{Leadership, RaftStore, Role};
use shoal_meta::{MapStore, MetaError};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// How often the planner is asked without a reason: patience runs out without anything changing.
const PERIOD: Duration = Duration::from_secs(1);
/// Between two plans, so that what comes together is looked at together.
const PAUSE: Duration = Duration::from_millis(20);
/// How soon voters that could not be changed are tried again.
const VOTERS_PAUSE: Duration = Duration::from_secs(3);
/// How often a plan of which nothing is taken is made anew for somebody who waits.
const ROUNDS: usize = 8;

/// What the leader of the map keeps in mind.
#[derive(Default)]
pub(crate) struct Lead {
    /// The planner, while this node leads and knows all that was decided.
    control: Mutex<Option<Control>>,
    news: Notify,
}

impl Lead {
    /// There is something new to plan with.
    pub(crate) fn wake(&self) {
        self.news.notify_one();
    }
}

/// Leads whenever it falls to this node, until the node stops.
pub(crate) async fn run(cluster: Arc<Cluster>) {
    let mut stop = cluster.stop.subscribe();
    let chair = Chair::of(&cluster);
    tokio::select! {
        biased;
        () = over(&mut stop) => {}
        () = chair.plan_always() => {}
        () = chair.choose_voters_always() => {}
        () = chair.tell_who_leads() => {}
    }
    *cluster.lead.control.lock() = None;
}

/// How the cluster is, as this node knows it. Only the leader of the map has heard what copies
/// report.
pub(crate) fn status(cluster: &Cluster) -> ClusterStatus {
    Chair::of(cluster).status()
}

/// Lets partitions that have lost too many copies go on with what is left: those of the keyspace of
/// this name, or all. Says how many.
///
/// # Errors
/// [`MetaError::NotLeader`] where another node leads; what else [`RaftStore::propose_async`] says.
pub(crate) async fn accept_loss(
    cluster: &Cluster,
    keyspace: Option<&str>,
) -> Result<usize, MetaError> {
    Chair::of(cluster).accept_loss(keyspace).await
}

/// Whoever leads, or may come to lead.
#[derive(Clone, Copy)]
pub(super) struct Chair<'c> {
    pub(super) me: NodeId,
    pub(super) store: &'c RaftStore,
    pub(super) liveness: &'c Liveness,
    pub(super) events: &'c Events,
    pub(super) lead: &'c Lead,
    pub(super) reports: &'c Mutex<Vec<Report>>,
    pub(super) heard: &'c Mutex<Vec<Report>>,
}

impl<'c> Chair<'c> {
    fn of(cluster: &'c Cluster) -> Self {
        let Cluster { me, store, liveness, events, lead, reports, heard, .. } = cluster;
        Self { me: *me, store, liveness, events, lead, reports, heard }
    }

    /// Plans whenever this node leads. Runs for ever.
    pub(super) async fn plan_always(self) {
        let mut leadership = self.store.leadership();
        loop {
            let mine = leadership.wait_for(|now| now.leader == Some(self.me)).await;
            let Ok(term) = mine.map(|now| *now) else { return };
            self.apply_what_was_decided(term).await;
            if self.leads(term) {
                *self.lead.control.lock() = Some(Control::new(Limits::default()));
                self.plan_for(term).await;
                *self.lead.control.lock() = None;
            }
        }
    }

    /// Whether it still falls to this node, and in the same term.
    fn leads(self, term: Leadership) -> bool {
        *self.store.leadership().borrow() == term
    }

    /// Waits until all is applied that was in the log when this node came to lead: whatever was
    /// decided before is among it.
    async fn apply_what_was_decided(self, term: Leadership) {
        let mut last = None;
        while self.leads(term) {
            let status = self.store.status();
            if status.role == Role::Leader {
                let last = *last.get_or_insert(status.last_log);
                if status.applied >= last {
                    return;
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn plan_for(self, term: Leadership) {
        let mut leadership = self.store.leadership();
        let mut maps = self.store.subscribe();
        let mut view = self.liveness.changed();
        while self.leads(term) {
            // What changes from here on is planned with the next time.
            maps.mark_unchanged();
            view.mark_unchanged();
            self.plan(term).await;
            sleep(PAUSE).await;
            tokio::select! {
                _ = leadership.changed() => {}
                _ = maps.changed() => {}
                _ = view.changed() => {}
                () = self.lead.news.notified() => {}
                () = sleep(PERIOD) => {}
            }
        }
    }

    /// Makes one plan and carries it out.
    async fn plan(self, term: Leadership) {
        let steps = {
            let mut control = self.lead.control.lock();
            let Some(control) = control.as_mut() else { return };
            let map = self.store.current();
            self.hear_into(control, &map);
            let plan = control.plan(&map, &self.liveness.view());
            self.tell(&map, &plan.notices);
            plan.steps
        };
        for step in steps {
            if !self.leads(term) {
                return;
            }
            match self.carry_out(&step).await {
                Ok(_) => {}
                Err(error) => {
                    return tracing::debug!(%error, "a step of the leader's plan was not taken");
                }
            }
        }
    }

    /// Tells the planner what was reported, by this node's own copies too.
    fn hear_into(self, control: &mut Control, map: &ClusterMap) {
        let heard = take(&mut *self.heard.lock());
        let own = self.reports.lock().clone();
        let own = own.into_iter().filter(|report| report.place().epoch <= map.version);
        heard.into_iter().chain(own).for_each(|report| control.on(report));
    }

    /// Proposes a step. Whether it was taken: one that was refused came too late.
    async fn carry_out(self, step: &Step) -> Result<bool, MetaError> {
        match self.store.propose_async(&step.command).await {
            Ok(map) => {
                self.tell(&map, &step.happened);
                Ok(true)
            }
            Err(MetaError::Refused(why)) => {
                tracing::debug!(%why, "a step of the leader's plan came too late");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn accept_loss(self, keyspace: Option<&str>) -> Result<usize, MetaError> {
        let (mut accepted, mut in_vain) = (0, 0);
        while in_vain < ROUNDS {
            let steps = {
                let mut control = self.lead.control.lock();
                let Some(control) = control.as_mut() else {
                    let leader = self.store.leadership().borrow().leader;
                    let leader = leader.filter(|leader| *leader != self.me);
                    return Err(MetaError::NotLeader { leader });
                };
                let map = self.store.current();
                self.hear_into(control, &map);
                control.accept_loss(&map, &self.liveness.view(), keyspace)
            };
            if steps.is_empty() {
                break;
            }
            in_vain += 1;
            for step in steps {
                if self.carry_out(&step).await? {
                    (accepted, in_vain) = (accepted + 1, 0);
                }
            }
        }
        self.lead.wake();
        Ok(accepted)
    }

    fn status(self) -> ClusterStatus {
        let (map, view) = (self.store.current(), self.liveness.view());
        if let Some(control) = self.lead.control.lock().as_ref() {
            return control.status(&map, &view);
        }
        let mut control = Control::default();
        self.reports.lock().iter().for_each(|report| control.on(*report));
        control.status(&map, &view)
    }

    /// Changes who votes, where that is better, while this node leads. Runs for ever.
    pub(super) async fn choose_voters_always(self) {
        let (mut leadership, mut maps) = (self.store.leadership(), self.store.subscribe());
        let mut view = self.liveness.changed();
        while leadership.wait_for(|now| now.leader == Some(self.me)).await.is_ok() {
            // What changes from here on is looked at the next time.
            maps.mark_unchanged();
            view.mark_unchanged();
            let is_well = self.choose_voters().await;
            sleep(PAUSE).await;
            // A change of voters raises no version, so nothing tells when one is over.
            tokio::select! {
                _ = maps.changed(), if is_well => {}
                _ = view.changed(), if is_well => {}
                () = sleep(if is_well { PERIOD } else { VOTERS_PAUSE }) => {}
            }
        }
    }

    /// Whether all is well.
    async fn choose_voters(self) -> bool {
        if self.lead.control.lock().is_none() {
            return true;
        }
        let (map, present) = (self.store.current(), self.store.status().voters);
        let Some(change) = voters::choose(&map, &self.liveness.view(), &present) else {
            return true;
        };
        let wanted = change.applied_to(&present);
        match self.store.set_voters(wanted.clone()).await {
            Ok(()) => {
                let text = format!("{} vote on the map", all_called(&map, wanted));
                self.events.say(what::VOTERS, text);
                true
            }
            Err(error) => {
                tracing::debug!(%error, ?wanted, "could not change who votes");
                false
            }
        }
    }

    /// Notes every change of the leader that is heard of. Runs for ever.
    async fn tell_who_leads(self) {
        let mut leadership = self.store.leadership();
        let mut told = Leadership::default();
        loop {
            let now = *leadership.borrow_and_update();
            if let Some(leader) = now.leader.filter(|_| now != told) {
                told = now;
                let leader = called(&self.store.current(), leader);
                let text = format!("{leader} leads the map in term {}", now.term);
                self.events.say(what::LEADER, text);
            }
            if leadership.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Notes what happened, partitions of one keyspace together.
    fn tell(self, map: &ClusterMap, happened: &[Happened]) {
        let mut told: BTreeMap<_, Together> = BTreeMap::new();
        for happened in happened {
            let (what, keyspace, nodes, anew, partitions) = match happened {
                // Every node sees that in its map.
                Happened::NodeRemoved { .. } => continue,
                Happened::Moving { keyspace, to, renewed, .. } => {
                    (what::MOVING, keyspace, &to[..], &renewed[..], 1)
                }
                Happened::Moved { keyspace, to, .. } => {
                    (what::MOVED, keyspace, &to[..], &[][..], 1)
                }
                Happened::TakenBack { keyspace, .. } => {
                    (what::TAKEN_BACK, keyspace, &[][..], &[][..], 1)
                }
                Happened::DataLost { keyspace, left, .. } => {
                    (what::DATA_LOST, keyspace, &left[..], &[][..], 1)
                }
                Happened::AwaitingAcceptance { keyspace, partitions } => {
                    (what::AWAITING_ACCEPTANCE, keyspace, &[][..], &[][..], *partitions)
                }
            };
            let together = told.entry((what, keyspace)).or_default();
            together.partitions += partitions;
            together.nodes.extend(nodes);
            together.anew.extend(anew);
        }
        for ((what, keyspace), together) in told {
            self.events.say(what, together.sentence(what, keyspace, map));
        }
    }
}

/// What happened to partitions of one keyspace at one time.
#[derive(Default)]
struct Together {
    partitions: usize,
    nodes: BTreeSet<NodeId>,
    anew: BTreeSet<NodeId>,
}

impl Together {
    fn sentence(&self, what: &'static str, keyspace: &str, map: &ClusterMap) -> String {
        let of = match self.partitions {
            1 => format!("1 partition of {keyspace}"),
            partitions => format!("{partitions} partitions of {keyspace}"),
        };
        let nodes = all_called(map, self.nodes.iter().copied());
        match what {
            what::MOVING if self.anew.is_empty() => format!("{of}: on the way to {nodes}"),
            what::MOVING => {
                let anew = all_called(map, self.anew.iter().copied());
                format!("{of}: on the way to {nodes}, where {anew} begin anew")
            }
            what::MOVED => format!("{of}: held by {nodes} from now on"),
            what::TAKEN_BACK => format!("{of}: staying where they are"),
            what::DATA_LOST => format!(
                "{of}: going on with what {nodes} still have; acknowledged records may be lost"
            ),
            _ => format!("{of}: waiting for somebody to accept a loss"),
        }
    }
}

#[cfg(test)]
mod tests;
