//! What a server of a cluster says that cannot answer: somebody else has the slot, or nobody has it yet.

use super::line::{Asked, Expected, Purpose, Waiting};
use super::resp::Reply;
use super::{Backplane, Line};

/// Where to go with a command instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redirection<T> {
    /// The slot is there from now on.
    Moved(T),
    /// The slot is on its way there: this once.
    Ask(T),
    /// Nowhere yet; it is the whole cluster that does not answer, or only the slot that is on its way.
    Wait {
        /// The whole cluster.
        is_down: bool,
    },
}

/// A slot, and a server as it is named there; an empty name is that of the server that says so.
pub(super) type Place<'a> = (u16, &'a str, u16);

impl<'a> Redirection<Place<'a>> {
    /// Reads an error; none where it is about something else.
    pub(super) fn read(error: &'a [u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(error).ok()?.split(' ');
        let kind = words.next()?;
        let place = |mut words: std::str::Split<'a, char>| {
            let slot = words.next()?.parse().ok().filter(|slot| usize::from(*slot) < super::slot::SLOTS)?;
            let (host, port) = words.next()?.rsplit_once(':')?;
            Some((slot, host, port.parse().ok()?))
        };
        match kind {
            "MOVED" => place(words).map(Redirection::Moved),
            "ASK" => place(words).map(Redirection::Ask),
            "TRYAGAIN" => Some(Redirection::Wait { is_down: false }),
            "CLUSTERDOWN" => Some(Redirection::Wait { is_down: true }),
            _ => None,
        }
    }
}

/// A command that is to be asked again then, and what was said of it last.
#[derive(Debug)]
pub(super) struct Later {
    pub(super) due_ms: u64,
    expected: Expected,
    asked: Box<Asked>,
    said: Reply,
}

impl Backplane {
    /// Takes an error that sends a command elsewhere.
    pub(super) fn redirected(
        &mut self,
        shard: usize,
        (redirection, reply): (Redirection<Place<'_>>, &Reply),
        waiting: Waiting,
        now_ms: u64,
    ) {
        let to = self.follow(shard, redirection, now_ms);
        match (waiting.expected, waiting.asked) {
            (Expected::Published(number), _) => self.publish_elsewhere(number, to, now_ms),
            (Expected::Canary, _) => {
                // Whether this slot can be used says nothing of the shard: there are others.
                self.shards[shard].canary_tag.clear();
            }
            (expected, Some(asked)) => self.ask_elsewhere(to, expected, (asked, reply.clone()), now_ms),
            (_, None) => {}
        }
    }

    /// Learns from a redirection; what it names is a shard then.
    fn follow(&mut self, shard: usize, said: Redirection<Place<'_>>, now_ms: u64) -> Redirection<usize> {
        match said {
            Redirection::Moved((slot, host, port)) => {
                self.want_topology(now_ms);
                match self.find_shard((host, port), shard) {
                    Some(to) => {
                        self.give_slot(slot, to, now_ms);
                        Redirection::Moved(to)
                    }
                    None => Redirection::Wait { is_down: false },
                }
            }
            Redirection::Ask((_, host, port)) => match self.find_shard((host, port), shard) {
                Some(to) => {
                    let stays_ms = self.limits.backplane_publish_deadline.as_millis() as u64;
                    self.shards[to].kept_until_ms = now_ms + stays_ms;
                    Redirection::Ask(to)
                }
                None => Redirection::Wait { is_down: false },
            },
            Redirection::Wait { is_down } => {
                if is_down {
                    self.want_topology(now_ms);
                }
                Redirection::Wait { is_down }
            }
        }
    }

    /// A channel that was to be listened to is to be had elsewhere.
    pub(super) fn news_redirected(&mut self, shard: usize, said: Redirection<Place<'_>>, now_ms: u64) {
        if let Redirection::Moved((slot, ..)) = said {
            if let Some(cluster) = &mut self.cluster {
                cluster.left.insert((slot, shard));
            }
            self.follow(shard, said, now_ms);
            self.want_settled(now_ms);
        }
    }

    fn ask_elsewhere(
        &mut self,
        to: Redirection<usize>,
        expected: Expected,
        (mut asked, said): (Box<Asked>, Reply),
        now_ms: u64,
    ) {
        /// After so many servers in a row have named another one, it waits for them to agree.
        const TRIES: u8 = 3;
        asked.tries = asked.tries.saturating_add(1);
        let may_go = asked.tries <= TRIES;
        let (to, is_asking) = match to {
            Redirection::Moved(to) => (Some(to), false),
            Redirection::Ask(to) => (Some(to), true),
            Redirection::Wait { .. } => (None, false),
        };
        match to.filter(|to| may_go && self.shards[*to][Purpose::Commands].is_up()) {
            Some(to) => {
                let line = &mut self.shards[to][Purpose::Commands];
                if is_asking {
                    line.say_asking(now_ms);
                }
                line.ask_elsewhere(expected, asked, now_ms);
            }
            None => self.ask_later(expected, (asked, said), now_ms),
        }
    }

    /// Asks again in a moment.
    pub(super) fn ask_later(&mut self, expected: Expected, (asked, said): (Box<Asked>, Reply), now_ms: u64) {
        if let Some(cluster) = &mut self.cluster {
            cluster.later.push(Later { due_ms: now_ms + Self::RETRY_MS, expected, asked, said });
        }
    }

    /// Asks again what had to wait; what has waited for too long is answered with what was said of it.
    pub(super) fn repeat_later(&mut self, now_ms: u64) {
        let Some(cluster) = &mut self.cluster else { return };
        let due: Vec<Later> = cluster.later.extract_if(.., |later| later.due_ms <= now_ms).collect();
        for Later { expected, asked, said, .. } in due {
            match self.owner_of(asked.slot).filter(|owner| self.shards[*owner][Purpose::Commands].is_up()) {
                _ if asked.by_ms <= now_ms => {
                    let shard = self.owner_of(asked.slot).unwrap_or_default();
                    // Nothing that may be asked of a room ends a line by this error.
                    self.hear_answer(Line::commands(shard), expected, &said, now_ms).unwrap_or_default();
                }
                Some(owner) => {
                    self.shards[owner][Purpose::Commands].ask_elsewhere(expected, asked, now_ms);
                }
                None => self.ask_later(expected, (asked, said), now_ms),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_are_read_and_nothing_else_is_one() {
        let rows: [(&str, Option<Redirection<Place<'_>>>); 9] = [
            ("MOVED 3999 127.0.0.1:6381", Some(Redirection::Moved((3999, "127.0.0.1", 6381)))),
            ("MOVED 1 :7000", Some(Redirection::Moved((1, "", 7000)))),
            ("ASK 16383 ::1:7000", Some(Redirection::Ask((16383, "::1", 7000)))),
            ("TRYAGAIN Multiple keys", Some(Redirection::Wait { is_down: false })),
            ("CLUSTERDOWN Hash slot not served", Some(Redirection::Wait { is_down: true })),
            ("MOVED 16384 a:1", None),
            ("MOVED 1 a:x", None),
            ("ASK", None),
            ("OOM command not allowed", None),
        ];
        for (error, read) in rows {
            assert_eq!(Redirection::read(error.as_bytes()), read, "{error}");
        }
    }
}
