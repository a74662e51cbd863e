//! A disk for tests: [`crate::files::Files`] in memory that can lose power and fail.
//!
//! What the program sees is the *live* image; what would be left after a loss of power is the
//! *durable* one. Everything between them, written bytes, lengths, names, waits in order. A
//! crash makes a new disk from the durable image and any part of what waits: each piece of a
//! sector's size or less may have got there, or not, or in part, and so may each change of a
//! name. (That pieces may get there in any order is contained in this: a later piece that got
//! there before an earlier one, and was overwritten, is one that did not get there.)
//!
//! Holds: nothing here depends on time or chance; the same calls leave the same images.
//!
//! Does not know: what is in the files.

mod disk;
mod image;

#[cfg(test)]
mod tests;

pub use disk::{Call, Dirty, FaultDisk};
pub use image::{Fate, Image};
