//! Plays a recording to an engine without sockets, and compares what it sends with what was sent.

mod played;
mod script;
mod watch;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::App;
use crate::engine::Engine;
use crate::id::ConnId;
use crate::reactor::any_instant;
use crate::record::{Header, Input, Oracle, Reader, RecordingError};
use crate::settings::{Replay, Settings, SettingsError};
use crate::{Metrics, Rules};
use played::{Played, Stage};
pub use script::Difference;
use script::Script;
use watch::{Watch, harmless};

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// The engine did the same, in so many turns, to so many connections; and why the recording ends.
    Same(u64, u64, String),
    /// It did something else, first here.
    Different(Difference),
    /// It did the same in so many turns, and further the recording cannot be read.
    Broken(u64, RecordingError),
}

/// Why nothing can be played.
#[derive(Debug)]
pub enum ReplayError {
    /// The recording cannot be read.
    Recording(RecordingError),
    /// The configuration cannot be used.
    Settings(String),
    /// What is to be printed cannot be.
    Output(io::Error),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Recording(error) => error.fmt(f),
            ReplayError::Settings(why) => write!(f, "the configuration cannot be used: {why}"),
            ReplayError::Output(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplayError {}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Same(turns, conns, end) => {
                write!(f, "same: {turns} turns, {conns} connections; {}", harmless(end))
            }
            Outcome::Different(difference) => difference.fmt(f),
            Outcome::Broken(turns, error) => write!(f, "same in {turns} turns; then {error}"),
        }
    }
}

impl Outcome {
    /// The exit code that says it: 0 where all was the same, 1 where it was not, 2 where that cannot be known.
    pub fn code(&self) -> u8 {
        match self {
            Outcome::Same(..) => 0,
            Outcome::Different(_) => 1,
            Outcome::Broken(..) => 2,
        }
    }
}

/// Plays a recording; what the connection that is asked for sent and got is printed to `out`.
///
/// # Errors
/// Where nothing can be played, or nothing printed.
pub fn run(asked: &Replay, out: &mut impl Write) -> Result<Outcome, ReplayError> {
    let file = File::open(&asked.file).map_err(|error| ReplayError::Recording(error.into()))?;
    play(asked, Box::new(BufReader::new(file)), out)
}

/// As [`run`], from wherever the recording is.
///
/// # Errors
/// As [`run`].
pub fn play(
    asked: &Replay,
    source: Box<dyn BufRead + Send>,
    out: &mut impl Write,
) -> Result<Outcome, ReplayError> {
    let (header, reader) = Reader::open(source).map_err(ReplayError::Recording)?;
    let here = env!("CARGO_PKG_VERSION");
    if header.version != here {
        let said = harmless(&header.version);
        writeln!(out, "it was recorded by version {said}, and this is {here}")
            .map_err(ReplayError::Output)?;
    }
    let settings = match &asked.config {
        None => settings_of(&header.settings)?,
        Some(file) => Settings::from_file(file, &|name| std::env::var(name).ok()).map_err(unusable)?,
    };
    let stage = Stage::new(Script::new(reader, asked.connection.map(Watch::new)));
    let mut player = Player::new(&header, &settings, stage.clone());
    loop {
        // The script is let go of before the engine asks it.
        let input = stage.script().input();
        let Some(input) = input else { break };
        player.act(input);
        let script = &mut *stage.script();
        for line in script.watch.iter_mut().flat_map(|watch| watch.lines.drain(..)) {
            writeln!(out, "{line}").map_err(ReplayError::Output)?;
        }
        let turns = script.turns;
        if player.turn_is_over && asked.until.is_some_and(|until| turns >= until) {
            script.end.get_or_insert(format!("it was played until turn {turns}"));
            script.is_over = true;
        }
    }
    let mut script = stage.script();
    let outcome = match (script.difference.take(), script.broken.take(), script.end.take()) {
        (Some(difference), _, _) => Outcome::Different(difference),
        (None, Some(error), _) => Outcome::Broken(script.turns, error),
        (None, None, end) => Outcome::Same(script.turns, script.conns, end.unwrap_or_default()),
    };
    // What the engine still has is let go without being compared.
    drop(script);
    Ok(outcome)
}

/// An engine that is told what a recording says.
struct Player {
    engine: Engine<App, Played>,
    stage: Stage,
    now: Instant,
    has_bodies: bool,
    turn_is_over: bool,
}

impl Player {
    /// Nobody records for 30 years.
    const LONGEST_NS: u64 = 30 * 365 * 86_400 * 1_000_000_000;

    fn new(header: &Header, settings: &Settings, stage: Stage) -> Self {
        let now = any_instant();
        let rules = Rules {
            limits: settings.limits.clone(),
            origins: settings.origins.clone(),
            deflate: settings.deflate,
            trusted_proxies: settings.trusted_proxies.clone(),
            ledger: settings.ledger,
        };
        let app = application(settings, &stage, header.has_gate);
        let unix = Duration::from_nanos(header.start_ns);
        let mut engine = Engine::new(app, rules, Arc::new(Metrics::default()), now, unix);
        engine.set_machine_memory(header.memory.map(|bytes| bytes as usize));
        engine.set_listening(true);
        Self { engine, stage, now, has_bodies: header.has_bodies, turn_is_over: false }
    }

    /// Does with the engine what was done then.
    fn act(&mut self, input: Input) {
        self.turn_is_over = false;
        match input {
            Input::Wake(ns) => {
                let mut script = self.stage.script();
                script.at_ns = script.at_ns.saturating_add(ns);
                match self.now.checked_add(Duration::from_nanos(ns)) {
                    Some(now) if script.at_ns < Self::LONGEST_NS => self.now = now,
                    Some(_) | None => return script.break_off(),
                }
                drop(script);
                self.engine.begin_turn(self.now);
            }
            Input::Connect(addr, hop, announced) => {
                let conn = {
                    let mut script = self.stage.script();
                    script.conns += 1;
                    script.conns
                };
                let who = (addr, hop, announced);
                let played = Played::new(self.stage.clone(), conn, who, self.has_bodies);
                self.engine.connect(played, self.now);
            }
            Input::Ready(id, bits) => {
                let is = |bit: u8| bits & bit != 0;
                self.engine.ready(ConnId::from_bits(id), is(1), is(2), is(4));
            }
            Input::Turn => {
                self.stage.script().turns += 1;
                self.engine.turn(self.now);
                self.turn_is_over = true;
            }
            Input::Drain => self.engine.drain(self.now),
            Input::Stop => self.engine.stop(self.now),
            Input::DropAll => self.engine.drop_all(),
            Input::Deaf => self.engine.set_listening(false),
            Input::Reload => self.reload(),
        }
    }

    fn reload(&mut self) {
        let stage = self.stage.clone();
        self.engine.reload(|app, rules| {
            let Some((has_gate, text)) = stage.script().settings() else { return };
            match settings_of(&text) {
                Ok(settings) => {
                    *app = application(&settings, &stage, has_gate);
                    rules.origins = settings.origins;
                    rules.deflate = settings.deflate;
                    rules.trusted_proxies = settings.trusted_proxies;
                    rules.limits.adopt(&settings.limits);
                }
                Err(error) => {
                    let recorded = "a configuration that can be used".to_owned();
                    stage.script().differ(None, recorded, error.to_string());
                }
            }
        });
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.stage.script().is_over = true;
    }
}

fn application(settings: &Settings, stage: &Stage, has_gate: bool) -> App {
    let stage = stage.clone();
    let oracle = Oracle::replayed(move || stage.script().answer());
    App::new(settings.routes.clone()).with_metrics(settings.metrics).with_oracle(oracle, has_gate)
}

fn settings_of(text: &str) -> Result<Settings, ReplayError> {
    Settings::from_recording(text).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        ReplayError::Settings(harmless(&lines.join("; ")))
    })
}

fn unusable(error: SettingsError) -> ReplayError {
    ReplayError::Settings(match error {
        SettingsError::Flags(error) => error.to_string(),
        SettingsError::Invalid(why) | SettingsError::File(why) => why,
    })
}
