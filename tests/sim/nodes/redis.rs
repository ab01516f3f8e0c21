//! A Redis without sockets, as far as nodes ask it for anything: its keys, its clock, and the scripts in plain Rust.
//!
//! What the scripts do stands here a second time, as `src/backplane/script.rs` says it in words. `tests/nodes` asks this
//! one and a real one the same, and compares the answers.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use bytes::Bytes;
use resp_rs::resp2::Frame;
use sha1::{Digest as _, Sha1};

/// What a script is for; whoever adds one writes down here what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Publish,
    Read,
    Unknown,
}

impl Meaning {
    fn of(script: &str) -> Self {
        match script {
            _ if script.contains("'XADD'") => Meaning::Publish,
            _ if script.contains("'XRANGE'") => Meaning::Read,
            _ => Meaning::Unknown,
        }
    }
}

#[derive(Clone, Debug)]
enum Value {
    Text(Bytes),
    Hash(BTreeMap<&'static str, Bytes>),
    Stream(Stream),
}

#[derive(Clone, Debug, Default)]
struct Stream {
    /// Offset, stamp and payload.
    entries: VecDeque<(u64, Bytes, Bytes)>,
    /// The offset of the latest, also when that has gone.
    last: u64,
}

/// All that a Redis remembers, and a replica of it.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// Each value, and when it is forgotten.
    values: BTreeMap<Bytes, (Value, Option<u64>)>,
    now_ms: u64,
}

impl Keys {
    fn get(&mut self, key: &Bytes) -> Option<&mut Value> {
        if self.values.get(key).is_some_and(|(_, until)| until.is_some_and(|until| until <= self.now_ms)) {
            self.values.remove(key);
        }
        self.values.get_mut(key).map(|(value, _)| value)
    }

    fn text(&mut self, key: &Bytes) -> Option<Bytes> {
        match self.get(key)? {
            Value::Text(text) => Some(text.clone()),
            Value::Hash(_) | Value::Stream(_) => panic!("{key:?} is no string"),
        }
    }

    fn set(&mut self, key: &Bytes, value: Value, expires_ms: Option<u64>) {
        self.values.insert(key.clone(), (value, expires_ms));
    }

    fn remove(&mut self, key: &Bytes) {
        self.values.remove(key);
    }

    fn hash(&mut self, key: &Bytes) -> Option<&mut BTreeMap<&'static str, Bytes>> {
        match self.get(key)? {
            Value::Hash(hash) => Some(hash),
            Value::Text(_) | Value::Stream(_) => panic!("{key:?} is no hash"),
        }
    }

    fn field(&mut self, key: &Bytes, field: &str) -> Option<Bytes> {
        self.hash(key)?.get(field).cloned()
    }

    fn set_field(&mut self, key: &Bytes, field: &'static str, value: impl ToString) {
        if self.hash(key).is_none() {
            self.set(key, Value::Hash(BTreeMap::new()), None);
        }
        self.hash(key).unwrap().insert(field, value.to_string().into());
    }

    fn stream(&mut self, key: &Bytes) -> Option<&mut Stream> {
        match self.get(key)? {
            Value::Stream(stream) => Some(stream),
            Value::Text(_) | Value::Hash(_) => panic!("{key:?} is no stream"),
        }
    }

    fn expire(&mut self, key: &Bytes, ms: u64) -> bool {
        let until = self.now_ms + ms;
        self.get(key).is_some() && {
            self.values.get_mut(key).unwrap().1 = Some(until);
            true
        }
    }

    /// Keeps the latest so many of a stream; how many went.
    pub fn trim(&mut self, key: &Bytes, kept: usize) -> usize {
        let Some(Stream { entries, .. }) = self.stream(key) else { return 0 };
        let gone = entries.len().saturating_sub(kept);
        entries.drain(..gone);
        gone
    }
}

/// One server.
#[derive(Debug, Default)]
pub struct Redis {
    pub keys: Keys,
    scripts: BTreeMap<String, Meaning>,
    clock_us: u64,
    /// It has as much as it may have, and takes nothing more.
    pub is_full: bool,
    /// It is a replica, or has become one.
    is_read_only: bool,
    /// Since when it gives the numbers without a break.
    reign: u64,
    /// It is reading what it had before it was restarted.
    pub is_loading: bool,
    /// How many publications a stream has had to let go.
    pub trimmed: usize,
    /// What has been published, by channel.
    pub published: Vec<(Bytes, Bytes)>,
}

type Outcome = Result<Frame, Frame>;

fn error(text: &str) -> Frame {
    Frame::Error(Bytes::copy_from_slice(text.as_bytes()))
}

pub fn bulk(text: impl ToString) -> Frame {
    Frame::BulkString(Some(text.to_string().into()))
}

fn ok() -> Frame {
    Frame::SimpleString("OK".into())
}

fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Redis {
    /// Says what time it is there; each command has a time of its own.
    pub fn set_time(&mut self, us: u64) {
        self.clock_us = self.clock_us.max(us);
        self.keys.now_ms = self.clock_us / 1000;
    }

    /// Another process with these keys and this clock.
    pub fn restart(&mut self, mut keys: Keys, us: u64) {
        keys.now_ms = us / 1000;
        *self = Self { keys, clock_us: us, reign: us, ..Self::default() };
    }

    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// It becomes a replica; or is promoted, with all that it had.
    pub fn set_read_only(&mut self, is_read_only: bool) {
        if self.is_read_only && !is_read_only {
            self.reign = self.clock_us;
        }
        self.is_read_only = is_read_only;
    }

    pub fn forget_scripts(&mut self) {
        self.scripts.clear();
    }

    /// The epoch of a room, by the key of its state, and how many publications it has had.
    pub fn state(&mut self, key: &Bytes) -> Option<(u64, u64)> {
        let epoch = self.keys.field(key, "epoch")?;
        Some((number(&epoch), self.keys.field(key, "offset").map_or(0, |offset| number(&offset))))
    }

    /// Carries out a command; what is about one connection alone is not for here.
    pub fn call(&mut self, parts: &[Bytes]) -> Frame {
        self.set_time(self.clock_us + 1);
        let words: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        if self.is_loading && !matches!(words[0], b"CLIENT") {
            return error("LOADING Redis is loading the dataset in memory");
        }
        let outcome = match words[..] {
            [b"CLIENT", b"SETNAME", _] => Ok(ok()),
            [b"SELECT", _] => Ok(ok()),
            [b"SCRIPT", b"LOAD", text] => Ok(self.load(text)),
            [b"SCRIPT", b"FLUSH"] => {
                self.forget_scripts();
                Ok(ok())
            }
            [b"EVALSHA", sha, count, ..] => {
                let (keys, args) = parts[3..].split_at(number(count) as usize);
                self.evaluate(&String::from_utf8_lossy(sha), keys, args)
            }
            [b"PEXPIRE", _, ms] => {
                let ms = number(ms);
                self.write(false).map(|()| Frame::Integer(self.keys.expire(&parts[1], ms).into()))
            }
            [b"XRANGE", _, from, to] => {
                let is_in = |(at, ..): &&(u64, Bytes, Bytes)| (number(from)..=number(to)).contains(at);
                let found =
                    self.keys.stream(&parts[1]).into_iter().flat_map(|log| log.entries.iter().filter(is_in));
                let show = |(at, stamp, payload): &(u64, Bytes, Bytes)| {
                    let [stamp, payload] = [stamp, payload].map(|part| Frame::BulkString(Some(part.clone())));
                    let fields = Frame::Array(Some(vec![bulk("s"), stamp, bulk("p"), payload]));
                    Frame::Array(Some(vec![bulk(format!("{at}-0")), fields]))
                };
                Ok(Frame::Array(Some(found.map(show).collect())))
            }
            [b"PTTL", _] => {
                let is_there = self.keys.get(&parts[1]).is_some();
                let until = self.keys.values.get(&parts[1]).and_then(|(_, until)| *until);
                let left = until.map_or(-1, |until| (until - self.keys.now_ms) as i64);
                Ok(Frame::Integer(if is_there { left } else { -2 }))
            }
            [b"DEL", _] => self.write(false).map(|()| {
                let is_there = self.keys.get(&parts[1]).is_some();
                self.keys.remove(&parts[1]);
                Frame::Integer(is_there.into())
            }),
            [b"XTRIM", _, b"MAXLEN", kept] => self
                .write(false)
                .map(|()| Frame::Integer(self.keys.trim(&parts[1], number(kept) as usize) as i64)),
            [b"HSET", _, b"offset", offset] => {
                let is_new = self.keys.field(&parts[1], "offset").is_none();
                let offset = number(offset);
                self.write(true).map(|()| {
                    self.keys.set_field(&parts[1], "offset", offset);
                    Frame::Integer(is_new.into())
                })
            }
            _ => panic!("nobody has told the simulated Redis what this is: {parts:?}"),
        };
        outcome.unwrap_or_else(|error| error)
    }

    /// Whether something may be written now; where memory is short, only what takes none.
    fn write(&self, takes_memory: bool) -> Result<(), Frame> {
        match (self.is_read_only, self.is_full && takes_memory) {
            (true, _) => Err(error("READONLY You can't write against a read only replica.")),
            (false, true) => Err(error("OOM command not allowed when used memory > 'maxmemory'.")),
            (false, false) => Ok(()),
        }
    }

    fn load(&mut self, text: &[u8]) -> Frame {
        let sha = Sha1::digest(text).iter().fold(String::new(), |mut sha, byte| {
            write!(sha, "{byte:02x}").unwrap();
            sha
        });
        self.scripts.insert(sha.clone(), Meaning::of(&String::from_utf8_lossy(text)));
        bulk(sha)
    }

    fn evaluate(&mut self, sha: &str, keys: &[Bytes], args: &[Bytes]) -> Outcome {
        match self.scripts.get(sha) {
            Some(Meaning::Publish) => self.publish(keys, args),
            Some(Meaning::Read) => self.read(keys, args),
            Some(Meaning::Unknown) => {
                panic!("the simulated Redis does not know this script: write it down there")
            }
            None => Err(error("NOSCRIPT No matching script. Please use EVAL.")),
        }
    }

    /// What this time of its own is called.
    fn reign(&self) -> String {
        format!("{:032x}", self.reign)
    }

    /// A life of a room begins now.
    fn epoch(&self) -> u64 {
        self.clock_us
    }

    /// Numbers a message, keeps it and says so; one that is known by its key is only told where it stands.
    fn publish(&mut self, keys: &[Bytes], args: &[Bytes]) -> Outcome {
        let [state, log, key, before @ ..] = keys else { panic!("{keys:?}") };
        let [channel, origin, payload, kept, age, key_age, least, told] = args else { panic!("{args:?}") };
        if let Some(known) = self.keys.text(key) {
            return Ok(Frame::Array(Some(vec![Frame::BulkString(Some(known)), Frame::Integer(1)])));
        }
        // The one that is to stand before it has not come.
        if before.first().is_some_and(|before| self.keys.get(before).is_none()) {
            return Ok(Frame::Array(Some(vec![bulk(""), Frame::Integer(2)])));
        }
        self.write(true)?;
        let known = self.state(state);
        let (told, reign) = (String::from_utf8_lossy(told).into_owned(), self.keys.field(state, "reign"));
        let is_other = |name: &str| reign.as_ref().is_none_or(|reign| *reign != *name);
        let must_look = told == "?" || reign.is_some() && !told.is_empty() && is_other(&told);
        let found = must_look.then(|| self.reign());
        let right = found.clone().unwrap_or(told);
        let mut epoch = known.map_or(0, |(epoch, _)| epoch);
        if known.is_none() || !right.is_empty() && is_other(&right) {
            let was = self.keys.field(state, "was").filter(|_| known.is_some()).unwrap_or_default();
            let mut ends: Vec<String> =
                String::from_utf8_lossy(&was).split_ascii_whitespace().map(str::to_owned).collect();
            ends.extend(known.map(|(epoch, offset)| format!("{epoch}:{offset}")));
            let ends = ends[ends.len().saturating_sub(16)..].iter();
            epoch = self.epoch();
            self.keys.set_field(state, "epoch", epoch);
            self.keys.set_field(state, "reign", right);
            self.keys.set_field(state, "was", ends.map(|end| format!(" {end}")).collect::<String>());
            if known.is_none() {
                self.keys.set_field(state, "offset", 0);
                self.keys.remove(log);
            }
        }
        let offset = self.keys.field(state, "offset").map_or(0, |offset| number(&offset)) + 1;
        self.keys.set_field(state, "offset", offset);
        let stamp = format!("{} {}", self.clock_us / 1000, String::from_utf8_lossy(origin));
        let kept = match kept.is_empty() {
            true => self.keys.field(state, "keep").unwrap_or(least.clone()),
            false => {
                self.keys.set_field(state, "keep", String::from_utf8_lossy(kept));
                kept.clone()
            }
        };
        if self.keys.stream(log).is_none() {
            self.keys.set(log, Value::Stream(Stream::default()), None);
        }
        let stream = self.keys.stream(log).unwrap();
        if stream.last >= offset {
            return Err(error(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item",
            ));
        }
        stream.last = offset;
        stream.entries.push_back((offset, stamp.clone().into(), payload.clone()));
        self.trimmed += self.keys.trim(log, number(&kept) as usize);
        self.keys.expire(state, number(age));
        self.keys.expire(log, number(age));
        let position = format!("{epoch}:{offset}");
        self.keys.set(key, Value::Text(position.clone().into()), Some(self.keys.now_ms + number(key_age)));
        let said = [format!("{epoch} {offset} {stamp}\n").as_bytes(), payload].concat();
        self.published.push((channel.clone(), said.into()));
        let answer = [Some(bulk(position)), Some(Frame::Integer(0)), found.map(bulk)];
        Ok(Frame::Array(Some(answer.into_iter().flatten().collect())))
    }

    /// A page of what came after the reader's last, or of the latest where that is not in this life of the room.
    fn read(&mut self, keys: &[Bytes], args: &[Bytes]) -> Outcome {
        let [state, log] = keys else { panic!("{keys:?}") };
        let [epoch, head, stamp, keep, entries_max, bytes_max, age, told] = args else { panic!("{args:?}") };
        let (known, head) = (number(epoch), number(head));
        let (mut now, mut offset) = self.state(state).unwrap_or((0, 0));
        let must_begin = self.keys.field(state, "epoch").is_none();
        let was = self.keys.field(state, "was").unwrap_or_default();
        let mut was = String::from_utf8_lossy(&was).into_owned();
        // Where the reader's epoch ends, if it is this one or has gone over into it.
        let ends = was.split_ascii_whitespace().map(|end| end.split_once(':').unwrap());
        let end = ends.map(|(epoch, end)| (number(epoch.as_bytes()), number(end.as_bytes())));
        let end = end.filter(|(epoch, _)| *epoch == known).map(|(_, end)| end).next();
        let end = if now == known { Some(offset) } else { end };
        let (mut is_other, mut cannot_tell) = (must_begin, false);
        let mut follows = false;
        if must_begin {
            was.clear();
        } else if end.is_some_and(|end| head <= end) {
            let at_head = self
                .keys
                .stream(log)
                .and_then(|log| log.entries.iter().find(|(at, ..)| *at == head).cloned());
            let is_as_it_was = at_head.as_ref().is_none_or(|(_, was, _)| stamp.is_empty() || was == stamp);
            (is_other, follows) = (!is_as_it_was, is_as_it_was);
            if is_other {
                was.clear();
            }
            cannot_tell = at_head.is_none() && !stamp.is_empty() && head < offset;
        } else if now == known {
            is_other = true;
            match self.keys.field(state, "reign") {
                Some(reign) if !reign.is_empty() => write!(was, " {now}:{offset}").unwrap(),
                Some(_) | None => was.clear(),
            }
        }
        if is_other {
            self.write(true)?;
            now = self.epoch();
            self.keys.set_field(state, "epoch", now);
            offset = if must_begin { 0 } else { offset };
            self.keys.set_field(state, "offset", offset);
            self.keys.set_field(state, "was", &was);
            let told = String::from_utf8_lossy(told).into_owned();
            self.keys.set_field(state, "reign", if told == "?" { self.reign() } else { told });
        }
        if must_begin {
            self.keys.remove(log);
        }
        let mut from = if cannot_tell { head + 2 } else { head + 1 };
        if !follows {
            from = offset.saturating_sub(number(keep)) + 1;
        }
        let (mut found, mut bytes, mut count) = (Vec::new(), 0, 0);
        // Redis is asked for some at a time, and all of them count.
        while count < number(entries_max) && bytes < number(bytes_max) {
            let stream = self.keys.stream(log).map_or(&[][..], |stream| stream.entries.make_contiguous());
            let some: Vec<_> = stream.iter().filter(|(at, ..)| *at >= from).take(16).cloned().collect();
            if some.is_empty() {
                break;
            }
            for (at, stamp, payload) in some {
                (from, bytes, count) = (at + 1, bytes + payload.len() as u64, count + 1);
                found.extend([bulk(at), Frame::BulkString(Some(stamp)), Frame::BulkString(Some(payload))]);
            }
        }
        self.write(false)?;
        self.keys.expire(state, number(age));
        self.keys.expire(log, number(age));
        let is_listed = self.keys.field(state, "listed").is_some();
        let (is_listed, was) = (Frame::Integer(is_listed.into()), bulk(was));
        let page = vec![bulk(now), bulk(offset), Frame::Array(Some(found)), is_listed, was];
        Ok(Frame::Array(Some(page)))
    }
}
