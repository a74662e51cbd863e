//! What a command goes by: the clock and the catalogue as its first run found them.
//!
//! Holds: who asks for a newer map is asked once on behalf of all commands that had come before.

use super::{Errands, Reply, Ticket};
use crate::catalogue::Routing;
use shoal_core::version::Millis;
use std::sync::Arc;

/// The clock and the catalogue.
pub(crate) struct View {
    pub(crate) now: Millis,
    /// Nothing where the newest is to be taken.
    pub(crate) routing: Option<Arc<Routing>>,
}

/// Whether others were asked for a newer map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum News {
    #[default]
    Unasked,
    /// By the question of this number.
    Asked(u64),
    /// What they said is in force.
    Heard,
}

impl Errands {
    /// The command runs again, from its beginning; what it is to go by, if it was under way.
    pub(crate) fn again(&mut self) -> Option<View> {
        self.asked = 0;
        let mut view = self.view.take();
        if self.take_news()
            && let Some(view) = &mut view
        {
            view.routing = None;
        }
        view
    }

    /// Takes note of what the command goes by, if it is under way.
    pub(crate) fn keep(&mut self, view: impl FnOnce() -> View) {
        let is_under_way = self.known > 0 || matches!(self.news, News::Asked(_));
        self.view = is_under_way.then(view);
    }

    /// Whether others were asked for a newer map since this command came, and it is in force; asks
    /// for it by `begin` where nobody did.
    pub(crate) fn has_news(&mut self, begin: impl FnOnce(Ticket)) -> bool {
        if self.news == News::Unasked {
            let (number, ticket) = self.board().expect(false);
            self.news = News::Asked(number);
            begin(ticket);
        }
        self.take_news()
    }

    /// Commands that come from now on are newer than any news. To be called before more of a
    /// client's commands are read.
    pub fn read_on(&mut self) {
        if let (News::Asked(number), Some(board)) = (self.news, &self.board) {
            board.forget([number].into_iter());
        }
        self.news = News::Unasked;
    }

    /// Whether the news are there.
    fn take_news(&mut self) -> bool {
        if let (News::Asked(number), Some(board)) = (self.news, &self.board)
            && let Some(Reply::News | Reply::Lost) = board.answer(number)
        {
            board.forget([number].into_iter());
            self.news = News::Heard;
        }
        self.news == News::Heard
    }
}
