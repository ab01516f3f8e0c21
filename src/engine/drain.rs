//! How a server ends: at once, or by draining, which closes connections at a pace and tells each when to come back.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher as _};
use std::time::{Duration, Instant};

use tracing::info;

use super::flush::say_last_words;
use super::handler::Handler;
use super::{Engine, Transport, get};
use crate::conn::Stage;
use crate::http::response::Refusal;
use crate::id::ConnId;
use crate::timer::Tick;
use crate::ws::close::{CloseCode, CloseReason};

/// Who is still to be closed, and by when. Times are in milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the end was asked for.
    asked_ms: u64,
    /// When the first is closed; until then the server goes on as before.
    begin_ms: u64,
    /// When the last is closed.
    end_ms: u64,
    /// Until when one may still send its request: the latest to come in have time for it, too.
    grace_ms: u64,
    /// By when all have to be gone.
    deadline: Tick,
    has_begun: bool,
    queue: VecDeque<ConnId>,
    /// How many have been in the queue.
    total: u64,
    /// Where the hints stand that are told: each is far from the ones before it.
    phase: u64,
    /// When the wheel wakes the loop to close the next.
    filed: Tick,
}

impl Pace {
    /// For a connection that is still to send its request when nobody can come in any more.
    const REQUEST_GRACE_MS: u64 = 500;

    /// How many have left the queue.
    fn taken(&self) -> u64 {
        self.total - self.queue.len() as u64
    }

    /// How many may be closed by now.
    fn due(&self, now_ms: u64) -> u64 {
        let (elapsed, all) =
            (now_ms.saturating_sub(self.begin_ms), self.end_ms.saturating_sub(self.begin_ms));
        match elapsed >= all {
            true => self.total,
            // The first leaves at once.
            false => (self.total * elapsed / all + 1).min(self.total),
        }
    }

    /// A wait between half of `longest` and all of it. Steps of the golden ratio lie evenly however many there are.
    fn hint_ms(&mut self, longest: Duration) -> u64 {
        self.phase = self.phase.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let half = longest.as_millis() as u64 / 2;
        half + ((u128::from(self.phase) * u128::from(half + 1)) >> 64) as u64
    }
}

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Begins to end: readiness turns red at once, and after `drain_delay` connections are closed over
    /// `drain_duration`, each with a hint when to come back.
    pub fn drain(&mut self, now: Instant) {
        self.set_time(now);
        self.drain_now();
    }

    /// As [`Engine::drain`], in the turn's own time.
    pub(super) fn drain_now(&mut self) {
        if !self.shared.is_draining {
            self.begin_drain(self.shared.rules.limits.drain_delay);
        }
    }

    /// Begins to close connections after a while.
    pub(super) fn begin_drain(&mut self, delay: Duration) {
        self.shared.is_draining = true;
        let (connections, delay_ms) = (self.peers.len(), delay.as_millis() as u64);
        info!(connections, delay_ms, "drain: nobody new is to be sent here");
        let limits = &self.shared.rules.limits;
        let begin_ms = self.shared.now_ms + delay.as_millis() as u64;
        let deadline = self.now.after(limits.shutdown_deadline);
        let (queue, phase) = (VecDeque::new(), self.shared.now_ms.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.wheel.file(ConnId::from_bits(u64::MAX), self.now.after(delay));
        self.wheel.file(ConnId::from_bits(u64::MAX), deadline);
        let (asked_ms, end_ms, filed, has_begun) = (self.shared.now_ms, begin_ms, self.now, false);
        let (grace_ms, total) = (begin_ms + Pace::REQUEST_GRACE_MS, 0);
        self.pace = Some(Pace {
            asked_ms,
            begin_ms,
            end_ms,
            grace_ms,
            deadline,
            has_begun,
            queue,
            total,
            phase,
            filed,
        });
    }

    /// Closes those whose turn it is, if the server drains.
    pub(super) fn keep_pace(&mut self) {
        let now_ms = self.shared.now_ms;
        let Some(pace) = self.pace.as_ref().filter(|pace| pace.begin_ms <= now_ms) else { return };
        if !pace.has_begun {
            if self.shared.rooms.is_frozen() {
                // Who takes over is decided first, or neither might go on.
                return;
            }
            self.begin_closing();
        }
        while let Some(pace) = self.pace.as_mut().filter(|pace| pace.taken() < pace.due(now_ms)) {
            let Some(id) = pace.queue.pop_front() else { break };
            self.take_leave(id);
        }
        let Some(pace) = &mut self.pace else { return };
        let is_awaited = || self.peers.iter().any(|(_, peer)| may_still_ask(peer.conn.stage()));
        let is_closed = pace.queue.is_empty() && now_ms >= pace.end_ms && !self.is_listening;
        if is_closed && (now_ms >= pace.grace_ms || !is_awaited()) {
            let deadline = pace.deadline;
            self.pace = None;
            self.end_all(deadline);
        } else if pace.filed <= self.now {
            pace.filed = self.now.after(Duration::ZERO);
            self.wheel.file(ConnId::from_bits(u64::MAX), pace.filed);
        }
    }

    fn begin_closing(&mut self) {
        let mut queue = self.ids();
        let Some(pace) = &mut self.pace else { return };
        // Who came together does not go together: neighbours in this order have nothing to do with each other.
        let seed = pace.phase;
        queue.sort_by_cached_key(|id| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(seed);
            hasher.write_u64(id.to_bits());
            hasher.finish()
        });
        pace.total = queue.len() as u64;
        pace.queue = queue.into();
        pace.has_begun = true;
        let limits = &self.shared.rules.limits;
        let by_rate = pace.total.saturating_mul(1000) / limits.drain_rate.max(1) as u64;
        // What is left of the deadline has to do for the last one's goodbye, too.
        let delay_ms = pace.begin_ms.saturating_sub(pace.asked_ms);
        let left = (limits.shutdown_deadline.as_millis() as u64).saturating_sub(delay_ms) / 2;
        let length = by_rate.min(limits.drain_duration.as_millis() as u64).min(left);
        pace.end_ms = pace.begin_ms + length;
        info!(connections = pace.total, over_ms = length, "drain: connections are being closed");
        for (_, peer) in &self.peers {
            if peer.conn.stage() == Stage::Waiting {
                self.shared.rooms.wake(peer.id);
            }
        }
    }

    /// One that has opened while others are being closed is closed in its turn.
    pub(super) fn keep_up(&mut self, id: ConnId) {
        if let Some(pace) = self.pace.as_mut().filter(|pace| pace.has_begun) {
            pace.queue.push_back(id);
            pace.total += 1;
        }
    }

    /// The wait in whole seconds that an answer tells.
    pub(super) fn retry_after(&mut self) -> String {
        let longest = self.shared.rules.limits.drain_retry;
        let hint_ms = self.pace.as_mut().map_or(0, |pace| pace.hint_ms(longest));
        hint_ms.div_ceil(1000).max(1).to_string()
    }

    /// Ends one connection with a hint, after what has been published so far; one that may still ask is left alone.
    fn take_leave(&mut self, id: ConnId) {
        let limits = &self.shared.rules.limits;
        let (high, longest) = (limits.outbound_bytes_high, limits.drain_retry);
        let (Some(pace), Some(peer)) = (&mut self.pace, get(&mut self.peers, id)) else { return };
        match peer.conn.stage() {
            Stage::Open => {
                let text = format!("retry in {} ms", pace.hint_ms(longest));
                let reason = CloseReason::new(CloseCode::GOING_AWAY, &text);
                self.close_peer(id, reason.unwrap_or(CloseReason::bare(CloseCode::GOING_AWAY)));
            }
            Stage::Streaming => {
                // HTML §9.2.6: the time after which the browser comes back by itself.
                let hint_ms = pace.hint_ms(longest);
                say_last_words(peer, &mut self.shared.rooms, high);
                peer.outbound
                    .push_http(|out| out.extend_from_slice(format!("retry: {hint_ms}\n\n").as_bytes()));
                peer.charge(&self.shared.metrics.memory);
                self.hang_up(id);
            }
            Stage::Waiting => self.answer_parked(id),
            Stage::Head | Stage::Body | Stage::Deciding | Stage::Closing | Stage::Closed => {}
        }
    }

    /// Closes every connection with 1001 and accepts no more; those that have not gone by the deadline are dropped.
    pub fn stop(&mut self, now: Instant) {
        self.set_time(now);
        let in_time = self.now.after(self.shared.rules.limits.shutdown_deadline);
        let deadline = self.pace.take().map_or(in_time, |pace| pace.deadline.min(in_time));
        if self.stopping.is_none() {
            self.end_all(deadline);
        }
    }

    fn end_all(&mut self, deadline: Tick) {
        self.stopping = Some(deadline);
        self.shared.is_draining = true;
        info!(connections = self.peers.len(), "stop: whoever is left is told");
        let reason = CloseReason::fixed(CloseCode::GOING_AWAY, "the server stops");
        let high = self.shared.rules.limits.outbound_bytes_high;
        for id in self.ids() {
            let Some(peer) = get(&mut self.peers, id) else { continue };
            match peer.conn.stage() {
                Stage::Open => self.close_peer(id, reason.clone()),
                // Between two requests there is nothing to say, and nothing on its way to wait for.
                Stage::Head | Stage::Body if peer.outbound.is_empty() => self.lose(id),
                Stage::Head | Stage::Body => self.hang_up(id),
                Stage::Streaming => {
                    say_last_words(peer, &mut self.shared.rooms, high);
                    peer.charge(&self.shared.metrics.memory);
                    self.hang_up(id);
                }
                Stage::Waiting => self.answer_parked(id),
                Stage::Deciding => self.refuse(id, &Refusal::Unavailable("the server stops").into()),
                Stage::Closing | Stage::Closed => {}
            }
        }
        self.wheel.file(ConnId::from_bits(u64::MAX), deadline);
    }

    /// Whether anybody may still come in. When that is over, those who came last have time to say what they want.
    pub fn set_listening(&mut self, is_listening: bool) {
        self.is_listening = is_listening;
        let grace_ms = self.shared.now_ms + Pace::REQUEST_GRACE_MS;
        if let Some(pace) = &mut self.pace {
            pace.grace_ms = pace.grace_ms.max(grace_ms);
        }
    }

    /// Whether connections are still taken in: also while the server drains, until it begins to close them.
    pub fn accepts(&self) -> bool {
        self.stopping.is_none() && self.pace.as_ref().is_none_or(|pace| !pace.has_begun)
    }

    /// Whether the server is about to end, in whichever way.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining
    }

    /// Whether everybody has been told that the server stops.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Whether the time for ending has run out.
    pub fn is_overdue(&self) -> bool {
        let deadline = self.stopping.or(self.pace.as_ref().map(|pace| pace.deadline));
        deadline.is_some_and(|deadline| self.now >= deadline)
    }

    /// Drops all connections as they are; their handlers are told.
    pub fn drop_all(&mut self) {
        for id in self.ids() {
            self.lose(id);
        }
        self.reap();
    }
}

/// Whether a request may be on its way, or its decision.
fn may_still_ask(stage: Stage) -> bool {
    matches!(stage, Stage::Head | Stage::Body | Stage::Deciding)
}
