//! What half of a server's best is, measured in a closed loop before.

use super::super::ground::Ground;
use super::{Options, ROOM_BYTES, ROOM_RATE_MAX};
use crate::modes::traffic::{Flow, Pace, Play, Seat, Span, Stage};
use crate::reactor::{PeerId, Swarm, Target};
use std::collections::BTreeMap;
use std::time::Duration;

/// Echoes for every publication, where a rate is given.
const ECHOES_PER_PUBLICATION: f64 = 20.0;

/// The most echoes a second: beyond, the load is what is measured.
const ECHO_RATE_MAX: f64 = 5_000.0;

/// The share of its best that each of the two kinds of load takes; together they are half.
const SHARE: f64 = 0.25;

const SPAN: Span = Span {
    warm_up: Duration::from_millis(200),
    measured: Duration::from_millis(800),
    drain: Duration::from_secs(5),
};

/// How much is asked of a server in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speed {
    /// Echoes, all connections together.
    pub(crate) echoes: f64,
    /// Publications in the room.
    pub(crate) publications: f64,
}

/// Half of what the server can do, or what was asked for.
///
/// # Errors
/// When it cannot be reached.
pub(super) fn half(options: &Options, ground: &Ground) -> Result<Speed, String> {
    if let Some(rate) = options.rate {
        return Ok(Speed { echoes: rate, publications: (rate / ECHOES_PER_PUBLICATION).min(ROOM_RATE_MAX) });
    }
    let count = options.common.bystanders as usize;
    let echoes = best(&ground.url(&options.common.echo_path), count, count)?;
    let publications = best(&ground.url(&format!("{}/speed", options.common.rooms_path)), count, 1)?;
    Ok(Speed {
        echoes: (echoes * SHARE).clamp(1.0, ECHO_RATE_MAX),
        publications: (publications * SHARE).clamp(1.0, ROOM_RATE_MAX),
    })
}

/// Messages a second in a closed loop: of one sender to everybody, or of everybody to themselves.
fn best(url: &str, connections: usize, senders: usize) -> Result<f64, String> {
    let mut swarm = Swarm::new().map_err(|error| error.to_string())?;
    let ids: Vec<PeerId> = swarm.open(&Target::new(url)?, 0, connections)?;
    let is_echo = senders == connections;
    let receivers = if is_echo { 1 } else { connections };
    let flow = Flow::new(&ids[..senders], receivers, ROOM_BYTES, false, Pace::Closed { window: 1 });
    let seat = |index: usize| match is_echo {
        true => Seat { flow: 0, stream: Some(index), receiver: 0 },
        false => Seat { flow: 0, stream: None, receiver: index },
    };
    let seats = (0..connections).map(|index| Some(seat(index))).collect();
    let stage = Stage { flows: vec![flow], seats, endings: BTreeMap::new() };
    let mut play = Play { swarm, stage, bystander: None };
    let usage = play.run(SPAN, None)?;
    Ok(play.stage.flows[0].counts.counted as f64 / receivers as f64 / usage.seconds)
}
