//! Which rooms a shard is to tell the news of, and what it says.

use std::sync::Arc;

use super::line::{Line, Purpose};
use super::redirect::Redirection;
use super::resp::{Reply, command};
use super::rooms::Entry;
use super::{Backplane, slot};
use crate::planted::{Fault, is_planted};

impl Backplane {
    pub(super) fn listen_no_longer(&mut self, shard: usize, room: &str) {
        let channel = self.channel(room);
        let verb: &[u8] = if self.cluster.is_some() { b"SUNSUBSCRIBE" } else { b"UNSUBSCRIBE" };
        command(self.output(Line::news(shard)), &[verb, channel.as_bytes()]);
    }

    /// Subscribes to everything that a shard has.
    pub(super) fn subscribe_all(&mut self, shard: usize) {
        self.listen_for_canary(shard);
        let is_cluster = self.cluster.is_some();
        let here = |entry: &Entry| self.owner_of(entry.slot) == Some(shard);
        let rooms = self.rooms.iter().filter(|(_, entry)| here(entry));
        let mut rooms: Vec<Arc<str>> = rooms.map(|(room, _)| room.clone()).collect();
        // In one order, so that a simulated run can be replayed.
        rooms.sort_unstable();
        if is_planted(Fault::UnsubscribedAfterRelink) {
            rooms.clear();
        }
        let channels: Vec<String> = rooms.iter().map(|room| self.channel(room)).collect();
        subscribe(self.output(Line::news(shard)), channels.iter(), is_cluster);
        for room in rooms {
            if let Some(entry) = self.rooms.get_mut(&room) {
                entry.listens_at = Some(shard);
                entry.is_subscribed = false;
            }
        }
    }

    /// Has every room be listened to and read at the shard that has it now.
    pub(super) fn move_rooms(&mut self, now_ms: u64) {
        let mut moving: Vec<(Arc<str>, u16, Option<usize>)> = Vec::new();
        self.shards.iter_mut().for_each(|shard| shard.unread.clear());
        let Some(cluster) = &mut self.cluster else { return };
        let (left, refused) = (std::mem::take(&mut cluster.left), std::mem::take(&mut cluster.refused));
        // The canary's may be among the news that are not told.
        refused.iter().for_each(|shard| self.shards[*shard].canary_tag.clear());
        for (room, entry) in &mut self.rooms {
            let owner = cluster.owner(entry.slot);
            if let Some(at) = entry.listens_at
                && (left.contains(&(entry.slot, at)) || (!entry.is_subscribed && refused.contains(&at)))
            {
                entry.unsubscribe(at);
            }
            entry.is_queued = entry.wants_read && owner.is_some();
            if let Some(owner) = owner.filter(|_| entry.is_queued) {
                self.shards[owner].unread.push_back(room.clone());
            }
            if entry.listens_at.is_none() || entry.listens_at != owner {
                moving.push((room.clone(), entry.slot, entry.listens_at));
                entry.listens_at = owner.filter(|owner| self.shards[*owner][Purpose::News].is_up());
                entry.is_subscribed = false;
            }
        }
        moving.sort_unstable();
        self.shards.iter_mut().for_each(|shard| shard.unread.make_contiguous().sort_unstable());
        for (room, slot, from) in moving {
            self.move_presence(&room, now_ms);
            if let Some(from) = from.filter(|from| self.shards[*from][Purpose::News].is_up()) {
                self.listen_no_longer(from, &room);
            }
            if let Some(to) = self.owner_of(slot).filter(|to| self.shards[*to][Purpose::News].is_up()) {
                let channel = self.channel(&room);
                subscribe(self.output(Line::news(to)), [channel].iter(), true);
            }
        }
    }

    /// The room whose channel this is.
    fn room_of(&self, channel: &str) -> Option<Arc<str>> {
        let rest = channel.strip_prefix(&self.target.prefix)?.strip_prefix("news")?;
        let (room, _) = rest.rsplit_once(':')?;
        self.rooms.get_key_value(slot::unbraced(room)?).map(|(room, _)| room.clone())
    }

    /// Takes what comes on the line of news.
    pub(super) fn hear_news(&mut self, shard: usize, reply: &Reply, now_ms: u64) -> Result<(), String> {
        if let Reply::Error(error) = reply {
            return match Redirection::read(error).filter(|_| self.cluster.is_some()) {
                Some(moved @ Redirection::Moved(_)) => {
                    self.news_redirected(shard, moved, now_ms);
                    Ok(())
                }
                Some(Redirection::Wait { .. }) => {
                    self.news_refused(shard, now_ms);
                    Ok(())
                }
                Some(Redirection::Ask(_)) | None => Err(String::from_utf8_lossy(error).into_owned()),
            };
        }
        let [what, channel, said, ..] = reply.list() else {
            return Err("it says what is not understood".to_owned());
        };
        let (Some(what), Some(channel)) = (what.text(), channel.text()) else { return Ok(()) };
        match (what, self.room_of(channel)) {
            ("subscribe" | "ssubscribe", Some(room)) => {
                let is_forgotten = is_planted(Fault::NotReadAfterRelink) && !self.is_unread(&room);
                let entry = self.rooms.get_mut(&room).filter(|entry| entry.listens_at == Some(shard));
                if let Some(entry) = entry {
                    entry.is_subscribed = true;
                    if !is_forgotten {
                        self.want(&room);
                    }
                    self.read_rooms(shard, now_ms);
                }
            }
            ("sunsubscribe", Some(room)) => {
                // Its slot has gone elsewhere; or it was closed and has been opened again, and is asked for once more.
                if let Some(entry) = self.rooms.get_mut(&room) {
                    entry.unsubscribe(shard);
                }
                self.want_topology(now_ms);
                self.want_settled(now_ms);
            }
            ("message" | "smessage", Some(room)) => self.hear_announced(shard, &room, said, now_ms),
            ("message" | "smessage", None) if channel == self.canary_channel(shard) => {
                self.hear_canary(shard, said, now_ms);
            }
            (_, _) => {}
        }
        Ok(())
    }
}

/// Channels named in one command, so that a node with many rooms does not hold up the others.
const CHANNELS: usize = 256;

/// Subscribes to channels; those of a cluster are named one by one, since one command may only be about one slot.
pub(super) fn subscribe<'a>(
    out: &mut Vec<u8>,
    channels: impl ExactSizeIterator<Item = &'a String>,
    is_cluster: bool,
) {
    let (verb, at_once): (&[u8], usize) =
        if is_cluster { (b"SSUBSCRIBE", 1) } else { (b"SUBSCRIBE", CHANNELS) };
    let mut channels = channels.map(String::as_bytes).peekable();
    while channels.peek().is_some() {
        let parts: Vec<&[u8]> = [verb].into_iter().chain(channels.by_ref().take(at_once)).collect();
        command(out, &parts);
    }
}
