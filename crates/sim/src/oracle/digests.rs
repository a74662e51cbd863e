//! A digest that is kept is the one of what is stored, at every node and in every slot, at any time.
//!
//! It is looked at again and again: what compares puts digests right that are wrong.

use crate::node::SimNode;
use crate::world::World;
use shoal_core::Slot;

pub(crate) fn judge(world: &World) -> Result<(), String> {
    world.nodes.iter().try_for_each(|node| judge_node(node, &slots(world)))
}

/// The slots that may hold anything.
pub(crate) fn slots(world: &World) -> Vec<Slot> {
    (0..world.layout.partitions()).flat_map(|partition| world.layout.slots(partition)).collect()
}

pub(crate) fn judge_node(node: &SimNode, slots: &[Slot]) -> Result<(), String> {
    for slot in slots {
        let (kept, found) = node.shelf.leaves(*slot);
        if let Some(kept) = kept.filter(|kept| *kept != found) {
            let id = node.id;
            return Err(format!("digests: {id} keeps {kept:?} of {slot:?}, which holds {found:?}"));
        }
    }
    Ok(())
}
