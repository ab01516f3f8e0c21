//! The bystanders of an attack: connections that echo, or listen in a room, at planned times, and newcomers.
//!
//! They run on a thread of their own, so that an attacker who is busy does not delay what is measured on them.

use crate::measure::{Latency, Meter, Usage};
use crate::modes::report::Late;
use crate::modes::traffic::{Flow, Pace, Play, Scene, Seat, Stage};
use crate::reactor::{Ending, Message, Peer, Swarm, Target, Workload};
use slab::Slab;
use std::collections::BTreeMap;
use std::mem;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The longest that bystanders go on without being told to end.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// How long what is still under way is waited for in the end.
const DRAIN: Duration = Duration::from_secs(10);

/// A newcomer is at the door this often.
const NEWCOMER_PERIOD: Duration = Duration::from_millis(100);

/// A newcomer who has waited so long at the end was not served.
const NEWCOMER_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of an echoed message.
const ECHO_BYTES: usize = 64;

/// Who stands by, and what they do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where messages are echoed.
    pub(crate) echo_url: String,
    /// Connections that echo.
    pub(crate) echoes: usize,
    /// Echoes a second in all.
    pub(crate) echo_rate: f64,
    /// The room.
    pub(crate) room_url: String,
    /// Its members, of whom the first publishes.
    pub(crate) members: usize,
    /// Publications a second.
    pub(crate) room_rate: f64,
    /// Bytes of a publication.
    pub(crate) room_bytes: usize,
}

/// What was measured in one phase of an attack.
pub(crate) struct Phase {
    /// Its name.
    pub(crate) name: &'static str,
    /// Echoes, from their plan.
    pub(crate) echo: Latency,
    /// Deliveries in the room, from their plan.
    pub(crate) room: Latency,
    /// Handshakes of newcomers, TCP included.
    pub(crate) newcomers: Latency,
    /// Newcomers who were not let in.
    pub(crate) turned_away: u64,
}

/// What the bystanders have to say when all is over.
pub(crate) struct Heard {
    /// The phases in their order.
    pub(crate) phases: Vec<Phase>,
    /// What was wrong, by kind.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Messages published in the room by its first member.
    pub(crate) published: u64,
    /// How the plans were kept.
    pub(crate) late: Late,
    /// What their thread and the server used.
    pub(crate) usage: Usage,
}

/// Bystanders at work.
pub(crate) struct Crowd {
    phases: Sender<&'static str>,
    thread: JoinHandle<Result<Heard, String>>,
}

impl Crowd {
    /// Connects everybody and begins with a first phase.
    ///
    /// # Errors
    /// When somebody cannot connect.
    pub(crate) fn gather(plan: Plan, first: &'static str, server: Option<u32>) -> Result<Self, String> {
        let (phases, told) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            let opened = open(&plan, first, told);
            let mut play = match opened {
                Ok(play) => {
                    // Nobody waits for it any more only when the run is given up.
                    let _ = ready.send(Ok(()));
                    play
                }
                Err(why) => {
                    let _ = ready.send(Err(why.clone()));
                    return Err(why);
                }
            };
            let meter = Meter::start(server)?;
            play.run_until_over(LONGEST, DRAIN)?;
            let usage = meter.stop()?;
            Ok(play.stage.into_heard(usage))
        });
        is_ready.recv().map_err(|_| "the bystanders did not begin".to_owned())??;
        Ok(Self { phases, thread })
    }

    /// Begins another phase: what comes from now on is measured under its name.
    pub(crate) fn enter(&self, phase: &'static str) {
        // They end early only by an error, which is told in the end.
        let _ = self.phases.send(phase);
    }

    /// Ends, waits for what is under way, and tells.
    ///
    /// # Errors
    /// When the poller failed, or the server's process ended.
    pub(crate) fn disperse(self) -> Result<Heard, String> {
        drop(self.phases);
        self.thread.join().map_err(|_| "the bystanders' thread panicked".to_owned())?
    }
}

fn open(plan: &Plan, first: &'static str, told: Receiver<&'static str>) -> Result<Play<Onlookers>, String> {
    let mut swarm = Swarm::new().map_err(|error| error.to_string())?;
    let door = Target::new(&plan.echo_url)?;
    let echoes = swarm.open(&door, 0, plan.echoes)?;
    let members = swarm.open(&Target::new(&plan.room_url)?, plan.echoes, plan.members)?;
    let mut seats: Vec<Option<Seat>> =
        (0..plan.echoes).map(|index| Some(Seat { flow: 0, stream: Some(index), receiver: 0 })).collect();
    seats.extend((0..plan.members).map(|receiver| Some(Seat { flow: 1, stream: None, receiver })));
    let flow = |senders: &[_], receivers, bytes, rate| {
        Flow::new(senders, receivers, bytes, false, Pace::Open { rate, jitter: true })
    };
    let flows = vec![
        flow(&echoes, 1, ECHO_BYTES, plan.echo_rate),
        flow(&members[..1], plan.members, plan.room_bytes, plan.room_rate),
    ];
    let stage = Stage { flows, seats, endings: BTreeMap::new() };
    Ok(Play { swarm, stage: Onlookers::new(stage, door, first, told), bystander: None })
}

/// A handshake under way.
struct Newcomer {
    since: Instant,
    is_in: bool,
}

/// The stage, its phases, and who comes in meanwhile.
struct Onlookers {
    stage: Stage,
    phase: &'static str,
    phases: Vec<Phase>,
    told: Receiver<&'static str>,
    is_over: bool,
    door: Rc<Target>,
    newcomers: Slab<Newcomer>,
    next_newcomer: Instant,
    served: Latency,
    turned_away: u64,
}

impl Onlookers {
    fn new(stage: Stage, door: Rc<Target>, phase: &'static str, told: Receiver<&'static str>) -> Self {
        Self {
            stage,
            phase,
            phases: Vec::new(),
            told,
            is_over: false,
            door,
            newcomers: Slab::new(),
            next_newcomer: Instant::now(),
            served: Latency::new(),
            turned_away: 0,
        }
    }

    fn end_phase(&mut self, next: &'static str) {
        let [echo, room] = [0, 1].map(|flow| {
            let latency = &mut self.stage.flows[flow].latency;
            mem::replace(latency, Latency::new())
        });
        self.phases.push(Phase {
            name: mem::replace(&mut self.phase, next),
            echo,
            room,
            newcomers: mem::replace(&mut self.served, Latency::new()),
            turned_away: mem::take(&mut self.turned_away),
        });
    }

    fn into_heard(mut self, usage: Usage) -> Heard {
        let waiting =
            self.newcomers.iter().filter(|(_, one)| !one.is_in && one.since.elapsed() > NEWCOMER_PATIENCE);
        self.turned_away += waiting.count() as u64;
        self.end_phase("");
        let [echo, room] = [0, 1].map(|flow| Late::of(&self.stage.flows[flow].counts));
        let late = Late {
            planned: echo.planned + room.planned,
            count: echo.count + room.count,
            max: echo.max.max(room.max),
        };
        let (errors, published) = (self.stage.errors(), self.stage.flows[1].sent());
        Heard { phases: self.phases, errors, published, late, usage }
    }

    /// The newcomer on this seat, behind those of the bystanders.
    fn newcomer(&self, seat: usize) -> Option<usize> {
        seat.checked_sub(self.stage.seats.len())
    }
}

impl Workload for Onlookers {
    fn opened(&mut self, peer: &mut Peer) {
        let Some(key) = self.newcomer(peer.seat) else { return };
        self.newcomers[key].is_in = true;
        self.served.record(self.newcomers[key].since.elapsed());
        peer.close();
    }

    fn message(&mut self, peer: &mut Peer, message: Message<'_>, at: Instant) {
        if self.newcomer(peer.seat).is_none() {
            self.stage.message(peer, message, at);
        }
    }

    fn ended(&mut self, peer: &mut Peer, ending: Ending) {
        let Some(key) = self.newcomer(peer.seat) else { return self.stage.ended(peer, ending) };
        self.turned_away += u64::from(!self.newcomers.remove(key).is_in);
    }
}

impl Scene for Onlookers {
    fn flows(&mut self) -> &mut [Flow] {
        &mut self.stage.flows
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn tend(&mut self, swarm: &mut Swarm, now: Instant) -> Option<Instant> {
        match self.told.try_recv() {
            Ok(phase) => self.end_phase(phase),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.is_over = true,
        }
        if self.is_over {
            return None;
        }
        if now >= self.next_newcomer {
            self.next_newcomer = now + NEWCOMER_PERIOD;
            let key = self.newcomers.insert(Newcomer { since: now, is_in: false });
            if swarm.connect(&self.door, self.stage.seats.len() + key).is_err() {
                self.newcomers.remove(key);
                self.turned_away += 1;
            }
        }
        Some(self.next_newcomer)
    }
}
