//! One room: its log, its members, and who waits for either.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::encoding::Wire;
use super::join::{Join, Joined};
use super::keys::Keys;
use super::lane::{Cursor, Pending};
use super::log::{Lag, Log};
use super::long::Rest;
use super::members::{Member, Members};
use super::position::{Position, Start};
use super::presence::{Census, Roll};
use super::press::Press;
use super::rooms::RoomInfo;
use super::rooms::memory::Held;
use crate::id::ConnId;
use crate::ledger::{AccountId, Begun, Ledger, Standing};
use crate::ws::message::Message;

pub(super) struct Room {
    pub(super) name: Arc<str>,
    pub(super) log: Log,
    pub(super) members: Members,
    /// Stands in the queue of the walk.
    pub(super) active: bool,
    /// The walk has half a log's length still to do: who publishes here had better wait.
    pub(super) crowded: bool,
    /// Publishers that wait for the walk.
    pub(super) waiting: Vec<ConnId>,
    /// Those among them that made it crowded.
    pub(super) heard: Vec<ConnId>,
    /// Requests that wait for a publication; woken in one order, so that a simulated run can be replayed.
    pub(super) listeners: BTreeSet<ConnId>,
    pub(super) roll: Option<Box<Roll>>,
    /// What other nodes have said of it.
    pub(super) census: Census,
    pub(super) keys: Option<Box<Keys>>,
    /// What happens to slow members.
    pub(super) lag: Lag,
    /// Publications that slow members were not sent.
    pub(super) skipped: u64,
    /// It is shared, and not open yet: nobody can be in it.
    pub(super) is_opening: bool,
    /// When the last member or request left.
    pub(super) left_ms: u64,
    /// Until when it is kept whatever happens: its members are on their way from another process.
    pub(super) guarded_ms: u64,
    /// Publications that a quiet member is not to be sent because they are its own.
    own: HashMap<usize, Own>,
    /// When those came who are still to be sent what was published before that: for them it begins to wait then.
    came_ns: HashMap<usize, u64>,
    /// Where it stands in the ledger.
    pub(super) standing: Standing,
    /// What it was last known to take up.
    pub(super) charged: Held,
}

/// What a quiet member has published and is not to be sent.
#[derive(Debug, Default)]
struct Own {
    /// The offsets, from the first that it would be sent next.
    offsets: VecDeque<u64>,
    /// How many lie before those and after its cursor: the log's tail has passed them, so they need not be known.
    passed: u64,
}

impl Room {
    pub(super) fn new(name: Arc<str>, log: Log) -> Self {
        Self {
            name,
            log,
            members: Members::default(),
            active: false,
            crowded: false,
            waiting: Vec::new(),
            heard: Vec::new(),
            listeners: BTreeSet::new(),
            roll: None,
            census: Census::default(),
            keys: None,
            lag: Lag::Close,
            skipped: 0,
            is_opening: false,
            left_ms: 0,
            guarded_ms: 0,
            own: HashMap::new(),
            came_ns: HashMap::new(),
            standing: Standing::default(),
            charged: Held::default(),
        }
    }

    /// Bytes that members who keep up have not been sent yet.
    pub(super) fn backlog(&self) -> u64 {
        self.log.bytes_after(self.members.walked())
    }

    /// What is known of it.
    pub(super) fn info(&self) -> RoomInfo {
        RoomInfo {
            name: self.name.clone(),
            members: self.members.len(),
            users: self.roll.as_ref().map_or(0, |roll| roll.len()),
            position: self.log.position(),
            history: self.log.history_len(),
            skipped: self.skipped,
            census: self.census,
            lagging: self.members.lagging(),
            backlog: self.backlog(),
            log_bytes: self.log.held(),
        }
    }

    /// Publishers that waited for the walk, in the order in which they go on.
    pub(super) fn waiting(&mut self) -> impl Iterator<Item = ConnId> {
        std::mem::take(&mut self.waiting).into_iter().chain(std::mem::take(&mut self.heard))
    }

    /// Whether the walk has something to do for a member: news, unless its socket takes no more, or the bad news that
    /// the log's tail has passed it.
    pub(super) fn is_due(&self, member: &Member) -> bool {
        let has_news = member.cursor != self.log.head();
        let is_closed = || self.lag == Lag::Close && self.log.has_passed(member.wire, member.cursor);
        has_news && (!member.lagging || is_closed())
    }

    /// Lets a member that lagged go on where the room's rule says; how many publications it is not sent.
    pub(super) fn skip(&mut self, slot: usize) -> u64 {
        let Some(member) = self.members.get_mut(slot) else { return 0 };
        let has_passed = self.log.has_passed(member.wire, member.cursor);
        let to = match self.lag {
            Lag::Skip if has_passed => self.log.tail(member.wire),
            Lag::Latest => Cursor::after(self.log.head().offset().saturating_sub(1)),
            Lag::Close | Lag::Skip => return 0,
        };
        let skipped = to.since(member.cursor);
        member.cursor = member.cursor.max(to);
        if let Some(own) = self.own.get_mut(&slot).filter(|_| skipped > 0) {
            own.passed = 0;
        }
        self.skipped += skipped;
        skipped
    }

    /// Publications that a member is still to be sent.
    pub(super) fn owed(&self, slot: usize) -> u64 {
        let Some(member) = self.members.get(slot) else { return 0 };
        let own = self.own.get(&slot).filter(|_| !self.own.is_empty());
        let own = own.map_or(0, |own| {
            let behind = own.offsets.partition_point(|offset| *offset <= member.cursor.offset());
            (own.offsets.len() - behind) as u64 + own.passed
        });
        self.log.head().since(member.cursor) - own
    }

    /// Publications that all members together are still to be sent.
    pub(super) fn owed_to_all(&self) -> u64 {
        self.members.iter().map(|(slot, _)| self.owed(slot)).sum()
    }

    /// Whether nobody and nothing needs it: also not one who was here a moment ago and comes back.
    pub(super) fn is_deserted(&self, now_ms: u64) -> bool {
        let keep = self.log.keep();
        let is_kept = || now_ms < self.left_ms.saturating_add(keep.age.as_millis() as u64);
        let is_guarded = now_ms < self.guarded_ms;
        self.is_unused() && !is_guarded && (keep.is_nothing() || !(self.log.has_history() || is_kept()))
    }

    /// Whether nobody is in it, and nobody waits for it.
    pub(super) fn is_unused(&self) -> bool {
        self.members.is_empty() && !self.active && self.listeners.is_empty()
    }

    /// What everybody has been sent is not kept, unless somebody's cursor lags, or it is history.
    pub(super) fn trim(&mut self) {
        if !self.members.any_lagging() {
            self.log.trim_to(self.members.walked());
        }
    }

    /// Takes a member in. One that starts behind the head lags from the first, so that the log is kept for it.
    pub(super) fn enter(
        &mut self,
        conn: ConnId,
        join: &Join,
        wire: Wire,
        ledger: &mut Ledger,
    ) -> (usize, Joined) {
        self.log.open_lane(wire);
        let (mut cursor, mut recovered) = self.log.place(join.start, wire);
        let newest = Cursor::after(self.log.head().offset().saturating_sub(1));
        if self.lag == Lag::Latest && cursor < newest {
            // It will not be sent what is out of date, so it must not believe that it has everything.
            recovered &= !matches!(join.start, Start::Since { .. });
            cursor = newest;
        }
        let is_behind = cursor != self.log.head();
        let slot = self.members.insert(conn, cursor, wire);
        self.members.set_lagging(slot, is_behind);
        if join.is_quiet {
            self.own.insert(slot, Own::default());
        }
        if is_behind {
            self.came_ns.insert(slot, ledger.now_ns());
            ledger.owe(self.log.head().since(cursor), 0);
        }
        let position = Position { epoch: self.log.position().epoch, offset: cursor.offset() };
        (slot, Joined { position, recovered, is_behind })
    }

    /// Goes on with another log, all members at its head.
    pub(super) fn begin(&mut self, log: Log) {
        self.log = log;
        for member in self.members.iter_mut() {
            self.log.open_lane(member.wire);
            member.cursor = self.log.head();
        }
        self.own.values_mut().for_each(|own| *own = Own::default());
        self.came_ns.clear();
        self.members.rest_at(self.log.head());
        if self.active {
            self.members.begin_circle(self.log.head());
        }
    }

    /// Moves a member to the head, as if it had been sent everything.
    pub(super) fn catch_up(&mut self, slot: usize) -> Position {
        let head = self.log.head();
        if let Some(member) = self.members.get_mut(slot) {
            member.cursor = head;
        }
        if let Some(own) = self.own.get_mut(&slot) {
            *own = Own::default();
        }
        self.log.position()
    }

    /// Takes a member out; says whether it was one.
    pub(super) fn go(&mut self, slot: usize) -> bool {
        let Some(member) = self.members.remove(slot) else { return false };
        self.log.close_lane(member.wire);
        self.own.remove(&slot);
        self.came_ns.remove(&slot);
        self.trim();
        true
    }

    /// Appends for all members; `author` is the slot of the one that publishes.
    pub(super) fn append(
        &mut self,
        message: Message<'_>,
        is_notice: bool,
        author: Option<usize>,
        now_ms: u64,
        press: Option<&mut Press<'_>>,
    ) -> Position {
        let before = self.log.head();
        let position = self.log.append(message, is_notice, self.members.walked(), now_ms, press);
        if let Some(slot) = author
            && let Some(own) = self.own.get_mut(&slot)
            && let Some(member) = self.members.get_mut(slot)
        {
            match member.cursor == before {
                true => member.cursor = self.log.head(),
                false => own.offsets.push_back(position.offset),
            }
            // What is gone it will not be sent anyway, be it its own or not.
            let (tail, cursor) = (self.log.tail(member.wire).offset(), member.cursor.offset());
            while let Some(offset) = own.offsets.pop_front_if(|offset| *offset <= tail) {
                own.passed += u64::from(offset > cursor);
            }
        }
        if self.members.is_empty() {
            self.members.rest_at(self.log.head());
            self.trim();
        }
        position
    }

    /// When a member came, in the ledger's time, where it is sent what was published before that; otherwise 0.
    pub(super) fn came_ns(&self, slot: usize) -> u64 {
        if self.came_ns.is_empty() { 0 } else { self.came_ns.get(&slot).copied().unwrap_or(0) }
    }

    /// A member that was behind is not any more: whatever is published from now on, it is there for.
    pub(super) fn caught_up(&mut self, slot: usize) {
        if self.came_ns.remove(&slot).is_some() && self.came_ns.is_empty() {
            self.came_ns = HashMap::new();
        }
    }

    /// Whether the member in this slot publishes without being sent that.
    pub(super) fn is_quiet(&self, slot: usize) -> bool {
        !self.own.is_empty() && self.own.contains_key(&slot)
    }

    #[inline]
    pub(super) fn visit<'r>(&'r mut self, slot: usize, ledger: &'r mut Ledger) -> Option<Visit<'r>> {
        let came_ns = self.came_ns(slot);
        let member = self.members.get_mut(slot)?;
        let own = if self.own.is_empty() { None } else { self.own.get_mut(&slot) };
        Some(Visit { log: &self.log, member, own, came_ns, account: self.standing.account(), ledger })
    }
}

/// One member's place in the log: what it has not been sent, and how far it has come.
pub struct Visit<'r> {
    log: &'r Log,
    member: &'r mut Member,
    own: Option<&'r mut Own>,
    came_ns: u64,
    account: AccountId,
    ledger: &'r mut Ledger,
}

impl<'r> Visit<'r> {
    /// What is to be sent next.
    #[inline]
    pub fn pending(&mut self) -> Pending<'r> {
        let (log, wire) = (self.log, self.member.wire);
        let Some(own) = &mut self.own else { return log.pending(wire, self.member.cursor) };
        while let Some(offset) =
            own.offsets.front().copied().filter(|own| *own <= self.member.cursor.offset() + 1)
        {
            self.member.cursor = self.member.cursor.max(Cursor::after(offset));
            own.offsets.pop_front();
        }
        match own.offsets.front() {
            Some(offset) => log.pending_before(wire, self.member.cursor, *offset),
            None => log.pending(wire, self.member.cursor),
        }
    }

    /// Whether nothing is pending; `false` also where it takes a second look to tell.
    #[inline]
    pub fn is_caught_up(&self) -> bool {
        self.own.is_none() && self.member.cursor == self.log.head()
    }

    /// Moves the cursor past `sent` bytes of what was pending, which a socket has taken just now, and returns the rest of
    /// the publication that they cut, if any.
    #[inline]
    pub fn advance(&mut self, sent: usize) -> Option<Rest> {
        let before = self.member.cursor;
        let (cursor, rest) = self.log.advance(self.member.wire, before, sent);
        self.member.cursor = cursor;
        let count = cursor.since(before) - u64::from(rest.is_some());
        if count > 0 {
            let came_ns = self.came_ns;
            let times = self.log.times(before, count).map(|times| times.no_earlier_than(came_ns));
            self.ledger.sent(self.account, times);
        }
        self.ledger.count_bytes(sent);
        rest
    }

    /// The delivery that ends with the rest of the publication before the cursor.
    pub fn cut(&self) -> Begun {
        let cut = Cursor::after(self.member.cursor.offset().saturating_sub(1));
        self.begun(cut, 1)
    }

    /// Moves the cursor past all that was pending, which waits with what is for its connection alone from now on.
    pub fn hand_over(&mut self, len: usize) -> Begun {
        let before = self.member.cursor;
        self.member.cursor = self.log.advance(self.member.wire, before, len).0;
        self.begun(before, self.member.cursor.since(before))
    }

    fn begun(&self, cursor: Cursor, count: u64) -> Begun {
        let first = self.log.times(cursor, 1).next().unwrap_or_default();
        self.ledger.begun(self.account, count, first.no_earlier_than(self.came_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stalled_member_publishes_itself_is_not_remembered_for_longer_than_it_is_held() {
        let mut room = Room::new("a".into(), Log::new(1, 1000));
        room.lag = Lag::Skip;
        let join = Join { is_quiet: true, ..Join::default() };
        let (slot, _) =
            room.enter(ConnId::new(0, 0), &join, Wire::RAW, &mut Ledger::new(&crate::Limits::default()));
        room.append(Message::Text("somebody else's"), false, None, 0, None);
        room.members.set_lagging(slot, true);
        for _ in 0..10_000 {
            room.members.rest_at(room.log.head());
            room.append(Message::Text("x"), false, Some(slot), 0, None);
        }
        let own = &room.own[&slot];
        assert!(own.offsets.len() <= 1000 / 3, "{}", own.offsets.len());
        assert_eq!(own.offsets.len() as u64 + own.passed, 10_000);
        assert_eq!(room.owed(slot), 1, "what somebody else has published");
    }
}
