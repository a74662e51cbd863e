//! How a node that has no voice learns of new maps: it asks whoever has one.
//!
//! Holds: a pulled map is durable before it is shown. It follows from the node's own map by
//! commands, each of which raises its version by one, up to the version that was told at most; or it
//! is taken whole, is of the very version that was told, and is never another cluster's. A version
//! that no cluster has ever got to is not believed.
//!
//! Does not know: that there is something new. Gossip tells, and calls [`RaftStore::pull`].

use super::file::fact;
use super::home::trouble;
use super::parts::Assembly;
use super::propose::Unanswered;
use super::state::ReadCommand;
use super::store::RaftStore;
use super::wire::{Answer, News, Request, Told};
use crate::MetaError;
use shoal_core::codec;
use shoal_core::ids::{MapVersion, NodeId};
use shoal_core::map::ClusterMap;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// How many answers one pull takes at most; each brings the map forward.
const ANSWERS: usize = 64;
/// How many times maps may have changed in one generation: at a thousand changes in each second some
/// thirty years. Of a map beyond that a bit has flipped on the way, or nobody ever made it.
const MOST_CHANGES: u64 = 1 << 40;
/// How often a cluster may have been recovered by force.
const MOST_GENERATIONS: u32 = 1 << 16;

/// Whether a map of this version can be.
#[must_use]
pub fn is_plausible(version: MapVersion) -> bool {
    version.index <= MOST_CHANGES && version.generation <= MOST_GENERATIONS
}

/// How many parts a map is taken in at most.
const PARTS: usize = 65_536;

impl RaftStore {
    /// Takes from `peer` what it knows and this node does not, and gives the newest map here
    /// afterwards. Voters may pull too.
    ///
    /// # Errors
    /// [`MetaError::Peer`] where it does not answer or tells what cannot be;
    /// [`MetaError::File`] or [`MetaError::Full`] where the map could not be written. In all
    /// cases the map stays as it was, or is a newer one.
    pub async fn pull(&self, peer: NodeId) -> Result<Arc<ClusterMap>, MetaError> {
        let mut whole = false;
        for _ in 0..ANSWERS {
            let since = self.known.version();
            let request = Request::Pull { since: since.into(), whole };
            let news = match self.ask(peer, &request).await {
                Ok(Answer::News(news)) => news,
                Ok(_) => return Err(said(peer, "the answer is to something else")),
                Err(Unanswered::NotSent(why) | Unanswered::Lost(why)) => {
                    return Err(said(peer, &why));
                }
            };
            let newest = MapVersion::from(news.version);
            let in_parts = matches!(news.told, Told::Parts);
            let told_nothing = matches!(news.told, Told::Nothing);
            let mut adopted = self.adopt(peer, news);
            if in_parts && adopted.is_ok() {
                adopted = match self.fetch(peer).await? {
                    Some((of, map)) => self.adopt_map(peer, of, Told::Map(map), false),
                    // Somebody else took another map from it meanwhile.
                    None => continue,
                };
            }
            match adopted {
                // A history that does not fit is no reason not to take the map itself.
                Err(MetaError::Peer { .. }) if !whole => whole = true,
                Err(error) => return Err(error),
                Ok(()) if self.known.version() >= newest => break,
                Ok(()) if told_nothing => {
                    return Err(said(peer, "it has a newer map and does not tell it"));
                }
                Ok(()) => {}
            }
        }
        Ok(self.known.map())
    }

    /// Takes a map from `peer` part by part, and says of which version it should be; `None` where
    /// the peer has given it up meanwhile.
    async fn fetch(&self, peer: NodeId) -> Result<Option<(MapVersion, Vec<u8>)>, MetaError> {
        let since = self.known.version().into();
        let (mut of, mut assembly) = (None, None);
        for _ in 0..PARTS {
            let offset = assembly.as_ref().map_or(0, Assembly::have);
            let (version, part) =
                match self.ask(peer, &Request::MapPart { since, of, offset }).await {
                    Ok(Answer::MapPart { version, part }) => (version, part),
                    Ok(Answer::MapGone) => return Ok(None),
                    Ok(_) => return Err(said(peer, "the answer is to something else")),
                    Err(Unanswered::NotSent(why) | Unanswered::Lost(why)) => {
                        return Err(said(peer, &why));
                    }
                };
            if of.is_some_and(|of| of != version) {
                return Err(said(peer, "it tells of another map than the one asked for"));
            }
            of = Some(version);
            let mut so_far = match assembly.take() {
                Some(so_far) => so_far,
                None => Assembly::of(part.total).ok_or_else(|| said(peer, "it is too large"))?,
            };
            so_far.add(&part);
            if so_far.is_whole() {
                return Ok(Some((version.into(), so_far.into_bytes())));
            }
            if so_far.have() <= offset {
                return Err(said(peer, "its parts do not fit together"));
            }
            assembly = Some(so_far);
        }
        Err(said(peer, "its parts have no end"))
    }

    /// Takes over what a peer told, but for a map that has to be asked for part by part.
    pub(super) fn adopt(&self, peer: NodeId, news: News) -> Result<(), MetaError> {
        let version = MapVersion::from(news.version);
        if !is_plausible(version) {
            return Err(said(peer, &format!("no cluster has ever had a map of version {version}")));
        }
        let heard = self.known.hear_members(&news.members);
        if self.raft().is_none() {
            self.known.hear_leadership(news.leadership);
        }
        let adopted = self.adopt_map(peer, version, news.told, heard);
        if heard
            && self.is_dismissed()
            && let Some(store) = self.this.upgrade()
        {
            self.runtime.spawn(async move { store.step_back().await });
        }
        adopted
    }

    /// Takes over what leads to the map of `version` at most, or is it.
    fn adopt_map(
        &self,
        peer: NodeId,
        version: MapVersion,
        told: Told,
        heard: bool,
    ) -> Result<(), MetaError> {
        let _adopting = self.adopting.lock();
        let present = self.known.map();
        let steps = match told {
            Told::Nothing | Told::Parts => Vec::new(),
            Told::Commands { since, commands } => {
                let commands = after(present.version, since.into(), commands);
                let commands = commands.ok_or_else(|| said(peer, "its history does not fit"))?;
                follow(&present, commands, version, self.read).map_err(|e| said(peer, &e))?
            }
            Told::Map(bytes) => {
                let map = codec::map::decode(&bytes).map_err(|e| said(peer, &e.to_string()))?;
                if present.is_founded() && map.cluster != present.cluster {
                    return Err(said(peer, "it is the map of another cluster"));
                }
                if map.version != version {
                    return Err(said(peer, "it is another map than it says"));
                }
                vec![(Arc::new(map), None)]
            }
        };
        let newest = steps.last().map_or(&present, |(map, _)| map);
        if newest.version <= present.version && !heard {
            return Ok(());
        }
        if newest.version >= present.version {
            self.file
                .put(fact::PULLED, &self.pulled(newest))
                .map_err(|error| trouble(self.file.path(), &error))?;
        }
        for (map, command) in &steps {
            self.known.show(map, command.as_deref());
        }
        Ok(())
    }

    /// Pulls from `peer` until nothing is missing, as long as there is time.
    pub(super) async fn catch_up_from(&self, peer: NodeId, deadline: Instant) {
        // What is still missing then is missed by whoever waits for it.
        let _whether_or_not = timeout_at(deadline, self.pull(peer)).await;
    }

    /// Pulls from whoever leads.
    pub(super) async fn catch_up(&self, deadline: Instant) {
        if let Ok(Some(leader)) = timeout_at(deadline, self.find_leader()).await
            && leader != self.node
        {
            self.catch_up_from(leader, deadline).await;
        }
    }
}

/// What of `commands`, which follow the map of the version `since`, follows the `present` one. The
/// map may have gone on since they were asked for, and some commands can be applied twice.
fn after(
    present: MapVersion,
    since: MapVersion,
    mut commands: Vec<Vec<u8>>,
) -> Option<Vec<Vec<u8>>> {
    if present.generation != since.generation {
        return None;
    }
    let known = usize::try_from(present.index.checked_sub(since.index)?).ok()?;
    commands.drain(..known.min(commands.len()));
    Some(commands)
}

/// The maps that `commands` lead to from `present`, one by one, none of them beyond `newest`.
#[allow(clippy::type_complexity, reason = "a list of maps and what made them")]
fn follow(
    present: &Arc<ClusterMap>,
    commands: Vec<Vec<u8>>,
    newest: MapVersion,
    read: ReadCommand,
) -> Result<Vec<(Arc<ClusterMap>, Option<Vec<u8>>)>, String> {
    let mut steps = Vec::with_capacity(commands.len());
    let mut map = Arc::clone(present);
    for bytes in commands {
        let command = read(&bytes).map_err(|error| error.to_string())?;
        let before = map.version;
        map = Arc::new(map.apply(&command).map_err(|error| error.to_string())?);
        let next = MapVersion { index: before.index.saturating_add(1), ..before };
        if map.version != next || map.version > newest {
            return Err(format!("its history leads to {} beyond {newest}", map.version));
        }
        steps.push((Arc::clone(&map), Some(bytes)));
    }
    map.check().map_err(|what| what.to_string())?;
    Ok(steps)
}

fn said(node: NodeId, what: &str) -> MetaError {
    MetaError::Peer { node, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_by_the_time_the_answer_comes_is_not_applied_again() {
        let version = |index| MapVersion { generation: 0, index };
        let told = || vec![vec![8], vec![9], vec![10]];
        assert_eq!(after(version(7), version(7), told()), Some(told()));
        assert_eq!(after(version(9), version(7), told()), Some(vec![vec![10]]));
        assert_eq!(after(version(12), version(7), told()), Some(Vec::new()));
        assert_eq!(after(version(6), version(7), told()), None, "one is missing");
        let other = MapVersion { generation: 1, index: 7 };
        assert_eq!(after(other, version(7), told()), None);
    }
}
