//! One measurement: connect everybody, keep the plan, wait for what is still under way.

use super::hall::{Hall, Stream};
use super::{Load, Server};
use crate::measure::{CpuClock, CpuShare, Faults, Latency, Meter, Usage};
use crate::reactor::{Opcode, PeerId, Premasked, Swarm, Target};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The poller sleeps in whole milliseconds, so the last one before a planned time is spent looking, not sleeping.
const LOOKING: Duration = Duration::from_millis(1);

/// A share of the time; with more of it spent waiting for a core, a p99 says more about the machine than about the server.
const WAITED_MAX: f64 = 0.02;

/// What came of a measurement.
pub(super) struct Numbers {
    /// The bystander's echoes, from plan to arrival.
    pub(super) echo: Latency,
    /// The room's messages, from plan to each member.
    pub(super) fan_out: Latency,
    /// How late we sent, echoes and publications.
    pub(super) late: Latency,
    /// What was wrong in the room.
    pub(super) room_faults: Faults,
    /// What was wrong with the echoes.
    pub(super) echo_faults: Faults,
    /// Deliveries that were right, and those that were due.
    pub(super) deliveries: (u64, u64),
    /// Connections that ended before their time.
    pub(super) endings: BTreeMap<String, u64>,
    /// How we fared with the cores while the load ran.
    pub(super) own_cpu: CpuShare,
    /// How the server did, if its process is known.
    pub(super) server_cpu: Option<CpuShare>,
    /// What both used in the measured span alone.
    pub(super) usage: Usage,
}

impl Numbers {
    /// Whether everything came as it should.
    pub(super) fn is_right(&self) -> bool {
        self.room_faults.total() + self.echo_faults.total() == 0 && self.endings.is_empty()
    }

    /// Whether one of the two had to wait for its core more than [`WAITED_MAX`].
    pub(super) fn is_disturbed(&self) -> bool {
        let shares = [Some(self.own_cpu), self.server_cpu];
        shares.into_iter().flatten().filter_map(|share| share.waited).any(|waited| waited > WAITED_MAX)
    }

    /// For other programs.
    pub(super) fn as_json(&self) -> serde_json::Value {
        json!({
            "echo": self.echo.as_json(),
            "fan_out": self.fan_out.as_json(),
            "late": self.late.as_json(),
            "room_faults": self.room_faults,
            "echo_faults": self.echo_faults,
            "deliveries": self.deliveries.0,
            "deliveries_due": self.deliveries.1,
            "endings": self.endings,
            "own_cpu": self.own_cpu.as_json(),
            "disturbed": self.is_disturbed(),
            "server_cpu": self.server_cpu.map(CpuShare::as_json),
        })
    }
}

/// The connections, and what is sent over two of them.
struct Stage {
    swarm: Swarm,
    publisher: PeerId,
    bystander: PeerId,
    publication: Premasked,
    request: Premasked,
}

/// Runs the load against a server.
pub(super) fn measure(server: &Server, load: &Load) -> Result<Numbers, String> {
    let (members, size) = (load.members as usize, load.size as usize);
    let mut swarm = Swarm::new().map_err(|error| error.to_string())?;
    let room = Target::new(&format!("{}{}", server.origin, load.room_path))?;
    let echo = Target::new(&format!("{}{}", server.origin, load.echo_path))?;
    let publisher = swarm.open(&room, 0, members)?[0];
    let bystander = swarm.open(&echo, members, 1)?[0];
    let blank = || Premasked::new(Opcode::Binary, &vec![0; size]);
    let mut stage = Stage { swarm, publisher, bystander, publication: blank(), request: blank() };

    let mut hall = Hall::new(
        members,
        Stream::new(members, size, load.rate, false),
        Stream::new(1, size, load.echo_rate, true),
    );
    let (own, theirs) =
        (CpuClock::start(None)?, server.pid.map(|pid| CpuClock::start(Some(pid))).transpose()?);
    let usage = stage.play(&mut hall, load, server.pid)?;
    let (own_cpu, server_cpu) = (own.share()?, theirs.map(|clock| clock.share()).transpose()?);
    stage.drain(&mut hall, Duration::from_secs_f64(load.drain)).map_err(|error| error.to_string())?;
    Ok(numbers(hall, own_cpu, server_cpu, usage))
}

fn numbers(hall: Hall, own_cpu: CpuShare, server_cpu: Option<CpuShare>, usage: Usage) -> Numbers {
    let mut late = hall.room.late;
    late.add(&hall.echo.late);
    Numbers {
        room_faults: hall.room.receipts.faults(),
        echo_faults: hall.echo.receipts.faults(),
        deliveries: (hall.room.receipts.delivered(), hall.room.receipts.due()),
        echo: hall.echo.latency,
        fan_out: hall.room.latency,
        late,
        endings: hall.endings,
        own_cpu,
        server_cpu,
        usage,
    }
}

impl Stage {
    /// Keeps the plan for as long as the load asks.
    fn play(&mut self, hall: &mut Hall, load: &Load, server: Option<u32>) -> Result<Usage, String> {
        let start = Instant::now();
        let measured_from = start + Duration::from_secs_f64(load.warm_up);
        let end = measured_from + Duration::from_secs_f64(load.seconds);
        hall.room.start(start, measured_from);
        hall.echo.start(start, measured_from);
        let mut meter = None;
        loop {
            let now = Instant::now();
            if meter.is_none() && now >= measured_from {
                meter = Some(Meter::start(server)?);
            }
            // Also at the end: what a stall kept us from sending was planned all the same.
            self.send_what_is_due(hall, now, end);
            if let Some(meter) = meter.as_ref().filter(|_| now >= end) {
                return meter.stop();
            }
            let due = hall.room.due().min(hall.echo.due()).min(end);
            self.turn(hall, sleep_until(due, now)).map_err(|error| error.to_string())?;
        }
    }

    /// Goes on reading until everything has come, or our patience ends.
    fn drain(&mut self, hall: &mut Hall, patience: Duration) -> std::io::Result<()> {
        let end = Instant::now() + patience;
        while !(hall.room.is_complete() && hall.echo.is_complete()) && Instant::now() < end {
            self.turn(hall, Duration::from_millis(20))?;
        }
        // What comes now was not asked for: a doubled message, say.
        let end = Instant::now() + Duration::from_millis(100);
        while Instant::now() < end {
            self.turn(hall, Duration::from_millis(20))?;
        }
        Ok(())
    }

    fn turn(&mut self, hall: &mut Hall, patience: Duration) -> std::io::Result<()> {
        self.swarm.turn(patience, hall)?;
        if !hall.echo.is_complete() {
            self.swarm.visit(self.bystander, hall);
        }
        Ok(())
    }

    fn send_what_is_due(&mut self, hall: &mut Hall, now: Instant, end: Instant) {
        let streams = [
            (&mut hall.room, self.publisher, &mut self.publication),
            (&mut hall.echo, self.bystander, &mut self.request),
        ];
        for (stream, sender, frame) in streams {
            while stream.due() <= now.min(end) {
                frame.stamp(0, stream.send(now));
                if let Some(peer) = self.swarm.peer(sender) {
                    peer.send(frame.as_bytes());
                }
            }
        }
    }
}

fn sleep_until(due: Instant, now: Instant) -> Duration {
    let spare = due.saturating_duration_since(now).saturating_sub(LOOKING);
    Duration::from_millis(u64::try_from(spare.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_millisecond_is_not_slept() {
        let now = Instant::now();
        let slept =
            [0, 900, 1_500, 2_000, 7_300].map(|micros| sleep_until(now + Duration::from_micros(micros), now));
        assert_eq!(slept.map(|slept| slept.as_micros()), [0, 0, 0, 1_000, 6_000]);
    }
}
