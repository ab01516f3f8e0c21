//! Publications on their way: each is kept until it has been answered, and asked again when the line was lost.

use std::borrow::Cow;

use super::line::{Expected, Line, Purpose};
use super::resp::{Reply, command};
use super::{Backplane, Event, Kind};
use crate::id::ConnId;
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

/// A publication that has not been answered.
#[derive(Debug)]
pub(super) struct Pending {
    /// The command, whole: it is the same however often it is sent.
    written: Vec<u8>,
    asker: Option<ConnId>,
    /// Whether its key is one that somebody else may have used before; another one only ever comes back from this node.
    has_key: bool,
    /// When whoever asks is told that there is no answer.
    pub(super) by_ms: u64,
}

/// How long Redis remembers a canary, in milliseconds.
const CANARY_MS: &str = "60000";

impl Backplane {
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
        let is_full = self.pending.len() >= self.limits.backplane_pending_max
            || self.pending_bytes + payload.len() > self.limits.backplane_pending_bytes_max;
        if is_full {
            return Err(NotPublished::Away);
        }
        let number = self.next_ticket;
        self.next_ticket += 1;
        let (conn, asker) = match author {
            Author::Asking(id) => (Some(id), Some(id)),
            Author::Silent(id) => (Some(id), None),
            Author::Server => (None, None),
        };
        let has_key = key.is_some();
        let key = key.map_or_else(|| Cow::Owned(format!("{:x}-{number:x}", self.node)), Cow::Borrowed);
        let written = self.write(room, keep, (kind, payload), (conn, number), &key);
        self.pending_bytes += written.len();
        let by_ms = now_ms + self.limits.backplane_publish_deadline.as_millis() as u64;
        let shard = self.shard_of(room);
        let commands = self.line(Line::commands(shard));
        if commands.is_up() {
            commands.ask_written(Expected::Published(number), &written, now_ms);
        }
        self.pending.insert(number, Pending { written, asker, has_key, by_ms });
        Ok(Ticket(number))
    }

    /// Whether so many publications are on their way that whoever publishes had better wait.
    pub fn is_crowded(&self) -> bool {
        self.pending.len() > self.limits.backplane_pending_max / 2
            || self.pending_bytes > self.limits.backplane_pending_bytes_max / 2
    }

    fn write(
        &self,
        room: &str,
        keep: Option<Keep>,
        (kind, payload): (Kind, &[u8]),
        (conn, number): (Option<ConnId>, u64),
        key: &str,
    ) -> Vec<u8> {
        let letter = match kind {
            Kind::Text => 't',
            Kind::Binary => 'b',
            Kind::Notice => 'n',
        };
        let conn = conn.map_or("-".to_owned(), |id| format!("{:x}", id.to_bits()));
        let origin = format!("{letter} {:x} {conn} {number:x}", self.node);
        let least = self.limits.backplane_log_min;
        let kept = keep.map_or(String::new(), |keep| keep.messages.max(least).to_string());
        let (least, age) = (least.to_string(), self.room_age(keep.unwrap_or_default()).to_string());
        let key_age = self.limits.idempotency_age.as_millis().max(1).to_string();
        let mut written = Vec::with_capacity(payload.len() + 512);
        let parts = [
            &b"EVALSHA"[..],
            self.publish.sha.as_bytes(),
            b"3",
            self.key("state", room).as_bytes(),
            self.key("log", room).as_bytes(),
            format!("{}:{key}", self.key("key", room)).as_bytes(),
            self.channel(room).as_bytes(),
            origin.as_bytes(),
            payload,
            kept.as_bytes(),
            age.as_bytes(),
            key_age.as_bytes(),
            least.as_bytes(),
        ]
        .map(<[u8]>::to_vec);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        command(&mut written, &parts);
        written
    }

    /// Sends again what has not been answered, in its order: what has been published before is not published again.
    pub(super) fn send_pending(&mut self, shard: usize, now_ms: u64) {
        let commands = &mut self.shards[shard][Purpose::Commands];
        for (number, pending) in &self.pending {
            commands.ask_written(Expected::Published(*number), &pending.written, now_ms);
        }
    }

    pub(super) fn hear_published(&mut self, number: u64, reply: &Reply) {
        let position = reply.list().first().and_then(|position| position.text()?.parse().ok());
        let has_key = self.pending.get(&number).is_some_and(|pending| pending.has_key);
        let repeated = has_key && reply.list().get(1).and_then(Reply::number) == Some(1);
        let outcome = match position {
            Some(position) => Ok(Published { position, crowded: false, repeated }),
            None => Err(NotPublished::Refused),
        };
        if let Reply::Error(error) = reply {
            self.remark = Some(format!("backplane {}: {}", self.target.url, String::from_utf8_lossy(error)));
        }
        self.answer(number, outcome);
    }

    fn answer(&mut self, number: u64, outcome: Result<Published, NotPublished>) {
        let Some(pending) = self.pending.remove(&number) else { return };
        self.pending_bytes -= pending.written.len();
        match (pending.asker, &outcome) {
            (Some(asker), _) => self.events.push_back(Event::Answered(asker, Ticket(number), outcome)),
            (None, Ok(_)) => {}
            (None, Err(_)) => self.failed += 1,
        }
    }

    pub(super) fn expire_pending(&mut self, now_ms: u64) {
        while let Some((number, pending)) = self.pending.first_key_value()
            && pending.by_ms <= now_ms
        {
            self.answer(*number, Err(NotPublished::Away));
        }
    }

    /// How many publications have failed that nobody asked about, since it was asked the last time.
    pub fn take_failed(&mut self) -> u64 {
        std::mem::take(&mut self.failed)
    }

    /// For how many milliseconds Redis remembers a room that nobody uses.
    pub(super) fn room_age(&self, keep: Keep) -> u128 {
        self.limits.backplane_room_age.max(keep.age).as_millis().max(1)
    }

    /// The channel on which this node hears itself.
    pub(super) fn canary_channel(&self) -> String {
        format!("{}:{}", self.canary_key("news"), self.target.url.db)
    }

    fn canary_key(&self, what: &str) -> String {
        self.key(&format!("canary-{what}"), &format!("{:x}", self.node))
    }

    /// Publishes for nobody but this node, in the same way in which messages are published.
    pub(super) fn send_canary(&mut self, shard: usize, now_ms: u64) {
        let [state, log, key] = ["state", "log", "key"].map(|what| self.canary_key(what));
        let (channel, sha) = (self.canary_channel(), self.publish.sha.clone());
        let key = format!("{key}:{now_ms}");
        let parts =
            ["EVALSHA", &sha, "3", &state, &log, &key, &channel, "n 0 - 0", "", "1", CANARY_MS, "1000", "1"];
        self.line(Line::commands(shard)).ask(Expected::Canary, &parts.map(str::as_bytes), now_ms);
    }
}
