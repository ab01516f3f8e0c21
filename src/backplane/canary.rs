//! What a node publishes for itself alone, through each shard, to know that it can: readiness is its way round.

use super::line::{Expected, Line, Purpose};
use super::news::subscribe;
use super::resp::Reply;
use super::shard::Shard;
use super::{Backplane, Event, slot};

/// How long Redis remembers a canary, in milliseconds.
const CANARY_MS: &str = "60000";

impl Backplane {
    /// Names tried at a time, until one is found that a shard has: even one with a single slot has one in 16384.
    const TAGS: u64 = 20_000;

    /// The channel on which this node hears itself.
    pub(super) fn canary_channel(&self, shard: usize) -> String {
        format!("{}:{}", self.canary_key(shard, "news"), self.target.url.db)
    }

    fn canary_key(&self, shard: usize, what: &str) -> String {
        self.key(&format!("canary-{what}"), &self.shards[shard].canary_tag)
    }

    /// Gives the canary a name that is in one of the shard's slots.
    pub(super) fn name_canary(&mut self, shard: usize) {
        let has = |tag: &str| self.owner_of(slot::of_room(tag)) == Some(shard);
        let entry = &self.shards[shard];
        if self.cluster.is_none() || (!entry.canary_tag.is_empty() && has(&entry.canary_tag)) {
            return;
        }
        let tried = entry.canary_tags;
        let named = (tried..tried + Self::TAGS)
            .map(|n| (n + 1, format!("{:x}-{n:x}", self.node)))
            .find(|(_, tag)| has(tag));
        let (tried, tag) = named.unwrap_or((tried + Self::TAGS, String::new()));
        let entry = &mut self.shards[shard];
        (entry.canary_tags, entry.canary_tag, entry.deaf_since_ms) = (tried, tag, None);
        self.listen_for_canary(shard);
    }

    pub(super) fn listen_for_canary(&mut self, shard: usize) {
        let news = Line::news(shard);
        if self.state(news).is_up() && !self.shards[shard].canary_tag.is_empty() {
            let (channel, is_cluster) = (self.canary_channel(shard), self.cluster.is_some());
            subscribe(self.output(news), [channel].iter(), is_cluster);
        }
    }

    /// Publishes for nobody but this node, in the same way in which messages are published.
    pub(super) fn send_canary(&mut self, shard: usize, now_ms: u64) {
        self.name_canary(shard);
        if self.shards[shard].canary_tag.is_empty() {
            return;
        }
        let [state, log, key] = ["state", "log", "key"].map(|what| self.canary_key(shard, what));
        let (channel, sha) = (self.canary_channel(shard), self.publish.sha.clone());
        let (key, sent) = (format!("{key}:{now_ms}"), now_ms.to_string());
        let parts = [
            "EVALSHA",
            &sha,
            "3",
            &state,
            &log,
            &key,
            &channel,
            "n 0 - 0",
            &sent,
            "1",
            CANARY_MS,
            "1000",
            "1",
            // However sure this node is of the reign, it is looked up now and then: a server may have been a replica for a
            // moment without that its lines were cut.
            Shard::UNKNOWN,
        ];
        self.shards[shard][Purpose::Commands].ask(Expected::Canary, &parts.map(str::as_bytes), now_ms);
    }

    /// A script has said whose reign it is, as far as it has looked that up.
    pub(super) fn hear_reign(&mut self, shard: usize, answer: &Reply) {
        if let Some(reign) = answer.list().get(2).and_then(Reply::text)
            && self.shards[shard].hear_reign(reign)
        {
            self.say(
                "INFO is refused: after a failover places that were lost may be given to other messages",
            );
        }
    }

    /// A canary has come round; its message is when it was sent.
    pub(super) fn hear_canary(&mut self, shard: usize, said: &Reply, now_ms: u64) {
        let sent = said.text().and_then(|said| said.rsplit('\n').next()?.parse::<u64>().ok());
        self.events.extend(sent.map(|sent_ms| Event::WentRound(now_ms.saturating_sub(sent_ms))));
        self.shards[shard].hear_canary(sent.map_or(now_ms, |sent_ms| sent_ms.min(now_ms)));
    }
}
