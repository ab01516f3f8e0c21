//! How the binary ends, and how another takes its place.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fanline::{Context, Handler, Opening, Response, Server};
use serde_json::json;
use tungstenite::Message;

use crate::binary::{Process, fanline, refused};
use crate::client::{Client, closed, connect, exchange, get, tcp, text, try_connect, until};

/// The wait that a close reason asks for.
fn hint(reason: &str) -> Option<u64> {
    reason.strip_prefix("retry in ")?.strip_suffix(" ms")?.parse().ok()
}

#[test]
fn row_5_of_part_2_sigterm_turns_readiness_red_then_closes_everyone_at_a_pace_with_a_hint() {
    let args = ["--drain-delay", "400ms", "--drain-duration", "1s", "--drain-rate", "20"];
    let server = Process::start(&[&["--listen", "127.0.0.1:0"], &args[..]].concat());
    let addr = server.addr();
    let mut clients: Vec<_> = (0..20).map(|_| connect(addr, "/chat/x")).collect();
    assert!(get(addr, "/readyz").starts_with("HTTP/1.1 200 "));
    let begin = Instant::now();
    server.signal("-TERM");
    std::thread::sleep(Duration::from_millis(100));
    let red = get(addr, "/readyz");
    assert!(red.starts_with("HTTP/1.1 503 ") && red.contains("retry-after: "), "{red}");
    assert!(get(addr, "/healthz").starts_with("HTTP/1.1 200 "), "it is alive");
    let mut times = Vec::new();
    for client in &mut clients {
        let (code, reason) = closed(client).unwrap();
        assert_eq!(code, 1001);
        assert!((1000..=2000).contains(&hint(&reason).unwrap()), "{reason}");
        times.push(begin.elapsed());
    }
    let last = times.iter().max().unwrap();
    assert!(*last >= Duration::from_millis(1200), "20 at 20 a second, after the delay: {last:?}");
    assert_eq!(server.ended(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");
}

#[test]
fn row_5_of_part_2_sigint_does_not_wait_and_a_second_signal_ends_a_drain_at_once() {
    let slow = ["--listen", "127.0.0.1:0", "--drain-delay", "8s", "--drain-duration", "8s"];
    for (signals, told) in [(&["-INT"][..], true), (&["-TERM", "-TERM"], false), (&["-TERM", "-INT"], false)]
    {
        let server = Process::start(&slow);
        let mut client = connect(server.addr(), "/echo");
        let begin = Instant::now();
        for signal in signals {
            server.signal(signal);
            std::thread::sleep(Duration::from_millis(100));
        }
        let want = told.then(|| (1001, "the server stops".to_owned()));
        assert_eq!(closed(&mut client), want, "{signals:?}");
        assert_eq!(server.ended(), Some(0));
        assert!(begin.elapsed() < Duration::from_secs(3), "{signals:?}: {:?}", begin.elapsed());
    }
}

/// Asks over and over on new connections until it is told to stop: how many were answered, and what went wrong.
fn knock(addr: SocketAddr, is_over: Arc<AtomicBool>, served: Arc<AtomicUsize>) -> Vec<String> {
    let mut wrong = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let asked = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(10))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        match asked() {
            Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => drop(served.fetch_add(1, Ordering::Relaxed)),
            other => wrong.push(format!("{other:?}")),
        }
    }
    wrong
}

/// Lets one server take the place of another, again and again, while eight knock all the time; nobody may be refused.
fn row_of_servers(addr: SocketAddr, rounds: usize, mut start: impl FnMut() -> Process) {
    let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut old = start();
    let knocking: Vec<_> = (0..8)
        .map(|_| {
            let (is_over, served) = (is_over.clone(), served.clone());
            std::thread::spawn(move || knock(addr, is_over, served))
        })
        .collect();
    for _ in 0..rounds {
        let new = start();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(old.end("-TERM"), Some(0));
        old = new;
    }
    is_over.store(true, Ordering::Relaxed);
    let wrong: Vec<String> = knocking.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let served = served.load(Ordering::Relaxed);
    println!("{served} connections over {rounds} restarts, {} refused or reset", wrong.len());
    assert!(wrong.is_empty(), "{} of {served}: {}", wrong.len(), wrong[0]);
    assert!(served > 20 * rounds, "{served}");
    old.end("-TERM");
}

/// A port that is free now.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn row_20_of_part_2_with_reuse_port_servers_follow_each_other_and_nobody_is_refused() {
    let addr = free_port();
    row_of_servers(addr, 5, || Process::start(&["--listen", &addr.to_string(), "--reuse-port"]));
}

/// A server with a socket that it is passed as descriptor 3, as systemd does it.
pub fn activated(socket: &TcpListener, names: &str, args: &str) -> Command {
    let mut command = Command::new("sh");
    let server = env!("CARGO_BIN_EXE_fanline");
    command.args(["-c", &format!("exec 3<&0 </dev/null; LISTEN_PID=$$ exec {server} {args}")]);
    command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", names);
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    command
}

#[test]
fn row_20_of_part_2_with_a_passed_socket_servers_follow_each_other_and_nobody_is_refused() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    row_of_servers(addr, 5, || Process::spawn(&mut activated(&socket, "web", ""), 1));
    // Also while there is no server at all, nobody is refused: who comes then waits.
    let mut early = tcp(addr);
    early.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let server = Process::spawn(&mut activated(&socket, "", ""), 1);
    assert_eq!(server.addr(), addr);
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn row_23_of_part_2_a_passed_socket_replaces_the_default_address_and_stands_beside_a_named_one() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let named = Process::spawn(&mut activated(&socket, "web", "--listen 127.0.0.1:0"), 2);
    assert_eq!(named.addr(), socket.local_addr().unwrap());
    assert_ne!(named.addrs[1].port(), 0);
    for addr in &named.addrs {
        assert!(get(*addr, "/readyz").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn row_23_of_part_2_what_is_configured_for_an_address_holds_for_a_socket_that_is_passed_there() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let server = Process::spawn(&mut activated(&socket, "web", &format!("--proxy-listen {addr}")), 1);
    assert_eq!(server.addr(), addr);
    let request = "PROXY UNKNOWN\r\nGET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = exchange(addr, request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn one_address_is_listened_on_in_one_way_also_where_the_port_is_shared() {
    let addr = free_port().to_string();
    let (code, said) = refused(&["--reuse-port", "--listen", &addr, "--proxy-listen", &addr]);
    assert!(code == Some(2) && said.contains(&format!("{addr} is named twice")), "{code:?} {said}");
}

#[test]
fn the_service_manager_is_told_when_the_server_is_ready_reloads_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (folder.path().join("notify"), folder.path().join("fanline.toml"));
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    std::fs::write(&config, "deflate = true\n").unwrap();
    let mut command = fanline(&["--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()]);
    let server = Process::spawn(command.env("NOTIFY_SOCKET", &path), 1);
    let told = || {
        let mut said = [0; 200];
        let len = socket.recv(&mut said).unwrap();
        String::from_utf8_lossy(&said[..len]).into_owned()
    };
    assert_eq!(told(), format!("MAINPID={}\nREADY=1\n", server.id()));
    server.signal("-HUP");
    let reloading = told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told(), "READY=1\n");
    server.signal("-TERM");
    assert_eq!(told(), "STOPPING=1\n");
    assert_eq!(server.ended(), Some(0));
    // Where one takes the place of another the service goes on, in another process.
    let args = [&["--listen", "127.0.0.1:0"].map(str::to_owned)[..], &lasting(folder.path())].concat();
    let start = || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Process::spawn(fanline(&args).env("NOTIFY_SOCKET", &path), 1)
    };
    let first = start();
    assert_eq!(told(), format!("MAINPID={}\nREADY=1\n", first.id()));
    let second = start();
    assert_eq!(first.ended(), Some(0));
    assert_eq!(told(), format!("MAINPID={}\nREADY=1\n", second.id()));
    second.signal("-TERM");
    assert_eq!(told(), "STOPPING=1\n");
}

#[test]
fn a_library_user_drains_with_the_handle() {
    struct Echo;
    impl Handler for Echo {
        type State = ();
        fn open(&mut self, _: &mut Opening<'_>) -> Result<(), Response> {
            Ok(())
        }
        fn message(&mut self, _: &mut (), ctx: &mut Context<'_>, message: fanline::Message<'_>) {
            ctx.send(message).unwrap();
        }
    }
    let server = Server::builder().listen("127.0.0.1:0").unwrap().bind(Echo).unwrap();
    let (addr, handle) = (server.local_addrs()[0], server.handle());
    let thread = std::thread::spawn(move || server.run());
    let mut client = connect(addr, "/");
    handle.drain();
    let (code, reason) = closed(&mut client).unwrap();
    assert!(code == 1001 && hint(&reason).is_some(), "{reason}");
    thread.join().unwrap().unwrap();
    assert!(TcpStream::connect(addr).is_err());
}

/// A member that reads in the subprotocol, comes back where it was when it is told to, and leaves when it has `last`.
struct Member {
    addr: SocketAddr,
    socket: Client,
    epoch: String,
    offset: usize,
    returns: usize,
}

impl Member {
    fn join(addr: SocketAddr) -> Self {
        let (socket, joined) = Self::enter(addr, "");
        let (epoch, offset) = Self::place(&joined);
        Self { addr, socket, epoch, offset, returns: 0 }
    }

    fn enter(addr: SocketAddr, since: &str) -> (Client, serde_json::Value) {
        let path = format!("/chat/x{since}");
        let mut socket = try_connect(addr, &path, &[("sec-websocket-protocol", "fanline.v1")]).unwrap();
        let joined = serde_json::from_str(&text(&mut socket)).unwrap();
        (socket, joined)
    }

    fn place(joined: &serde_json::Value) -> (String, usize) {
        let (epoch, offset) = joined["position"].as_str().unwrap().split_once(':').unwrap();
        (epoch.to_owned(), offset.parse().unwrap())
    }

    fn read_to(mut self, last: usize) -> usize {
        while self.offset < last {
            match self.socket.read().unwrap() {
                Message::Text(text) => {
                    let said: serde_json::Value = serde_json::from_str(&text).unwrap();
                    self.offset += 1;
                    assert_eq!(
                        (&said["offset"], &said["text"]),
                        (&json!(self.offset), &json!(format!("m{}", self.offset)))
                    );
                }
                Message::Close(Some(frame)) => self.come_back(u16::from(frame.code), &frame.reason),
                other => panic!("{other:?}"),
            }
        }
        self.returns
    }

    fn come_back(&mut self, code: u16, reason: &str) {
        assert_eq!(code, 1001);
        std::thread::sleep(Duration::from_millis(hint(reason).unwrap()));
        let (socket, joined) = Self::enter(self.addr, &format!("?since={}:{}", self.epoch, self.offset));
        assert_eq!(joined["recovered"], json!(true), "{joined}");
        assert_eq!(Self::place(&joined), (self.epoch.clone(), self.offset));
        (self.socket, self.returns) = (socket, self.returns + 1);
    }
}

/// Publishes `m1` and so on at a steady rate, each until it is taken: how often one was told to try again.
fn publish_all(addr: SocketAddr, numbers: RangeInclusive<usize>, every: Duration) -> usize {
    let (mut again, mut next) = (0, Instant::now());
    for number in numbers {
        next += every;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        loop {
            let body = format!("m{number}");
            let request = format!(
                "POST /rooms/x/messages HTTP/1.1\r\nHost: {addr}\r\nContent-Type: text/plain\r\nIdempotency-Key: {number}\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let answer = exchange(addr, request.as_bytes());
            match answer.split(' ').nth(1) {
                Some("201") => break,
                Some("503") => again += 1,
                _ => panic!("{answer}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    again
}

/// A configuration whose rooms keep enough for who is away for some seconds, and the flags with which to use it.
fn lasting(folder: &std::path::Path) -> Vec<String> {
    let config = folder.join("fanline.toml");
    let route = "[[route]]\npath = '/chat/{room}'\nmode = 'room'\nhistory = { messages = 5000, bytes = '1MiB', age = '5m' }\n";
    std::fs::write(&config, route).unwrap();
    let takeover = folder.join("takeover");
    ["--config", config.to_str().unwrap(), "--takeover", takeover.to_str().unwrap()]
        .map(str::to_owned)
        .to_vec()
}

fn start_at(addr: &str, args: &[String]) -> Process {
    let args: Vec<&str> = ["--listen", addr].into_iter().chain(args.iter().map(String::as_str)).collect();
    Process::start(&args)
}

#[test]
fn row_20_of_part_2_a_thousand_members_lose_and_double_nothing_over_two_restarts() {
    const MEMBERS: usize = 1000;
    const LAST: usize = 90;
    // Those who have heard the last one leave: it is said when both restarts are over, however long they take.
    const MEANWHILE: usize = 80;
    const PACE: Duration = Duration::from_millis(100);
    let folder = tempfile::tempdir().unwrap();
    let args = lasting(folder.path());
    let first = start_at("127.0.0.1:0", &args);
    let addr = first.addr();
    let members: Vec<_> = (0..MEMBERS).map(|_| Member::join(addr)).collect();
    let reading: Vec<_> = members
        .into_iter()
        .map(|member| {
            let thread = std::thread::Builder::new().stack_size(256 << 10);
            thread.spawn(move || member.read_to(LAST)).unwrap()
        })
        .collect();
    let publishing = std::thread::spawn(move || publish_all(addr, 1..=MEANWHILE, PACE));
    let mut old = first;
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(500));
        let new = start_at(&addr.to_string(), &args);
        assert!(
            get(addr, "/readyz").starts_with("HTTP/1.1 200 "),
            "who comes is served by the new one at once"
        );
        println!("{}", old.said("takeover: the next process goes on"));
        // It has let go already; that it is told to end makes no difference.
        assert_eq!(old.end("-TERM"), Some(0));
        old = new;
        let all = format!("\"members\":{MEMBERS},");
        until("those who were told to come back have come", || get(addr, "/rooms/x").contains(&all));
    }
    let again = publishing.join().unwrap() + publish_all(addr, MEANWHILE + 1..=LAST, PACE);
    let returns: Vec<usize> = reading.into_iter().map(|thread| thread.join().unwrap()).collect();
    let info = get(addr, "/rooms/x");
    assert!(info.contains(&format!(":{LAST}\"")), "the room has no more than was said: {info}");
    println!(
        "{MEMBERS} members, {} returns, {LAST} publications, {again} of them tried again; none lost, doubled or refused",
        returns.iter().sum::<usize>()
    );
    assert!(returns.iter().all(|returns| *returns == 2), "each was closed by both");
}

#[test]
fn row_20_of_part_2_with_a_takeover_servers_follow_each_other_and_nobody_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (args, addr) = (lasting(folder.path()), free_port());
    row_of_servers(addr, 5, || start_at(&addr.to_string(), &args));
}

#[test]
fn a_successor_that_goes_away_or_says_nonsense_changes_nothing() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    let folder = tempfile::tempdir().unwrap();
    let mut args = lasting(folder.path());
    args.extend(["--takeover-deadline".into(), "300ms".into()]);
    let mut server = start_at("127.0.0.1:0", &args);
    let path = folder.path().join("takeover");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (mut member, mut early) = (connect(server.addr(), "/chat/x"), tcp(server.addr()));
    get(server.addr(), "/healthz");
    // Silent, gone, another protocol, and one that has got everything and does not say so, or the wrong thing.
    for said in [&b""[..], b"fanl", b"GET / HTTP/1.1\r\n\r\n", b"fanline\x01", b"fanline\x01token\n"] {
        let mut guest = UnixStream::connect(&path).unwrap();
        guest.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        guest.write_all(said).unwrap();
        if said.starts_with(b"fanline\x01") {
            guest.read_exact(&mut [0; 16]).unwrap();
            let request = "POST /rooms/x/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\ny";
            if said.len() == 8 {
                // Members are not read, and who comes waits, until the time is up.
                member.send("meanwhile".into()).unwrap();
                early.write_all(request.as_bytes()).unwrap();
                let mut answer = String::new();
                early.read_to_string(&mut answer).unwrap();
                assert!(
                    answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1\r\n"),
                    "{answer}"
                );
                let answer = exchange(server.addr(), request.as_bytes());
                assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
            }
        }
        if said == b"fanl" {
            drop(guest);
        }
        server.said("takeover: this process goes on: ");
    }
    let mut texts =
        [member.read().unwrap(), member.read().unwrap()].map(|message| message.into_data().to_vec());
    texts.sort();
    assert_eq!(texts, [b"meanwhile".to_vec(), b"y".to_vec()]);
    assert!(get(server.addr(), "/readyz").starts_with("HTTP/1.1 200 "));
    // And a good one still can.
    let addr = server.addr();
    let next = start_at(&addr.to_string(), &args);
    assert_eq!(closed(&mut member).unwrap().0, 1001);
    assert_eq!(server.ended(), Some(0));
    assert!(get(addr, "/rooms/x").contains(":2\""));
    assert_eq!(next.end("-TERM"), Some(0));
    assert!(!path.exists(), "nobody asks who has ended");
}
