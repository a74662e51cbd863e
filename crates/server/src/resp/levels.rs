//! How many replicas a connection's requests wait for, and what its writes are known to be on.
//!
//! Holds: what is told of a write is what its level promises, so that it is true of every write
//! that was acknowledged; later copies are not counted.
//!
//! Does not know: how a level is reached.

use shoal_core::map::Keyspace;
use shoal_core::quorum::Level;

/// The word for "what the keyspace says".
pub(crate) const DEFAULT: &str = "default";

/// What a connection may say: `one`, `quorum`, `all`, or `default` for what the keyspace says.
pub(crate) fn parse(word: &[u8]) -> Option<Option<Level>> {
    let named = [
        (DEFAULT, None),
        ("one", Some(Level::One)),
        ("quorum", Some(Level::Quorum)),
        ("all", Some(Level::All)),
    ];
    let is = |(name, _): &(&str, _)| word.eq_ignore_ascii_case(name.as_bytes());
    named.into_iter().find(is).map(|(_, level)| level)
}

/// The word for it.
pub(crate) const fn name(level: Option<Level>) -> &'static str {
    match level {
        None => DEFAULT,
        Some(Level::One) => "one",
        Some(Level::Quorum) => "quorum",
        Some(Level::All) => "all",
    }
}

/// What is known of the writes of a connection since it last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Whether there were writes at the level of the selected keyspace.
    by_default: bool,
    /// The lowest level that writes to the selected keyspace said themselves.
    lowest: Option<Level>,
    /// On how many replicas writes to keyspaces selected before are at least.
    before: Option<usize>,
    /// Whether all that was told: the next write begins anew.
    told: bool,
}

impl Written {
    /// There was a write to the selected keyspace that said this level.
    pub(crate) fn note(&mut self, level: Option<Level>) {
        if self.told {
            *self = Self::default();
        }
        match level {
            None => self.by_default = true,
            Some(level) => self.lowest = Some(self.lowest.map_or(level, |held| held.min(level))),
        }
    }

    /// What there was has been told.
    pub(crate) const fn told(&mut self) {
        self.told = true;
    }

    /// On how many replicas everything that was noted is at least; `None` where nothing was.
    /// `keyspace` is the one selected so far, `None` where it does not exist yet.
    pub(crate) fn copies(&self, keyspace: Option<&Keyspace>) -> Option<usize> {
        let here = keyspace.and_then(|keyspace| {
            let by_default = self.by_default.then_some(keyspace.options.write_level);
            let level = by_default.into_iter().chain(self.lowest).min()?;
            Some(least(keyspace, level))
        });
        here.into_iter().chain(self.before).min()
    }

    /// Another keyspace is selected from now on.
    pub(crate) fn leave(&mut self, keyspace: Option<&Keyspace>) {
        *self = Self { before: self.copies(keyspace), told: self.told, ..Self::default() };
    }
}

/// How many replicas a write to `keyspace` at `level` is on at least, wherever its key lies.
pub(crate) fn least(keyspace: &Keyspace, level: Level) -> usize {
    let owners = keyspace.partitions.iter().map(|partition| partition.replicas.len());
    owners.map(|owners| level.of(owners)).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_core::ids::{ClusterId, NodeId, ReplicaIncarnation};
    use shoal_core::map::{ClusterMap, Command, EngineKind, KeyspaceSpec, Profile};
    use shoal_core::quorum::Member;

    /// A keyspace whose partitions have three replicas each.
    fn keyspace() -> Keyspace {
        let found = Command::Found {
            cluster: ClusterId(1),
            node_name: "n1".to_owned(),
            token: 1,
            hash_seed: 1,
            default: KeyspaceSpec::new(EngineKind::Disk),
            profile: Profile::default(),
        };
        let map = ClusterMap::default().apply(&found).expect("it is founded");
        let mut keyspace = map.keyspace("default").expect("it is there").clone();
        let member = |node| Member { node: NodeId(node), incarnation: ReplicaIncarnation(1) };
        for partition in &mut keyspace.partitions {
            partition.replicas = [1, 2, 3].map(member).to_vec();
        }
        keyspace
    }

    #[test]
    fn levels_are_read_in_either_case_and_shown() {
        for level in [None, Some(Level::One), Some(Level::Quorum), Some(Level::All)] {
            assert_eq!(parse(name(level).as_bytes()), Some(level));
            assert_eq!(parse(name(level).to_uppercase().as_bytes()), Some(level));
        }
        assert_eq!((parse(b"two"), parse(b"")), (None, None));
    }

    #[test]
    fn the_lowest_level_of_all_writes_counts() {
        let keyspace = keyspace();
        let here = Some(&keyspace);
        let mut written = Written::default();
        assert_eq!(written.copies(here), None);
        written.note(Some(Level::All));
        assert_eq!(written.copies(here), Some(3));
        written.note(None);
        assert_eq!(written.copies(here), Some(2), "the keyspace says quorum");
        written.note(Some(Level::One));
        written.note(Some(Level::All));
        assert_eq!(written.copies(here), Some(1));
    }

    #[test]
    fn a_write_after_the_question_begins_anew() {
        let keyspace = keyspace();
        let mut written = Written::default();
        written.note(Some(Level::One));
        written.told();
        assert_eq!(written.copies(Some(&keyspace)), Some(1), "asked again, it says so again");
        written.note(Some(Level::All));
        assert_eq!(written.copies(Some(&keyspace)), Some(3));
    }

    #[test]
    fn a_partition_with_fewer_replicas_sets_the_bound() {
        let mut keyspace = keyspace();
        keyspace.partitions[7].replicas.truncate(1);
        assert_eq!(least(&keyspace, Level::Quorum), 1);
        assert_eq!(least(&keyspace, Level::All), 1);
    }

    #[test]
    fn what_was_written_elsewhere_is_not_forgotten() {
        let keyspace = keyspace();
        let mut written = Written::default();
        written.note(Some(Level::One));
        written.leave(Some(&keyspace));
        written.note(Some(Level::All));
        assert_eq!(written.copies(Some(&keyspace)), Some(1));
        written.leave(Some(&keyspace));
        assert_eq!(written.copies(None), Some(1));
    }
}
