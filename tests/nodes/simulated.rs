//! The Redis of the simulator beside a real one: the same commands, and the same answers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use bytes::{Bytes, BytesMut};
use fanline::Limits;
use fanline::backplane::url::Url;
use fanline::backplane::{Backplane, Line, Protocol, Target};
use resp_rs::resp2::{Frame, frame_to_bytes, parse_frame};

use super::node::PATIENCE;
use super::redis::Redis;

#[path = "../sim/nodes/redis.rs"]
#[allow(dead_code, reason = "what the simulator needs besides")]
mod redis;

/// A connection to the real one.
struct Real {
    stream: UnixStream,
    input: BytesMut,
}

impl Real {
    fn connect(redis: &Redis) -> Self {
        let stream = UnixStream::connect(redis.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, input: BytesMut::new() }
    }

    fn hear(&mut self) -> Frame {
        loop {
            if let Ok((frame, rest)) = parse_frame(self.input.clone().freeze()) {
                self.input = BytesMut::from(&rest[..]);
                return frame;
            }
            let mut buffer = [0; 4096];
            let len = self.stream.read(&mut buffer).unwrap();
            assert!(len > 0, "Redis has ended the connection");
            self.input.extend_from_slice(&buffer[..len]);
        }
    }

    fn ask(&mut self, parts: &[Bytes]) -> Frame {
        let command = parts.iter().map(|part| Frame::BulkString(Some(part.clone()))).collect();
        self.stream.write_all(&frame_to_bytes(&Frame::Array(Some(command)))).unwrap();
        self.hear()
    }
}

/// What one of the two has said: epochs, stamps and reigns, which are its own, in the order in which they came.
#[derive(Default)]
struct Names {
    epochs: Vec<u64>,
    stamps: Vec<Bytes>,
    reigns: Vec<String>,
}

/// Where something stands in a list, to which it is added where it is not there.
fn place<T: PartialEq>(list: &mut Vec<T>, one: T) -> usize {
    list.iter().position(|known| *known == one).unwrap_or_else(|| {
        list.push(one);
        list.len() - 1
    })
}

impl Names {
    /// A text in which the time does not matter.
    fn plain(&mut self, text: &str) -> String {
        if let Some((line, payload)) = text.split_once('\n') {
            let [epoch, offset, stamp]: [&str; 3] =
                line.splitn(3, ' ').collect::<Vec<_>>().try_into().expect("what is announced");
            return format!("{} {offset} {}\n{payload}", self.plain(epoch), self.plain(stamp));
        }
        if text.starts_with(' ') {
            return text.split_ascii_whitespace().map(|end| format!(" {}", self.plain(end))).collect();
        }
        if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return format!("reign {}", place(&mut self.reigns, text.to_owned()));
        }
        if let Some((epoch, offset)) = text.split_once(':') {
            return format!("{}:{offset}", self.plain(epoch));
        }
        match text.split_once(' ') {
            Some((time, origin)) if time.parse::<u64>().is_ok_and(|time| time > 1_000_000_000) => {
                self.stamps.push(Bytes::copy_from_slice(text.as_bytes()));
                format!("* {origin}")
            }
            Some(_) => text.to_owned(),
            None => match text.parse() {
                Ok(epoch) if epoch > 1_000_000_000 => format!("epoch {}", place(&mut self.epochs, epoch)),
                _ => text.to_owned(),
            },
        }
    }

    fn show(&mut self, frame: &Frame) -> String {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        match frame {
            Frame::SimpleString(said) => text(said),
            Frame::Error(said) => format!("{}!", text(said).split(' ').next().unwrap()),
            // What is left of an age is told within so much of it.
            Frame::Integer(number) if *number > 10_000 => format!("about {}", (number + 99_999) / 100_000),
            Frame::Integer(number) => number.to_string(),
            Frame::BulkString(None) | Frame::Array(None) => "nothing".to_owned(),
            Frame::BulkString(Some(said)) => self.plain(&text(said)),
            Frame::Array(Some(list)) => {
                format!("{:?}", list.iter().map(|frame| self.show(frame)).collect::<Vec<_>>())
            }
        }
    }
}

/// The scripts, as a node has them loaded.
fn scripts() -> Vec<Bytes> {
    let url = Url::parse("redis://host").unwrap();
    let target = Target { url, prefix: "p:".to_owned(), protocol: Protocol::Nodes };
    let mut backplane = Backplane::new(target, &Limits::default(), 1);
    let line = Line::commands(0);
    backplane.connecting(line, 0);
    backplane.connected(line, 0);
    let mut said = Bytes::from(std::mem::take(backplane.output(line)));
    let mut scripts = Vec::new();
    while let Ok((Frame::Array(Some(parts)), rest)) = parse_frame(said) {
        if parts[0].as_str() == Some("SCRIPT") {
            scripts.push(parts[2].as_bytes().unwrap().clone());
        }
        said = rest;
    }
    scripts
}

/// Both of them, asked the same.
struct Pair {
    redis: Redis,
    real: Real,
    /// What is published, where it is heard.
    news: Real,
    simulated: redis::Redis,
    names: [Names; 2],
    /// Under which the scripts are called: to publish, and to read.
    shas: Vec<Bytes>,
}

const ROOMS: [&str; 2] = ["a", "b"];

impl Pair {
    fn new() -> Self {
        let redis = Redis::start(&["--maxmemory-policy", "noeviction"]);
        let (real, mut news) = (Real::connect(&redis), Real::connect(&redis));
        for room in ROOMS {
            news.ask(&["SUBSCRIBE".into(), format!("p:news{{{room}}}").into()]);
        }
        let (names, shas) = (Default::default(), Vec::new());
        let mut pair = Self { redis, real, news, simulated: redis::Redis::default(), names, shas };
        pair.simulated.set_time(1_700_000_000_000_000);
        pair.load();
        pair
    }

    /// Loads the scripts, which must be called alike.
    fn load(&mut self) {
        self.shas = scripts()
            .into_iter()
            .map(|text| {
                let sha = self.same(["SCRIPT".into(), "LOAD".into(), text].into());
                Bytes::from(sha)
            })
            .collect();
    }

    /// The same command for both, and the answer of both.
    fn same(&mut self, parts: Vec<Bytes>) -> String {
        self.ask([parts.clone(), parts])
    }

    fn ask(&mut self, [one, other]: [Vec<Bytes>; 2]) -> String {
        let want = self.names[0].show(&self.real.ask(&one));
        let got = self.names[1].show(&self.simulated.call(&other));
        assert_eq!(got, want, "{one:?}");
        for (_, said) in std::mem::take(&mut self.simulated.published) {
            let Frame::Array(Some(heard)) = self.news.hear() else { panic!("no message") };
            let got = self.names[1].show(&Frame::BulkString(Some(said)));
            assert_eq!(got, self.names[0].show(&heard[2]), "{one:?}");
        }
        want
    }

    fn publish(&mut self, rng: &mut fastrand::Rng, count: usize) {
        let room = ROOMS[rng.usize(..2)];
        let kept = if rng.u8(..10) > 0 { String::new() } else { rng.usize(1..60).to_string() };
        let payload = format!("message-{count}-{}", "x".repeat(rng.usize(..40)));
        let mut parts = vec!["EVALSHA".into(), self.shas[0].clone(), "3".into()];
        parts.extend([format!("p:state{{{room}}}"), format!("p:log{{{room}}}")].map(Bytes::from));
        let key = if rng.u8(..5) == 0 { rng.usize(..60) } else { count };
        parts.push(format!("p:key{{{room}}}:{key}").into());
        parts.extend([format!("p:news{{{room}}}"), format!("t 1 2 {count}"), payload, kept].map(Bytes::from));
        parts.extend(
            ["900000", "400000", &rng.usize(1..20).to_string()].map(|part| Bytes::from(part.to_owned())),
        );
        let told = self.told(rng);
        self.ask(told.map(|told| [&parts[..], &[told]].concat()));
    }

    /// Whose reign it is, as a node says it to either: mostly it is right.
    fn told(&self, rng: &mut fastrand::Rng) -> [Bytes; 2] {
        let told = rng.u8(..10);
        [0, 1].map(|at: usize| {
            let told = match (told, &self.names[at].reigns[..]) {
                (0, _) => "",
                (1, _) => "stale",
                (2, [first, ..]) => first,
                (4.., [.., last]) => last,
                (2.., _) => "?",
            };
            Bytes::from(told.to_owned())
        })
    }

    fn read(&mut self, rng: &mut fastrand::Rng) {
        let room = ROOMS[rng.usize(..2)];
        let mut parts: Vec<Bytes> = vec!["EVALSHA".into(), self.shas[1].clone(), "2".into()];
        parts.extend([format!("p:state{{{room}}}"), format!("p:log{{{room}}}")].map(Bytes::from));
        let mut both = [parts.clone(), parts];
        let (epoch, stamp) = (rng.usize(..8), rng.usize(..30));
        let offset = rng.usize(..60).to_string();
        let rest: Vec<Bytes> = [rng.usize(..20), rng.usize(1..40), rng.usize(1..500), 700_000]
            .map(|n| n.to_string().into())
            .into();
        for (parts, names) in both.iter_mut().zip(&self.names) {
            // The latest are the likeliest to be the ones that are there.
            let known = names.epochs.iter().rev().nth(epoch).map_or(String::new(), u64::to_string);
            let stamp =
                names.stamps.iter().rev().nth(stamp).filter(|_| epoch < 4).cloned().unwrap_or_default();
            parts.extend([Bytes::from(known), offset.clone().into(), stamp]);
            parts.extend(rest.iter().cloned());
        }
        for (parts, told) in both.iter_mut().zip(self.told(rng)) {
            parts.push(told);
        }
        self.ask(both);
    }

    /// Reads from the place on that a reader has: the offset and the stamp belong together.
    fn go_on(&mut self, rng: &mut fastrand::Rng) {
        let room = ROOMS[rng.usize(..2)];
        let state = Bytes::from(format!("p:state{{{room}}}"));
        let log = Bytes::from(format!("p:log{{{room}}}"));
        let Some((_, latest)) = self.simulated.state(&state) else { return };
        let offset = Bytes::from((latest + 1).saturating_sub(rng.u64(..12)).to_string());
        let parts = ["XRANGE".into(), log.clone(), offset.clone(), offset.clone()];
        let stamp = |found: Frame| {
            let entry = found.into_array().ok()?.into_iter().next()?.into_array().ok()?.pop()?;
            entry.into_array().ok()?.get(1)?.as_bytes().cloned()
        };
        let found = [self.real.ask(&parts), self.simulated.call(&parts)];
        let stamps = found.map(|found| stamp(found).unwrap_or_default());
        let mut both = [0, 1].map(|at: usize| {
            let epoch = self.names[at].epochs.last().map_or(String::new(), u64::to_string);
            vec![
                Bytes::from("EVALSHA"),
                self.shas[1].clone(),
                "2".into(),
                state.clone(),
                log.clone(),
                epoch.into(),
            ]
        });
        let page = rng.usize(1..40).to_string();
        for (parts, stamp) in both.iter_mut().zip(stamps) {
            parts.extend([
                offset.clone(),
                stamp,
                "5".into(),
                page.clone().into(),
                "300".into(),
                "700000".into(),
            ]);
        }
        for (parts, told) in both.iter_mut().zip(self.told(rng)) {
            parts.push(told);
        }
        self.ask(both);
    }

    /// Something that scripts do not do happens to the keys.
    fn meddle(&mut self, rng: &mut fastrand::Rng) {
        let room = ROOMS[rng.usize(..2)];
        let (state, log) = (format!("p:state{{{room}}}"), format!("p:log{{{room}}}"));
        let parts: Vec<String> = match rng.u8(..6) {
            0 => vec!["DEL".into(), state],
            1 => vec!["DEL".into(), log],
            2 => vec!["XTRIM".into(), log, "MAXLEN".into(), rng.usize(..5).to_string()],
            3 if self.simulated.state(&state.clone().into()).is_some() => {
                vec!["HSET".into(), state, "offset".into(), rng.usize(..30).to_string()]
            }
            4 => vec!["PEXPIRE".into(), log, "500000".into()],
            _ => vec!["PTTL".into(), state],
        };
        self.same(parts.into_iter().map(Bytes::from).collect());
    }

    fn change_mode(&mut self, rng: &mut fastrand::Rng) {
        let simulated = &mut self.simulated;
        match rng.u8(..3) {
            0 => {
                simulated.is_full ^= true;
                let bytes = if simulated.is_full { "1" } else { "0" };
                self.redis.ask(&["config", "set", "maxmemory", bytes]);
            }
            1 => {
                simulated.set_read_only(!simulated.is_read_only());
                let to = if simulated.is_read_only() { ["127.0.0.1", "1"] } else { ["no", "one"] };
                self.redis.ask(&["replicaof", to[0], to[1]]);
            }
            _ => {
                self.same(vec!["SCRIPT".into(), "FLUSH".into()]);
                self.publish(rng, 0);
                self.load();
            }
        }
    }
}

#[test]
fn the_simulated_redis_answers_as_the_real_one_does() {
    let seed =
        std::env::var("SEED").map_or_else(|_| fastrand::u64(..1_000_000), |seed| seed.parse().unwrap());
    println!("replay with SEED={seed}");
    let (mut rng, mut pair) = (fastrand::Rng::with_seed(seed), Pair::new());
    for count in 0..3_000 {
        match rng.u8(..20) {
            0..9 => pair.publish(&mut rng, count),
            9..13 => pair.read(&mut rng),
            13..17 => pair.go_on(&mut rng),
            17 => pair.meddle(&mut rng),
            18 if rng.u8(..4) == 0 => pair.change_mode(&mut rng),
            _ => {
                // A mode is not for long.
                if rng.u8(..4) == 0 {
                    pair.simulated.is_full = false;
                    pair.simulated.set_read_only(false);
                    pair.redis.ask(&["config", "set", "maxmemory", "0"]);
                    pair.redis.ask(&["replicaof", "no", "one"]);
                }
            }
        }
    }
    assert!(pair.names[0].reigns.len() > 2);
    assert!(pair.names[0].epochs.len() > 10 && pair.names[0].stamps.len() > 1_000);
}
