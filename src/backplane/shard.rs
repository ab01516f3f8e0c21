//! One server of those that have the rooms: a line for commands, a line for news, and whether they serve.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use super::line::{Purpose, State};
use super::url::Server;
use crate::limits::Limits;
use crate::planted::{Fault, is_planted};

/// A server, as this node is connected to it.
#[derive(Debug)]
pub(super) struct Shard {
    /// None where there was one and this place is free.
    pub(super) server: Option<Server>,
    lines: [State; 2],
    /// How many slots of a cluster it has; without any it is only asked which server has them.
    pub(super) slots: usize,
    /// Until when it stays although it has no slots: one is on its way there.
    pub(super) kept_until_ms: u64,
    /// Rooms in which something may be missing, and how many are being read.
    pub(super) unread: VecDeque<Arc<str>>,
    pub(super) reading: usize,
    /// What stands in the braces of the canary's keys, and how many such have been tried.
    pub(super) canary_tag: String,
    pub(super) canary_tags: u64,
    /// When a canary was last heard.
    pub(super) canary_ms: Option<u64>,
    /// Since when canaries have been published and not heard.
    pub(super) deaf_since_ms: Option<u64>,
    /// The server's reign (see `script::append`), as far as it is known.
    reign: String,
    /// When all nodes that live have renewed their leases, since it serves again: then what is over may be cleared away.
    pub(super) settles_ms: u64,
}

impl Shard {
    /// What a script is told that is to look the reign up.
    pub(super) const UNKNOWN: &'static str = "?";

    pub(super) fn new(server: impl Into<Option<Server>>) -> Self {
        let mut shard = Self {
            server: server.into(),
            lines: [State::new(), State::new()],
            slots: 0,
            kept_until_ms: 0,
            unread: VecDeque::new(),
            reading: 0,
            canary_tag: String::new(),
            canary_tags: 0,
            canary_ms: None,
            deaf_since_ms: None,
            reign: String::new(),
            settles_ms: 0,
        };
        shard.forget_reign();
        shard
    }

    /// Whether there is a server.
    pub(super) fn is_used(&self) -> bool {
        self.server.is_some()
    }

    /// Whether both lines serve.
    pub(super) fn is_up(&self) -> bool {
        self.lines.iter().all(State::is_up)
    }

    /// Whether what is published there is heard: a canary that was sent a moment ago has come back.
    pub(super) fn is_ready(&self, limits: &Limits, now_ms: u64) -> bool {
        let age_max = limits.backplane_canary_age.as_millis() as u64;
        self.is_up() && self.canary_ms.is_some_and(|sent_ms| now_ms <= sent_ms + age_max)
    }

    /// A canary has come round: both lines are of use, or were when it was sent.
    pub(super) fn hear_canary(&mut self, sent_ms: u64) {
        (self.canary_ms, self.deaf_since_ms) = (self.canary_ms.max(Some(sent_ms)), None);
        self.lines.iter_mut().for_each(State::proved);
    }

    /// The server's reign, as scripts are told it.
    pub(super) fn reign(&self) -> &str {
        &self.reign
    }

    /// The line for commands, and the reign of who is asked on it.
    pub(super) fn commands(&mut self) -> (&mut State, &str) {
        (&mut self.lines[Purpose::Commands as usize], &self.reign)
    }

    /// A script has looked the reign up; whether it was refused that.
    pub(super) fn hear_reign(&mut self, reign: &str) -> bool {
        let is_news = self.reign != reign && !is_planted(Fault::ReignForgotten);
        if is_news {
            reign.clone_into(&mut self.reign);
        }
        is_news && reign.is_empty()
    }

    /// It may be another server, or has not been one's own for a while.
    pub(super) fn forget_reign(&mut self) {
        let unknown = if is_planted(Fault::ReignForgotten) { "" } else { Self::UNKNOWN };
        unknown.clone_into(&mut self.reign);
    }

    /// When something about one of its lines is due, where it wants both of them or only that for commands.
    pub(super) fn due_ms(&self, limits: &Limits, wants_news: bool) -> u64 {
        let lines = &self.lines[..if wants_news { 2 } else { 1 }];
        let due = lines.iter().map(|line| line.due_ms(limits)).fold(u64::MAX, u64::min);
        if self.is_used() { due } else { u64::MAX }
    }

    /// Bytes of memory taken up, about.
    pub(super) fn held(&self) -> usize {
        self.lines.iter().map(State::held).sum()
    }
}

impl Index<Purpose> for Shard {
    type Output = State;

    fn index(&self, purpose: Purpose) -> &State {
        &self.lines[purpose as usize]
    }
}

impl IndexMut<Purpose> for Shard {
    fn index_mut(&mut self, purpose: Purpose) -> &mut State {
        &mut self.lines[purpose as usize]
    }
}
