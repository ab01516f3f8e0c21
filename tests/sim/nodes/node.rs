//! One node: an engine whose backplane leads to the simulated Redis, driven as the reactor drives it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanline::app::{App, Mode, Pattern, Route};
use fanline::backplane::url::Url;
use fanline::backplane::{Backplane, Line, Protocol, Target};
use fanline::engine::{Engine, Rules};
use fanline::{Keep, Limits, Metrics};

use super::server::{Found, PREFIX, Server};
use crate::net::EngineEnd;

pub struct Node {
    pub at: usize,
    pub engine: Engine<App, EngineEnd>,
    pub metrics: Arc<Metrics>,
    /// The connection of each line, by its number, and whether it has come about.
    pipes: BTreeMap<usize, (u64, bool)>,
}

/// The same for all nodes.
pub struct Settings {
    pub limits: Limits,
    pub keep: Keep,
}

/// `/chat/{room}`, and `/quiet/{room}`, where nobody is sent what is their own.
fn app(keep: Keep) -> App {
    let route = |path: &str| {
        let pattern = Pattern::parse(path).unwrap();
        Route { keep, ..Route::new(pattern, Mode::Room) }
    };
    App::new(vec![route("/chat/{room}"), Route { echo: false, ..route("/quiet/{room}") }])
}

impl Node {
    /// One that has just been started; its clock is its own.
    pub fn new(at: usize, settings: &Settings, now: Instant, rng: &mut fastrand::Rng) -> Self {
        let rules = Rules { limits: settings.limits.clone(), ..Rules::default() };
        let unix = Duration::from_millis(1_000_000_000 + rng.u64(..20_000));
        let metrics = Arc::new(Metrics::default());
        let mut engine = Engine::new(app(settings.keep), rules, metrics.clone(), now, unix);
        engine.set_machine_memory(None);
        let url = Url::parse(&format!("redis://:{}@redis/3", Server::PASSWORD)).unwrap();
        let target = Target { url, prefix: PREFIX.to_owned(), protocol: Protocol::Nodes };
        engine.share(Backplane::new(target, &settings.limits, rng.u64(..)));
        Self { at, engine, metrics, pipes: BTreeMap::new() }
    }

    /// A turn of the loop. `some` draws how many bytes the network carries.
    pub fn turn(
        &mut self,
        server: &mut Server,
        now: Instant,
        since_ms: u64,
        some: &mut impl FnMut() -> usize,
    ) {
        let may_read = !self.engine.is_behind();
        let (backplane, now_ms) = self.engine.backplane(now).expect("it has one");
        for line in backplane.lines() {
            if backplane.is_down(line)
                && let Some((id, _)) = self.pipes.remove(&line.number())
            {
                server.leave(id);
            }
            if backplane.wants(line, now_ms) {
                backplane.connecting(line, now_ms);
                self.pipes.insert(line.number(), (server.connect(self.at, line), false));
            }
            let Some((id, is_connected)) = self.pipes.get_mut(&line.number()) else { continue };
            if *is_connected && !may_read {
                continue;
            }
            match server.find(*id, *is_connected, some(), since_ms) {
                Found::Nothing => {}
                Found::Connected => {
                    *is_connected = true;
                    backplane.connected(line, now_ms);
                }
                Found::Bytes(bytes) => backplane.receive(line, &bytes, now_ms),
                Found::End => backplane.lost(line, "it is over", now_ms),
            }
        }
        self.engine.turn(now);
        self.engine.check_invariants();
        let (backplane, _) = self.engine.backplane(now).expect("it has one");
        for (number, (id, is_connected)) in &self.pipes {
            if *is_connected {
                server.send(*id, backplane.output(Line::numbered(*number)), some());
            }
        }
    }

    /// Whether what is published here goes round.
    pub fn is_ready(&mut self, now: Instant) -> bool {
        let (backplane, now_ms) = self.engine.backplane(now).expect("it has one");
        backplane.is_ready(now_ms)
    }

    /// Whether there is something to be done about its lines.
    pub fn is_busy(&mut self, now: Instant) -> bool {
        let (backplane, now_ms) = self.engine.backplane(now).expect("it has one");
        let mut says = |line: Line| {
            let is_connected = self.pipes.get(&line.number()).is_some_and(|(_, is_connected)| *is_connected);
            is_connected && !backplane.is_down(line) && !backplane.output(line).is_empty()
        };
        let is_busy = (0..2).map(Line::numbered).any(&mut says);
        is_busy || backplane.has_events() || backplane.lines().any(|line| backplane.wants(line, now_ms))
    }

    /// It is gone from one moment to the next.
    pub fn die(&mut self, server: &mut Server) {
        for (id, _) in std::mem::take(&mut self.pipes).into_values() {
            server.leave(id);
        }
    }
}
