//! What must hold, whatever happened. One file for each promise.
//!
//! Holds: an oracle looks at the history that clients saw and at the stores, never at what a
//! machine thinks.

mod batches;
mod convergence;
mod counters;
pub(crate) mod digests;
mod order;
mod swaps;
mod values;

use crate::world::World;

pub use counters::Counts;

/// Judges a run that is over.
pub(crate) fn judge(world: &World) -> Result<(), String> {
    order::judge(&world.history, !world.watch.far_behind, world.options.evicts())?;
    values::judge(&world.history)?;
    convergence::judge(world)?;
    digests::judge(world)?;
    batches::judge(world)?;
    swaps::judge(world)
}

pub(crate) fn count(world: &World) -> Counts {
    let mut counts = counters::count(&world.history, world.options.evicts());
    swaps::count(world, &mut counts);
    counts
}
