//! What each fuzz target does with any input. Also run by `cargo test`, over the corpus and its mutations.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanline::app::{App, Pattern, Route};
use fanline::backplane::channels::Layer;
use fanline::backplane::url::Url;
use fanline::backplane::{Author, Backplane, Event, Kind, Line, Protocol, Target as BackplaneTarget};
use fanline::engine::{Engine, Rules, Transport};
use fanline::http::body::{BodyReader, Framing};
use fanline::http::head::HeadReader;
use fanline::http::upgrade::Upgrade;
use fanline::input::Input;
use fanline::proxy::forwarded::client;
use fanline::proxy::header::Preface;
use fanline::spare::Spares;
use fanline::ws::deflate::{Deflater, Inflater};
use fanline::ws::extension::{DeflateParams, negotiate_deflate};
use fanline::ws::frame::{FrameHeader, Opcode, split_server_frame, write_frame};
use fanline::ws::session::{Session, Workbench};
use fanline::{ConnId, Hop, Keep, Limits, Metrics, Networks, Refusal, Request};

/// What a target does with one input; it panics where something is wrong.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("frame", frame),
    ("session", session),
    ("head", head),
    ("upgrade", upgrade),
    ("deflate", deflate),
    ("engine", engine),
    ("proxy", proxy),
    ("backplane", backplane),
    ("channels", channels),
];

/// A header is read from its own bytes alone, and a frame that was written is read again.
pub fn frame(data: &[u8]) {
    match FrameHeader::parse(data) {
        Ok(Some((header, len))) => {
            assert!(len <= FrameHeader::BYTES_MAX && len <= data.len());
            assert_eq!(FrameHeader::parse(&data[..len]), Ok(Some((header, len))));
            for cut in 0..len {
                assert_eq!(FrameHeader::parse(&data[..cut]), Ok(None), "{cut} of {len} bytes");
            }
        }
        Ok(None) => assert!(data.len() < FrameHeader::BYTES_MAX),
        // What is wrong stays wrong, whatever follows.
        Err(violation) => assert_eq!(FrameHeader::parse(&[data, &[0; 20]].concat()), Err(violation)),
    }
    let mut written = Vec::new();
    write_frame(&mut written, Opcode::Binary, false, data);
    assert_eq!(split_server_frame(&written), Some((Opcode::Binary, data)));
}

/// What is agreed with most clients.
fn params() -> Option<DeflateParams> {
    negotiate_deflate([&b"permessage-deflate"[..]].into_iter()).ok().flatten()
}

/// What a session makes of bytes does not depend on how they are cut, and it keeps no more than it may.
pub fn session(data: &[u8]) {
    let [seed, rest @ ..] = data else { return };
    let deflate = params().filter(|_| seed & 1 == 1);
    let whole = events(rest, deflate, usize::MAX);
    let cut = events(rest, deflate, usize::from(seed >> 1) % 40 + 1);
    assert_eq!(whole, cut);
}

fn events(bytes: &[u8], deflate: Option<DeflateParams>, step: usize) -> Vec<String> {
    const MESSAGE_MAX: usize = 4096;
    let (mut session, mut inflater, mut spares) =
        (Session::new(deflate), Inflater::default(), Spares::new(1 << 20));
    let mut seen = Vec::new();
    for piece in bytes.chunks(step.min(bytes.len()).max(1)) {
        let mut piece = piece.to_vec();
        let mut input = Input::new(&mut piece);
        let mut bench = Workbench {
            message_bytes_max: MESSAGE_MAX,
            inflater: &mut inflater,
            spares: &mut spares,
            frames: usize::MAX,
        };
        loop {
            match session.next(&mut input, &mut bench) {
                Ok(None) => break,
                Ok(Some(incoming)) => seen.push(format!("{incoming:?}")),
                Err(violation) => {
                    seen.push(format!("{violation:?}"));
                    return seen;
                }
            }
        }
        assert!(input.is_empty());
        assert!(session.buffered() <= MESSAGE_MAX / 8 * 9 + 64 + 125 + 7, "{} bytes", session.buffered());
    }
    seen
}

/// Heads and bodies are found alike however they are cut.
pub fn head(data: &[u8]) {
    let limits = Limits { head_bytes_max: 2048, headers_max: 16, body_bytes_max: 1024, ..Limits::default() };
    let step = usize::from(*data.first().unwrap_or(&0)) % 50 + 1;
    let rest = data.get(1..).unwrap_or_default();
    assert_eq!(requests(rest, usize::MAX, &limits), requests(rest, step, &limits));
}

fn requests(bytes: &[u8], step: usize, limits: &Limits) -> Vec<String> {
    let mut reader = HeadReader::default();
    let mut body: Option<BodyReader> = None;
    let mut seen = Vec::new();
    for piece in bytes.chunks(step.min(bytes.len()).max(1)) {
        let mut piece = piece.to_vec();
        let mut input = Input::new(&mut piece);
        while !input.is_empty() {
            let outcome = match body.take() {
                Some(mut reading) => match reading.read(&mut input, limits.body_bytes_max) {
                    Ok(true) => Ok(Some(format!("{:?}", reading.finish()))),
                    Ok(false) => {
                        assert!(reading.buffered() <= limits.body_bytes_max);
                        body = Some(reading);
                        Ok(None)
                    }
                    Err(refusal) => Err(refusal),
                },
                None => read_head(&mut reader, &mut input, limits, &mut body),
            };
            match outcome {
                Ok(Some(what)) => seen.push(what),
                Ok(None) => assert!(input.is_empty(), "it stops before the end"),
                Err(refusal) => {
                    seen.push(format!("{refusal:?}"));
                    return seen;
                }
            }
        }
        assert!(reader.buffered() <= limits.head_bytes_max);
    }
    seen
}

fn read_head(
    reader: &mut HeadReader,
    input: &mut Input<'_>,
    limits: &Limits,
    body: &mut Option<BodyReader>,
) -> Result<Option<String>, Refusal> {
    let Some(head) = reader.read(input, limits)? else { return Ok(None) };
    let request = Request::parse(&head, limits)?;
    assert!(request.path().starts_with('/') && !request.path().split('/').any(|segment| segment == ".."));
    *body = BodyReader::new(Framing::of(&request, limits.body_bytes_max)?);
    Ok(Some(format!("{} {} {:?}", request.method(), request.path(), request.query())))
}

/// Any extension header and any handshake are answered, and an answer is a head.
pub fn upgrade(data: &[u8]) {
    let _ = negotiate_deflate(data.split(|byte| *byte == b'\n'));
    let limits = Limits::default();
    let start = b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    for head in [data.to_vec(), [start, data, b"\r\n\r\n"].concat()] {
        let Ok(request) = Request::parse(&head, &limits) else { continue };
        match Upgrade::from_request(&request) {
            Ok(Some(upgrade)) => {
                let mut out = Vec::new();
                upgrade.write(&mut out, &fanline::http::upgrade::Granted::default());
                assert!(out.starts_with(b"HTTP/1.1 101 ") && out.ends_with(b"\r\n\r\n"));
            }
            Ok(None) => {}
            Err(refusal) => assert!((400..=431).contains(&refusal.status())),
        }
    }
}

/// Nothing inflates to more than it may, and what was deflated inflates to what it was.
pub fn deflate(data: &[u8]) {
    const MAX: usize = 10_000;
    let mut inflater = Inflater::default();
    if let Ok(inflated) = inflater.inflate(data, MAX) {
        assert!(inflated.len() <= MAX);
    }
    let mut deflater = Deflater::default();
    if let Some(compressed) = params().and_then(|params| deflater.deflate(params, data)) {
        assert!(compressed.len() < data.len());
        assert_eq!(inflater.inflate(compressed, data.len()).as_deref(), Ok(data));
        assert!(inflater.inflate(compressed, data.len() - 1).is_err());
    }
}

/// Whatever Redis says, in pieces that begin with C or N for the two lines of one server and with c or n for those of a
/// second one, between bytes 255; as one Redis and as a cluster: a room begins before it is appended to, its positions
/// follow each other, and what is not answered is bounded.
pub fn backplane(data: &[u8]) {
    for url in ["redis://10.0.0.1", "redis+cluster://10.0.0.1,10.0.0.2"] {
        let url = Url::parse(url).expect("a URL");
        let limits = Limits { backplane_pending_max: 4, backplane_shards_max: 2, ..Limits::default() };
        let target = BackplaneTarget { url, prefix: String::new(), protocol: Protocol::Nodes };
        shared(Backplane::new(target, &limits, 7), data);
    }
}

/// Connects what a backplane wants to have connected, to servers that greet it.
fn connect(link: &mut Backplane, now_ms: u64) {
    for line in link.lines() {
        if link.wants(line, now_ms) {
            link.connecting(line, now_ms);
            link.connected(line, now_ms);
            let greeting = link.output(line).split(|byte| *byte == b'\n');
            let replies = greeting.filter(|word| *word == b"CLIENT\r" || *word == b"SCRIPT\r").count();
            link.receive(line, "+OK\r\n".repeat(replies).as_bytes(), now_ms);
        }
    }
}

fn shared(mut link: Backplane, data: &[u8]) {
    let (mut now_ms, mut has_begun) = (1_000, false);
    connect(&mut link, now_ms);
    link.open("a".into(), Keep { messages: 5, bytes: 100, age: Duration::from_secs(60) }, now_ms);
    for piece in data.split(|byte| *byte == 255) {
        let (line, bytes) = match piece.split_first() {
            Some((b'C', bytes)) => (Line::commands(0), bytes),
            Some((b'N', bytes)) => (Line::news(0), bytes),
            Some((b'c', bytes)) => (Line::commands(1), bytes),
            Some((b'n', bytes)) => (Line::news(1), bytes),
            Some(_) | None => {
                now_ms += 700;
                settle(&mut link, now_ms);
                continue;
            }
        };
        link.seat(&"a".into(), &"u".into(), (bytes.len() as u32 % 3, true), now_ms);
        link.tell_presence(now_ms, |_| 1);
        let author = Author::Asking(ConnId::from_bits(1));
        let taken = link.publish(("a", None), (Kind::Text, b"m"), author, None, now_ms).is_ok();
        assert!(taken || link.is_crowded());
        if link.lines().any(|known| known == line) && !link.is_down(line) {
            link.receive(line, bytes, now_ms);
        }
        while let Some(event) = link.pop_event() {
            match event {
                Event::Begin(_, position, _) => has_begun = position.offset < 1 << 62,
                Event::Append { .. } | Event::Renamed(..) => assert!(has_begun),
                Event::Ready(_) => assert!(has_begun),
                Event::Counted(..) | Event::Listed(..) | Event::WentRound(_) => {}
                Event::Answered(id, ..) => assert_eq!(id, ConnId::from_bits(1)),
            }
        }
        for line in link.lines() {
            assert!(link.output(line).len() < 1 << 20);
            link.output(line).clear();
        }
        settle(&mut link, now_ms);
        link.lines().for_each(|line| link.output(line).clear());
    }
}

/// Does what is to be done at once: after a few rounds there is nothing more of that.
fn settle(link: &mut Backplane, now_ms: u64) {
    for _ in 0..4 {
        link.tick(now_ms);
        link.tell_presence(now_ms, |_| 1);
        connect(link, now_ms);
    }
    assert!(link.due_ms() > now_ms, "it would never sleep");
}

/// Whatever Redis says on the two lines of a Channels layer, in pieces as above, and whatever is sent to a room, in pieces
/// that begin with M: what is appended is what it says it is, in its order, and what is not answered is bounded.
pub fn channels(data: &[u8]) {
    let url = Url::parse("redis://host").expect("a URL");
    let limits = Limits { backplane_pending_max: 4, channels_message_bytes_max: 4096, ..Limits::default() };
    let target = BackplaneTarget { url, prefix: String::new(), protocol: Protocol::Channels };
    let mut link = Layer::new(target, &limits, 7);
    let (mut now_ms, mut has_begun) = (1_000, false);
    for (line, replies) in [(Line::commands(0), 3), (Line::news(0), 2)] {
        link.connecting(line, now_ms);
        link.connected(line, now_ms);
        link.receive(line, "+OK\r\n".repeat(replies).as_bytes(), now_ms);
    }
    link.receive(Line::news(0), b"*0\r\n", now_ms);
    link.open("a".into(), now_ms);
    for piece in data.split(|byte| *byte == 255) {
        let said = (Kind::Text, &b"m"[..]);
        let author = (Author::Asking(ConnId::from_bits(1)), None);
        let taken = link.publish(("a", true), said, author, None, now_ms).is_ok();
        assert!(taken || link.is_crowded());
        match piece.split_first() {
            Some((b'C', bytes)) => link.receive(Line::commands(0), bytes, now_ms),
            Some((b'N', bytes)) => link.receive(Line::news(0), bytes, now_ms),
            Some((b'M', bytes)) => {
                let head = format!("*3\r\n$1\r\nq\r\n${}\r\n", bytes.len());
                link.receive(
                    Line::news(0),
                    &[head.as_bytes(), bytes, b"\r\n$1\r\n1\r\n*0\r\n"].concat(),
                    now_ms,
                );
            }
            Some(_) | None => {
                now_ms += 700;
                link.tick(now_ms);
            }
        }
        while let Some(event) = link.pop_event() {
            match event {
                Event::Begin(_, position, _) => has_begun = position.offset == 0,
                Event::Append { kind, payload, .. } => {
                    assert!(has_begun);
                    assert!(kind == Kind::Text && std::str::from_utf8(&payload).is_ok());
                    assert!(
                        payload.starts_with(b"{") && payload.ends_with(b"}"),
                        "all of a dict is an object"
                    );
                }
                Event::Ready(_) => assert!(has_begun),
                Event::Renamed(..) | Event::Counted(..) | Event::Listed(..) | Event::WentRound(_) => {
                    panic!("a layer knows nothing of that")
                }
                Event::Answered(id, ..) => assert_eq!(id, ConnId::from_bits(1)),
            }
        }
        for line in Layer::LINES {
            assert!(link.output(line).len() < 1 << 20);
            link.output(line).clear();
        }
        assert!(link.due_ms() > 0);
    }
}

/// A PROXY header is found alike however it is cut, and ends where it says; what proxies list is never made up.
pub fn proxy(data: &[u8]) {
    const MAX: usize = 300;
    let whole = Preface::parse(data, MAX);
    for cut in 0..data.len() {
        let found = Preface::parse(&data[..cut], MAX);
        match (found, whole) {
            (Preface::Header { len, .. }, _) => assert!(len <= cut && found == whole),
            (Preface::Invalid, _) => assert_eq!(whole, Preface::Invalid, "at {cut}"),
            (Preface::Partial, Preface::Header { len, .. }) => assert!(cut < len),
            (Preface::Partial, Preface::Partial | Preface::Invalid) => {}
        }
    }
    assert!(whole != Preface::Partial || data.len() < MAX, "it waits for more than a header may have");
    let trusted = Networks::parse(&["10.0.0.0/8", "::/1"]).expect("networks");
    let proxy = Hop::Ip([10, 0, 0, 1].into());
    let found = client(proxy, &trusted, data.split(|byte| *byte == b'\n')).expect("at least the proxy's own");
    let text = String::from_utf8_lossy(data);
    let elements = text.split(['\n', ',']).map(|element| element.trim_matches([' ', '\t']));
    let bare = elements.map(|element| match element.parse::<SocketAddr>() {
        Ok(addr) => addr.ip().to_string(),
        Err(_) => element.trim_matches(['[', ']']).to_owned(),
    });
    let stands_there =
        bare.filter_map(|element| element.parse::<IpAddr>().ok()).any(|ip| ip.to_canonical() == found);
    assert!(stands_there || Some(found) == proxy.ip(), "{found} is made up");
    assert_eq!(client(proxy, &Networks::default(), [data].into_iter()), proxy.ip(), "nobody is trusted");
}

/// One end of a connection in memory.
#[derive(Default)]
struct Pipe {
    to_engine: VecDeque<u8>,
    ended: bool,
    window: usize,
    shut: bool,
}

struct End(Rc<RefCell<Pipe>>);

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        let len = buffer.len().min(pipe.to_engine.len());
        match len {
            0 if pipe.ended => Ok(0),
            0 => Err(ErrorKind::WouldBlock.into()),
            len => {
                buffer.iter_mut().zip(pipe.to_engine.drain(..len)).for_each(|(to, from)| *to = from);
                Ok(len)
            }
        }
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        assert!(!pipe.shut, "a write after the end of the outgoing side");
        let len = bytes.len().min(pipe.window);
        pipe.window -= len;
        if len == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(len) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for End {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().shut = true;
        Ok(())
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }
}

/// The whole engine with the binary's application, driven by a script: each step is what some peer does, or time.
pub fn engine(data: &[u8]) {
    let limits = Limits {
        connections_max: 8,
        room_log_bytes_max: 4096,
        message_bytes_max: 4096,
        body_bytes_max: 1024,
        outbound_bytes_high: 2048,
        outbound_bytes_low: 512,
        outbound_bytes_max: 8192,
        walk_slice: 2,
        ..Limits::default()
    };
    let rooms = Route::new(Pattern::parse("/r/{room}").expect("a pattern"), fanline::app::Mode::Room);
    let routes = [vec![Route { replay: 3, echo: false, ..rooms }], Route::defaults()].concat();
    let start = Instant::now();
    let (metrics, rules) =
        (Arc::new(Metrics::default()), Rules { limits, deflate: true, ..Rules::default() });
    let unix = Duration::from_secs(1_700_000_000);
    let mut engine = Engine::new(App::new(routes), rules, metrics, start, unix);
    let (mut now, mut pipes, mut rest) = (start, Vec::new(), data);
    while let [step, len, after @ ..] = rest {
        let (bytes, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        let at = usize::from(step >> 4) % pipes.len().max(1);
        match step & 0x0f {
            0 => {
                let pipe = Rc::new(RefCell::new(Pipe { window: 1 << 16, ..Pipe::default() }));
                if let Some(id) = engine.connect(End(pipe.clone()), now) {
                    pipes.push((id, pipe));
                }
            }
            1 => now += Duration::from_millis(u64::from(*len) * 200),
            _ if pipes.is_empty() => {}
            2 => {
                let room = ["/r/a", "/r/a?last=2", "/chat/b", "/echo"][usize::from(*len) % 4];
                let head = format!(
                    "GET {room} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                     Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
                );
                feed(&mut engine, &pipes[at], head.as_bytes());
            }
            3 => {
                // A whole frame with a mask of zeros, so that what follows is reached.
                let mut frame =
                    vec![bytes.first().copied().unwrap_or(0x81), 0x80 | bytes.len().min(125) as u8];
                frame.extend_from_slice(&[0; 4]);
                frame.extend_from_slice(&bytes[..bytes.len().min(125)]);
                feed(&mut engine, &pipes[at], &frame);
            }
            4 => {
                pipes[at].1.borrow_mut().window = usize::from(*len);
                engine.ready(pipes[at].0, false, true, false);
            }
            5 => {
                pipes[at].1.borrow_mut().ended = true;
                engine.ready(pipes[at].0, true, false, true);
            }
            6 => {
                let body = String::from_utf8_lossy(bytes).into_owned();
                let line = ["POST /rooms/a/messages", "GET /rooms/a/events", "GET /rooms/a/messages?wait=1"]
                    [usize::from(*len) % 3];
                let head = format!(
                    "{line} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                feed(&mut engine, &pipes[at], head.as_bytes());
            }
            _ => feed(&mut engine, &pipes[at], bytes),
        }
        // It comes to rest, whatever it was told: every turn has a bound.
        for turn in 0.. {
            engine.turn(now);
            engine.check_invariants();
            if !engine.has_work() {
                break;
            }
            assert!(turn < 10_000, "the engine never rests");
        }
    }
    for (id, pipe) in &pipes {
        pipe.borrow_mut().ended = true;
        engine.ready(*id, true, true, true);
    }
    for _ in 0..40 {
        now += Duration::from_secs(60);
        engine.turn(now);
    }
    assert!(engine.is_empty(), "{} connections are left over", engine.len());
    assert!(engine.rooms().is_empty(), "rooms are left over");
}

fn feed<H: fanline::Handler>(
    engine: &mut Engine<H, End>,
    (id, pipe): &(fanline::ConnId, Rc<RefCell<Pipe>>),
    bytes: &[u8],
) {
    pipe.borrow_mut().to_engine.extend(bytes);
    engine.ready(*id, true, false, false);
}
