//! Publications on their way: each is kept until it has been answered, and asked again when the line was lost.
//!
//! In a cluster some of a slot's publications may be sent on to another server while later ones are under way. None of
//! them overtakes: each names the one before it that has not been answered, and Redis does nothing before that one is there.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::ops::Range;

use super::line::{Expected, Purpose};
use super::redirect::Redirection;
use super::resp::{Reply, word};
use super::shard::Shard;
use super::{Backplane, Event, Kind};
use crate::id::ConnId;
use crate::planted::{Fault, is_planted};
use crate::room::log::Keep;
use crate::room::publish::{NotPublished, Published, Ticket};

/// Whose a publication is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// A connection, which waits to be told what has become of it.
    Asking(ConnId),
    /// A connection that does not ask.
    Silent(ConnId),
    /// The server.
    Server,
}

/// Publications that have not been answered, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Post {
    pending: BTreeMap<u64, Pending>,
    bytes: usize,
    last: u64,
    /// The latest of each slot of a cluster.
    latest: HashMap<u16, u64>,
    /// When those that a server could not take yet are sent again.
    retry_ms: Option<u64>,
    /// Publications that have failed without anybody waiting for the answer.
    failed: u64,
}

/// A publication that has not been answered.
#[derive(Debug)]
struct Pending {
    /// Its keys and arguments, which are the same however often it is sent.
    written: Vec<u8>,
    /// Where in it the last of the keys is.
    key: Range<usize>,
    slot: u16,
    /// Its neighbours among the pending ones of its slot.
    before: Option<u64>,
    after: Option<u64>,
    /// The shard that has been sent it and has not answered.
    at: Option<usize>,
    /// How often it was sent on.
    moves: u8,
    /// Whether no server could take it when it was sent the last time.
    waits: bool,
    asker: Option<ConnId>,
    /// Whether its key is one that somebody else may have used before; another one only ever comes back from this node.
    has_key: bool,
    /// When whoever asks is told that there is no answer.
    by_ms: u64,
}

impl Pending {
    /// Keys and arguments, but for the key of the one before; the last is the reign.
    const WORDS: usize = 11;

    /// Writes the command.
    fn write(&self, before: Option<&Pending>, (sha, reign): (&str, &str), out: &mut Vec<u8>) {
        let (words, keys) = if before.is_some() { (4, 4) } else { (3, 3) };
        // Writing to memory does not fail.
        write!(out, "*{}\r\n$7\r\nEVALSHA\r\n", Self::WORDS + words).unwrap_or_default();
        word(out, sha.as_bytes());
        write!(out, "$1\r\n{keys}\r\n").unwrap_or_default();
        out.extend_from_slice(&self.written[..self.key.end]);
        out.extend_from_slice(before.map_or(&[][..], |before| &before.written[before.key.clone()]));
        out.extend_from_slice(&self.written[self.key.end..]);
        word(out, reign.as_bytes());
    }
}

impl Post {
    /// Bytes of memory taken up, about.
    pub(super) fn held(&self) -> usize {
        self.bytes
    }

    /// When the first of them is given up, or some are to be sent again.
    pub(super) fn due_ms(&self) -> u64 {
        let first = self.pending.first_key_value().map_or(u64::MAX, |(_, pending)| pending.by_ms);
        self.retry_ms.map_or(first, |at| at.min(first))
    }

    /// Sends one on a line; the one before it must be on its way.
    fn send(&mut self, number: u64, sha: &str, (at, shard): (usize, &mut Shard), now_ms: u64) {
        let Some(pending) = self.pending.get(&number) else { return };
        let before = pending.before.and_then(|before| self.pending.get(&before));
        let (line, reign) = shard.commands();
        pending.write(before, (sha, reign), &mut line.output);
        line.await_reply(Expected::Published(number), now_ms);
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.at = Some(at);
        }
    }

    /// Whether the one before it, if there is one, is on its way, and has not been told to wait: what comes after it would
    /// be told the same.
    fn may_go(&self, pending: &Pending) -> bool {
        let before = pending.before.and_then(|before| self.pending.get(&before));
        pending.at.is_none() && before.is_none_or(|before| before.at.is_some() && !before.waits)
    }

    /// Takes one out; who comes after it does not wait for it any longer.
    fn take(&mut self, number: u64) -> Option<Pending> {
        let pending = self.pending.remove(&number)?;
        self.bytes -= pending.written.len();
        if let Some(before) = pending.before.and_then(|before| self.pending.get_mut(&before)) {
            before.after = pending.after;
        }
        match pending.after.and_then(|after| self.pending.get_mut(&after)) {
            Some(after) => after.before = pending.before,
            None if self.latest.get(&pending.slot) == Some(&number) => {
                match pending.before {
                    Some(before) => self.latest.insert(pending.slot, before),
                    None => self.latest.remove(&pending.slot),
                };
            }
            None => {}
        }
        Some(pending)
    }
}

impl Backplane {
    /// Pause before a server is asked again that could not take a publication yet. It bounds nothing that an operator
    /// would set: how long that goes on is the publication's own deadline.
    pub(super) const RETRY_MS: u64 = 50;

    /// Publishes to a room of which so much is kept, or what others keep where it is not open here; how that went is an event, for who asks.
    ///
    /// # Errors
    /// [`NotPublished::Away`], where too many are on their way already.
    pub fn publish(
        &mut self,
        (room, keep): (&str, Option<Keep>),
        (kind, payload): (Kind, &[u8]),
        author: Author,
        key: Option<&str>,
        now_ms: u64,
    ) -> Result<Ticket, NotPublished> {
        let is_full = self.post.pending.len() >= self.limits.backplane_pending_max
            || self.post.bytes + payload.len() > self.limits.backplane_pending_bytes_max;
        if is_full {
            return Err(NotPublished::Away);
        }
        self.post.last += 1;
        let number = self.post.last;
        let (conn, asker) = match author {
            Author::Asking(id) => (Some(id), Some(id)),
            Author::Silent(id) => (Some(id), None),
            Author::Server => (None, None),
        };
        let has_key = key.is_some();
        let key = key.map_or_else(|| Cow::Owned(format!("{:x}-{number:x}", self.node)), Cow::Borrowed);
        let (written, key) = self.write(room, keep, (kind, payload), (conn, number), &key);
        self.post.bytes += written.len();
        let by_ms = now_ms + self.limits.backplane_publish_deadline.as_millis() as u64;
        let slot = self.slot_of(room);
        let is_cluster = self.cluster.is_some();
        let before = is_cluster.then(|| self.post.latest.insert(slot, number)).flatten();
        if let Some(before) = before.and_then(|before| self.post.pending.get_mut(&before)) {
            before.after = Some(number);
        }
        let (after, at, moves, waits) = (None, None, 0, false);
        let pending = Pending { written, key, slot, before, after, at, moves, waits, asker, has_key, by_ms };
        self.post.pending.insert(number, pending);
        self.send_on(number, now_ms);
        Ok(Ticket(number))
    }

    /// Whether so many publications are on their way that whoever publishes had better wait.
    pub fn is_crowded(&self) -> bool {
        self.post.pending.len() > self.limits.backplane_pending_max / 2
            || self.post.bytes > self.limits.backplane_pending_bytes_max / 2
    }

    /// The keys and arguments of a publication, and where the last key is.
    fn write(
        &self,
        room: &str,
        keep: Option<Keep>,
        (kind, payload): (Kind, &[u8]),
        (conn, number): (Option<ConnId>, u64),
        key: &str,
    ) -> (Vec<u8>, Range<usize>) {
        let letter = match kind {
            Kind::Text => 't',
            Kind::Binary => 'b',
            Kind::Notice => 'n',
        };
        let conn = conn.map_or("-".to_owned(), |id| format!("{:x}", id.to_bits()));
        let origin = format!("{letter} {:x} {conn} {number:x}", self.node);
        let kept = keep.map_or(String::new(), |keep| self.kept(keep).to_string());
        let least = self.limits.backplane_log_min.to_string();
        let age = self.room_age(keep.unwrap_or_default()).to_string();
        // However short an operator has it, what is sent again must not be published twice.
        let key_age = self.limits.idempotency_age.max(2 * self.limits.backplane_publish_deadline);
        let key_age = key_age.as_millis().max(1).to_string();
        let mut written = Vec::with_capacity(payload.len() + 512);
        word(&mut written, self.key("state", room).as_bytes());
        word(&mut written, self.key("log", room).as_bytes());
        let key_at = written.len();
        word(&mut written, format!("{}:{key}", self.key("key", room)).as_bytes());
        let key = key_at..written.len();
        word(&mut written, self.channel(room).as_bytes());
        word(&mut written, origin.as_bytes());
        word(&mut written, payload);
        [kept, age, key_age, least].iter().for_each(|argument| word(&mut written, argument.as_bytes()));
        (written, key)
    }

    /// Sends a publication to the shard that has its slot, if that serves, and those after it that have waited for it.
    fn send_on(&mut self, number: u64, now_ms: u64) {
        let mut next = Some(number);
        while let Some(number) = next
            && let Some(pending) = self.post.pending.get(&number).filter(|pending| self.post.may_go(pending))
            && let Some(shard) = self.owner_of(pending.slot)
            && self.shards[shard][Purpose::Commands].is_up()
        {
            next = pending.after;
            self.post.send(number, &self.publish.sha, (shard, &mut self.shards[shard]), now_ms);
        }
    }

    /// Sends what is not on its way, in its order: what has been published before is not published again.
    pub(super) fn send_pending(&mut self, now_ms: u64) {
        let waiting = self.post.pending.iter().filter(|(_, pending)| pending.at.is_none());
        let waiting: Vec<u64> = waiting.map(|(number, _)| *number).collect();
        waiting.into_iter().for_each(|number| self.send_on(number, now_ms));
    }

    /// A shard answers no more: what it was sent is to be sent again.
    pub(super) fn stop_sending(&mut self, shard: usize, now_ms: u64) {
        let sent = self.post.pending.values_mut().filter(|pending| pending.at == Some(shard));
        let mut is_any = false;
        sent.for_each(|pending| {
            (pending.at, is_any) = (None, true);
            if is_planted(Fault::RetryWithNewKey)
                && let Some(at) = pending.written.windows(4).position(|part| part == b"key{")
            {
                pending.written[at] ^= 1;
            }
        });
        // Its slot may be another's all the same, which may serve.
        if is_any && self.cluster.is_some() {
            self.post.retry_ms.get_or_insert(now_ms + Self::RETRY_MS);
        }
    }

    /// A publication has to go elsewhere, or to wait.
    pub(super) fn publish_elsewhere(&mut self, number: u64, to: Redirection<usize>, now_ms: u64) {
        /// After so many servers in a row have named another one, it waits for them to agree.
        const MOVES: u8 = 3;
        let Some(pending) = self.post.pending.get_mut(&number) else { return };
        pending.at = None;
        pending.moves = pending.moves.saturating_add(1);
        pending.waits = false;
        let may_go = pending.moves <= MOVES;
        match to {
            Redirection::Moved(_) if may_go => self.send_on(number, now_ms),
            Redirection::Ask(shard)
                if self.shards[shard][Purpose::Commands].is_up()
                    && self.post.pending.get(&number).is_some_and(|pending| self.post.may_go(pending)) =>
            {
                self.shards[shard][Purpose::Commands].say_asking(now_ms);
                self.post.send(number, &self.publish.sha, (shard, &mut self.shards[shard]), now_ms);
            }
            Redirection::Moved(_) | Redirection::Ask(_) | Redirection::Wait { .. } => {
                if let Some(pending) = self.post.pending.get_mut(&number) {
                    pending.waits = true;
                }
                self.post.retry_ms.get_or_insert(now_ms + Self::RETRY_MS);
            }
        }
    }

    pub(super) fn hear_published(&mut self, number: u64, reply: &Reply, now_ms: u64) {
        let position = reply.list().first().and_then(|position| position.text()?.parse().ok());
        let how = reply.list().get(1).and_then(Reply::number);
        if let Some(pending) = self.post.pending.get_mut(&number).filter(|_| how == Some(2)) {
            // The one before it is on another way: when that has been answered, or is sent again, this one goes.
            pending.at = None;
            if pending.before.is_none() {
                self.send_on(number, now_ms);
            }
            return;
        }
        let has_key = self.post.pending.get(&number).is_some_and(|pending| pending.has_key);
        let repeated = has_key && how == Some(1);
        let outcome = match position {
            Some(position) => Ok(Published { position, crowded: false, repeated }),
            None => Err(NotPublished::Refused),
        };
        if let Reply::Error(error) = reply {
            self.say(&String::from_utf8_lossy(error));
        }
        self.answer(number, outcome, now_ms);
    }

    fn answer(&mut self, number: u64, outcome: Result<Published, NotPublished>, now_ms: u64) {
        let last = self.post.pending.last_key_value().filter(|_| is_planted(Fault::AnswerToTheLast));
        let number = last.map_or(number, |(last, _)| *last);
        let Some(pending) = self.post.take(number) else { return };
        if outcome != Err(NotPublished::Away) {
            // Its slot is served again: those that were told to wait go, one behind the other.
            let mut next = pending.after;
            while let Some(after) = next.and_then(|after| self.post.pending.get_mut(&after))
                && std::mem::take(&mut after.waits)
            {
                next = after.after;
            }
        }
        match (pending.asker, &outcome) {
            (Some(asker), _) => self.events.push_back(Event::Answered(asker, Ticket(number), outcome)),
            (None, Ok(_)) => {}
            (None, Err(_)) => self.post.failed += 1,
        }
        if let Some(after) = pending.after {
            self.send_on(after, now_ms);
        }
    }

    /// Gives up what is late, and sends again what had to wait.
    pub(super) fn attend_post(&mut self, now_ms: u64) {
        while let Some((number, pending)) = self.post.pending.first_key_value()
            && pending.by_ms <= now_ms
        {
            self.answer(*number, Err(NotPublished::Away), now_ms);
        }
        if self.post.retry_ms.is_some_and(|at| at <= now_ms) {
            self.post.retry_ms = None;
            self.send_pending(now_ms);
        }
    }

    /// How many publications have failed that nobody asked about, since it was asked the last time.
    pub fn take_failed(&mut self) -> u64 {
        std::mem::take(&mut self.post.failed)
    }

    /// How many publications Redis keeps of a room.
    pub(super) fn kept(&self, keep: Keep) -> usize {
        keep.messages.max(self.limits.backplane_log_min)
    }

    /// For how many milliseconds Redis remembers a room that nobody uses.
    pub(super) fn room_age(&self, keep: Keep) -> u128 {
        self.limits.backplane_room_age.max(keep.age).as_millis().max(1)
    }
}
