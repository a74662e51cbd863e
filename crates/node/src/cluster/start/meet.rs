//! A node among others: the first map it takes over, and every one after that.
//!
//! Holds: while a node that was alone becomes one of several, its requests wait for a moment and
//! none is lost.
//!
//! Does not know: how maps are agreed on.

use super::super::identity::Tokens;
use super::super::{Cluster, over};
use super::MAX_VALUE_AMONG;
use crate::node::{Node, StartError};
use crate::refusal::{Code, Refusal};
use shoal_core::map::{ClusterMap, Command};
use shoal_meta::MapStore as _;
use shoal_meta::raft::RaftStore;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::sleep;

/// How soon a map that could not be taken over is tried again.
const TAKE_OVER_AGAIN: Duration = Duration::from_secs(1);

/// Takes over every newer map.
pub(super) async fn follow_maps(node: Weak<Node>, cluster: Arc<Cluster>) {
    let mut maps = cluster.store.subscribe();
    let mut stop = cluster.stop.subscribe();
    loop {
        let map = Arc::clone(&maps.borrow_and_update());
        let there = node.clone();
        let adopting = move || there.upgrade().map_or(Ok(()), |node| node.adopt(&map));
        let adopted = tokio::task::spawn_blocking(adopting).await;
        let again = match adopted {
            Ok(Ok(())) => None,
            Ok(Err(refusal)) => {
                tracing::error!(%refusal, "a map could not be taken over; it is tried again");
                Some(TAKE_OVER_AGAIN)
            }
            Err(error) => {
                // Everybody is told by name.
                return tracing::error!(%error, "the map is followed no longer");
            }
        };
        tokio::select! {
            changed = maps.changed() => if changed.is_err() { return },
            () = sleep(again.unwrap_or(Duration::MAX)), if again.is_some() => {}
            () = over(&mut stop) => return,
        }
    }
}

impl Node {
    /// Takes over a map on which the cluster has agreed. Blocks.
    ///
    /// # Errors
    /// An engine's; it can be tried again.
    pub(crate) fn adopt(&self, map: &Arc<ClusterMap>) -> Result<(), Refusal> {
        let Some(cluster) = self.cluster() else { return Ok(()) };
        let _taking_over = cluster.custody.begin()?;
        let open = || self.catalogue.open_spaces(map);
        let waiting = cluster.custody.adopt(map, false, open, || self.catalogue.adopt(map))?;
        cluster.coordinator.adopted();
        cluster.coordinator.ask_again(waiting);
        cluster.transport.review();
        cluster.tending.look();
        Ok(())
    }

    /// Begins to serve as one of several, once the map has taken note of this start. Blocks.
    ///
    /// # Errors
    /// An engine's.
    pub(crate) fn serve_among(self: &Arc<Self>, store: Arc<RaftStore>) -> Result<(), Refusal> {
        let Some(ground) = self.ground() else { return Ok(()) };
        let cluster = Cluster::new(self, ground, Arc::clone(&store))?;
        let map = store.current();
        // It may be newer than the one that the engines were opened under.
        let open = || self.catalogue.open_spaces(&map);
        // Nothing waits for the first map.
        let _nothing = cluster.custody.adopt(&map, false, open, || self.catalogue.adopt(&map))?;
        self.join_catalogue(store);
        let cluster = self.cluster.get_or_init(|| cluster);
        cluster.run(self, ground)?;
        ground.door.open(self, &ground.runtime);
        Ok(())
    }

    /// Becomes one of several, unless it is: somebody wants to be let in. Blocks.
    ///
    /// # Errors
    /// The map's or an engine's; the node goes on alone, though after a failure half-way it takes
    /// no changes of its catalogue before it is started again.
    pub(crate) fn meet_others(self: &Arc<Self>) -> Result<Arc<Cluster>, Refusal> {
        let (Some(ground), Some(local)) = (self.ground(), self.catalogue.alone()) else {
            return self.met_others();
        };
        let held = self.catalogue.hold_changes();
        if self.cluster().is_some() {
            return self.met_others();
        }
        if self.config.max_value_bytes > MAX_VALUE_AMONG {
            let message = "it takes values that are too long to be sent to others: start it with \
                           a max_value of 15MiB or less";
            return Err(Refusal::new(Code::BadOption, message));
        }
        let map = local.current();
        let token = map.nodes.get(&self.id()).map_or(0, |info| info.token);
        let mut tokens = Tokens::make(self.data(), token).map_err(|error| refused(error.into()))?;
        local.retire()?;
        let store = ground.open_store(self.data()).inspect_err(|_| {
            // Nothing comes of it where the file was put in place already.
            let _alone_again = local.resume();
        })?;
        let cluster = Cluster::new(self, ground, Arc::clone(&store))?;
        let map = store.current();
        // Whoever finds the lanes closed finds the copies open.
        let _nothing =
            cluster.custody.adopt(&map, true, || Ok(()), || self.catalogue.adopt_held(&map))?;
        self.join_catalogue(Arc::clone(&store));
        let cluster = self.cluster.get_or_init(|| cluster);
        drop(held);
        cluster.run(self, ground)?;
        let registered = ground.put_on_record(&store, &mut tokens, map.cluster);
        ground.block_on(registered).map_err(refused)?;
        self.adopt(&store.current())?;
        tracing::info!("the node was alone, and is one of several from now on");
        Ok(Arc::clone(cluster))
    }

    /// The cluster, once its map says where this node is: whoever is let in before that is given
    /// a map in which it finds nobody.
    fn met_others(&self) -> Result<Arc<Cluster>, Refusal> {
        let starting = || Refusal::new(Code::TryAgain, "the node is starting");
        let (Some(ground), Some(cluster)) = (self.ground(), self.cluster()) else {
            return Err(starting());
        };
        let (map, at) = (cluster.store.current(), ground.profile().addresses.peer);
        let is_found = map.nodes.get(&self.id()).is_some_and(|info| info.addresses.peer == at);
        is_found.then(|| Arc::clone(cluster)).ok_or_else(starting)
    }

    fn join_catalogue(self: &Arc<Self>, store: Arc<RaftStore>) {
        let node = Arc::downgrade(self);
        let adopt = move |before: &ClusterMap, map: &Arc<ClusterMap>, command: &Command| {
            let Some(node) = node.upgrade() else { return Ok(()) };
            node.adopt(map)?;
            let cluster = node.cluster();
            cluster.map_or(Ok(()), |cluster| cluster.await_fence(command, before.version, map))
        };
        self.catalogue.join_others(store, Box::new(adopt));
    }
}

fn refused(error: StartError) -> Refusal {
    match error {
        StartError::Map(error) => error.into(),
        StartError::Engine(error) => error.into(),
        StartError::Refused(refusal) => refusal,
        other => Refusal::new(Code::Storage, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use crate::cluster::tests::{World, is_replicated, set};
    use crate::refusal::{Code, Halt};
    use crate::request::Target;
    use shoal_meta::MapStore as _;
    use shoal_storage::Patience;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn a_panic_while_a_map_is_taken_over_ends_serving_by_name() {
        let world = World::new();
        let (first, second) = (world.start(1, true), world.start(2, true));
        world.until(&first, |map| is_replicated(map, 2));
        set(&first, "k", "v");
        assert_eq!(first.refusing_writes(), None);
        let cluster = first.cluster().expect("it is one of several");
        let half_way = catch_unwind(AssertUnwindSafe(|| {
            let _taking_over = cluster.custody.begin().expect("none has failed before");
            panic!("half-way");
        }));
        assert!(half_way.is_err());
        let refused = first.refusing_writes().map(|refusal| refusal.code);
        assert_eq!(refused, Some(Code::MapInDoubt));
        let read = first.access(Patience::Block).read(&Target::DEFAULT, b"k", |_| ());
        assert!(matches!(read, Err(Halt::Refused(why)) if why.code == Code::MapInDoubt));
        let adopted = first.adopt(&cluster.store.current()).map_err(|refusal| refusal.code);
        assert_eq!(adopted, Err(Code::MapInDoubt), "it does not go on with the next map");
        assert_eq!(second.refusing_writes(), None);
        for node in [first, second] {
            node.stop().expect("it stops");
        }
    }
}
