//! Reads whose owners answer all that they are asked, as replicas do: none waits for its deadline.

use super::*;

/// An owner of the key.
#[derive(Clone, Debug)]
struct Owner {
    held: Option<OwnedRecord>,
    /// Whether its store has room.
    takes: bool,
    ahead: Millis,
    floor: Floor,
    /// Up to where it has evicted.
    mark: Version,
}

fn owner() -> impl Strategy<Value = Owner> {
    let floors = prop_oneof![3 => Just(Floor::ZERO), 1 => Just(floor(150))];
    let marks = prop_oneof![2 => Just(Version::ZERO), 1 => Just(version(250, 0, 1))];
    (held(), any::<bool>(), 0_u64..10, floors, marks)
        .prop_map(|(held, takes, ahead, floor, mark)| Owner { held, takes, ahead, floor, mark })
}

impl Owner {
    fn answers(&mut self, ask: &Ask) -> Reply {
        let held = self.held.as_ref().map(|record| record.borrow().rank());
        match ask {
            Ask::Read { whole, .. } => {
                let mut reply = found(self.held.as_ref(), *whole, self.floor);
                if let Reply::Found { mark, .. } = &mut reply {
                    *mark = self.mark;
                }
                reply
            }
            Ask::Take { .. } if !self.takes => Reply::Refused(Refusal::Full(Full::Disk)),
            Ask::Take { items, origin: Origin::Kept { floor } } if *floor < self.floor => {
                let below = held < Some(items[0].record.borrow().rank());
                if below { Reply::BelowFloor(self.floor) } else { Reply::Accepted }
            }
            Ask::Take { items, .. } => {
                let new = items[0].record.borrow().rank();
                let is_value = held.is_some_and(|held| !held.tombstone);
                if !is_value && new.version <= self.mark {
                    return Reply::BelowMark(self.mark);
                }
                match held.filter(|held| *held > new) {
                    Some(held) => Reply::Newer(held.version),
                    None => {
                        self.held = Some(items[0].record.clone());
                        Reply::Accepted
                    }
                }
            }
            Ask::Clock => {
                self.ahead = self.ahead.max(9);
                Reply::Clock
            }
            Ask::RaiseFloor { to } => {
                self.floor = self.floor.max(*to);
                Reply::Floors { floor: self.floor, purged: Floor::ZERO }
            }
            other => panic!("a read does not ask {other:?}"),
        }
    }
}

proptest! {
    /// Where every question is answered, or known to have failed, a read ends by itself, in
    /// whatever order that happens and whoever has no room.
    #[test]
    fn nothing_waits_for_the_deadline_where_all_is_answered(
        mut nodes in prop::collection::vec(owner(), 3..=5),
        level in prop::sample::select(vec![Level::One, Level::Quorum, Level::All]),
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..10), 200),
    ) {
        let mut out = Vec::new();
        if nodes.len() > 3 {
            // Of five, some may have evicted and others no room, and nothing be proven by anybody.
            nodes.iter_mut().for_each(|owner| owner.mark = Version::ZERO);
        }
        let set = owners(1, &[1, 2, 3, 4, 5][..nodes.len()], &[]);
        let mut read = Read::start(key("k"), level, set, |_| true, |_| 0, &mut out).unwrap();
        let mut open = Vec::new();
        for (pick, fate) in picks {
            open.extend(out.drain(..).filter_map(|effect| match effect {
                Effect::Send { to, round, ask } => Some((to, round, ask)),
                _ => None,
            }));
            if open.is_empty() {
                break;
            }
            let event = if fate == 0 {
                Event::Slow
            } else {
                let (to, round, ask) = open.swap_remove(pick.index(open.len()));
                let owner = &mut nodes[to.0 as usize - 1];
                if fate == 1 {
                    Event::Failed { node: to, round }
                } else {
                    let reply = owner.answers(&ask);
                    let clock = Stamp::start_of(NOW_MS + owner.ahead);
                    Event::Answered(Answer { clock, ..answer(to.0, round, reply) })
                }
            };
            read.on(event, &mut out);
        }
        prop_assert!(read.is_over(), "{read:?}");
    }
}
