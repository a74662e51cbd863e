//! The suite every engine passes, with and without checkpoints in between.

use super::rig::{Rig, small};
use crate::conformance::{Subject, check};
use crate::disk::DiskOptions;
use crate::engine::{Engine, Upkeep};
use std::sync::Arc;

/// What happens to the engine between two openings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Dropped,
}

struct Disk {
    rig: Rig,
    end: End,
}

impl Subject for Disk {
    fn engine(&self) -> Arc<dyn Engine> {
        self.rig.engine()
    }

    fn reopen(&mut self) -> bool {
        match self.end {
            End::Closed => self.rig.reopen(),
            End::Dropped => {
                // The suite has settled what it checks, but may have more in flight.
                self.rig.engine().sync().unwrap();
                self.rig.restart();
            }
        }
        true
    }
}

fn run(options: &DiskOptions, end: End) {
    check(|policy| Disk { rig: Rig::with_policy(options.clone(), policy), end });
}

#[test]
fn conforms_with_everything_in_the_buffer() {
    run(&DiskOptions { buffer_bytes: None, ..small() }, End::Dropped);
}

#[test]
fn conforms_with_checkpoints_all_the_time() {
    run(&DiskOptions { buffer_bytes: Some(32 << 10), kept_bytes: None, ..small() }, End::Closed);
}
