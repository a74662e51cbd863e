//! Whether the node takes writes, and if not, why: for probes of readiness, INFO and the metrics.
//!
//! Does not know: what a probe makes of it.

use crate::node::Node;
use crate::refusal::{Code, Refusal};

impl Node {
    /// Why writes are refused at present, `None` while they are taken. A full disk refuses puts
    /// only, and takes them again by itself; a failed one refuses everything until a restart; a
    /// map in doubt refuses changes of the catalogue until then, and with them the first write
    /// to a database. A process whose node was started anew elsewhere refuses everything for good.
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

    /// Whether no later process was started as this node, as far as is known.
    ///
    /// # Errors
    /// [`Code::StaleDirectory`]: another one was. Nothing that is held here may be shown any more.
    pub(crate) fn is_latest(&self) -> Result<(), Refusal> {
        if self.cluster().is_some_and(|cluster| cluster.liveness.superseded()) {
            let message = "this node was started again elsewhere; end this process";
            return Err(Refusal::new(Code::StaleDirectory, message));
        }
        Ok(())
    }
}
