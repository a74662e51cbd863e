//! Whether the node takes writes, and if not, why: for probes of readiness, INFO and the metrics.
//!
//! Does not know: what a probe makes of it.

use crate::node::Node;
use crate::refusal::Refusal;

impl Node {
    /// Why writes are refused at present, `None` while they are taken. A full disk refuses puts
    /// only, and takes them again by itself; a failed one refuses everything until a restart; a
    /// map in doubt refuses changes of the catalogue until then, and with them the first write
    /// to a database.
    #[must_use]
    pub fn refusing_writes(&self) -> Option<Refusal> {
        let engines = &self.catalogue.engines;
        let disk = engines.disk.status().refusing;
        let engine = disk.or_else(|| engines.memory.status().refusing).map(Refusal::from);
        engine.or_else(|| self.catalogue.in_doubt())
    }
}
