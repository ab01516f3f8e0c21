//! Those who behave badly, drawn from a seed: they cut messages in half, leave half-way, stop reading, or read slowly.

use super::super::round::Outcome;
use crate::client::frame::Frame;
use crate::reactor::{Cut, Ending, Message, Peer, PeerId, Swarm, Target, Workload};
use slab::Slab;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Troublemakers at a time.
pub(super) const MOST: usize = 512;

/// After a half-close the server has so long to end its half.
const FAREWELL: Duration = Duration::from_secs(5);

/// Bytes that a slow reader takes at a time.
const SIP: usize = 512;

/// From one sip to the next.
const SIP_PERIOD: Duration = Duration::from_millis(100);

/// Between two signals to the server.
const HANGUP_PERIOD: Duration = Duration::from_secs(5);

/// One thing that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// A member's connection is cut, and it resumes.
    Resume(Cut),
    /// A connection is reset in the middle of a message.
    HalfMessage,
    /// A connection ends its direction and waits for the other.
    HalfClose,
    /// A member of the room reads no more, and is cut after a while.
    Stall,
    /// A member of the room reads little by little.
    SlowReader,
    /// The server is told to read its configuration anew.
    Hangup,
}

impl Fault {
    fn words(self) -> &'static str {
        match self {
            Self::Resume(_) => "faults: members cut",
            Self::HalfMessage => "faults: resets in the middle of a message",
            Self::HalfClose => "faults: half-closed",
            Self::Stall => "faults: stalled members",
            Self::SlowReader => "faults: slow readers",
            Self::Hangup => "faults: SIGHUP",
        }
    }

    fn goes_to_room(self) -> bool {
        matches!(self, Self::Stall | Self::SlowReader)
    }
}

/// Where they connect to.
pub(super) struct Targets {
    echo: Rc<Target>,
    room: Rc<Target>,
}

impl Targets {
    /// An echo and a room.
    ///
    /// # Errors
    /// When these are no addresses.
    pub(super) fn new(echo: &str, room: &str) -> Result<Self, String> {
        Ok(Self { echo: Target::new(echo)?, room: Target::new(room)?.narrow() })
    }
}

struct Troublemaker {
    fault: Fault,
    id: PeerId,
    /// When it is cut.
    until: Instant,
    next_sip: Instant,
}

/// All of them, by their seats, and what they did.
pub(super) struct Troublemakers {
    /// Everything is drawn from it.
    pub(super) random: fastrand::Rng,
    targets: Targets,
    may_hang_up: bool,
    next_hangup: Instant,
    active: Slab<Troublemaker>,
    counts: BTreeMap<&'static str, u64>,
    /// Half-closed connections that the server did not end.
    left: u64,
}

impl Troublemakers {
    /// Nobody yet.
    pub(super) fn new(targets: Targets, random: fastrand::Rng, may_hang_up: bool) -> Self {
        let (active, counts) = (Slab::new(), BTreeMap::new());
        Self { random, targets, may_hang_up, next_hangup: Instant::now(), active, counts, left: 0 }
    }

    /// The next fault.
    pub(super) fn draw(&mut self) -> Fault {
        let fault = match self.random.u8(0..12) {
            0..2 => Fault::Resume(Cut::Fin),
            2..4 => Fault::Resume(Cut::Reset),
            4..6 => Fault::HalfMessage,
            6..8 => Fault::HalfClose,
            8 => Fault::Stall,
            9..11 => Fault::SlowReader,
            _ if self.may_hang_up && Instant::now() >= self.next_hangup => {
                self.next_hangup = Instant::now() + HANGUP_PERIOD;
                Fault::Hangup
            }
            _ => Fault::HalfMessage,
        };
        *self.counts.entry(fault.words()).or_default() += 1;
        fault
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Says what there was.
    pub(super) fn tell(&self, outcome: &mut Outcome) {
        for (words, count) in &self.counts {
            outcome.note(*words, *count);
        }
        if self.left > 0 {
            let left = self.left;
            outcome.faults.push(format!("{left} half-closed connections were not ended within {FAREWELL:?}"));
        }
    }

    /// Begins with a connection of its own.
    pub(super) fn begin(&mut self, swarm: &mut Swarm, fault: Fault) {
        if self.active.len() >= MOST {
            return;
        }
        let now = Instant::now();
        let time = match fault {
            Fault::HalfClose => FAREWELL,
            _ => Duration::from_millis(self.random.u64(50..3_000)),
        };
        let entry = self.active.vacant_entry();
        let target = if fault.goes_to_room() { &self.targets.room } else { &self.targets.echo };
        // Without a socket there is one fault less.
        if let Ok(id) = swarm.connect(target, entry.key()) {
            entry.insert(Troublemaker { fault, id, until: now + time, next_sip: now });
        }
    }

    /// Goes on with all of them, and cuts whose time has come.
    pub(super) fn tend(&mut self, swarm: &mut Swarm, now: Instant) {
        let keys: Vec<usize> = self.active.iter().map(|(key, _)| key).collect();
        for key in keys {
            let one = &mut self.active[key];
            let id = one.id;
            if one.until <= now {
                self.left += u64::from(one.fault == Fault::HalfClose);
                let cut = if one.fault == Fault::SlowReader { Cut::Fin } else { Cut::Reset };
                self.active.remove(key);
                swarm.cut(id, cut);
            } else if one.fault == Fault::SlowReader && one.next_sip <= now {
                one.next_sip = now + SIP_PERIOD;
                swarm.sip(id, SIP, self);
            }
        }
    }

    /// Cuts all of them.
    pub(super) fn end(&mut self, swarm: &mut Swarm) {
        for one in self.active.drain() {
            swarm.cut(one.id, Cut::Reset);
        }
    }
}

impl Workload for Troublemakers {
    fn opened(&mut self, peer: &mut Peer) {
        let frame = Frame::binary([b'x'; 256]).encode();
        match self.active[peer.seat].fault {
            Fault::HalfMessage => {
                let sent = self.random.usize(1..frame.len());
                peer.send(&frame[..sent]);
            }
            Fault::HalfClose => {
                peer.send(&frame);
                peer.finish_sending();
            }
            Fault::Stall | Fault::SlowReader => peer.stall(true),
            Fault::Resume(_) | Fault::Hangup => {}
        }
    }

    fn message(&mut self, _: &mut Peer, _: Message<'_>, _: Instant) {}

    fn ended(&mut self, peer: &mut Peer, _: Ending) {
        self.active.try_remove(peer.seat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64) -> Vec<Fault> {
        let targets = Targets::new("ws://127.0.0.1:1/echo", "ws://127.0.0.1:1/chat/r").expect("addresses");
        let mut trouble = Troublemakers::new(targets, fastrand::Rng::with_seed(seed), false);
        (0..200).map(|_| trouble.draw()).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_faults_and_every_kind_of_them() {
        let faults = drawn(7);
        assert_eq!(faults, drawn(7));
        assert_ne!(faults, drawn(8));
        let kinds = [Fault::HalfMessage, Fault::HalfClose, Fault::Stall, Fault::SlowReader];
        assert!(kinds.iter().all(|kind| faults.contains(kind)));
        assert!([Cut::Fin, Cut::Reset].iter().all(|cut| faults.contains(&Fault::Resume(*cut))));
        assert!(!faults.contains(&Fault::Hangup), "the server is not ours");
    }
}
