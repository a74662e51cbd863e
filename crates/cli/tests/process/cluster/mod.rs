//! Several nodes as their users meet them: real processes at addresses of this machine, joined,
//! killed, paused, cut off, wiped and copied, while clients go on.
//!
//! Holds: what happens next is awaited by what nodes say of themselves, never by the time that it
//! usually takes. One cluster runs at a time, so that its nodes have the machine to themselves.

mod checker;
mod links;
mod networks;
mod register;
mod relay;
mod rig;

mod batches;
mod before;
mod catching_up;
mod changes;
mod clients;
mod cutting;
mod growing;
mod identity;
mod losing;
mod memory;
mod starting;
