//! A look through all connections, or all rooms, in slices: nobody waits for whoever wants to see them.
//!
//! A look goes from slot to slot, some of them each turn, and keeps the first `limit` of what it has seen in the order
//! asked for. A connection that is there from the beginning to the end is looked at once, whoever comes and goes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::conn::Stage;
use crate::id::{ConnId, Identity};
use crate::proxy::networks::Hop;
use crate::room::rooms::RoomInfo;
use crate::ws::close::CloseReason;

/// What is looked for, and what is done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// What is looked through, and what of it is meant.
    pub subject: Subject,
    /// What comes first.
    pub order: Order,
    /// Where the page before this one ended.
    pub after: Option<Mark>,
    /// How many of them are told of.
    pub limit: usize,
    /// With what each of the connections that are meant is closed, however many; `None` to leave them alone.
    pub close: Option<CloseReason>,
}

/// What is looked through, and what of it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All connections.
    Everyone,
    /// One connection.
    One(ConnId),
    /// A user's connections.
    User(String),
    /// The connections that have shown a token of this id.
    Token(String),
    /// The members of a room.
    Members(String),
    /// The rooms whose names begin like this.
    Rooms(String),
}

/// What comes first; where two are alike, the lower slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The lowest slot.
    #[default]
    Slot,
    /// Who is the most publications behind, or the room of which the most members are.
    Lag,
    /// Whose next publication has waited the longest.
    Delay,
    /// To whom the most bytes are owed, or the room whose log holds the most.
    Bytes,
    /// Who has been there the longest.
    Age,
    /// The room with the most members.
    Members,
    /// The room in which the most has been published.
    Publications,
}

/// A place in an order, such as `1200-17`: where a page ends and the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    key: Reverse<u64>,
    pub(super) slot: usize,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.key.0, self.slot)
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (key, slot) = text.split_once('-').ok_or(())?;
        Ok(Self { key: Reverse(key.parse().map_err(|_| ())?), slot: slot.parse().map_err(|_| ())? })
    }
}

/// What a look has found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Connections, in the order that was asked for.
    pub peers: Vec<PeerInfo>,
    /// Rooms, likewise.
    pub rooms: Vec<RoomInfo>,
    /// Where the next page begins, if there is more.
    pub next: Option<Mark>,
    /// How many were meant, of those looked at.
    pub matched: usize,
    /// Whether all have been looked at: a page in the order of slots is full before that.
    pub is_whole: bool,
    /// How many have been closed.
    pub closed: usize,
}

/// What is known of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its id.
    pub id: ConnId,
    /// The client's address, where it has one.
    pub client: Option<IpAddr>,
    /// Who is directly at the other end.
    pub hop: Hop,
    /// In which phase it is.
    pub stage: Stage,
    /// Whether it came through a listener for those who run the server.
    pub is_admin: bool,
    /// Whose it is.
    pub identity: Identity,
    /// What the application calls where it is.
    pub route: Option<String>,
    /// Some of the rooms it is in, and how many they are altogether.
    pub rooms: (Vec<Arc<str>>, usize),
    /// Bytes that are still to be sent to it.
    pub owed: u64,
    /// Publications that are.
    pub lag: u64,
    /// For how long the first of them has waited.
    pub delay: Duration,
    /// How long it has been there.
    pub age: Duration,
}

/// A look that has begun.
pub(super) struct Running {
    pub(super) survey: Survey,
    /// Whom the findings are for; `None` once it has gone.
    pub(super) asker: Option<ConnId>,
    /// The next slot.
    pub(super) at: usize,
    /// The first of what has been seen so far, and one more, so that it is known whether there is more.
    best: BinaryHeap<Mark>,
    pub(super) matched: usize,
    pub(super) closed: usize,
}

/// The looks that have begun, the one whose turn it is in front.
#[derive(Default)]
pub(super) struct Surveys {
    pub(super) running: VecDeque<Running>,
    /// What the request that is being answered has asked for.
    pub(super) found: Option<Findings>,
}

impl Surveys {
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn begin(&mut self, asker: ConnId, survey: Survey) {
        let at = match (survey.order, survey.after, &survey.subject) {
            (_, _, Subject::One(id)) => id.slot(),
            (Order::Slot, Some(after), _) => after.slot.saturating_add(1),
            (_, _, _) => 0,
        };
        let (asker, best) = (Some(asker), BinaryHeap::new());
        self.running.push_back(Running { survey, asker, at, best, matched: 0, closed: 0 });
    }

    /// Nobody waits for an answer any more. What was to be closed is closed all the same.
    pub(super) fn forget(&mut self, asker: ConnId) {
        for running in self.running.iter_mut().filter(|running| running.asker == Some(asker)) {
            running.asker = None;
        }
        self.running.retain(|running| running.asker.is_some() || running.survey.close.is_some());
    }
}

impl Running {
    /// Steps that closing a connection is worth: it is sent what its rooms have for it, and a Close.
    pub(super) const CLOSE_STEPS: usize = 16;

    /// Takes something in that is meant.
    pub(super) fn see(&mut self, key: u64, slot: usize) {
        self.matched += 1;
        let mark = Mark { key: Reverse(key), slot };
        if self.survey.after.is_some_and(|after| mark <= after) {
            return;
        }
        self.best.push(mark);
        if self.best.len() > self.survey.limit + 1 {
            self.best.pop();
        }
    }

    /// Whether what comes after this cannot be on the page.
    pub(super) fn is_full(&self) -> bool {
        let is_sorted = self.survey.order == Order::Slot && self.survey.close.is_none();
        is_sorted && self.best.len() > self.survey.limit
    }

    /// What is on the page, in its order, and where the next one begins.
    pub(super) fn page(&mut self) -> (Vec<Mark>, Option<Mark>) {
        let mut page = std::mem::take(&mut self.best).into_sorted_vec();
        let has_more = page.len() > self.survey.limit;
        page.truncate(self.survey.limit);
        let next = page.last().copied().filter(|_| has_more);
        (page, next)
    }
}
