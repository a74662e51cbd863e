//! Whether the node takes writes, and if not, why: for probes of readiness, INFO and the metrics.
//!
//! Does not know: what a probe makes of it.

use crate::node::Node;
use crate::refusal::{Code, Refusal};

impl Node {
    /// Why writes are refused at present, `None` while they are taken. A full disk refuses puts
    /// only, and takes them again by itself; a failed one refuses everything until a restart; a
    /// map in doubt refuses changes of the catalogue until then, and with them the first write
    /// to a database. A process whose node was started anew elsewhere, or that has failed to take a
    /// map over, refuses everything for good, and a node of several does until it is on record.
    #[must_use]
    pub fn refusing_writes(&self) -> Option<Refusal> {
        if let Err(refusal) = self.is_latest() {
            return Some(refusal);
        }
        let engines = &self.catalogue.engines;
        let disk = engines.disk.status().refusing;
        let engine = disk.or_else(|| engines.memory.status().refusing).map(Refusal::from);
        engine.or_else(|| self.catalogue.in_doubt())
    }

    /// Whether no later process was started as this node, as far as is known, and it is on record
    /// itself, and acts under one map.
    ///
    /// # Errors
    /// [`Code::StaleDirectory`], [`Code::TryAgain`], [`Code::MapInDoubt`]. Nothing that is held here
    /// may be shown then.
    pub(crate) fn is_latest(&self) -> Result<(), Refusal> {
        let Some(cluster) = self.cluster() else {
            return match self.starting() {
                Some(why) => {
                    let message = format!("the map is not known here yet: {why}");
                    Err(Refusal::new(Code::TryAgain, message))
                }
                None => Ok(()),
            };
        };
        if cluster.liveness.superseded() {
            let message = "this node was started again elsewhere; end this process";
            return Err(Refusal::new(Code::StaleDirectory, message));
        }
        cluster.custody.is_sound()
    }

    /// What a node of several waits for before it serves, for people; `None` once it does.
    #[must_use]
    pub fn starting(&self) -> Option<String> {
        if self.catalogue.alone().is_some() || self.cluster().is_some() {
            return None;
        }
        let waits = "the cluster has not taken note of this start".to_owned();
        let why = self.ground().map(crate::cluster::Ground::waits_for).unwrap_or_default();
        Some(if why.is_empty() { waits } else { format!("{waits}: {why}") })
    }
}
