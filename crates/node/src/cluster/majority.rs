//! Says once that the majority of the voters is missing, and once that it is back.
//!
//! Raft itself would say so again and again, of every voter and every attempt.
//!
//! Holds: what is told is what this node believes of the others; nothing follows from it.
//!
//! Does not know: who leads, what is to be decided.

use super::events::{all_called, what};
use super::{Cluster, Events, Liveness, over};
use shoal_core::NodeId;
use shoal_core::map::ClusterMap;
use shoal_meta::MapStore as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long a majority is missing before that is told: who has just started has not heard of anybody.
const DOUBT: Duration = Duration::from_secs(3);

/// Watches the majority until the node stops.
pub(super) async fn run(cluster: Arc<Cluster>) {
    let watching = Watching { liveness: &cluster.liveness, events: &cluster.events };
    let mut stop = cluster.stop.subscribe();
    tokio::select! {
        () = over(&mut stop) => {}
        () = watching.always(cluster.store.voters(), || cluster.store.current()) => {}
    }
}

struct Watching<'c> {
    liveness: &'c Liveness,
    events: &'c Events,
}

impl Watching<'_> {
    async fn always(
        &self,
        mut voters: watch::Receiver<BTreeSet<NodeId>>,
        map: impl Fn() -> Arc<ClusterMap>,
    ) {
        let mut view = self.liveness.changed();
        let mut is_told = false;
        loop {
            let now = voters.borrow_and_update().clone();
            view.mark_unchanged();
            let away = self.away(&now);
            let is_missing = away.len() * 2 >= now.len() && !now.is_empty();
            if is_told && !is_missing {
                is_told = false;
                let text = "a majority of the voters is back: the map can be changed again";
                self.events.say(what::MAJORITY_BACK, text.to_owned());
            }
            let wait = is_missing && !is_told;
            tokio::select! {
                changed = voters.changed() => if changed.is_err() { return },
                changed = view.changed() => if changed.is_err() { return },
                () = sleep(DOUBT), if wait => {
                    is_told = true;
                    let names = all_called(&map(), self.away(&now));
                    let text = format!(
                        "{names} of {} voters cannot be reached: no change of the map can be \
                         decided until a majority is back; reads and writes go on where they have \
                         a quorum",
                        now.len()
                    );
                    tracing::warn!("{text}");
                    self.events.say(what::MAJORITY_LOST, text);
                }
            }
        }
    }

    fn away(&self, voters: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let view = self.liveness.view();
        voters.iter().copied().filter(|voter| !view.is_up(*voter)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::rig::{address_of, map_of};
    use crate::membership::{MemberState, Seen};
    use shoal_core::MapVersion;

    fn seen(node: u32, state: MemberState) -> Seen {
        Seen {
            node: NodeId(node),
            start: 1,
            address: address_of(node),
            state,
            since: Duration::ZERO,
            heard: None,
            map_version: MapVersion::default(),
            load: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_once_that_a_majority_is_missing_and_once_that_it_is_back() {
        let (liveness, events) = (Arc::new(Liveness::new(NodeId(1))), Arc::new(Events::default()));
        let (map, voters) = (Arc::new(map_of(3)), BTreeSet::from([1, 2, 3].map(NodeId)));
        let (_keep, voters) = watch::channel(voters);
        let told = || events.all().into_iter().map(|event| event.what).collect::<Vec<_>>();
        let (there, at, of) = (Arc::clone(&liveness), Arc::clone(&events), Arc::clone(&map));
        tokio::spawn(async move {
            Watching { liveness: &there, events: &at }
                .always(voters, move || Arc::clone(&of))
                .await;
        });
        let both = |state| [seen(2, state), seen(3, state)];
        // Nobody was heard of yet.
        sleep(DOUBT / 2).await;
        liveness.show(&both(MemberState::Up), &map);
        sleep(DOUBT * 2).await;
        assert!(told().is_empty());
        for _ in 0..5 {
            liveness.show(&both(MemberState::Down), &map);
            sleep(DOUBT * 2).await;
            liveness.show(&both(MemberState::Left), &map);
            sleep(DOUBT * 2).await;
        }
        assert_eq!(told(), [what::MAJORITY_LOST]);
        assert!(events.all()[0].text.contains("m2 (n2), m3 (n3)"), "{}", events.all()[0].text);
        liveness.show(&[seen(2, MemberState::Up)], &map);
        sleep(DOUBT * 2).await;
        assert_eq!(told(), [what::MAJORITY_LOST, what::MAJORITY_BACK]);
    }
}
