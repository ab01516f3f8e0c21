//! Why a message was late, where it was a handler: found with the shipped tools, in a program that embeds the library.

use std::cell::RefCell;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fanline::app::{Admin, Administered};
use fanline::auth::StaticToken;
use fanline::{Handle, Server};
use serde_json::Value;
use tungstenite::Message;

use crate::admin::Site;
use crate::binary::fanline;
use crate::client::{Client, PATIENCE, connect, exchange, get, text, try_connect};

#[path = "../../examples/slow.rs"]
#[expect(dead_code, reason = "its `main` is for who runs it")]
mod slow;

/// How long a report takes there.
const REPORT: Duration = Duration::from_millis(200);

/// What a program's log has said.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

thread_local! {
    /// Where this thread's log goes: there are other servers in this process, which say the same things.
    static LOG: RefCell<Option<Said>> = const { RefCell::new(None) };
}

impl Said {
    /// What is said on this thread from now on is kept here.
    fn listen(self) {
        static BEGUN: Once = Once::new();
        BEGUN.call_once(|| {
            let log = tracing_subscriber::fmt().with_ansi(false);
            log.with_writer(|| LOG.with_borrow(Option::clone).unwrap_or_default()).init();
        });
        LOG.set(Some(self));
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The example `slow`, as its `main` starts it, with its log.
struct Program {
    addr: SocketAddr,
    admin: SocketAddr,
    said: Said,
    handle: Handle,
    thread: JoinHandle<io::Result<()>>,
}

impl Program {
    fn start() -> Self {
        let builder = Server::builder().listen("127.0.0.1:0").unwrap().listen_admin("127.0.0.1:0").unwrap();
        let server = builder.bind(Administered::new(slow::Lobby)).unwrap();
        let (addr, admin, handle) = (server.local_addrs()[0], server.local_addrs()[1], server.handle());
        let said = Said::default();
        let log = said.clone();
        let thread = std::thread::spawn(move || {
            log.listen();
            server.run()
        });
        Self { addr, admin, said, handle, thread }
    }

    fn join(&self, name: &str) -> Client {
        connect(self.addr, &format!("/{name}"))
    }

    /// What a command prints.
    fn says(&self, args: &[&str]) -> String {
        let mut command = fanline(args);
        let said = command.env("FANLINE_ADMIN", format!("http://{}", self.admin)).output().unwrap();
        assert!(said.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[args, &["--json"]].concat())).unwrap()
    }

    /// The lines of its log with this in them.
    fn logged(&self, words: &str) -> Vec<String> {
        let said = String::from_utf8(self.said.0.lock().unwrap().clone()).unwrap();
        said.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }

    fn stop(self) {
        self.handle.shutdown();
        self.thread.join().unwrap().unwrap();
    }
}

#[test]
fn row_21_of_part_2_a_slow_handler_is_found_with_its_connection_by_each_of_the_tools() {
    let program = Program::start();
    let (mut mallory, mut ann) = (program.join("mallory"), program.join("ann"));
    let peers = program.json(&["peers"]);
    let id_of = |name: &str| {
        let peers = peers["peers"].as_array().unwrap();
        let peer = peers.iter().find(|peer| peer["user"] == name).unwrap_or_else(|| panic!("{peers:?}"));
        peer["id"].as_str().unwrap().to_owned()
    };
    let (id, bystander) = (id_of("mallory"), id_of("ann"));
    // Until a message of the bystander's was late, and the log, which says one such turn a second, has said whose it was.
    let culprit = format!("cause=\"input\" conn=\"{id}\" address=\"127.0.0.1\" route=\"/{{name}}\"");
    let begun = Instant::now();
    loop {
        mallory.send(Message::text("report")).unwrap();
        std::thread::sleep(REPORT / 8);
        let asked = Instant::now();
        ann.send(Message::text("hello")).unwrap();
        // Where it comes before the report, it has not waited for that.
        let has_waited = text(&mut ann) == "report";
        let _ = text(&mut ann);
        let late = asked.elapsed();
        let mut heard = [text(&mut mallory), text(&mut mallory)];
        heard.sort();
        assert_eq!(heard, ["hello", "report"]);
        if has_waited && late >= REPORT / 2 && !program.logged(&culprit).is_empty() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{late:?}: {:?}", program.logged(""));
    }
    let line = program.logged(&culprit).remove(0);
    let words = format!(", the longest input conn {id} with ");
    assert!(line.contains("a turn took ") && line.contains(&words), "{line}");

    // `fanline top`, as JSON and to be read.
    let look = program.json(&["top", "--once"]);
    let health = &look["status"]["ledger"]["loop"];
    let turns = health["slow_turns"].as_array().unwrap();
    let turn = turns.iter().find(|turn| turn["conn"] == *id).unwrap_or_else(|| panic!("{turns:?}"));
    assert_eq!(
        (&turn["cause"], &turn["route"], &turn["user"]),
        (&"input".into(), &"/{name}".into(), &"mallory".into())
    );
    let ms = |value: &Value| Duration::from_micros(value.as_u64().unwrap());
    assert!(ms(&turn["input_us"]) >= REPORT && ms(&turn["took_us"]) >= REPORT, "{turn}");
    assert!(turn["input_calls"] == 1 && turn["held_up"].as_u64() >= Some(1), "{turn}");
    let is_report = |turn: &&Value| turn["cause"] == "input" && ms(&turn["input_us"]) >= REPORT;
    assert!(turns.iter().filter(is_report).all(|turn| turn["conn"] == *id), "not {bystander}: {turns:?}");
    let shown = program.says(&["top", "--once"]);
    let is_row = |line: &&str| {
        ["handler", &id, "/{name}", "mallory", "127.0.0.1"]
            .iter()
            .all(|word| line.split_whitespace().any(|said| said == *word))
    };
    assert!(shown.lines().any(|line| is_row(&line)), "{shown}");
    assert!(shown.contains("\nslow turn   took ") && shown.contains("   longest input "), "{shown}");

    // /metrics: which route, and, for a while, which connection.
    let metrics = get(program.admin, "/metrics");
    let sample = |name: &str| -> f64 {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
    };
    assert!(sample("fanline_loop_overruns_total{cause=\"input\",route=\"/{name}\"}") >= 1.0);
    let longest = format!("fanline_loop_longest_input_seconds{{conn=\"{id}\",route=\"/{{name}}\"}}");
    assert!(sample(&longest) >= REPORT.as_secs_f64());

    // It is no slow reader: nobody is behind.
    let peers = program.json(&["peers", "--sort", "lag"]);
    let peers = peers["peers"].as_array().unwrap();
    assert!(peers.iter().all(|peer| peer["lag"] == 0), "{peers:?}");
    // And it can be ended.
    program.says(&["kick", &id]);
    assert!(matches!(mallory.read(), Ok(Message::Close(Some(frame))) if u16::from(frame.code) == 1008));
    ann.send(Message::text("alone")).unwrap();
    assert_eq!(text(&mut ann), "alone");
    program.stop();
}

#[test]
fn row_21_of_part_2_a_long_walk_is_waiting_without_a_slow_turn() {
    const MEMBERS: usize = 400;
    // A machine may take its time; a turn that takes a second is somebody's fault.
    let site = Site::new("[admin]\nlisten = ['127.0.0.1:0']\n[limits]\nturn_budget = '1s'");
    let mut members: Vec<Client> = (0..MEMBERS).map(|_| site.join("/chat/hall")).collect();
    // As much as a socket takes from whoever does not read.
    let long = "x".repeat(20_000);
    for _ in 0..3 {
        members[0].send(Message::text(long.as_str())).unwrap();
    }
    let is_over = |status: &Value| status["ledger"]["outcomes"]["sent"] == 3 * MEMBERS;
    let status = site.await_that("GET /admin/api/status", is_over);
    let (ledger, health) = (&status["ledger"], &status["ledger"]["loop"]);
    let waiting = ledger["all"]["waiting"]["p99_us"].as_u64().unwrap();
    // It is cut into turns, so that nobody else waits for all of it.
    assert!(waiting > 2 * health["turn"]["p50_us"].as_u64().unwrap(), "{ledger}");
    assert_eq!(health["slow_turns"], Value::Array(Vec::new()));
    let ingest = ledger["all"]["ingest"]["p99_us"].as_u64().unwrap();
    assert!(ingest < waiting, "{ledger}");
}

#[test]
fn row_14_a_program_that_embeds_the_library_has_the_admin_api_beside_its_own_handler() {
    let program = Program::start();
    let mut ann = program.join("ann");
    assert!(program.says(&["rooms"]).contains("lobby"));
    assert!(program.says(&["publish", "lobby", "from the operator"]).contains(" to 1 member"));
    assert_eq!(text(&mut ann), "from the operator");
    let page = get(program.admin, "/admin/api/rooms/lobby/messages");
    assert!(page.contains("\"messages\":[]"), "its room keeps no history, and still does not: {page}");
    let nowhere = fanline(&["publish", "nowhere", "hello"])
        .env("FANLINE_ADMIN", format!("http://{}", program.admin))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("nobody"), "{nowhere:?}");
    for path in ["/healthz", "/readyz", "/metrics", "/admin"] {
        assert!(get(program.admin, path).starts_with("HTTP/1.1 200 "), "{path}");
        // The handler says nothing to plain requests, and that is not the admin API's to change.
        assert!(get(program.addr, path).starts_with("HTTP/1.1 426 "), "{path}");
    }
    assert_eq!(try_connect(program.admin, "/bob", &[]).err(), Some(404));
    let mut live =
        try_connect(program.admin, "/admin/api/live", &[("sec-websocket-protocol", "fanline.admin")])
            .unwrap();
    live.send(Message::text("?")).unwrap();
    let status: Value = serde_json::from_str(&text(&mut live)).unwrap();
    assert_eq!((&status["rooms"], &status["websockets"]), (&1.into(), &2.into()));
    assert!(program.says(&["peers"]).contains("/admin/api/live"));
    program.stop();
}

#[test]
fn row_14_with_a_token_it_shares_the_port_of_the_handler() {
    let token = StaticToken::from_text(b"operator-0123456789abcdef", "operator", None);
    let handler = Administered::new(slow::Lobby).with_admin(Admin::new(false, Some(token)));
    let server = Server::builder().listen("127.0.0.1:0").unwrap().bind(handler).unwrap();
    let (addr, handle) = (server.local_addrs()[0], server.handle());
    let thread = std::thread::spawn(move || server.run());
    let mut ann = connect(addr, "/ann");
    ann.send(Message::text("hello")).unwrap();
    assert_eq!(text(&mut ann), "hello");
    let ask = |headers: &str| {
        let request =
            format!("GET /admin/api/status HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}\r\n");
        exchange(addr, request.as_bytes())
    };
    assert!(ask("").starts_with("HTTP/1.1 401 "));
    assert!(ask("Authorization: Bearer operator-0123456789abcdef\r\n").starts_with("HTTP/1.1 200 "));
    assert!(get(addr, "/metrics").starts_with("HTTP/1.1 426 "), "that is the handler's");
    handle.shutdown();
    thread.join().unwrap().unwrap();
}
