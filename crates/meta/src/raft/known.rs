//! What the node knows of the map and of those who decide it, from whatever side it heard.
//!
//! Holds: the map shown here only goes forward, and was durable here before it was shown. The
//! newest commands are kept beside it, without a gap, so that peers can be told what they lack.
//! No lock is held while waiting.
//!
//! Does not know: how maps arrive.

use super::parts::Part;
use super::status::Leadership;
use super::wire::{Members, News, Told};
use parking_lot::Mutex;
use shoal_core::codec;
use shoal_core::ids::{MapVersion, NodeId};
use shoal_core::map::{ClusterMap, Keyspace, MapError};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::sync::watch;

/// How many commands are kept for peers that are behind; who is further behind takes the map.
const KEPT_COMMANDS: usize = 4_096;
/// How many bytes of commands are kept.
const KEPT_BYTES: usize = 4 << 20;
/// How many bytes of commands one answer carries.
const TOLD_BYTES: usize = 1 << 20;
/// How many of the keyspaces that went last are kept.
const KEPT_DROPPED: usize = 64;
/// How many of the newest refusals are kept with their reason.
const KEPT_REFUSALS: usize = 1_024;

/// What the node knows.
#[derive(Debug)]
pub(super) struct Known {
    maps: watch::Sender<Arc<ClusterMap>>,
    leadership: watch::Sender<Leadership>,
    voters: watch::Sender<BTreeSet<NodeId>>,
    /// How many bytes of a map one answer carries.
    part_bytes: usize,
    /// The newest map that was asked for in parts. Held while a map is turned into bytes.
    whole: Mutex<Option<(MapVersion, Arc<Vec<u8>>)>>,
    /// Held for a few pushes and copies only.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The commands that led to the newest map, the last one to its very version.
    commands: VecDeque<Vec<u8>>,
    command_bytes: usize,
    members: Members,
    /// Keyspaces as they were when they went, and in which map they were missing first.
    dropped: VecDeque<(MapVersion, Keyspace)>,
    /// Every map from this one on was seen here, but those before may have had other keyspaces than
    /// are in `dropped`.
    seen_since: MapVersion,
    refusals: VecDeque<(u128, MapError)>,
    failure: Option<String>,
}

impl Known {
    pub(super) fn new(map: Arc<ClusterMap>, members: Members, part_bytes: usize) -> Self {
        let voters = watch::Sender::new(members.voters());
        let inner = Inner { members, seen_since: map.version, ..Inner::default() };
        Self {
            maps: watch::Sender::new(map),
            leadership: watch::Sender::new(Leadership::default()),
            voters,
            part_bytes,
            whole: Mutex::new(None),
            inner: Mutex::new(inner),
        }
    }

    /// The newest map.
    pub(super) fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.maps.borrow())
    }

    /// The version of the newest map.
    pub(super) fn version(&self) -> MapVersion {
        self.maps.borrow().version
    }

    pub(super) fn maps(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.maps.subscribe()
    }

    /// Shows `map`, which must be durable here, unless a newer one is shown already. `command`
    /// is the one that made it, where it is known.
    pub(super) fn show(&self, map: &Arc<ClusterMap>, command: Option<&[u8]>) {
        let mut inner = self.inner.lock();
        let present = self.version();
        if map.version <= present {
            if map.version == present && **map != *self.map() {
                tracing::error!(version = %present, "two maps have one version");
            }
            return;
        }
        let next = MapVersion { index: present.index.saturating_add(1), ..present };
        match command {
            Some(command) if map.version == next => {
                inner.keep(command);
                inner.note_dropped(&self.map(), map);
            }
            _ => {
                inner.commands.clear();
                inner.command_bytes = 0;
                inner.dropped.clear();
                inner.seen_since = map.version;
            }
        }
        self.maps.send_replace(Arc::clone(map));
    }

    /// Who decides the map, as far as is known.
    pub(super) fn members(&self) -> Members {
        self.inner.lock().members.clone()
    }

    /// Hears who decides the map; older news is ignored. Whether it was new.
    pub(super) fn hear_members(&self, members: &Members) -> bool {
        let mut inner = self.inner.lock();
        let newer = members.index > inner.members.index
            || (inner.members.voters.is_empty() && !members.voters.is_empty());
        if newer {
            inner.members = members.clone();
            let voters = members.voters();
            self.voters.send_if_modified(|present| {
                let news = *present != voters;
                *present = voters;
                news
            });
        }
        newer
    }

    pub(super) fn voters(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.voters.subscribe()
    }

    /// The voters, or every member while none are known.
    pub(super) fn candidates(&self) -> BTreeSet<NodeId> {
        let voters = self.inner.lock().members.voters();
        if voters.is_empty() { self.map().nodes.keys().copied().collect() } else { voters }
    }

    pub(super) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// Takes from another node who leads: what is older or says less is ignored.
    pub(super) fn hear_leadership(&self, heard: Leadership) {
        self.leadership.send_if_modified(|present| {
            let news = heard.term > present.term
                || (heard.term == present.term && present.leader.is_none());
            let news = news && heard != *present;
            if news {
                *present = heard;
            }
            news
        });
    }

    /// Takes from the node's own Raft who leads. An older term than one heard of is ignored.
    pub(super) fn see_leadership(&self, seen: Leadership) {
        self.leadership.send_if_modified(|present| {
            let news = seen.term >= present.term && seen != *present;
            if news {
                *present = seen;
            }
            news
        });
    }

    /// The keyspaces of this name that went after the map `since`, as they were at the end; `None`
    /// where that was not seen here.
    pub(super) fn dropped(&self, name: &str, since: MapVersion) -> Option<Vec<Keyspace>> {
        let inner = self.inner.lock();
        let went = inner.dropped.iter().filter(|(version, of)| *version > since && of.name == name);
        let went: Vec<Keyspace> = went.map(|(_, keyspace)| keyspace.clone()).collect();
        (inner.seen_since <= since && !went.is_empty()).then_some(went)
    }

    /// Remembers why a proposal was refused.
    pub(super) fn note_refusal(&self, id: u128, why: MapError) {
        let mut inner = self.inner.lock();
        if inner.refusals.len() == KEPT_REFUSALS {
            inner.refusals.pop_front();
        }
        inner.refusals.push_back((id, why));
    }

    /// Why the proposal was refused, if that is remembered.
    pub(super) fn refusal(&self, id: u128) -> Option<MapError> {
        let inner = self.inner.lock();
        inner.refusals.iter().rev().find(|(known, _)| *known == id).map(|(_, why)| why.clone())
    }

    /// Raft has stopped and will not go on before a restart; the first reason is kept.
    pub(super) fn fail(&self, why: &str) {
        let mut inner = self.inner.lock();
        if inner.failure.is_none() {
            tracing::error!(why, "the node can no longer take part in changing the map");
            inner.failure = Some(why.to_owned());
        }
    }

    /// Why Raft has stopped, if it has.
    pub(super) fn failure(&self) -> Option<String> {
        self.inner.lock().failure.clone()
    }

    /// What someone whose map is `since` has to be told. `whole` asks for the map itself.
    pub(super) fn news(&self, since: MapVersion, whole: bool) -> News {
        let leadership = *self.leadership.borrow();
        let (map, members, told) = {
            let inner = self.inner.lock();
            let map = self.map();
            let told = if map.version <= since && !whole {
                Some(Told::Nothing)
            } else {
                let commands = inner.since(map.version, since).filter(|_| !whole);
                commands.map(|commands| Told::Commands { since: since.into(), commands })
            };
            (map, inner.members.clone(), told)
        };
        let told = told.unwrap_or_else(|| self.told_whole(&map));
        News { version: map.version.into(), members, leadership, told }
    }

    fn told_whole(&self, map: &ClusterMap) -> Told {
        let mut whole = self.whole.lock();
        if whole.as_ref().is_some_and(|(version, _)| *version == map.version) {
            return Told::Parts;
        }
        let bytes = codec::map::encode(map);
        if bytes.len() <= self.part_bytes {
            return Told::Map(bytes);
        }
        *whole = Some((map.version, Arc::new(bytes)));
        Told::Parts
    }

    /// A part of the map `of` this version, or, to begin with, of one newer than `since`. Only one
    /// is kept for that, so `None` where others ask for another one meanwhile.
    pub(super) fn map_part(
        &self,
        since: MapVersion,
        of: Option<MapVersion>,
        offset: u64,
    ) -> Option<(MapVersion, Part)> {
        let (version, bytes) = match of {
            Some(of) => self.whole.lock().clone().filter(|(version, _)| *version == of)?,
            None => self.whole_since(since),
        };
        Some((version, Part::of(&bytes, offset, self.part_bytes)?))
    }

    /// The bytes of a map newer than `since` from which commands lead to the newest one: the one
    /// that somebody else may be fetching just now, where it will do, so that he can go on.
    fn whole_since(&self, since: MapVersion) -> (MapVersion, Arc<Vec<u8>>) {
        let mut whole = self.whole.lock();
        let map = self.map();
        if let Some((version, bytes)) = whole.as_ref()
            && *version > since
            && (*version == map.version || self.inner.lock().since(map.version, *version).is_some())
        {
            return (*version, Arc::clone(bytes));
        }
        let bytes = Arc::new(codec::map::encode(&map));
        *whole = Some((map.version, Arc::clone(&bytes)));
        (map.version, bytes)
    }
}

impl Inner {
    fn keep(&mut self, command: &[u8]) {
        self.command_bytes += command.len();
        self.commands.push_back(command.to_vec());
        while self.commands.len() > KEPT_COMMANDS || self.command_bytes > KEPT_BYTES {
            let Some(oldest) = self.commands.pop_front() else { break };
            self.command_bytes -= oldest.len();
        }
    }

    /// Notes which keyspace is in `before` and not in `map`, the next one. A command drops one at
    /// most.
    fn note_dropped(&mut self, before: &ClusterMap, map: &ClusterMap) {
        if map.keyspaces.len() >= before.keyspaces.len() {
            return;
        }
        for (name, keyspace) in &before.keyspaces {
            if !map.keyspaces.contains_key(name) {
                self.dropped.push_back((map.version, keyspace.clone()));
            }
        }
        while self.dropped.len() > KEPT_DROPPED {
            if let Some((version, _)) = self.dropped.pop_front() {
                self.seen_since = version;
            }
        }
    }

    /// The first of the commands that lead from `since` to `newest`, as many as one answer
    /// carries, if they are all kept.
    fn since(&self, newest: MapVersion, since: MapVersion) -> Option<Vec<Vec<u8>>> {
        if newest.generation != since.generation {
            return None;
        }
        let missing = usize::try_from(newest.index.checked_sub(since.index)?).ok()?;
        let first = self.commands.len().checked_sub(missing)?;
        let mut room = TOLD_BYTES;
        let fits = self.commands.range(first..).take_while(|command| {
            let fits = command.len() <= room;
            room = room.saturating_sub(command.len());
            fits
        });
        let told: Vec<_> = fits.cloned().collect();
        if told.is_empty() { None } else { Some(told) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_core::ids::ClusterId;
    use shoal_core::map::{Command, EngineKind, KeyspaceSpec, Profile};

    fn founded() -> ClusterMap {
        let found = Command::Found {
            cluster: ClusterId(7),
            node_name: "n1".to_owned(),
            token: 1,
            hash_seed: 11,
            default: KeyspaceSpec::new(EngineKind::Disk),
            profile: Profile::default(),
        };
        ClusterMap::default().apply(&found).expect("it is the first")
    }

    #[test]
    fn what_went_is_known_as_it_was_at_the_end() {
        let map = Arc::new(founded());
        let known = Known::new(Arc::clone(&map), Members::default(), 1);
        let then = |command: Command| {
            let next = known.map().apply(&command).expect("a good command");
            known.show(&Arc::new(next), Some(b"command"));
            known.version()
        };
        let create = || {
            let (name, spec) = ("k".to_owned(), KeyspaceSpec::new(EngineKind::Disk));
            then(Command::CreateKeyspace { name, spec, database: None })
        };
        let drop_it = || then(Command::DropKeyspace { name: "k".to_owned() });
        let since = create();
        // What was known when the drop was asked for is not what it was when it went.
        then(Command::AcceptEventTime { name: "k".to_owned() });
        drop_it();
        let went = known.dropped("k", since).expect("it was seen");
        assert!(went.len() == 1 && went[0].accepts_event_time);
        assert_eq!(known.dropped("other", since), None);
        let since = create();
        drop_it();
        assert_eq!(known.dropped("k", since).map(|went| went.len()), Some(1));
        assert_eq!(known.dropped("k", map.version).map(|went| went.len()), Some(2));
        for _ in 0..KEPT_DROPPED {
            create();
            drop_it();
        }
        assert_eq!(known.dropped("k", since), None, "more went than is kept");
        let since = create();
        let gone = known.map().apply(&Command::DropKeyspace { name: "k".to_owned() });
        known.show(&Arc::new(gone.expect("a good command")), None);
        assert_eq!(known.dropped("k", since), None, "it may have changed on the way");
    }
}
