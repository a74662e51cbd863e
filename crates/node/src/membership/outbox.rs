//! What foca asks to be done, collected until it has finished.

use super::identity::Identity;
use foca::Notification;
use std::time::Duration;

/// Requests of one call into foca, in its order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) sends: Vec<(Identity, Vec<u8>)>,
    pub(super) timers: Vec<(foca::Timer<Identity>, Duration)>,
    /// Whether this node has come back under a new identity, having been declared down.
    pub(super) rejoined: bool,
}

impl foca::Runtime<Identity> for Outbox {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        // Who is up or down is read from the list of members, where suspicion stands too.
        if matches!(notification, Notification::Rejoin(_)) {
            self.rejoined = true;
        }
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.sends.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, event: foca::Timer<Identity>, after: Duration) {
        self.timers.push((event, after));
    }
}
