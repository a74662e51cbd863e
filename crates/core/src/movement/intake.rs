//! How a member of `next` comes to hold at least what the present owners held.
//!
//! It first takes over their floors, then walks through what each of them stores, page by page,
//! after that owner has fenced at the intent's epoch. What is written meanwhile goes to both sets
//! anyway. Once it has durably taken (or holds newer than) every record of enough owners, it has
//! proven itself.
//!
//! Holds: records go through `merge` like any others; nothing is replaced. Enough owners are as
//! many as every write quorum of the present set must have met. The member itself is one of them
//! if it is a present owner.
//!
//! Does not know: when to try again what was not answered; whether the intent still stands.

use crate::ids::NodeId;
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::quorum::{Answer, Ask, Member, Origin, Owners, Reply, Shown, quorum};
use crate::replica::Floor;
use crate::version::Version;
use bytes::Bytes;
use std::sync::Arc;

/// How many records a page has, at most.
const PAGE: u16 = 64;

/// What an intake wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntakeEffect {
    /// Ask a replica, under the intent's epoch.
    Send {
        /// Its node; the own one is asked to take what was copied.
        to: NodeId,
        /// The round that the answer must repeat.
        round: u32,
        /// The question.
        ask: Ask,
    },
    /// Make these floors durable and take them over, then call [`Intake::floors_known`].
    KnowFloors {
        /// The highest floor.
        floor: Floor,
        /// The highest purge mark.
        purged: Floor,
    },
    /// The member has proven itself: report it with the intent's epoch.
    Proven,
}

/// The proof of one member of `next`, at one epoch.
#[derive(Clone, Debug)]
pub struct Intake {
    me: Member,
    intent: Arc<Owners>,
    sources: Vec<Source>,
    round: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Floors,
    Copying,
    Proven,
}

#[derive(Clone, Debug)]
struct Source {
    member: Member,
    floors: Option<(Floor, Floor)>,
    progress: Progress,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// The page after this key is wanted.
    Page(Option<Bytes>),
    /// The page was asked for.
    Asked(Option<Bytes>, u32),
    /// What it had is being taken; then the page after this key is wanted, or nothing more.
    Taking { page: Arc<Shown>, then: Option<Bytes>, round: u32 },
    /// Everything was taken.
    Dominated,
}

impl Intake {
    /// Begins the proof of `me`, a member of the intent's `next`.
    #[must_use]
    pub fn start(me: Member, intent: Arc<Owners>, out: &mut Vec<IntakeEffect>) -> Self {
        let is_present = intent.replicas.contains(&me);
        let stage = if is_present { Stage::Copying } else { Stage::Floors };
        Self::begin(me, intent, stage, out)
    }

    /// Begins the proof of one slot more, where the floors of the present owners were taken over
    /// under this intent already: floors are those of a partition.
    #[must_use]
    pub fn start_below_known_floors(
        me: Member,
        intent: Arc<Owners>,
        out: &mut Vec<IntakeEffect>,
    ) -> Self {
        Self::begin(me, intent, Stage::Copying, out)
    }

    fn begin(me: Member, intent: Arc<Owners>, stage: Stage, out: &mut Vec<IntakeEffect>) -> Self {
        let sources = intent.replicas.iter().map(|member| Source {
            member: *member,
            floors: None,
            progress: if *member == me { Progress::Dominated } else { Progress::Page(None) },
        });
        let sources = sources.collect();
        let mut intake = Self { me, intent, sources, round: 0, stage };
        intake.tend(out);
        intake
    }

    /// The owners whose `next` this is about.
    #[must_use]
    pub const fn intent(&self) -> &Arc<Owners> {
        &self.intent
    }

    /// Whether the member has proven itself.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.stage == Stage::Proven
    }

    /// Asks (again) for everything that is wanted. Call it now and then.
    pub fn tend(&mut self, out: &mut Vec<IntakeEffect>) {
        match self.stage {
            Stage::Floors => {
                for source in self.sources.iter().filter(|source| source.floors.is_none()) {
                    let (to, round) = (source.member.node, 0);
                    out.push(IntakeEffect::Send { to, round, ask: Ask::Floors });
                }
            }
            Stage::Copying => {
                for index in 0..self.sources.len() {
                    self.ask(index, out);
                }
                self.conclude(out);
            }
            Stage::Proven => {}
        }
    }

    /// The floors are durable here and taken over.
    pub fn floors_known(&mut self, out: &mut Vec<IntakeEffect>) {
        if self.stage == Stage::Floors {
            self.stage = Stage::Copying;
            self.tend(out);
        }
    }

    /// Takes in an answer, of a source or of the own replica.
    pub fn answered(&mut self, answer: &Answer, out: &mut Vec<IntakeEffect>) {
        if answer.epoch != self.intent.epoch {
            return;
        }
        match &answer.reply {
            Reply::Floors { floor, purged } => self.note_floors(answer.from, *floor, *purged, out),
            Reply::Page { items, floor, mark, more } => {
                let (items, after) = (Arc::clone(items), None);
                let (floor, mark, more) = (*floor, *mark, *more);
                let page = Shown { from: answer.from, after, items, more, floor, mark };
                self.take(answer.round, page, out);
            }
            Reply::Accepted | Reply::Newer(_) | Reply::BelowMark(_) if answer.from == self.me => {
                self.taken(answer.round, out);
            }
            Reply::BelowFloor(floor) if answer.from == self.me => {
                probe("intake: a floor rose under a page");
                self.again(answer.round, *floor, out);
            }
            _ => {}
        }
    }

    fn enough(&self) -> usize {
        let present = self.intent.replicas.len();
        present - quorum(present) + 1
    }

    fn note_floors(
        &mut self,
        from: Member,
        floor: Floor,
        purged: Floor,
        out: &mut Vec<IntakeEffect>,
    ) {
        if self.stage != Stage::Floors {
            return;
        }
        if let Some(source) = self.sources.iter_mut().find(|source| source.member == from) {
            source.floors = Some((floor, purged));
        }
        let known: Vec<_> = self.sources.iter().filter_map(|source| source.floors).collect();
        if known.len() >= self.enough() {
            let floor = known.iter().map(|(floor, _)| *floor).max().unwrap_or_default();
            let purged = known.iter().map(|(_, purged)| *purged).max().unwrap_or_default();
            out.push(IntakeEffect::KnowFloors { floor, purged });
        }
    }

    /// Asks for a source's next page, or for the page to be taken.
    fn ask(&mut self, index: usize, out: &mut Vec<IntakeEffect>) {
        self.round += 1;
        let (round, me) = (self.round, self.me.node);
        let source = &mut self.sources[index];
        let (to, ask) = match &mut source.progress {
            Progress::Page(after) | Progress::Asked(after, _) => {
                let after = after.clone();
                source.progress = Progress::Asked(after.clone(), round);
                (source.member.node, Ask::Page { after, limit: PAGE })
            }
            Progress::Taking { page, round: asked, .. } => {
                *asked = round;
                let ask = if page.mark == Version::ZERO {
                    let (items, floor) = (Arc::clone(&page.items), page.floor);
                    Ask::Take { items, origin: Origin::Kept { floor } }
                } else {
                    Ask::Copy(Arc::clone(page))
                };
                (me, ask)
            }
            Progress::Dominated => return,
        };
        out.push(IntakeEffect::Send { to, round, ask });
    }

    fn take(&mut self, round: u32, mut page: Shown, out: &mut Vec<IntakeEffect>) {
        let asked = self.sources.iter_mut().enumerate().find_map(|(index, source)| {
            let is_its = source.member == page.from;
            match &mut source.progress {
                Progress::Asked(after, asked) if is_its && *asked == round => {
                    Some((index, after.take()))
                }
                _ => None,
            }
        });
        let Some((index, after)) = asked else { return };
        if page.items.is_empty() && page.more {
            // It says that there is more and does not get there: no proof of anything.
            self.sources[index].progress = Progress::Asked(after, round);
            return;
        }
        page.after = after;
        let then = page.items.last().filter(|_| page.more).map(|item| item.key.clone());
        // A page of nothing still says what was evicted.
        if page.items.is_empty() && page.mark == Version::ZERO {
            self.sources[index].progress = Progress::Dominated;
            return self.conclude(out);
        }
        self.sources[index].progress = Progress::Taking { page: Arc::new(page), then, round: 0 };
        self.ask(index, out);
    }

    fn taken(&mut self, round: u32, out: &mut Vec<IntakeEffect>) {
        let Some((index, then)) = self.taking(round) else { return };
        match then {
            Some(after) => {
                self.sources[index].progress = Progress::Page(Some(after));
                self.ask(index, out);
            }
            None => {
                self.sources[index].progress = Progress::Dominated;
                self.conclude(out);
            }
        }
    }

    /// A page was read under a lower floor than the own one: it is read again, once its source has
    /// raised its floor to that. Purge rounds raise floors everywhere, but one may have been broken
    /// off half-way, and while owners change there is no next one.
    fn again(&mut self, asked: u32, own: Floor, out: &mut Vec<IntakeEffect>) {
        let Some((index, _)) = self.taking(asked) else { return };
        let source = &mut self.sources[index];
        source.progress = Progress::Page(None);
        let (to, round, ask) = (source.member.node, 0, Ask::RaiseFloor { to: own });
        out.push(IntakeEffect::Send { to, round, ask });
        self.ask(index, out);
    }

    fn taking(&self, asked: u32) -> Option<(usize, Option<Bytes>)> {
        self.sources.iter().enumerate().find_map(|(index, source)| match &source.progress {
            Progress::Taking { then, round, .. } if *round == asked => Some((index, then.clone())),
            _ => None,
        })
    }

    fn conclude(&mut self, out: &mut Vec<IntakeEffect>) {
        let dominated =
            self.sources.iter().filter(|source| source.progress == Progress::Dominated).count();
        let proven = dominated >= self.enough() || planted(Bug::CutOverWithoutProof);
        if proven && self.stage == Stage::Copying {
            self.stage = Stage::Proven;
            out.push(IntakeEffect::Proven);
        }
    }
}

#[cfg(test)]
mod tests;
