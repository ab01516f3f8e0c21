//! Every way against a room with a known fault, and with known bytes: each must be told, or counted.

use super::run::{Row, measure};
use super::*;
use crate::modes::verdict::Verdict;
use crate::reactor::accept_for;
use clap::Parser;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What the room does wrong with the eighth message that is published in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mischief {
    None,
    Lose,
    Double,
    Swap,
    Alter,
    /// It is refused with 503.
    Refuse,
    /// Who asks from there on is told that something is missing.
    Forget,
    /// Nothing is given out for so many milliseconds.
    Stall(u64),
}

const EIGHTH: u64 = 8;

/// A room that speaks just enough HTTP and WebSocket to be right or wrong.
struct Room {
    mischief: Mischief,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    log: Vec<String>,
    published: u64,
    kept_back: Option<String>,
    stalls_until: Option<Instant>,
}

/// Starts a room on a free port, to run until the test process ends, and returns its address.
fn start(mischief: Mischief) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/chat/r", listener.local_addr().expect("an address"));
    let room = Arc::new(Room { mischief, state: Mutex::default(), news: Condvar::new() });
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let room = Arc::clone(&room);
            // A connection that the harness ends is no concern of ours.
            thread::spawn(move || serve(stream, &room));
        }
    });
    url
}

fn serve(mut stream: TcpStream, room: &Room) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).map_err(io::Error::other)?;
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let since = value(&head, "since=1:").unwrap_or(0);
        if let Some(length) = field("Content-Length: ") {
            let mut body = vec![0; length.parse().map_err(io::Error::other)?];
            stream.read_exact(&mut body)?;
            let (status, position) = room.publish(String::from_utf8(body).map_err(io::Error::other)?);
            answer(&mut stream, status, &format!("{{\"position\":\"1:{position}\"}}"))?;
        } else if head.starts_with("GET /rooms/r/messages?") {
            let wait = Duration::from_secs(value(&head, "wait=").unwrap_or(0) as u64);
            let log = room.after(since, wait);
            let is_forgotten = room.mischief == Mischief::Forget && since >= EIGHTH as usize;
            let messages: Vec<String> = log.iter().map(|text| json!({ "text": text }).to_string()).collect();
            let (position, messages) = (since + log.len(), messages.join(","));
            let page = format!(
                "{{\"position\":\"1:{position}\",\"recovered\":{},\"more\":false,\"messages\":[{messages}]}}",
                !is_forgotten
            );
            answer(&mut stream, 200, &page)?;
        } else if head.starts_with("GET /rooms/r/events?") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nretry: 1\n\n")?;
            return stream_log(stream, room, since, |text| format!("id: 1:1\ndata: {text}\n\n").into_bytes());
        } else {
            let accept = accept_for(field("Sec-WebSocket-Key: ").unwrap_or_default());
            write!(stream, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")?;
            let frame = |text: &str| [&[0x81, text.len() as u8], text.as_bytes()].concat();
            return stream_log(stream, room, since, frame);
        }
    }
}

fn stream_log(
    mut stream: TcpStream,
    room: &Room,
    mut since: usize,
    encode: impl Fn(&str) -> Vec<u8>,
) -> io::Result<()> {
    loop {
        let log = room.after(since, Duration::from_secs(5));
        since += log.len();
        let bytes: Vec<Vec<u8>> = log.iter().map(|text| encode(text)).collect();
        stream.write_all(&bytes.concat())?;
    }
}

fn value(head: &str, name: &str) -> Option<usize> {
    let rest = head.split_once(name)?.1;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

fn answer(stream: &mut TcpStream, status: u16, body: &str) -> io::Result<()> {
    let length = body.len();
    stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes())
}

impl Room {
    fn publish(&self, text: String) -> (u16, usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_eighth = state.published == EIGHTH;
        state.published += 1;
        let late = state.kept_back.take();
        match self.mischief {
            Mischief::Lose if is_eighth => {}
            Mischief::Refuse if is_eighth => return (503, 0),
            Mischief::Swap if is_eighth => state.kept_back = Some(text),
            Mischief::Alter if is_eighth => state.log.push(text.replace('@', "A")),
            Mischief::Double if is_eighth => state.log.extend([text.clone(), text]),
            _ => state.log.push(text),
        }
        state.log.extend(late);
        if let (true, Mischief::Stall(milliseconds)) = (is_eighth, self.mischief) {
            state.stalls_until = Some(Instant::now() + Duration::from_millis(milliseconds));
        }
        self.news.notify_all();
        (201, state.log.len())
    }

    /// What came after the first `since` messages, once there is something, or the time is over.
    fn after(&self, since: usize, wait: Duration) -> Vec<String> {
        let end = Instant::now() + wait;
        loop {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let stall =
                state.stalls_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
            if stall.is_zero() && (since < state.log.len() || now >= end) {
                return state.log.get(since..).unwrap_or_default().to_vec();
            }
            let patience = if stall.is_zero() { end.saturating_duration_since(now) } else { stall };
            drop(self.news.wait_timeout(state, patience));
        }
    }
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

fn options(line: &str) -> Options {
    let usual =
        "push --subscribers 3 --rate 100 --size 40 --warmup 0 --drain 0.3 --late-max 1 --waited-max 1";
    Command::parse_from(usual.split(' ').chain(line.split(' '))).options
}

/// One load at a time: two would measure each other.
static ALONE: Mutex<()> = Mutex::new(());

fn row(way: Way, mischief: Mischief, line: &str) -> Row {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let url = start(mischief);
    measure(way, &options(line), &url, Some(std::process::id())).expect("measured")
}

#[test]
fn row_55_every_way_gets_the_same_messages_and_its_bytes_are_those_on_the_wire() {
    for way in Way::ALL {
        let row = row(way, Mischief::None, "--seconds 0.5 --every 20 --wait 5");
        assert_eq!((row.report.errors.len(), &row.report.verdict), (0, &Verdict::Ok), "{way:?}");
        // 50 messages to three; the last may come when the span is over, as may the last before it within the span.
        assert!((140..=156).contains(&row.report.count), "{way:?}: {}", row.report.count);
        assert_eq!(row.report.latency.count(), 150, "{way:?}");
        let (down, up) = (row.each(row.measured.bytes.received), row.each(row.measured.bytes.sent));
        let requests = row.each(row.measured.requests);
        match way {
            // A header of two bytes, and the message.
            Way::Websocket => assert_eq!((down, up, requests), (42.0, 0.0, 0.0)),
            Way::Events => assert_eq!((down, up, requests), (56.0, 0.0, 0.0)),
            // A backslash in a message is two in its JSON, so the page is not told to the byte.
            Way::LongPoll => {
                assert!((150.0..200.0).contains(&down) && (80.0..100.0).contains(&up), "{down} {up}");
                assert!((0.8..=1.1).contains(&requests), "{requests} requests");
            }
            Way::ShortPoll => {
                assert!((0.3..=0.7).contains(&requests), "{requests}: two messages in 20 ms, one request");
                assert!(up < 60.0 && down > 57.0, "{down} {up}");
                let p50 = row.report.latency.percentile(50.0);
                assert!(
                    p50 >= Duration::from_millis(2),
                    "{p50:?}: half of the time between two polls at best"
                );
            }
        }
    }
}

#[test]
fn each_fault_is_told_by_its_kind_whatever_the_way() {
    let table: [(Mischief, &[(&str, u64)]); 4] = [
        (Mischief::Lose, &[("lost", 3)]),
        (Mischief::Double, &[("doubled", 3)]),
        (Mischief::Swap, &[("swapped", 3)]),
        (Mischief::Alter, &[("altered", 3), ("lost", 3)]),
    ];
    for way in Way::ALL {
        for (mischief, errors) in table {
            let row = row(way, mischief, "--seconds 0.15 --every 20 --wait 5");
            let want: BTreeMap<String, u64> = errors.iter().map(|&(kind, n)| (kind.to_owned(), n)).collect();
            assert_eq!(row.report.errors, want, "{way:?} {mischief:?}");
            assert!(matches!(row.report.verdict, Verdict::Failed(_)), "{way:?} {mischief:?}");
            assert!(matches!(print::worst(&[row]), Verdict::Failed(_)));
        }
    }
}

#[test]
fn answers_that_tell_of_a_failure_fail_the_run_in_their_own_words() {
    let refused = row(Way::Events, Mischief::Refuse, "--seconds 0.15");
    assert_eq!(refused.report.errors.get("a message was answered 503"), Some(&1));
    for way in [Way::LongPoll, Way::ShortPoll] {
        let forgotten = row(way, Mischief::Forget, "--seconds 0.15 --every 20 --wait 5");
        let words = "a page from which something is missing";
        assert_eq!(forgotten.report.errors.get(words), Some(&3), "{:?}", forgotten.report.errors);
    }
}

#[test]
fn a_stall_is_charged_to_every_message_planned_meanwhile() {
    for way in Way::ALL {
        let row = row(way, Mischief::Stall(150), "--seconds 0.4 --every 20 --wait 5");
        assert_eq!(row.report.verdict, Verdict::Ok, "{way:?}");
        let slow = row.report.latency.count_above(Duration::from_millis(40));
        assert!(slow >= 3 * 8, "{way:?}: {slow} slow of {}", row.report.latency.count());
    }
}

#[test]
fn a_table_has_a_row_for_every_way_and_programs_get_the_same() {
    let options = options("--seconds 0.1 --every 20 --ways events,short-poll");
    assert_eq!(options.ways, [Way::Events, Way::ShortPoll]);
    let rows: Vec<Row> =
        options.ways.iter().map(|&way| row(way, Mischief::None, "--seconds 0.1 --every 20")).collect();
    let table = print::rows(&rows);
    assert!(table.contains("| server-sent events |") && table.contains("short poll: "), "{table}");
    let json = print::as_json(&options, "ws://h/chat/r", &rows);
    assert_eq!((&json["mode"], &json["verdict"]), (&"push".into(), &"ok".into()));
    assert_eq!(json["ways"][0]["way"], "events");
    assert_eq!(json["ways"][0]["wire"]["requests"], 0);
    assert!(json["ways"][1]["wire"]["requests_per_message"].as_f64().is_some_and(|each| each > 0.0));
    assert!(json["ways"][1]["latency_ms"]["p50"].is_f64() && json["ways"][1]["server"].is_object());
}

#[test]
fn row_55_the_readme_has_the_table_and_the_command_that_makes_it() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = fs::read_to_string(readme).expect("the README");
    assert!(readme.contains("cargo loadtest push"), "the command");
    for way in Way::ALL {
        let row = readme.lines().find(|line| line.starts_with(&format!("| {} |", way.name())));
        let cells =
            row.unwrap_or_default().split('|').filter(|cell| cell.chars().any(|c| c.is_ascii_digit()));
        // Bytes both ways and requests; latencies are only told from a run that was not refused.
        assert!(cells.count() >= 3, "{way:?}: {row:?}");
    }
}

#[test]
fn events_are_read_however_they_are_cut() {
    let stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 2000\nid: 1:0\n\n:\n\n\
                   id: 1:1\ndata: one\ndata:two\n\nevent: binary\ndata: AP8=\n\nevent: notice\ndata: {}\n\n\
                   event: text-base64\ndata: YQ0KYg==\n\n";
    for cut in 0..stream.len() {
        let (mut reader, mut got) = (events::EventReader::default(), Vec::new());
        for piece in [&stream[..cut], &stream[cut..]] {
            reader.feed(piece, |message| got.push(format!("{message:?}"))).expect("events");
        }
        let want = ["Text([111, 110, 101, 10, 116, 119, 111])", "Binary([0, 255])", "Text([97, 13, 10, 98])"];
        assert_eq!(got, want, "cut at {cut}");
    }
    let lost = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: reset\ndata: {}\n\n";
    for (stream, words) in [
        (&lost[..], "something is missing"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\r\n", "answered 404"),
    ] {
        let broken = events::EventReader::default().feed(stream, |_| {}).expect_err("a fault");
        assert!(broken.to_string().contains(words), "{broken}");
    }
}

#[test]
fn responses_are_read_however_they_are_cut() {
    let stream = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 204 No Content\r\n\r\n\
                   HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    for cut in 0..stream.len() {
        let (mut reader, mut got) = (http::ResponseReader::default(), Vec::new());
        for piece in [&stream[..cut], &stream[cut..]] {
            reader.feed(piece, |status, body| got.push((status, body.to_vec()))).expect("responses");
        }
        assert_eq!(got, [(200, b"hello".to_vec()), (204, Vec::new()), (503, Vec::new())], "cut at {cut}");
    }
    let endless = http::ResponseReader::default().feed(b"HTTP/1.1 200 OK\r\n\r\n", |_, _| {});
    assert!(endless.is_err(), "a response without a length");
}
