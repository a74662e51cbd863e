//! What falls due: asking, suspecting, and declaring down; and how much of it is put off when
//! this node itself was late.
//!
//! Holds: a decision against a member is put off at most once, so that a node which is always
//! late still decides.

use super::identity::Identity;
use super::machine::Membership;
use super::roll::{Entry, MemberState};
use super::timers;
use foca::{Incarnation, Member, State};
use std::time::Duration;

/// A suspected member is asked to object this often before its time is over.
const ASKED_WHILE_SUSPECTED: u32 = 6;
/// A pause must let time pass.
const LEAST_PAUSE: Duration = Duration::from_millis(1);
/// A decision that falls due later than this, in parts of the probe period, is put off once.
const LATE_PART: u32 = 2;
/// The most entries that wait to fall due, for every member there may be.
const TIMERS_PER_MEMBER: usize = 8;

/// What falls due.
#[derive(Clone, Debug)]
pub(super) enum Due {
    /// Something foca wants to be reminded of.
    Swim(foca::Timer<Identity>),
    /// Ask a member that this node suspects to object.
    Ask(Identity, Incarnation),
    /// Declare a member down that has been suspected for so long that whoever should have done
    /// it must be gone too.
    Overdue(Identity, Incarnation),
    /// Ask members that are down whether they are back.
    Reach,
}

impl Membership {
    /// An entry has fallen due, `late` ago.
    pub(super) fn fall_due(&mut self, entry: timers::Entry<Due>, late: Duration, now: Duration) {
        match self.decides_after(&entry.what) {
            // What was answered meanwhile is still unread.
            Some(full) if late > self.tolerance() && !entry.postponed => {
                self.stats.postponed += 1;
                self.timers.put(now + full, entry.what, true);
            }
            _ => self.act(entry.what, now),
        }
    }

    fn tolerance(&self) -> Duration {
        self.config.probe_period / LATE_PART
    }

    /// The full time of an entry that decides against a member.
    fn decides_after(&self, due: &Due) -> Option<Duration> {
        let suspicion = self.config.suspicion_among(self.sized_for);
        match due {
            Due::Swim(foca::Timer::ProbeRandomMember(_)) => Some(self.config.probe_period),
            Due::Swim(foca::Timer::ChangeSuspectToDown { .. }) | Due::Overdue(..) => {
                Some(suspicion)
            }
            Due::Swim(_) | Due::Ask(..) | Due::Reach => None,
        }
    }

    fn act(&mut self, due: Due, now: Duration) {
        match due {
            Due::Swim(timer) => {
                self.swim(now, true, |swimmer, outbox| swimmer.handle_timer(timer, outbox));
            }
            Due::Ask(identity, incarnation) => {
                if self.is_suspected(&identity, incarnation) {
                    let suspected = Member::new(identity, incarnation, State::Suspect);
                    self.tell(identity.address(), vec![suspected]);
                    let pause = (self.config.suspicion / ASKED_WHILE_SUSPECTED).max(LEAST_PAUSE);
                    self.timers.put(now + pause, Due::Ask(identity, incarnation), false);
                }
            }
            Due::Overdue(identity, incarnation) => {
                if self.is_suspected(&identity, incarnation) {
                    let down = Member::new(identity, incarnation, State::Down);
                    self.learn(vec![down], true, now);
                }
            }
            Due::Reach => {
                self.timers.put(now + self.config.reach_period, Due::Reach, false);
                self.reach();
            }
        }
    }

    fn is_suspected(&self, identity: &Identity, incarnation: Incarnation) -> bool {
        self.roll.get(identity.node()).is_some_and(|entry| {
            entry.identity == *identity
                && entry.incarnation == incarnation
                && entry.seen.state == MemberState::Suspect
        })
    }

    /// A member has become suspected.
    pub(super) fn watch(&mut self, suspect: &Entry, own: bool, now: Duration) {
        let (identity, incarnation) = (suspect.identity, suspect.incarnation);
        // Twice the time of whoever found it: normally that one decides.
        let overdue = self.config.suspicion_among(self.sized_for) * 2;
        self.decide_later(identity, incarnation, overdue, now);
        if own {
            self.ask(identity, incarnation, now);
        }
    }

    /// Somebody says that a member is down for which nothing spoke so far. It is asked itself,
    /// and declared down unless it objects.
    pub(super) fn verify(&mut self, identity: &Identity, incarnation: Incarnation, now: Duration) {
        if self.ask(*identity, incarnation, now) {
            let suspicion = self.config.suspicion_among(self.sized_for);
            self.decide_later(*identity, incarnation, suspicion, now);
        }
    }

    fn decide_later(
        &mut self,
        identity: Identity,
        incarnation: Incarnation,
        after: Duration,
        now: Duration,
    ) {
        let due = now + self.timers.widened(after, now);
        if self.has_room_for_timers() {
            self.timers.put(due, Due::Overdue(identity, incarnation), false);
        }
    }

    /// Begins to ask a member to object, unless that was begun already.
    fn ask(&mut self, identity: Identity, incarnation: Incarnation, now: Duration) -> bool {
        if !self.has_room_for_timers() || !self.roll.begin_to_ask(&identity, incarnation) {
            return false;
        }
        self.timers.put(now, Due::Ask(identity, incarnation), false);
        true
    }

    /// A member that loses its mind may be suspected anew with every datagram.
    fn has_room_for_timers(&self) -> bool {
        self.timers.len() < TIMERS_PER_MEMBER * self.config.max_members.get()
    }
}
