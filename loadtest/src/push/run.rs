//! One way measured: connect everybody, keep the plan, wait for what is still under way.

use super::hall::{Hall, Wire};
use super::http::Room;
use super::{Options, Way};
use crate::modes::report::{Asked, Came, Report, Words};
use crate::modes::traffic::{Counts, Flow, Pace, Play};
use crate::modes::verdict::LOST;
use crate::reactor::{PeerId, Swarm, Target};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Without all streams of events open after so long, the run is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of one way.
pub(super) struct Row {
    /// Which.
    pub(super) way: Way,
    /// Latencies, processor time and the verdict; what is counted are messages that came to a subscriber.
    pub(super) report: Report,
    /// What went over the subscribers' connections before the first message.
    pub(super) opening: Wire,
    /// What went over them in the measured span.
    pub(super) measured: Wire,
}

impl Row {
    /// A share of the measured span for each message that came.
    pub(super) fn each(&self, sum: u64) -> f64 {
        sum as f64 / self.report.count.max(1) as f64
    }
}

/// Measures one way to get the messages of the room at `url`.
///
/// # Errors
/// In words, when the room cannot be reached in this way.
pub(super) fn measure(way: Way, options: &Options, url: &str, pid: Option<u32>) -> Result<Row, String> {
    let mut play = open(way, options, url)?;
    let usage = play.run(options.common.span(), pid)?;
    let (opening, measured) = (play.stage.opening, play.stage.measured);
    let (flow, failures) = play.stage.into_flow();
    let errors = errors(&flow, failures);
    let asked = Asked {
        words: Words { mode: "push", one: "message to a subscriber", rated: "messages" },
        url,
        common: &options.common,
        connections: options.subscribers as usize + 1,
        rate: Some(options.rate),
        count_per_rated: f64::from(options.subscribers),
    };
    let report = Report::new(&asked, options, Came::of(flow, usage, errors));
    Ok(Row { way, report, opening, measured })
}

fn open(way: Way, options: &Options, url: &str) -> Result<Play<Hall>, String> {
    let (room, subscribers) = (Room::at(url)?, options.subscribers as usize);
    let since = room.begin()?;
    let plain = Target::plain(url)?;
    let mut swarm = Swarm::new().map_err(|error| error.to_string())?;
    let target = match way {
        Way::Websocket => {
            let mark = if url.contains('?') { '&' } else { '?' };
            Target::new(&format!("{url}{mark}since={since}"))?
        }
        Way::Events | Way::LongPoll | Way::ShortPoll => plain.clone(),
    };
    let mut ids: Vec<PeerId> = swarm.open(&target, 0, subscribers)?;
    let publisher = swarm.open(&plain, subscribers, 1)?;
    let (size, is_text) = (options.size as usize, !options.binary);
    let pace = Pace::Open { rate: options.rate, jitter: false };
    let flow = Flow::new(&publisher, subscribers, size, is_text, pace).behind(&room.post(size, is_text));
    ids.extend(publisher);
    let polls = (options.wait, Duration::from_millis(options.every));
    let mut hall = Hall::new(way, (room, &since), flow, ids, polls);
    hall.ask_for_events(&mut swarm, &since);
    await_opening(&mut swarm, &mut hall)?;
    hall.note_opening(&mut swarm);
    hall.begin_long_polls(&mut swarm);
    Ok(Play { swarm, stage: hall, bystander: None })
}

fn await_opening(swarm: &mut Swarm, hall: &mut Hall) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    while !hall.is_open() {
        if let Some(words) = hall.failures.keys().next() {
            return Err(words.clone());
        }
        if Instant::now() > end {
            return Err("no event came for ten seconds, not even the first".to_owned());
        }
        swarm.turn(Duration::from_millis(100), hall).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// What was wrong, by kind; nothing is in it that did not happen.
fn errors(flow: &Flow, mut errors: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let Counts { doubled, swapped, altered, .. } = flow.counts;
    let kinds = [(LOST, flow.lost()), ("doubled", doubled), ("swapped", swapped), ("altered", altered)];
    for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
        *errors.entry(kind.to_owned()).or_default() += count;
    }
    errors
}
