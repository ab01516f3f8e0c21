//! One room over a fleet, under four loads: few members and many at a steady pace, as many deliveries as can be, and as
//! many publications as can be.

use super::Options;
use super::fleet::Fleet;
use crate::measure::{Latency, Meter, Usage};
use crate::modes::report::{Asked, Came, Report, Words};
use crate::modes::traffic::{Flow, Pace, Play, Scene, Seat, Stage};
use crate::reactor::{Ending, Message, Peer, PeerId, Swarm, Target, Workload};
use std::collections::BTreeMap;
use std::time::Instant;

/// Members in all, and messages a second, while it is measured how long the way is.
const FEW: (usize, f64) = (64, 100.0);

/// Publications under way while those are counted.
const NARROW_WINDOW: usize = 64;

/// What one fleet did.
pub(super) struct Row {
    /// How many nodes there were; none of them shared anything where this is nothing.
    pub(super) nodes: Option<usize>,
    /// Messages at a steady pace to few: how long the way is.
    pub(super) few: Report,
    /// Messages at a steady pace to all subscribers.
    pub(super) paced: Report,
    /// As many deliveries as there can be.
    pub(super) wide: Load,
    /// As many publications as there can be, with a single member at each node.
    pub(super) narrow: Option<Load>,
}

/// What a closed loop came to, and what the processes used for it.
pub(super) struct Load {
    /// Seconds measured.
    pub(super) seconds: f64,
    /// Messages that came to a member.
    pub(super) deliveries: u64,
    /// Members of the room.
    pub(super) members: usize,
    /// Processor seconds of each node, in their order.
    pub(super) nodes: Vec<f64>,
    /// Processor seconds of Redis, if it is ours.
    pub(super) redis: Option<f64>,
    /// What was wrong, by kind.
    pub(super) errors: BTreeMap<String, u64>,
    /// Service times.
    pub(super) latency: Latency,
}

impl Load {
    /// Messages that came to everybody.
    pub(super) fn publications(&self) -> f64 {
        self.deliveries as f64 / self.members as f64
    }

    /// Microseconds of processor time for one of so many.
    pub(super) fn each(&self, seconds: f64, count: f64) -> f64 {
        seconds * 1e6 / count.max(1.0)
    }
}

/// A stage during which the processor time of several processes is taken.
struct Watched {
    stage: Stage,
    processes: Vec<u32>,
    meters: Vec<Meter>,
    used: Result<Vec<Usage>, String>,
}

impl Scene for Watched {
    fn flows(&mut self) -> &mut [Flow] {
        self.stage.flows()
    }

    fn count(&mut self, _: &mut Swarm, is_on: bool) {
        if is_on {
            let meters: Result<Vec<_>, _> =
                self.processes.iter().map(|pid| Meter::start(Some(*pid))).collect();
            match meters {
                Ok(meters) => self.meters = meters,
                Err(error) => self.used = Err(error),
            }
        } else if self.used.is_ok() {
            self.used = self.meters.iter().map(Meter::stop).collect();
        }
    }
}

impl Workload for Watched {
    fn opened(&mut self, peer: &mut Peer) {
        self.stage.opened(peer);
    }

    fn message(&mut self, peer: &mut Peer, message: Message<'_>, at: Instant) {
        self.stage.message(peer, message, at);
    }

    fn ended(&mut self, peer: &mut Peer, ending: Ending) {
        self.stage.ended(peer, ending);
    }
}

/// Measures a fleet.
///
/// # Errors
/// When a node cannot be reached, or a process ends.
pub(super) fn measure(options: &Options, fleet: &Fleet, nodes: Option<usize>) -> Result<Row, String> {
    let subscribers = options.subscribers as usize;
    let few = paced(options, fleet, "/chat/few", FEW)?;
    let paced = paced(options, fleet, "/chat/paced", (subscribers, options.rate))?;
    let wide = load(options, fleet, "/chat/wide", (subscribers, options.window as usize))?;
    // Which node a member is at is known only where each has a port of its own.
    let narrow = match options.one_port {
        true => None,
        false => Some(load(options, fleet, "/chat/narrow", (fleet.urls("").len(), NARROW_WINDOW))?),
    };
    Ok(Row { nodes, few, paced, wide, narrow })
}

fn paced(
    options: &Options,
    fleet: &Fleet,
    path: &str,
    (members, rate): (usize, f64),
) -> Result<Report, String> {
    let (play, usage) = play(options, fleet, path, members, Pace::Open { rate, jitter: false })?;
    let mut stage = play.stage.stage;
    let errors = stage.errors();
    let asked = Asked {
        words: Words { mode: "nodes", one: "delivery", rated: "messages" },
        url: &fleet.urls(path).join(" "),
        common: &options.common,
        connections: members,
        rate: Some(rate),
        count_per_rated: members as f64,
    };
    Ok(Report::new(&asked, options, Came::of(stage.flows.swap_remove(0), usage, errors)))
}

fn load(
    options: &Options,
    fleet: &Fleet,
    path: &str,
    (members, window): (usize, usize),
) -> Result<Load, String> {
    let (play, usage) = play(options, fleet, path, members, Pace::Closed { window })?;
    let mut stage = play.stage.stage;
    let errors = stage.errors();
    let flow = stage.flows.swap_remove(0);
    let used: Vec<f64> =
        play.stage.used?.iter().filter_map(|usage| Some(usage.server?.cpu_seconds)).collect();
    let count = fleet.urls("").len();
    let (nodes, redis) = used.split_at(count.min(used.len()));
    Ok(Load {
        seconds: usage.seconds,
        deliveries: flow.counts.counted,
        members,
        nodes: nodes.to_vec(),
        redis: redis.first().copied(),
        errors,
        latency: flow.latency,
    })
}

/// Members spread evenly over the nodes, the first of whom publishes.
fn play(
    options: &Options,
    fleet: &Fleet,
    path: &str,
    members: usize,
    pace: Pace,
) -> Result<(Play<Watched>, Usage), String> {
    let mut swarm = Swarm::new().map_err(|error| error.to_string())?;
    let urls = fleet.urls(path);
    let mut ids: Vec<PeerId> = Vec::with_capacity(members);
    for (at, url) in urls.iter().enumerate() {
        let share = members / urls.len() + usize::from(at < members % urls.len());
        ids.extend(swarm.open(&Target::new(url)?, ids.len(), share)?);
    }
    let seats = (0..members).map(|receiver| Some(Seat { flow: 0, stream: None, receiver })).collect();
    let flow = Flow::new(&ids[..1], members, options.size as usize, options.text, pace);
    let stage = Stage { flows: vec![flow], seats, endings: BTreeMap::new() };
    let processes = fleet.processes();
    let stage = Watched { stage, processes, meters: Vec::new(), used: Ok(Vec::new()) };
    let mut play = Play { swarm, stage, bystander: None };
    let usage = play.run(options.common.span(), None)?;
    Ok((play, usage))
}
