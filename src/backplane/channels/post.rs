//! What is sent to the layer: each message once, and waited for until it has come back.

use std::sync::Arc;

use bytes::Bytes;
use rmpv::Value;

use super::super::line::Expected;
use super::super::post::Author;
use super::super::resp::{Reply, command};
use super::super::{Event, Kind};
use super::{Layer, Step, UNIQUE, dict};
use crate::id::ConnId;
use crate::room::position::Position;
use crate::room::publish::{NotPublished, Published, Ticket};

/// A message that has not come back.
#[derive(Debug)]
pub(super) struct Pending {
    /// The command that sends it, until it has been sent. It is sent once: nothing in the layer would keep it from
    /// being delivered twice.
    unsent: Vec<u8>,
    len: usize,
    is_handed: bool,
    /// It counts among those that may fill this node's own queue.
    is_on_way: bool,
    pub(super) conn: Option<ConnId>,
    askers: Vec<(ConnId, Ticket)>,
    room: Arc<str>,
    key: Option<Box<str>>,
    /// When whoever asks is told that there is no answer.
    pub(super) by_ms: u64,
}

impl Layer {
    /// Publishes to a room, which is opened if it is one of this node's; who asks is told when it has come back.
    ///
    /// What a client publishes goes to the channel that the room's dialect names, if it names one, and otherwise to the
    /// room's group. A notice is for the members here alone: consumers have no method for it.
    ///
    /// # Errors
    /// [`NotPublished::Away`], where too many are on their way already, and [`NotPublished::Refused`], where the room
    /// cannot be a group, or the message is too long for the layer.
    pub fn publish(
        &mut self,
        (room, is_here): (&str, bool),
        (kind, payload): (Kind, &[u8]),
        (author, user): (Author, Option<&str>),
        key: Option<&str>,
        now_ms: u64,
    ) -> Result<Ticket, NotPublished> {
        let is_full = self.pending.len().max(self.asking) >= self.limits.backplane_pending_max
            || self.pending_bytes + payload.len() > self.limits.backplane_pending_bytes_max;
        if is_full {
            return Err(NotPublished::Away);
        }
        let known = self.rooms.get_key_value(room).map(|(room, _)| room.clone());
        let name = known.unwrap_or_else(|| room.into());
        if is_here {
            self.open(name.clone(), now_ms);
        }
        let number = self.number();
        if kind == Kind::Notice {
            self.put(&name, kind, Bytes::copy_from_slice(payload), None, now_ms);
            return Ok(Ticket(number));
        }
        let (conn, asker) = match author {
            Author::Asking(id) => (Some(id), Some(id)),
            Author::Silent(id) => (Some(id), None),
            Author::Server => (None, None),
        };
        if key.is_some_and(|key| self.is_repeated(&name, key, (asker, Ticket(number)), now_ms)) {
            return Ok(Ticket(number));
        }
        let entry = self.rooms.get(&name);
        let dialect =
            entry.map_or_else(|| self.dialects.get(&name).cloned(), |entry| Some(entry.dialect.clone()));
        let dialect = dialect.unwrap_or_default();
        let group = entry.map_or_else(|| dialect.group_of(room), |entry| entry.group.clone());
        let group = group.ok_or(NotPublished::Refused)?;
        let channel = dialect.send_to.as_deref().filter(|_| author != Author::Server);
        let unsent = match channel {
            Some(channel) => {
                let more = address(room, &group, user);
                let dict = dict::write(&dialect.fields(kind, payload), &more);
                self.write_handed(channel, number, &dict, now_ms)
            }
            None => {
                let dict = dict::write_open(&dialect.fields(kind, payload));
                self.write_sent(&group, number, &dict, now_ms)
            }
        };
        if unsent.len() > self.limits.channels_message_bytes_max {
            return Err(NotPublished::Refused);
        }
        let by_ms = now_ms + self.limits.backplane_publish_deadline.as_millis() as u64;
        let askers: Vec<_> = asker.map(|asker| (asker, Ticket(number))).into_iter().collect();
        self.asking += askers.len();
        let (len, is_handed, key) = (unsent.len(), channel.is_some(), key.map(Into::into));
        self.pending_bytes += len;
        let pending =
            Pending { unsent, len, is_handed, is_on_way: false, conn, askers, room: name, key, by_ms };
        self.pending.insert(number, pending);
        self.send_more(now_ms);
        Ok(Ticket(number))
    }

    fn number(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket - 1
    }

    /// Whether something is on its way or has come back with the same key; then who asks is told the same.
    fn is_repeated(
        &mut self,
        room: &str,
        key: &str,
        (asker, ticket): (Option<ConnId>, Ticket),
        now_ms: u64,
    ) -> bool {
        let is_same = |pending: &&mut Pending| pending.key.as_deref() == Some(key) && *pending.room == *room;
        if let Some(pending) = self.pending.values_mut().find(is_same) {
            self.asking += usize::from(asker.is_some());
            pending.askers.extend(asker.map(|asker| (asker, ticket)));
            return true;
        }
        let oldest_ms = now_ms.saturating_sub(self.limits.idempotency_age.as_millis() as u64);
        let known = self.rooms.get(room).and_then(|entry| entry.keys.find(key, oldest_ms));
        if let (Some(position), Some(asker)) = (known, asker) {
            let published = Published { position, crowded: false, repeated: true };
            self.events.push_back(Event::Answered(asker, ticket, Ok(published)));
        }
        known.is_some()
    }

    /// Whether so many messages are on their way that whoever publishes had better wait.
    pub fn is_crowded(&self) -> bool {
        self.pending.len() > self.limits.backplane_pending_max / 2
            || self.pending_bytes > self.limits.backplane_pending_bytes_max / 2
    }

    /// What makes a message unique, and tells this node which of its own it is. Messages of one millisecond are in their
    /// order, since the set has them in that of their bytes.
    pub(super) fn unique(&self, number: u64) -> [u8; UNIQUE] {
        let mut unique = [0; UNIQUE];
        unique[..8].copy_from_slice(&self.node.wrapping_add(number).to_be_bytes());
        unique[8..].copy_from_slice(&self.node.to_le_bytes()[..4]);
        unique
    }

    /// Which of this node's messages it is, if it is one.
    pub(super) fn number_of(&self, unique: &[u8; UNIQUE]) -> Option<u64> {
        let number = u64::from_be_bytes(*unique.first_chunk()?).wrapping_sub(self.node);
        (number < self.next_ticket && self.unique(number) == *unique).then_some(number)
    }

    fn write_sent(&self, group: &str, number: u64, dict: &[u8], now_ms: u64) -> Vec<u8> {
        let now_s = now_ms / 1000;
        let (key, queue, now) = (self.group_key(group), self.queue(), Self::seconds(now_ms));
        let left = now_s.saturating_sub(self.limits.channels_group_expiry.as_secs()).to_string();
        let [old, capacity, expiry] = self.bounds(now_s);
        let mut written = Vec::with_capacity(dict.len() + 512);
        let parts: [&[u8]; 13] = [
            b"EVALSHA",
            self.group.sha.as_bytes(),
            b"1",
            key.as_bytes(),
            self.target.prefix.as_bytes(),
            queue.as_bytes(),
            &self.unique(number),
            dict,
            now.as_bytes(),
            left.as_bytes(),
            old.as_bytes(),
            capacity.as_bytes(),
            expiry.as_bytes(),
        ];
        command(&mut written, &parts);
        written
    }

    fn write_handed(&self, channel: &str, number: u64, dict: &[u8], now_ms: u64) -> Vec<u8> {
        let (key, now) = (self.key(channel), Self::seconds(now_ms));
        let message = [&self.unique(number)[..], dict].concat();
        let [old, capacity, expiry] = self.bounds(now_ms / 1000);
        let mut written = Vec::with_capacity(dict.len() + 512);
        let parts: [&[u8]; 9] = [
            b"EVALSHA",
            self.channel.sha.as_bytes(),
            b"1",
            key.as_bytes(),
            &message,
            now.as_bytes(),
            old.as_bytes(),
            capacity.as_bytes(),
            expiry.as_bytes(),
        ];
        command(&mut written, &parts);
        written
    }

    /// Since when messages are not too old, how many a queue takes, and for how many seconds it is remembered.
    fn bounds(&self, now_s: u64) -> [String; 3] {
        let expiry = self.limits.channels_expiry.as_secs().max(1);
        [now_s.saturating_sub(expiry), self.limits.channels_capacity as u64, expiry]
            .map(|bound| bound.to_string())
    }

    /// Sends what waits, in its order, as long as the line serves and not so much is on its way that this node's own queue
    /// would be full of it before it could be taken out: others send there, too. What was sent on a line before may have
    /// gone through, and is not sent again.
    pub(super) fn send_more(&mut self, now_ms: u64) {
        /// How much of its own queue a node fills by itself.
        const SHARE: usize = 4;
        let max = (self.limits.channels_capacity / SHARE).max(1);
        while self.is_answered()
            && self.on_way < max
            && let Some((&number, pending)) = self.pending.range_mut(self.unsent..).next()
        {
            let step = if pending.is_handed { Step::Handed(number) } else { Step::Sent(number) };
            let unsent = std::mem::take(&mut pending.unsent);
            pending.is_on_way = true;
            self.on_way += 1;
            self.unsent = number + 1;
            self.commands().ask_written(Expected::Layer(step), &unsent, now_ms);
        }
    }

    /// What was on its way may be lost, and nothing waits for it: a line is lost, or Redis has been emptied.
    pub(super) fn let_go(&mut self) {
        self.pending.values_mut().for_each(|pending| pending.is_on_way = false);
        self.on_way = 0;
    }

    /// A message has been sent to a group: it comes back, unless this node's own queue is not one of its queues, or full.
    pub(super) fn hear_sent(&mut self, number: u64, reply: &Reply, now_ms: u64) {
        if let Reply::Error(error) = reply {
            let why = String::from_utf8_lossy(error).into_owned();
            self.say(&why);
            return self.answer(number, Err(NotPublished::Refused));
        }
        let counts: Vec<u64> = reply.list().iter().filter_map(Reply::number).collect();
        let [_, full, own] = counts[..] else { return self.answer(number, Err(NotPublished::Refused)) };
        if full > 0 {
            self.full += full;
            self.say("a queue was full, and was not sent what was published");
        }
        match own {
            0 => {
                let room = self.pending.get(&number).map(|pending| pending.room.clone());
                let open = room.filter(|room| self.rooms.contains_key(room));
                // Somebody has taken the room's channel out of the group, or the group is gone.
                open.iter().for_each(|room| self.join(room, now_ms));
                let why = if open.is_some() { NotPublished::Refused } else { NotPublished::Unheard };
                self.answer(number, Err(why));
            }
            1 => {}
            _ => self.answer(number, Err(NotPublished::Refused)),
        }
    }

    /// A message has been sent to a worker, or its channel is full. It does not come back.
    pub(super) fn hear_handed(&mut self, number: u64, reply: &Reply, now_ms: u64) {
        let Some(pending) = self.pending.get(&number) else { return };
        let room = pending.room.clone();
        match (reply, reply.number()) {
            (_, Some(1)) => {
                let position = self.rooms.get(&room).map_or(self.beginning(), |entry| entry.head);
                self.came_back(number, (&room, position), now_ms);
                self.forget(number);
            }
            (Reply::Error(error), _) => {
                let why = String::from_utf8_lossy(error).into_owned();
                self.say(&why);
                self.answer(number, Err(NotPublished::Refused));
            }
            (_, _) => {
                self.full += 1;
                self.say("a worker's channel was full, and was not sent what was published");
                self.answer(number, Err(NotPublished::Refused));
            }
        }
    }

    /// A message of this node's has come back to its room: whoever asks is told where it stands.
    pub(super) fn came_back(&mut self, number: u64, (room, position): (&Arc<str>, Position), now_ms: u64) {
        let Some(pending) = self.pending.get_mut(&number).filter(|pending| pending.room == *room) else {
            return;
        };
        let published = Published { position, crowded: false, repeated: false };
        self.asking -= pending.askers.len();
        for (asker, ticket) in std::mem::take(&mut pending.askers) {
            self.events.push_back(Event::Answered(asker, ticket, Ok(published)));
        }
        if let (Some(key), Some(entry)) = (pending.key.take(), self.rooms.get_mut(room)) {
            let age_ms = self.limits.idempotency_age.as_millis() as u64;
            let (max, oldest_ms) = (self.limits.idempotency_keys_max, now_ms.saturating_sub(age_ms));
            entry.keys.remember(&key, position, now_ms, max, oldest_ms);
        }
    }

    /// A message is not waited for any more; whoever still asks is told that it came to nobody here.
    pub(super) fn forget(&mut self, number: u64) {
        let askers = self.remove(number).map(|pending| pending.askers).unwrap_or_default();
        for (asker, ticket) in askers {
            self.events.push_back(Event::Answered(asker, ticket, Err(NotPublished::Unheard)));
        }
    }

    fn remove(&mut self, number: u64) -> Option<Pending> {
        let pending = self.pending.remove(&number)?;
        self.pending_bytes -= pending.len;
        self.on_way -= usize::from(pending.is_on_way);
        self.asking -= pending.askers.len();
        Some(pending)
    }

    fn answer(&mut self, number: u64, outcome: Result<Published, NotPublished>) {
        let Some(pending) = self.remove(number) else { return };
        self.failed += u64::from(pending.askers.is_empty() && outcome.is_err());
        for (asker, ticket) in pending.askers {
            self.events.push_back(Event::Answered(asker, ticket, outcome));
        }
    }

    pub(super) fn expire_pending(&mut self, now_ms: u64) {
        while let Some((number, pending)) = self.pending.first_key_value()
            && pending.by_ms <= now_ms
        {
            self.answer(*number, Err(NotPublished::Away));
        }
    }

    /// How many messages have failed that nobody asked about, since it was asked the last time.
    pub fn take_failed(&mut self) -> u64 {
        std::mem::take(&mut self.failed)
    }

    /// How many queues were full when something was sent to them, since it was asked the last time.
    pub fn take_full(&mut self) -> u64 {
        std::mem::take(&mut self.full)
    }

    /// Sends to the group in which this node is alone, in the way in which messages are sent.
    pub(super) fn send_canary(&mut self, now_ms: u64) {
        let number = self.number();
        let fields = [("type".into(), "fanline.canary".into()), (Self::SENT.into(), now_ms.into())];
        let dict = dict::write_open(&fields);
        let written = self.write_sent(&self.own_group(), number, &dict, now_ms);
        self.commands().ask_written(Expected::Layer(Step::Canary), &written, now_ms);
    }

    /// A canary is on its way; or the group is gone, and with it all others: Redis has been emptied.
    pub(super) fn hear_canary(&mut self, reply: &Reply, now_ms: u64) {
        match reply.list().get(2).and_then(Reply::number) {
            Some(0) => {
                self.let_go();
                self.join_all(now_ms);
            }
            Some(1) => drop(self.redis.deaf_since_ms.get_or_insert(now_ms)),
            // One that is refused, as where memory is short, is not heard either, and that is no fault of the line.
            Some(_) | None => {}
        }
    }
}

/// Where a message that a worker gets comes from.
fn address(room: &str, group: &str, user: Option<&str>) -> [(Value, Value); 3] {
    let user = user.map_or(Value::Nil, Value::from);
    [("room".into(), room.into()), ("group".into(), group.into()), ("user".into(), user)]
}
