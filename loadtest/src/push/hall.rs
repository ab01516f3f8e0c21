//! Who gets the messages, each in the way that is measured, and the one who publishes them.

use super::Way;
use super::events::EventReader;
use super::http::{Page, ResponseReader, Room};
use crate::client::Broken;
use crate::modes::traffic::{Flow, Scene};
use crate::reactor::{Ending, Message, Peer, PeerId, Swarm, Traffic, Workload};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Short polls that one look at the plan sends, so that catching up does not starve the reading.
const BURST: usize = 16;

/// How one connection is read.
enum Reader {
    Frames,
    Events(EventReader),
    Polls(Poller),
    Publisher(ResponseReader),
}

/// Asks for what came since it asked last.
struct Poller {
    responses: ResponseReader,
    since: String,
    is_waiting: bool,
}

/// What went over the subscribers' connections in the measured span, or before it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Wire {
    /// Bytes of all together.
    pub(super) bytes: Traffic,
    /// Requests that they sent.
    pub(super) requests: u64,
}

/// When short polls are due: the subscribers take turns, so that each asks once in a period.
struct Plan {
    next: Option<Instant>,
    step: Duration,
    seat: usize,
}

/// The subscribers (seats from 0 on) and the publisher (the last seat).
pub(super) struct Hall {
    flows: [Flow; 1],
    room: Room,
    readers: Vec<Reader>,
    ids: Vec<PeerId>,
    wait: u64,
    plan: Option<Plan>,
    now: Wire,
    /// What it took to begin: handshakes, and heads of responses without an end.
    pub(super) opening: Wire,
    /// What the measured span took.
    pub(super) measured: Wire,
    /// What went wrong with connections and answers, by the words for it.
    pub(super) failures: BTreeMap<String, u64>,
}

impl Hall {
    /// For connections that are open, in the order of their seats, of which the last is the publisher's.
    pub(super) fn new(
        way: Way,
        (room, since): (Room, &str),
        flow: Flow,
        ids: Vec<PeerId>,
        (wait, every): (u64, Duration),
    ) -> Self {
        let subscribers = ids.len() - 1;
        let reader = |_| match way {
            Way::Websocket => Reader::Frames,
            Way::Events => Reader::Events(EventReader::default()),
            Way::LongPoll | Way::ShortPoll => Reader::Polls(Poller {
                responses: ResponseReader::default(),
                since: since.to_owned(),
                is_waiting: false,
            }),
        };
        let mut readers: Vec<Reader> = (0..subscribers).map(reader).collect();
        readers.push(Reader::Publisher(ResponseReader::default()));
        let step = every / u32::try_from(subscribers).unwrap_or(u32::MAX);
        let plan = (way == Way::ShortPoll).then_some(Plan { next: None, step, seat: 0 });
        Self {
            flows: [flow],
            room,
            readers,
            ids,
            wait: if way == Way::LongPoll { wait } else { 0 },
            plan,
            now: Wire::default(),
            opening: Wire::default(),
            measured: Wire::default(),
            failures: BTreeMap::new(),
        }
    }

    /// Asks for events, so that every stream of them has begun before there is one.
    pub(super) fn ask_for_events(&mut self, swarm: &mut Swarm, since: &str) {
        let request = self.room.events(since);
        for (reader, id) in self.readers.iter().zip(&self.ids) {
            if let (Reader::Events(_), Some(peer)) = (reader, swarm.peer(*id)) {
                peer.send(&request);
                self.now.requests += 1;
            }
        }
    }

    /// Asks for the first time, where an answer waits for something to answer with.
    pub(super) fn begin_long_polls(&mut self, swarm: &mut Swarm) {
        if self.wait > 0 {
            (0..self.ids.len() - 1).for_each(|seat| self.poll(swarm, seat));
        }
    }

    /// Whether every stream of events has begun.
    pub(super) fn is_open(&self) -> bool {
        self.readers.iter().all(|reader| !matches!(reader, Reader::Events(events) if !events.is_open))
    }

    /// Notes what has been used until now as what it took to begin.
    pub(super) fn note_opening(&mut self, swarm: &mut Swarm) {
        self.opening = self.used(swarm);
    }

    /// The flow, with all that became of it.
    pub(super) fn into_flow(self) -> (Flow, BTreeMap<String, u64>) {
        let [flow] = self.flows;
        (flow, self.failures)
    }

    fn used(&self, swarm: &mut Swarm) -> Wire {
        let publisher = self.ids.len() - 1;
        let mut used = self.now;
        for peer in swarm.peers().filter(|peer| peer.seat != publisher) {
            used.bytes.sent += peer.traffic().sent;
            used.bytes.received += peer.traffic().received;
        }
        used
    }

    fn poll(&mut self, swarm: &mut Swarm, seat: usize) {
        let (Reader::Polls(poller), Some(peer)) = (&mut self.readers[seat], swarm.peer(self.ids[seat]))
        else {
            return;
        };
        if !poller.is_waiting {
            poller.is_waiting = true;
            peer.send(&self.room.poll(&poller.since, self.wait));
            self.now.requests += 1;
        }
    }

    fn read(&mut self, peer: &mut Peer, bytes: &[u8], at: Instant) -> Result<(), Broken> {
        let (seat, [flow]) = (peer.seat, &mut self.flows);
        match &mut self.readers[seat] {
            Reader::Frames => Err(Broken::new("bytes without a frame")),
            Reader::Events(events) => events.feed(bytes, |message| flow.receive(None, seat, message, at)),
            Reader::Publisher(responses) => {
                let mut refused = None;
                responses.feed(bytes, |status, _| {
                    if !matches!(status, 201 | 202) {
                        refused = Some(status);
                    }
                })?;
                refused.map_or(Ok(()), |status| Err(Broken(format!("a message was answered {status}"))))
            }
            Reader::Polls(poller) => {
                let mut answer = Ok(None);
                poller.responses.feed(bytes, |status, body| {
                    answer = match status {
                        200 => Page::read(body, |message| flow.receive(None, seat, message, at)).map(Some),
                        _ => Err(Broken(format!("a poll was answered {status}"))),
                    };
                })?;
                let Some(page) = answer? else { return Ok(()) };
                poller.since = page.position;
                poller.is_waiting = self.wait > 0 || page.more;
                if poller.is_waiting {
                    peer.send(&self.room.poll(&poller.since, self.wait));
                    self.now.requests += 1;
                }
                Ok(())
            }
        }
    }

    fn fail(&mut self, words: String) {
        *self.failures.entry(words).or_default() += 1;
    }
}

impl Workload for Hall {
    fn opened(&mut self, _: &mut Peer) {}

    fn message(&mut self, peer: &mut Peer, message: Message<'_>, at: Instant) {
        self.flows[0].receive(None, peer.seat, message, at);
    }

    fn bytes(&mut self, peer: &mut Peer, bytes: &[u8], at: Instant) {
        if let Err(broken) = self.read(peer, bytes, at) {
            self.fail(broken.to_string());
            peer.abandon();
        }
    }

    fn ended(&mut self, _: &mut Peer, ending: Ending) {
        self.fail(ending.to_string());
    }
}

impl Scene for Hall {
    fn flows(&mut self) -> &mut [Flow] {
        &mut self.flows
    }

    fn count(&mut self, swarm: &mut Swarm, is_on: bool) {
        let used = self.used(swarm);
        let before = self.measured;
        self.measured = match is_on {
            true => used,
            false => Wire {
                bytes: Traffic {
                    // A connection that ended meanwhile has taken its count along.
                    sent: used.bytes.sent.saturating_sub(before.bytes.sent),
                    received: used.bytes.received.saturating_sub(before.bytes.received),
                },
                requests: used.requests - before.requests,
            },
        };
    }

    fn tend(&mut self, swarm: &mut Swarm, now: Instant) -> Option<Instant> {
        let subscribers = self.ids.len() - 1;
        for _ in 0..BURST {
            let plan = self.plan.as_mut()?;
            let due = *plan.next.get_or_insert(now);
            if due > now {
                return Some(due);
            }
            let seat = plan.seat;
            (plan.next, plan.seat) = (Some(due + plan.step), (seat + 1) % subscribers);
            self.poll(swarm, seat);
        }
        Some(now)
    }
}
