//! `cargo loadtest fanout`: messages that come to everybody in a room, the sender included.
//!
//! In the closed loop a publisher sends message i when message i - window has come to every subscriber.

use super::own::Own;
use super::report::{Asked, Came, Kind, Late, Report, Words};
use super::subject::Subject;
use super::traffic::{Flow, Pace, Play, SIZE_MIN, Seat, Stage};
use super::verdict::{Evidence, Verdict};
use super::{Common, Messages, positive};
use crate::measure::raise_open_files;
use crate::reactor::{PeerId, Swarm, Target};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

/// Fan-out in one room.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) common: Common,
    /// Connections in the room: the path of the URL.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) subscribers: u32,
    /// How many publish: the first of the subscribers, or as many other connections with --publish-url.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) publishers: u32,
    /// Where publishers connect to, for servers that take messages elsewhere than they give them out; what they are told there
    /// is not looked at.
    #[arg(long, requires = "url", value_name = "URL")]
    pub(super) publish_url: Option<String>,
    /// Bytes of every message.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(SIZE_MIN as i64..=1 << 26))]
    pub(super) size: u32,
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) messages: Messages,
    /// Has messages echoed at this address meanwhile, on a connection outside the room, open loop. For the server that we
    /// start it needs no address.
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    pub(super) bystander: Option<String>,
    /// Echoes that the bystander asks for in a second.
    #[arg(long, default_value_t = 100.0, requires = "bystander", value_parser = positive)]
    pub(super) bystander_rate: f64,
}

/// Measures and prints.
///
/// # Errors
/// When the server cannot be started or reached.
pub(crate) fn run(mut options: Options) -> Result<ExitCode, Box<dyn Error>> {
    raise_open_files(options.subscribers as usize + options.publishers as usize + 1)?;
    if options.publish_url.is_none() && options.publishers > options.subscribers {
        return Err("there are more publishers than subscribers, of whom they are".into());
    }
    let subject = Subject::find(&options.common, "/chat/fanout")?;
    if options.bystander.as_deref() == Some("") {
        options.bystander = Some(subject.own_route("/echo").ok_or("the bystander needs an address too")?);
    }
    println!("{}; {}.", setting(&options), subject.place);
    measure(&options, &subject.url, subject.pid)?.deliver(options.common.json.as_deref())
}

fn setting(options: &Options) -> String {
    let Options { subscribers, publishers, size, .. } = options;
    let pace = options.messages.setting("of each until all have them");
    let beside = options.bystander.as_ref().map_or(String::new(), |url| {
        format!(" A bystander has {} messages a second echoed at {url}.", options.bystander_rate)
    });
    let Common { seconds, warmup, .. } = options.common;
    format!(
        "{subscribers} members of one room get messages of {size} B from {publishers} publishers, {pace}.{beside} \
         {seconds} s after {warmup} s of warm-up"
    )
}

/// Everything but printing.
pub(super) fn measure(options: &Options, url: &str, pid: Option<u32>) -> Result<Report, String> {
    let mut play = open(options, url)?;
    let usage = play.run(options.common.span(), pid)?;
    let errors = play.stage.errors();
    let echo = play.bystander.and_then(|_| play.stage.flows.pop());
    let room = play.stage.flows.swap_remove(0);
    let asked = Asked {
        words: Words { mode: "fanout", one: "delivery", rated: "messages" },
        url,
        common: &options.common,
        connections: play.stage.seats.len(),
        rate: options.messages.rate,
        count_per_rated: f64::from(options.subscribers),
    };
    let mut report = Report::new(&asked, options, Came::of(room, usage, errors));
    if let (Verdict::Ok, Some(echo)) = (&report.verdict, &echo) {
        // The bystander's plan is open also where the room is closed.
        let (count, load, errors) = (report.count, report.usage.load, &report.errors);
        let evidence = Evidence { count, kind: Kind::Planned, late: Late::of(&echo.counts), load, errors };
        report.verdict = Verdict::new(&evidence, &options.common.limits);
    }
    report.bystander = echo.map(|echo| echo.latency);
    report.own = Own::ask(url);
    Ok(report)
}

/// Subscribers have the first seats, then publishers that are none, then the bystander.
fn open(options: &Options, url: &str) -> Result<Play, String> {
    let (subscribers, publishers) = (options.subscribers as usize, options.publishers as usize);
    let mut swarm = Swarm::new().map_err(|error| error.to_string())?;
    let members = swarm.open(&Target::new(url)?, 0, subscribers)?;
    let mut seats: Vec<Option<Seat>> =
        (0..subscribers).map(|receiver| Some(Seat { flow: 0, stream: None, receiver })).collect();
    let senders: Vec<PeerId> = match &options.publish_url {
        Some(url) => {
            seats.resize(subscribers + publishers, None);
            swarm.open(&Target::new(url)?, subscribers, publishers)?
        }
        None => members[..publishers].to_vec(),
    };
    let mut flows = vec![options.messages.flow(&senders, subscribers, options.size)];
    let mut bystander = None;
    if let Some(url) = &options.bystander {
        let id = swarm.open(&Target::new(url)?, seats.len(), 1)?[0];
        seats.push(Some(Seat { flow: 1, stream: Some(0), receiver: 0 }));
        flows.push(Flow::new(
            &[id],
            1,
            options.size as usize,
            options.messages.text,
            Pace::Open { rate: options.bystander_rate, jitter: true },
        ));
        bystander = Some(id);
    }
    Ok(Play { swarm, stage: Stage { flows, seats, endings: BTreeMap::new() }, bystander })
}
