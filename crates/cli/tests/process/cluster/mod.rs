//! Several nodes as their users meet them: real processes at addresses of this machine, joined,
//! killed, paused, wiped and copied, while clients go on.
//!
//! Holds: what happens next is awaited by what nodes say of themselves, never by the time that it
//! usually takes. One cluster runs at a time, so that its nodes have the machine to themselves.

mod checker;
mod growing;
mod identity;
mod losing;
mod rig;
