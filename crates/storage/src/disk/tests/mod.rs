//! Tests of the disk engine as a whole, on real files.

mod buffer;
mod conformance;
mod crashes;
mod failures;
mod housekeeping;
mod kept;
mod load;
mod rig;
