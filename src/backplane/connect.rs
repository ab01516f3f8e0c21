//! When lines are connected, to which servers, how they begin, and what becomes of it all when one is lost.

use super::Backplane;
use super::line::{Line, Phase, Purpose};
use super::shard::Shard;
use super::url::Server;

impl Backplane {
    /// Where a line leads, if there is one.
    pub fn server(&self, line: Line) -> Option<&Server> {
        self.shards.get(line.shard)?.server.as_ref()
    }

    /// Whether a shard's news are of any use: of one that has rooms, and is a primary as far as that is not known.
    pub(super) fn wants_news(&self, shard: usize) -> bool {
        match self.cluster {
            Some(_) => self.shards[shard].slots > 0,
            None => self.seeds.len() < 2 || self.shards[shard][Purpose::Commands].is_up(),
        }
    }

    /// Whether a line is to be connected now.
    pub fn wants(&self, line: Line, now_ms: u64) -> bool {
        let is_of_use = line.purpose == Purpose::Commands || self.wants_news(line.shard);
        self.shards[line.shard].is_used()
            && is_of_use
            && matches!(self.state(line).phase, Phase::Down { retry_ms } if retry_ms <= now_ms)
    }

    /// Whether there is no use for a line's socket.
    pub fn is_down(&self, line: Line) -> bool {
        matches!(self.state(line).phase, Phase::Down { .. })
    }

    /// A line is being connected.
    pub fn connecting(&mut self, line: Line, now_ms: u64) {
        self.shards[line.shard][line.purpose].begin(&self.limits, now_ms);
    }

    /// A line is connected.
    pub fn connected(&mut self, line: Line, now_ms: u64) {
        let name = format!("fanline-{:016x}", self.node);
        // Of a cluster's servers it is known which are primaries; where one Redis has several hosts, one of them is.
        let asks_role = self.cluster.is_none() && self.seeds.len() > 1 && line.purpose == Purpose::Commands;
        let scripts = match line.purpose {
            Purpose::Commands => vec![&self.publish, &self.read, &self.presence.seat, &self.presence.list],
            Purpose::News => Vec::new(),
        };
        self.shards[line.shard][line.purpose].greet((&self.target.url, asks_role), &name, &scripts, now_ms);
    }

    /// A line is lost, or cannot be had.
    pub fn lost(&mut self, line: Line, why: &str, now_ms: u64) {
        match self.server(line).filter(|_| self.seeds.len() > 1 || self.cluster.is_some()) {
            Some(server) => self.say(&format!("{}: {why}", server.place)),
            None => self.say(why),
        }
        self.drop_line(line, now_ms);
        self.want_topology(now_ms);
        let roams = self.cluster.is_none() || self.shards[line.shard].slots == 0;
        if line.purpose == Purpose::Commands
            && roams
            && let Some(server) = self.next_seed()
            && self.shards[line.shard].server.as_ref() != Some(&server)
        {
            // Both lines lead to the same server.
            self.drop_line(Line::news(line.shard), now_ms);
            self.shards[line.shard].server = Some(server);
        }
    }

    /// The next of the URL's servers that no other shard is.
    pub(super) fn next_seed(&mut self) -> Option<Server> {
        for _ in 0..self.seeds.len() {
            let seed = &self.seeds[self.next_seed % self.seeds.len()];
            self.next_seed = (self.next_seed + 1) % self.seeds.len();
            let is_taken = self.cluster.is_some()
                && self.shards.iter().filter_map(|shard| shard.server.as_ref()).any(|known| known == seed);
            if !is_taken {
                return Some(seed.clone());
            }
        }
        None
    }

    /// Gives a line up; it is connected again after a pause, if it is of any use.
    pub(super) fn drop_line(&mut self, line: Line, now_ms: u64) {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = self.random >> 33;
        let shard = &mut self.shards[line.shard];
        if matches!(shard[line.purpose].phase, Phase::Down { .. }) {
            return;
        }
        let unanswered = std::mem::take(&mut shard[line.purpose].expected);
        shard[line.purpose].give_up(&self.limits, random, now_ms);
        // What has come round on another line says nothing of the next one.
        (shard.canary_ms, shard.deaf_since_ms) = (None, None);
        unanswered.iter().for_each(|waiting| self.lose(&waiting.expected));
        match line.purpose {
            Purpose::Commands => {
                self.shards[line.shard].forget_reign();
                self.stop_sending(line.shard, now_ms);
                self.stop_reading(line.shard);
            }
            Purpose::News => self.rooms.values_mut().for_each(|entry| entry.unsubscribe(line.shard)),
        }
    }

    /// A line serves: what had to wait for it goes on.
    pub(super) fn opened(&mut self, line: Line, now_ms: u64) {
        self.line(line).open();
        match line.purpose {
            Purpose::Commands => {
                self.want_topology(now_ms);
                self.send_pending(now_ms);
                self.renew_presence(line.shard, now_ms);
                self.read_rooms(line.shard, now_ms);
            }
            Purpose::News => self.subscribe_all(line.shard),
        }
        if self.serving().all(Shard::is_up) && self.is_whole() {
            self.say("connected");
        }
        self.canary_due_ms = now_ms;
    }
}
