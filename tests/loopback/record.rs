//! Recordings: what real clients do is played again without sockets, and the same comes of it.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fanline::record::{Entry, Header, Other};
use fanline::replay::Outcome;
use fanline::settings::Replay;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;
use tungstenite::Message;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

use crate::binary::{Process, fanline, refused};
use crate::client::{closed, connect, exchange, get, tcp, text, try_connect};
use crate::tls::write_pair;

/// What is said in the tests, and in no recording without bodies.
const WORDS: [&str; 6] =
    ["Quetzalcoatl", "Popocatepetl", "geheimnisvoll", "Wörterbuch", "秘密の言葉", "Xochimilco"];

const ROUTES: &str = r#"
[[route]]
path = "/echo"
mode = "echo"

[[route]]
path = "/chat/{room}"
mode = "room"
replay = 3
greeting = "welcome"
exit_word = "Xochimilco"

[[route]]
path = "/hall/{room}"
mode = "room"
uid = true
template = "{user}-{time}: {text}"
rate = { messages = 5, per = "10s" }
presence = "announced"

[[route]]
path = "/slow/{room}"
mode = "room"
lag = "skip"
history = { messages = 0 }
"#;

const AUTH: &str = r#"
[auth]
[[auth.token]]
user = "mary"
secret = { env = "MARYS_TOKEN" }
[[auth.grant]]
users = ["*"]
rooms = ["*"]
rights = ["join", "publish", "presence"]
"#;

const TOKEN: &str = "Quetzalcoatl-token-of-mary";

/// A server that records, and where.
struct Recorded {
    folder: TempDir,
    server: Process,
}

impl Recorded {
    fn start(flags: &[&str], rest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("fanline.toml");
        std::fs::write(&config, format!("{ROUTES}{rest}")).unwrap();
        let file = folder.path().join("a.recording");
        let mut args = vec!["--listen", "127.0.0.1:0", "--metrics", "--config", config.to_str().unwrap()];
        args.extend(["--record", file.to_str().unwrap()]);
        args.extend(flags);
        let server = Process::spawn(fanline(&args).env("MARYS_TOKEN", TOKEN), 1);
        Self { folder, server }
    }

    fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Ends the server gently, and has its recording.
    fn end(self) -> (TempDir, PathBuf) {
        assert_eq!(self.server.end("-TERM"), Some(0));
        let file = self.folder.path().join("a.recording");
        (self.folder, file)
    }
}

/// What `fanline replay` says, and its exit code.
fn replay(file: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let output = fanline(&["replay", file.to_str().unwrap()]).args(flags).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn is_same((code, said): (Option<i32>, String)) {
    assert!(code == Some(0) && said.contains("same: "), "{code:?}: {said}");
}

fn frame(opcode: Data, fin: bool, payload: &str) -> Message {
    let header = FrameHeader {
        is_final: fin,
        opcode: OpCode::Data(opcode),
        mask: Some([1, 2, 3, 4]),
        ..FrameHeader::default()
    };
    Message::Frame(Frame::from_payload(header, payload.to_owned().into()))
}

/// Real clients that do a bit of everything.
fn do_everything(addr: SocketAddr, has_gate: bool) {
    let proof = format!("Bearer {TOKEN}");
    let headers: &[(&str, &str)] = if has_gate { &[("authorization", proof.as_str())] } else { &[] };
    let enter = |path: &str| try_connect(addr, path, headers).unwrap();

    let mut echo = enter("/echo");
    for word in WORDS {
        echo.send(Message::text(word)).unwrap();
        assert_eq!(text(&mut echo), word);
    }
    let long = vec![7u8; 200_000];
    echo.send(Message::binary(long.clone())).unwrap();
    assert_eq!(echo.read().unwrap().into_data(), long);
    echo.send(Message::Ping("Popocatepetl".into())).unwrap();
    assert!(matches!(echo.read().unwrap(), Message::Pong(_)));
    echo.send(frame(Data::Text, false, "Quetzal")).unwrap();
    echo.send(frame(Data::Continue, true, "coatl")).unwrap();
    assert_eq!(text(&mut echo), "Quetzalcoatl");

    // A room: live, from its history, and from a position.
    let (mut one, mut two) = (enter("/chat/lobby"), enter("/chat/lobby"));
    assert_eq!((text(&mut one), text(&mut two)), ("welcome".to_owned(), "welcome".to_owned()));
    for word in &WORDS[..4] {
        one.send(Message::text(*word)).unwrap();
        assert_eq!((text(&mut one), text(&mut two)), (word.to_string(), word.to_string()));
    }
    let mut late = enter("/chat/lobby?last=2");
    let told: Vec<String> = (0..3).map(|_| text(&mut late)).collect();
    assert_eq!(told, ["welcome", WORDS[2], WORDS[3]]);
    two.send(Message::text("Xochimilco")).unwrap();
    assert_eq!(closed(&mut two).unwrap().0, 1000);

    // The same in JSON, where an id makes a publication one.
    let json = [headers, &[("sec-websocket-protocol", "fanline.v1")]].concat();
    let mut json = try_connect(addr, "/chat/lobby", &json).unwrap();
    assert!(text(&mut json).contains("joined"));
    let said = r#"{"text":"say \"Popocatepetl\" \u00fc Wörterbuch","id":"geheimnisvoll-1"}"#;
    let mut answers = Vec::new();
    for said in [said, said, r#"{"base64":"UXVldHphbGNvYXRsIQ==","id":"2"}"#, "Quetzalcoatl", r#"{"x":1}"#] {
        json.send(Message::text(said)).unwrap();
        answers.push(text(&mut json));
        while !answers.last().unwrap().contains("\"ack\"") && !answers.last().unwrap().contains("\"error\"") {
            answers.push(text(&mut json));
        }
    }
    assert_eq!(answers.iter().filter(|answer| answer.contains("\"ack\"")).count(), 3, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.contains("\"error\"")).count(), 2, "{answers:?}");

    // A template, an id of its own, notices, and more than the rate.
    let mut hall = enter("/hall/%E6%88%BF%E9%97%B4");
    assert_eq!(text(&mut hall).len(), 36);
    for _ in 0..6 {
        hall.send(Message::text("geheimnisvoll")).unwrap();
    }
    assert_eq!(closed(&mut hall).unwrap().0, 1008);

    http(addr, &if has_gate { format!("Authorization: {proof}\r\n") } else { String::new() });
    violations(addr, headers);
    slow_reader(addr, headers);
}

/// Publishing, history, polls, events, and what is refused.
fn http(addr: SocketAddr, proof: &str) {
    let ask = |line: &str, more: &str, body: &str| {
        exchange(
            addr,
            format!(
                "{line} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nOrigin: http://{addr}\r\nCookie: session=Quetzalcoatl\r\n{proof}{more}\r\n{body}"
            )
            .as_bytes(),
        )
    };
    let page = ask("GET /rooms/lobby/messages?limit=2&user=Xochimilco", "", "");
    let position = page.split("\"position\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let post = "Content-Type: text/plain\r\nIdempotency-Key: Popocatepetl\r\nContent-Length: 12\r\n";
    let posted = ask("POST /rooms/lobby/messages", post, "Quetzalcoatl");
    assert!(posted.contains("201 Created"), "{posted}");
    assert_eq!(
        ask("POST /rooms/lobby/messages", post, "Quetzalcoatl").split("\r\n\r\n").nth(1),
        posted.split("\r\n\r\n").nth(1)
    );
    let chunks = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    assert!(
        ask(
            "POST /rooms/lobby/messages",
            chunks,
            "e;x=Xochimilco\r\n\"Popocatepetl\"\r\n0\r\nTrailer: Xochimilco\r\n\r\n"
        )
        .contains("201 Created")
    );
    assert!(ask(&format!("GET /rooms/lobby/messages?since={position}&wait=5"), "", "").contains("200 OK"));
    assert!(ask("GET /rooms/lobby/messages?since=1:1", "", "").contains("\"recovered\":false"));
    for (line, want) in [
        ("GET /nowhere?q=Xochimilco", "404"),
        ("GET /rooms", "200"),
        ("GET /rooms/lobby/presence", "200"),
        ("GET /healthz", "200"),
        ("GET /readyz", ""),
        ("GET /metrics", "200"),
        ("GET /", "200"),
        ("DELETE /rooms/lobby/messages", "405"),
        ("GET /rooms/lobby/messages?limit=Quetzalcoatl", "400"),
    ] {
        assert!(ask(line, "", "").contains(&format!("HTTP/1.1 {want}")), "{line}");
    }
    assert!(get(addr, "/chat/lobby").contains("426"));
    let mut events = tcp(addr);
    let request = format!("GET /rooms/lobby/events?last=2 HTTP/1.1\r\nHost: {addr}\r\n{proof}\r\n");
    events.write_all(request.as_bytes()).unwrap();
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains("data: Quetzalcoatl") {
        let mut piece = [0; 256];
        let len = events.read(&mut piece).unwrap();
        assert!(len > 0);
        told.extend_from_slice(&piece[..len]);
    }
}

/// A frame without a mask, text that is none, and a head in single bytes.
fn violations(addr: SocketAddr, headers: &[(&'static str, &str)]) {
    let mut bare = try_connect(addr, "/echo", headers).unwrap();
    bare.get_mut().write_all(&[0x81, 5, b'h', b'e', b'l', b'l', b'o']).unwrap();
    assert_eq!(closed(&mut bare).unwrap().0, 1002);
    let mut bad = try_connect(addr, "/echo", headers).unwrap();
    bad.get_mut().write_all(&[0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28]).unwrap();
    assert_eq!(closed(&mut bad).unwrap().0, 1007);
    let mut slowly = tcp(addr);
    for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Word: Popocatepetl\r\nConnection: close\r\n\r\n" {
        slowly.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    slowly.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("200 OK"), "{answer}");
}

/// One that does not read while more comes than fits anywhere, and then does.
fn slow_reader(addr: SocketAddr, headers: &[(&'static str, &str)]) {
    let mut slow = try_connect(addr, "/slow/x", headers).unwrap();
    let mut busy = try_connect(addr, "/slow/x", headers).unwrap();
    let long = "Quetzalcoatl ".repeat(20_000);
    for _ in 0..40 {
        busy.send(Message::text(long.clone())).unwrap();
        assert_eq!(busy.read().unwrap().len(), long.len());
    }
    busy.send(Message::text("the last")).unwrap();
    while text(&mut slow) != "the last" {}
}

#[test]
fn what_real_clients_do_is_the_same_when_it_is_played_and_no_word_of_it_is_in_the_file() {
    let recorded = Recorded::start(&[], "");
    do_everything(recorded.addr(), false);
    let _open = connect(recorded.addr(), "/chat/lobby");
    let (_folder, file) = recorded.end();
    is_same(replay(&file, &[]));
    let bytes = std::fs::read(&file).unwrap();
    for word in WORDS {
        let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
        assert!(!found, "{word}");
    }
}

#[test]
fn with_bodies_it_is_the_same_too_and_shows_what_a_connection_sent_and_got() {
    let recorded = Recorded::start(&["--record-bodies", "--deflate"], "");
    do_everything(recorded.addr(), false);
    let (_folder, file) = recorded.end();
    is_same(replay(&file, &[]));
    let (_, said) = replay(&file, &["--connection", "1"]);
    let lines: Vec<&str> = said.lines().map(|line| line.split("  ").nth(2).unwrap_or(line)).collect();
    assert!(lines[0].starts_with("> HTTP") && lines[1].starts_with("< HTTP"), "{said}");
    assert_eq!(
        lines[2..4],
        ["> text 12 bytes \"Quetzalcoatl\"", "< text 12 bytes \"Quetzalcoatl\""],
        "{said}"
    );
    assert!(said.contains("> ping 12 bytes") && said.contains("< binary 200000 bytes"), "{said}");
    let (code, said) = replay(&file, &["--until", "3"]);
    assert!(code == Some(0) && said.contains("until turn 3"), "{said}");
}

#[test]
fn a_gates_decisions_are_recorded_and_what_they_were_made_by_is_not() {
    for flags in [&["--record-bodies"][..], &[]] {
        let recorded = Recorded::start(flags, AUTH);
        do_everything(recorded.addr(), true);
        assert_eq!(
            try_connect(recorded.addr(), "/echo", &[("authorization", "Bearer nonsense")]).err(),
            Some(401)
        );
        let (_folder, file) = recorded.end();
        is_same(replay(&file, &[]));
        let bytes = std::fs::read(&file).unwrap();
        assert!(!flags.is_empty() || !bytes.windows(12).any(|window| window == b"Quetzalcoatl"));
    }
}

#[test]
fn a_configuration_that_is_read_anew_is_read_anew_when_it_is_played() {
    let mut recorded = Recorded::start(&[], "");
    let before = connect(recorded.addr(), "/chat/lobby");
    let config = recorded.folder.path().join("fanline.toml");
    std::fs::write(&config, ROUTES.replace("welcome", "welcome again")).unwrap();
    recorded.server.signal("-HUP");
    recorded.server.said("reload: ");
    let mut after = connect(recorded.addr(), "/chat/lobby");
    assert_eq!(text(&mut after), "welcome again");
    drop(before);
    let (_folder, file) = recorded.end();
    is_same(replay(&file, &[]));
}

#[test]
fn a_server_that_does_something_else_is_found_out_where_it_does() {
    let recorded = Recorded::start(&["--record-bodies"], "");
    let mut echo = connect(recorded.addr(), "/echo");
    echo.send(Message::text("hello")).unwrap();
    assert_eq!(text(&mut echo), "hello");
    assert_eq!(text(&mut connect(recorded.addr(), "/chat/lobby")), "welcome");
    let (folder, file) = recorded.end();
    is_same(replay(&file, &[]));
    // Another greeting of the same length, and one of another.
    for greeting in ["Welcome", "hello"] {
        let config = folder.path().join("other.toml");
        std::fs::write(&config, ROUTES.replace("welcome", greeting)).unwrap();
        let (code, said) = replay(&file, &["--config", config.to_str().unwrap()]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("differs in turn ") && said.contains(" at connection 2\n"), "{said}");
        assert!(said.contains("recorded: a write of ") && said.contains("replayed: a write of "), "{said}");
        assert!(said.contains(greeting), "{said}");
    }
    // The file itself says something else.
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(7).position(|window| window == b"welcome").unwrap();
    bytes[at] = b'W';
    std::fs::write(&file, &bytes).unwrap();
    let (code, said) = replay(&file, &[]);
    assert!(code == Some(1) && said.contains("at connection 2"), "{said}");
}

#[test]
fn a_recording_that_is_damaged_or_cut_is_played_as_far_as_it_goes_or_refused_in_a_line() {
    let recorded = Recorded::start(&[], "");
    let mut echo = connect(recorded.addr(), "/echo");
    echo.send(Message::text("hello")).unwrap();
    assert_eq!(text(&mut echo), "hello");
    let (folder, file) = recorded.end();
    let whole = std::fs::read(&file).unwrap();
    let cut = folder.path().join("cut");
    let try_it = |bytes: &[u8]| {
        std::fs::write(&cut, bytes).unwrap();
        let (code, said) = replay(&cut, &[]);
        assert_eq!(code, Some(2), "{said}");
        said
    };
    let said = try_it(&whole[..whole.len() - 3]);
    assert!(said.contains("turns; then the recording is cut off at byte"), "{said}");
    assert!(try_it(b"").contains("no recording"));
    assert!(try_it(b"fanline recording 9\n").contains("another format"));
    assert!(try_it(&[&whole[..20], &[0xff; 40]].concat()).contains("damaged at byte 20"));
    assert_eq!(replay(Path::new("/nowhere/at/all"), &[]).0, Some(2));
    // Cut anywhere it is good up to there, and with any byte another it is played, or refused, without a panic.
    for at in (20..whole.len()).step_by(3) {
        let (asked, mut nowhere) = (Replay::default(), std::io::sink());
        let mut play = |bytes: Vec<u8>| {
            fanline::replay::play(&asked, Box::new(std::io::Cursor::new(bytes)), &mut nowhere)
        };
        let outcome = play(whole[..at].to_vec());
        assert!(matches!(outcome, Ok(Outcome::Broken(..)) | Err(_)), "cut at {at}: {outcome:?}");
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        play(bytes).map(drop).unwrap_or_default();
    }
}

#[test]
fn a_recording_ends_at_its_bound_and_the_server_goes_on() {
    let mut recorded = Recorded::start(&["--record-bytes-max", "64KiB"], "");
    let mut echo = connect(recorded.addr(), "/echo");
    let long = "x".repeat(10_000);
    for _ in 0..10 {
        echo.send(Message::text(long.clone())).unwrap();
        assert_eq!(text(&mut echo).len(), long.len());
    }
    recorded.server.said("the recording ends, and the server goes on: ");
    echo.send(Message::text("on and on")).unwrap();
    assert_eq!(text(&mut echo), "on and on");
    let (_folder, file) = recorded.end();
    assert!(std::fs::metadata(&file).unwrap().len() <= (64 << 10) + 100);
    let (code, said) = replay(&file, &[]);
    assert!(code == Some(0) && said.contains("record_bytes_max"), "{said}");
}

#[test]
fn words_that_are_written_in_any_way_are_in_no_recording_and_it_is_the_same_when_it_is_played() {
    let speaks =
        "\n[[route]]\npath = \"/speaks/{room}\"\nmode = \"room\"\nsubprotocols = [\"superchat\", \"chat\"]\n";
    let recorded = Recorded::start(&[], speaks);
    let addr = recorded.addr();
    // Python's json writes all that is not ASCII as escapes.
    let long = format!("bearer.{}Popocatepetl, fanline.v1", "x".repeat(900));
    let mut json =
        try_connect(addr, "/chat/lobby?Quetzalcoatl", &[("sec-websocket-protocol", &long)]).unwrap();
    assert!(text(&mut json).contains("joined"));
    for said in
        [r#"{"text":"\u79d8\u5bc6 \u00fc \ud83c\udf89","id":"1"}"#, r#"{"text":"x","pin":86753098675309}"#]
    {
        json.send(Message::text(said)).unwrap();
        let mut answer = text(&mut json);
        while !answer.contains("\"ack\"") && !answer.contains("\"error\"") {
            answer = text(&mut json);
        }
    }
    let mut chat = try_connect(addr, "/speaks/x", &[("sec-websocket-protocol", "chat")]).unwrap();
    chat.send(Message::text("Quetzalcoatl")).unwrap();
    assert_eq!(text(&mut chat), "Quetzalcoatl");
    let query = "GET /rooms?token=%51%75%65tzalcoatl HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(exchange(addr, query.as_bytes()).contains("200 OK"));
    for nonsense in [
        "POST /rooms/lobby/messages HTTP/1.1\r\nHost: x\r\n\r\nPopocatepetl\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n Quetzalcoatl\r\n\r\n",
    ] {
        exchange(addr, nonsense.as_bytes());
    }
    let (_folder, file) = recorded.end();
    is_same(replay(&file, &[]));
    let bytes = std::fs::read(&file).unwrap();
    for word in ["Quetzalcoatl", "Popocatepetl", "%51%75%65", "\\u79d8", "79d8", "86753098675309"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
}

#[test]
fn a_flag_below_what_the_file_says_of_a_route_is_no_reason_not_to_play_it() {
    let large = "\n[[route]]\npath = \"/large\"\nmode = \"echo\"\nmessage_bytes_max = \"4MiB\"\n";
    let recorded = Recorded::start(&["--message-bytes-max", "1KiB"], large);
    let mut client = connect(recorded.addr(), "/large");
    client.send(Message::text("x".repeat(2000))).unwrap();
    assert_eq!(closed(&mut client).unwrap().0, 1009);
    let (_folder, file) = recorded.end();
    is_same(replay(&file, &[]));
}

#[test]
fn a_server_that_cannot_start_leaves_no_recording_behind() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.recording");
    let (addr, path) = (taken.local_addr().unwrap().to_string(), file.to_str().unwrap());
    assert_eq!(refused(&["--listen", &addr, "--record", path]).0, Some(2));
    assert!(!file.exists());
}

#[test]
fn a_recording_that_somebody_else_has_made_asks_this_machine_for_nothing_and_prints_only_text() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.recording");
    let make = |version: &str, settings: &str, end: &str| {
        let header = Header {
            version: version.to_owned(),
            start_ns: 0,
            memory: None,
            has_bodies: true,
            has_gate: false,
            settings: settings.to_owned(),
        };
        let mut bytes = Header::MAGIC.to_vec();
        let mut put = |entry: &[u8]| {
            // Two groups of seven bits are enough for these.
            bytes.extend([entry.len() as u8 | 0x80, (entry.len() >> 7) as u8]);
            bytes.extend_from_slice(entry);
        };
        put(&serde_json::to_vec(&header).unwrap());
        let mut last = Vec::new();
        Entry::Other(Other::End(end.into())).write(&mut last);
        put(&last);
        std::fs::write(&file, &bytes).unwrap();
        replay(&file, &[])
    };
    let (code, said) = make("0.0.1\x1b[2J", "", "the end\x1b]0;owned\x07\nsame: 1 turns");
    assert!(code == Some(0) && said.contains("recorded by version 0.0.1\\u{1b}[2J"), "{said}");
    assert!(said.lines().count() == 2 && !said.contains(['\x1b', '\x07']), "{said:?}");
    // To read this one would take for ever.
    let endless = "[auth.cookie]\nname = 'x'\nsecrets = { file = '/dev/zero' }\n";
    let (code, said) = make(env!("CARGO_PKG_VERSION"), endless, "");
    assert!(code == Some(2) && said.contains("auth: there is no such key"), "{said}");
    let (code, said) = make(env!("CARGO_PKG_VERSION"), "deflate = true\norigins = ['\x7f\u{9b}2J']", "");
    assert!(code == Some(2) && !said.contains(['\x7f', '\u{9b}']), "{said:?}");
}

#[test]
fn who_reads_only_the_beginning_of_what_a_connection_did_is_told_of_no_failure() {
    let recorded = Recorded::start(&[], "");
    let mut echo = connect(recorded.addr(), "/echo");
    echo.send(Message::text("hello")).unwrap();
    assert_eq!(text(&mut echo), "hello");
    let (_folder, file) = recorded.end();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut played = fanline(&["replay", file.to_str().unwrap(), "--connection", "1"]);
    let output = played.stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(0) && said.is_empty(), "{said}");
}

#[test]
fn a_file_that_is_there_is_not_written_over() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "precious").unwrap();
    let (code, said) = refused(&["--listen", "127.0.0.1:0", "--record", file.path().to_str().unwrap()]);
    assert!(code == Some(2) && said.contains("record: `"), "{said}");
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "precious");
}

#[test]
fn what_comes_through_tls_and_behind_proxy_headers_is_the_same_when_it_is_played() {
    let folder = tempfile::tempdir().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(write_pair(folder.path())).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key, file) = (path("cert.pem"), path("key.pem"), path("a.recording"));
    let tls = ["--tls-listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
    let others = ["--listen", "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0", "--trusted-proxy", "127.0.0.1"];
    let record = ["--record", &file, "--connections-per-address-max", "2"];
    let server = Process::start(&[&tls[..], &others, &record].concat());
    // They are said in the order plain, TLS, behind headers.
    let (secure, proxied) = (server.addrs[1], server.addrs[2]);
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let stream = StreamOwned::new(tls, tcp(secure));
    let (mut socket, _) = tungstenite::client("wss://localhost/echo", stream).unwrap();
    for len in [1, 1000, 300_000] {
        socket.send(Message::text("Popocatepetl".repeat(len / 12 + 1))).unwrap();
        assert!(socket.read().unwrap().len() >= len);
    }
    let ask = |header: &str| {
        let mut stream = tcp(proxied);
        // In two pieces, so that it has to be waited for.
        let (one, two) = header.split_at(header.len() / 2);
        stream.write_all(one.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(two.as_bytes()).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap_or_default();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap_or_default();
        (stream, String::from_utf8_lossy(&answer).into_owned())
    };
    let all: Vec<_> = (0..3).map(|_| ask("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")).collect();
    let answers: Vec<&str> = all.iter().map(|(_, answer)| answer.as_str()).collect();
    assert_eq!(answers, ["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 429"]);
    ask("NOTHING OF THE KIND\r\n\r\n");
    drop((socket, all));
    assert_eq!(server.end("-TERM"), Some(0));
    is_same(replay(Path::new(&file), &[]));
}

#[test]
fn what_cannot_be_recorded_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let rows: [(&[&str], &str); 5] = [
        (&["--admin-listen", "127.0.0.1:0"], "admin"),
        (&["--backplane-url", "redis://127.0.0.1"], "backplane"),
        (&["--takeover", &path("takeover")], "taken over"),
        (&["--static", &path("")], "static"),
        (&["--deflate"], "record-bodies"),
    ];
    for (flags, want) in &rows {
        let file = path("a.recording");
        let (code, said) = refused(&[&["--listen", "127.0.0.1:0", "--record", &file], *flags].concat());
        assert!(code == Some(2) && said.contains(want), "{flags:?}: {said}");
        assert!(!Path::new(&file).exists());
    }
    assert_eq!(refused(&["--listen", "127.0.0.1:0", "--record-bodies"]).0, Some(2));
}

#[test]
fn a_pause_between_two_looks_is_a_pause_when_it_is_played() {
    // Pings go out when nothing comes for a while; without the recorded times they would not.
    let recorded = Recorded::start(&["--ping-interval", "100ms", "--pong-deadline", "10s"], "");
    let mut quiet = connect(recorded.addr(), "/echo");
    quiet.get_mut().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for _ in 0..3 {
        assert!(matches!(quiet.read().unwrap(), Message::Ping(_)));
        quiet.flush().unwrap();
    }
    let (_folder, file) = recorded.end();
    is_same(replay(&file, &[]));
    assert!(replay(&file, &["--connection", "1"]).1.contains("< ping 0 bytes"));
}
