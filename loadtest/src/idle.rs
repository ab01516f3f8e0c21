//! `cargo loadtest idle`: what a connection costs a server that has nothing to do for it.
//!
//! Resident memory of the server's process is read before and after so many connections are opened. What the kernel keeps for
//! the sockets is not in it, on purpose: it is the same for every server.

use crate::launch::Launched;
use crate::measure::{Latency, Memory, Meter, Usage, raise_open_files};
use crate::modes::report::{Kind, Late, Report, Words};
use crate::modes::verdict::Verdict;
use crate::reactor::{Ending, Message, Opcode, Peer, Premasked, Swarm, Target, Workload};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The server may still be tidying up after the last handshake or close.
const SETTLE: Duration = Duration::from_millis(1_500);

/// How long we wait for closes and pongs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Own memory per idle connection.
#[derive(Args)]
pub(crate) struct Options {
    /// The server's ws:// address, with a route; without one, our own server is started for the run.
    #[arg(requires = "pid")]
    url: Option<String>,
    /// The server's process.
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// Connections that are opened and left idle.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Connections that are opened, used for a ping and closed before the first reading. They bring the server's code and shared
    /// buffers into memory; what they leave behind for reuse is missing in the result, so they are few.
    #[arg(long, default_value_t = 64)]
    warm_up: u32,
    /// Fails above so many bytes of resident memory per connection.
    #[arg(long, value_name = "BYTES")]
    bytes_max: Option<f64>,
    /// Writes the numbers as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures and prints; fails when connections were lost, or the memory is above `--bytes-max`.
///
/// # Errors
/// When the server cannot be started, its memory not be read, or a connection not be opened.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let count = options.connections as usize;
    raise_open_files(count)?;
    let launched = match options.url {
        Some(_) => None,
        None => Some(Launched::start(&[])?),
    };
    let url = launched
        .as_ref()
        .map_or_else(|| options.url.clone().unwrap_or_default(), |server| server.url("/echo"));
    let pid =
        launched.as_ref().map(Launched::pid).or(options.pid).ok_or("the server's process is not known")?;
    println!("{}", explanation(&options));

    let readings = measure(&Target::new(&url)?, pid, count, options.warm_up as usize, SETTLE)?;
    println!("\n{}", readings.table());
    let bytes = readings.resident_each();
    println!(
        "\nown memory per idle connection: {bytes:.0} bytes resident, {:.0} of it anonymous",
        readings.anonymous_each()
    );
    println!("{} of {count} connections answered a ping afterwards", readings.answered);
    let within = options.bytes_max.is_none_or(|most| bytes <= most);
    if let Some(most) = options.bytes_max {
        println!("at most {most:.0} bytes were asked for: {}", if within { "kept" } else { "not kept" });
    }
    let verdict = readings.verdict(within);
    let code = verdict.exit_code();
    if let Some(path) = &options.json {
        let frame = readings.into_json(url, &options, verdict);
        fs::write(path, serde_json::to_string_pretty(&frame)?)?;
    }
    Ok(code)
}

fn explanation(options: &Options) -> String {
    format!(
        "Resident memory of the server's process (/proc/PID/smaps_rollup), before and after {} handshakes; no message is sent. \
         Before the first reading {} connections were opened, pinged and closed. Memory of the kernel for the sockets is not counted.",
        options.connections, options.warm_up
    )
}

/// What was read.
struct Readings {
    count: usize,
    before: Memory,
    after: Memory,
    pinged: Memory,
    answered: usize,
    /// From before the first connection is opened until all are idle.
    usage: Usage,
}

impl Readings {
    fn resident_each(&self) -> f64 {
        each(self.before.resident, self.after.resident, self.count)
    }

    fn anonymous_each(&self) -> f64 {
        each(self.before.anonymous, self.after.anonymous, self.count)
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["KiB", "resident", "anonymous"]);
        let rows = [("before", self.before), ("all idle", self.after), ("after a ping each", self.pinged)];
        for (name, memory) in rows {
            table.add_row([
                name.to_owned(),
                (memory.resident / 1024).to_string(),
                (memory.anonymous / 1024).to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn verdict(&self, within: bool) -> Verdict {
        match (self.count - self.answered.min(self.count), within) {
            (0, true) => Verdict::Ok,
            (0, false) => Verdict::Failed(format!("{:.0} bytes per connection", self.resident_each())),
            (silent, _) => Verdict::Failed(format!("{silent} connections did not answer a ping")),
        }
    }

    /// The frame that all modes share, without latencies, and what only this mode reads.
    fn into_json(self, url: String, options: &Options, verdict: Verdict) -> Value {
        let own = json!({
            "own_bytes_per_connection": self.resident_each(),
            "anonymous_bytes_per_connection": self.anonymous_each(),
            "resident_before": self.before.resident,
            "resident_after": self.after.resident,
            "resident_after_pings": self.pinged.resident,
            "answered": self.answered,
        });
        let silent = (self.count - self.answered.min(self.count)) as u64;
        let report = Report {
            words: Words { mode: "idle", one: "idle connection", rated: "connections" },
            url,
            options: json!({ "connections": options.connections, "warm_up": options.warm_up }),
            warm_up: 0.0,
            connections: self.count,
            count: self.count as u64,
            rate_asked: None,
            count_per_rated: 1.0,
            latency: Latency::new(),
            kind: Kind::Service,
            late: Late::default(),
            usage: self.usage,
            bystander: None,
            own: None,
            errors: (silent > 0).then(|| ("silent".to_owned(), silent)).into_iter().collect(),
            verdict,
        };
        let mut frame = report.as_json();
        if let (Value::Object(frame), Value::Object(own)) = (&mut frame, own) {
            frame.extend(own);
        }
        frame
    }
}

/// What a connection costs; less than nothing where the server gave memory back meanwhile.
fn each(before: u64, after: u64, count: usize) -> f64 {
    (after as f64 - before as f64) / count as f64
}

fn measure(
    target: &Rc<Target>,
    pid: u32,
    count: usize,
    warm_up: usize,
    rest: Duration,
) -> Result<Readings, String> {
    let mut swarm = Swarm::new().map_err(|error| error.to_string())?;
    if warm_up > 0 {
        swarm.open(target, 0, warm_up)?;
        ping_all(&mut swarm)?;
        swarm.peers().for_each(Peer::close);
        until(&mut swarm, &mut Crowd::default(), |swarm, _| swarm.len() == 0)?;
    }
    settle(&mut swarm, rest)?;
    let before = Memory::of(pid)?;
    let meter = Meter::start(Some(pid))?;
    swarm.open(target, 0, count)?;
    settle(&mut swarm, rest)?;
    let after = Memory::of(pid)?;
    let usage = meter.stop()?;
    let answered = ping_all(&mut swarm)?;
    Ok(Readings { count, before, after, pinged: Memory::of(pid)?, answered, usage })
}

fn ping_all(swarm: &mut Swarm) -> Result<usize, String> {
    let ping = Premasked::new(Opcode::Ping, b"there?");
    swarm.peers().for_each(|peer| peer.send(ping.as_bytes()));
    let mut crowd = Crowd::default();
    until(swarm, &mut crowd, |swarm, crowd| crowd.pongs >= swarm.len())?;
    Ok(crowd.pongs)
}

/// Answers the server's pings, if it has any, while it comes to rest.
fn settle(swarm: &mut Swarm, rest: Duration) -> Result<(), String> {
    let end = Instant::now() + rest;
    until(swarm, &mut Crowd::default(), |_, _| Instant::now() >= end)
}

fn until(swarm: &mut Swarm, crowd: &mut Crowd, done: impl Fn(&Swarm, &Crowd) -> bool) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    while !done(swarm, crowd) && Instant::now() < end {
        swarm.turn(Duration::from_millis(20), crowd).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Connections that only answer.
#[derive(Default)]
struct Crowd {
    pongs: usize,
}

impl Workload for Crowd {
    fn opened(&mut self, _: &mut Peer) {}

    fn message(&mut self, _: &mut Peer, message: Message<'_>, _: Instant) {
        self.pongs += usize::from(matches!(message, Message::Pong(_)));
    }

    fn ended(&mut self, _: &mut Peer, _: Ending) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{self, Mischief};

    #[test]
    fn every_idle_connection_is_alive_when_it_is_counted() {
        let origin = synthetic::start(Mischief::None).expect("a free port");
        let target = Target::new(&format!("{origin}/echo")).expect("an address");
        let readings =
            measure(&target, std::process::id(), 40, 4, Duration::from_millis(50)).expect("measured");
        assert_eq!((readings.count, readings.answered), (40, 40));
        assert!(readings.table().to_string().contains("all idle"));
        assert_eq!(
            (readings.verdict(true), readings.verdict(true).to_string().as_str()),
            (Verdict::Ok, "ok")
        );
        assert!(matches!(readings.verdict(false), Verdict::Failed(_)));
    }

    #[test]
    fn the_cost_of_a_connection_is_the_difference_by_their_number() {
        assert_eq!(each(1_000_000, 3_560_000, 10_000), 256.0);
        assert_eq!(each(1_000, 0, 10), -100.0);
    }
}
