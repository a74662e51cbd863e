//! What goes on beside requests so that copies become and stay alike: hints are delivered, and
//! copies that come in take over what the present owners hold.
//!
//! Holds: everything is asked by the same messages as a request's, under the same epochs, so that
//! nothing here can do what a request could not.
//!
//! Does not know: who decides that owners change, and when.

mod hints;
mod intake;

#[cfg(test)]
mod tests;
