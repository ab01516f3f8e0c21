//! The binary: what it prints, serves and obeys.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::client::{closed, connect, get, text, until};

/// The binary in a process of its own, ended with it.
pub struct Process {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
    pub addrs: Vec<SocketAddr>,
}

impl Process {
    /// Starts it and waits for as many listeners as it was given.
    pub fn start(args: &[&str]) -> Self {
        let count = args.iter().filter(|arg| arg.ends_with("listen")).count();
        Self::spawn(&mut fanline(args), count)
    }

    /// Starts it as this command says and waits for so many listeners.
    pub fn spawn(command: &mut Command, count: usize) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = |line: String| line.split(['/', ' ']).nth(4).unwrap().parse().unwrap();
        let addrs = lines.take(count).map(|line| addr(line.unwrap())).collect();
        Self { child, said, addrs }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for an event whose message begins like this; what comes before it is passed over.
    pub fn said(&mut self, begin: &str) -> String {
        let mut messages = self.said.by_ref().map(|line| message(&line.unwrap()));
        messages.find(|said| said.starts_with(begin)).unwrap_or_else(|| panic!("it never says {begin}"))
    }

    /// Ends it well by a signal; every line on stderr that has not been read.
    pub fn all_said(mut self, signal: &str) -> Vec<String> {
        self.signal(signal);
        let lines = self.said.by_ref().map(Result::unwrap).collect();
        assert_eq!(self.ended(), Some(0));
        lines
    }

    /// Reads no more of what it says.
    pub fn listen_no_more(&mut self) {
        let nothing = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        self.said = BufReader::new(ChildStderr::from(nothing)).lines();
    }

    /// Bytes of memory that the kernel says it has.
    pub fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() * 1024
    }

    /// Sends a signal by name and waits for the exit code.
    pub fn end(self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.ended()
    }

    /// Waits for the exit code.
    pub fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// What a line of the log says after its time, its level and its place.
fn message(line: &str) -> String {
    line.split_once(": ").map_or(line, |(_, message)| message).to_owned()
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

pub fn fanline(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanline"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end: exit code and what it says on stderr.
pub fn refused(args: &[&str]) -> (Option<i32>, String) {
    let mut child = fanline(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
fn row_17_of_part_2_without_descriptors_who_comes_is_told_and_later_ones_are_served() {
    let server = format!("ulimit -n 40; exec {} --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_fanline"));
    let mut child = Command::new("sh")
        .args(["-c", &server])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let addr: SocketAddr = line.strip_prefix("listening on http://").unwrap().parse().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let warned = said.by_ref().map(Result::unwrap).find(|line| line.contains("open files: 40")).unwrap();
    assert!(warned.contains("WARN") && warned.contains("connections_max, 16384"), "{warned}");
    let _ended = Process { child, said, addrs: vec![addr] };
    let mut served = Vec::new();
    let mut told = 0;
    for _ in 0..60 {
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap_or_default();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        match &answer {
            b"HTTP/1.1 200" => served.push(stream),
            b"HTTP/1.1 503" => told += 1,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    assert!(served.len() > 20 && told > 10, "{} served, {told} told", served.len());
    drop(served);
    until("it sees that they are gone", || get(addr, "/healthz").starts_with("HTTP/1.1 200 "));
    let mut socket = connect(addr, "/echo");
    socket.send(tungstenite::Message::text("served again")).unwrap();
    assert_eq!(text(&mut socket), "served again");
}

#[test]
fn it_listens_on_every_address_it_is_given_and_prints_the_ports() {
    let server = Process::start(&["--listen", "127.0.0.1:0", "--listen", "[::1]:0"]);
    assert!(server.addrs[0].is_ipv4() && server.addrs[1].is_ipv6());
    for addr in &server.addrs {
        assert!(get(*addr, "/healthz").ends_with("\r\n\r\nok\n"));
    }
    let (mut a, mut b) = (connect(server.addrs[0], "/chat/x"), connect(server.addrs[1], "/chat/x"));
    a.send("across listeners".into()).unwrap();
    assert_eq!((text(&mut a), text(&mut b)), ("across listeners".into(), "across listeners".into()));
}

#[test]
fn sigterm_and_sigint_close_everyone_with_1001_and_exit_with_0() {
    for signal in ["-TERM", "-INT"] {
        let server = Process::start(&["--listen", "127.0.0.1:0"]);
        let mut clients: Vec<_> = (0..20).map(|_| connect(server.addr(), "/chat/x")).collect();
        let ending = std::thread::spawn(move || server.end(signal));
        for client in &mut clients {
            assert_eq!(closed(client).unwrap().0, 1001);
        }
        assert_eq!(ending.join().unwrap(), Some(0));
    }
}

#[test]
fn row_60_the_page_is_served_with_a_policy_that_lets_it_talk_only_to_its_own_server() {
    let server = Process::start(&["--listen", "127.0.0.1:0"]);
    let page = get(server.addr(), "/");
    assert!(
        page.starts_with("HTTP/1.1 200 OK\r\n")
            && page.contains("content-type: text/html; charset=utf-8\r\n")
    );
    assert!(page.contains(&format!("connect-src 'self' ws://{0} wss://{0};", server.addr())), "{page}");
    assert!(page.contains("<!doctype html>") || page.contains("<!DOCTYPE html>"));
    assert!(get(server.addr(), "/nothing/here").starts_with("HTTP/1.1 404 "));
    assert!(get(server.addr(), "/echo").starts_with("HTTP/1.1 426 "));
}

#[test]
fn row_14_pages_and_websockets_share_a_port() {
    let server = Process::start(&["--listen", "127.0.0.1:0"]);
    let mut client = connect(server.addr(), "/echo");
    assert!(get(server.addr(), "/").starts_with("HTTP/1.1 200 OK\r\n"));
    client.send("beside the page".into()).unwrap();
    assert_eq!(text(&mut client), "beside the page");
}

#[test]
fn what_it_is_told_wrongly_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "listen = ['127.0.0.1:0']\nmesage_bytes_max = 1").unwrap();
    let path = file.path().to_str().unwrap();
    let rows: &[(&[&str], &str)] = &[
        (&["--config", path], "mesage_bytes_max"),
        (&["--message-bytes-max", "16MB"], "--message-bytes-max: `16MB`"),
        (&["--listen", "nowhere"], "nowhere"),
        (&["--colour"], "--colour"),
        (&["--outbound-bytes-low", "1GiB"], "outbound_bytes_low is above"),
    ];
    for (args, named) in rows {
        let (code, said) = refused(args);
        assert!(code == Some(2) && said.contains(named), "{args:?}: {code:?} {said}");
    }
}

#[test]
fn a_file_variables_and_flags_are_obeyed_in_their_order() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = "listen = ['127.0.0.1:0']\n[limits]\nmessage_bytes_max = '1KiB'\nwalk_slice = 5\n";
    std::fs::write(file.path(), config).unwrap();
    let mut child = fanline(&["--walk-slice", "7", "--log-level", "debug"])
        .env("FANLINE_CONFIG", file.path())
        .env("FANLINE_HEADERS_MAX", "50")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let limits = lines.map(Result::unwrap).find(|line| line.contains(" limits: ")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    for setting in [" message_bytes_max=1KiB ", " walk_slice=7 ", " headers_max=50 "] {
        assert!(limits.contains(setting), "{limits}");
    }
}

#[test]
fn what_is_printed_for_who_has_read_enough_is_no_failure_and_a_full_disk_is_one() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "listen = ['127.0.0.1:0']").unwrap();
    let path = file.path().to_str().unwrap();
    for args in [&["check", path][..], &["man"], &["completions", "bash"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = fanline(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(0) && said.is_empty(), "{args:?}: {said}");
    }
    for args in [&["check", path][..], &["man"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = fanline(args).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.starts_with("fanline: "), "{args:?}: {said}");
    }
}

#[test]
fn a_limit_that_no_machine_has_is_refused_by_its_name() {
    for (flag, named) in [
        ("--headers-max", "headers_max is above"),
        ("--unacknowledged-deadline", "unacknowledged_deadline does"),
    ] {
        let most = if flag.ends_with("max") { "9007199254740992" } else { "2501999792h" };
        let (code, said) = refused(&["--listen", "127.0.0.1:0", flag, most]);
        assert!(code == Some(2) && said.contains(named), "{flag}: {code:?} {said}");
    }
}

#[test]
fn a_variable_that_is_misspelt_or_no_text_is_told_of() {
    let mut misspelt = fanline(&["--listen", "127.0.0.1:0"]);
    let mut server = Process::spawn(misspelt.env("FANLINE_WALK_SLICES", "7"), 1);
    server.said("FANLINE_WALK_SLICES means nothing; did you mean FANLINE_WALK_SLICE?");
    let no_text = std::os::unix::ffi::OsStringExt::from_vec(vec![b'7', 0xff]);
    let no_text: std::ffi::OsString = no_text;
    let output = fanline(&["--listen", "127.0.0.1:0"]).env("FANLINE_WALK_SLICE", no_text).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("FANLINE_WALK_SLICE: `7"), "{said}");
}

#[test]
fn without_a_file_sighup_reads_what_flags_name_anew() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "the-first-of-two-tokens").unwrap();
    let mut server =
        Process::start(&["--listen", "127.0.0.1:0", "--admin-token-file", token.path().to_str().unwrap()]);
    let ask = |addr, token: &str| {
        let head = format!("GET /admin/api/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
        let answer = crate::client::exchange(addr, format!("{head}Connection: close\r\n\r\n").as_bytes());
        answer[9..12].to_owned()
    };
    assert_eq!(ask(server.addr(), "the-first-of-two-tokens"), "200");
    std::fs::write(token.path(), "the-second-of-two-tokens").unwrap();
    server.signal("-HUP");
    server.said("reload: flags and variables with 2 routes");
    assert_eq!(ask(server.addr(), "the-first-of-two-tokens"), "401");
    assert_eq!(ask(server.addr(), "the-second-of-two-tokens"), "200");
}
