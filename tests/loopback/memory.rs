//! The memory budget of a process, as the kernel counts its memory.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::binary::Process;
use crate::client::{connect, get, tcp, text};

const MIB: usize = 1 << 20;

/// What the server may have beside its budget: the message in hand, what the allocator keeps, and the buffers of the
/// loop itself.
const MARGIN: usize = 48 * MIB;

/// A connection that sends or takes what it can without ever waiting.
struct Attacker {
    stream: TcpStream,
    to_send: Vec<u8>,
    sent: usize,
}

impl Attacker {
    fn open(addr: SocketAddr, path: &str, to_send: Vec<u8>) -> Self {
        let mut stream = tcp(addr);
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        // It may be refused, as those who come too late are.
        stream.write_all(head.as_bytes()).unwrap_or_default();
        stream.read(&mut [0; 4096]).map(drop).unwrap_or_default();
        stream.set_nonblocking(true).unwrap();
        Self { stream, to_send, sent: 0 }
    }

    fn go_on(&mut self) {
        while self.sent < self.to_send.len() {
            match self.stream.write(&self.to_send[self.sent..]) {
                Ok(len) => self.sent += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

/// A masked binary frame whose header announces `len` bytes, with `here` of them.
fn frame(len: usize, here: usize) -> Vec<u8> {
    let mut frame = vec![0x82, 0xff];
    frame.extend((len as u64).to_be_bytes());
    frame.resize(frame.len() + 4 + here, 0);
    frame
}

#[test]
fn row_2_of_part_2_what_the_kernel_counts_stays_within_the_budget_and_a_margin() {
    const BUDGET: usize = 64 * MIB;
    let server = Process::start(&["--listen", "127.0.0.1:0", "--memory-budget", "64MiB"]);
    let addr = server.addr();
    let before = server.resident();
    let mut bystander = connect(addr, "/echo");

    // 40 x 8 MiB of messages that never end, 40 x 4 MiB of echoes that nobody reads, 40 x 1 MiB of bodies that never
    // end, and rooms with readers that stall: more than six times the budget.
    let mut attackers: Vec<Attacker> = Vec::new();
    for i in 0..40 {
        attackers.push(Attacker::open(addr, "/echo", frame(16 * MIB, 8 * MIB)));
        attackers.push(Attacker::open(addr, "/echo", frame(MIB, MIB).repeat(4)));
        attackers.push(Attacker::open(addr, &format!("/chat/{i}"), frame(200_000, 200_000).repeat(10)));
        let mut body = Attacker { stream: tcp(addr), to_send: Vec::new(), sent: 0 };
        body.stream.set_nonblocking(true).unwrap();
        body.to_send = format!(
            "POST /rooms/{i}/messages HTTP/1.1\r\nHost: {addr}\r\nContent-Length: 1000000\r\n\r\n{}",
            "x".repeat(900_000)
        )
        .into_bytes();
        attackers.push(body);
    }
    let (mut most, mut slowest) = (0, Duration::ZERO);
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        attackers.iter_mut().for_each(Attacker::go_on);
        let sent = Instant::now();
        bystander.send(Message::text("still there?")).unwrap();
        assert_eq!(text(&mut bystander), "still there?");
        slowest = slowest.max(sent.elapsed());
        most = most.max(server.resident() - before);
    }
    println!("at most {} MiB more than when idle; the slowest echo took {slowest:?}", most / MIB);
    assert!(most <= BUDGET + MARGIN, "{} MiB", most / MIB);
    assert!(most >= BUDGET / 2, "it was put to the test: {} MiB", most / MIB);
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");

    drop(attackers);
    std::thread::sleep(Duration::from_secs(1));
    assert!(get(addr, "/healthz").starts_with("HTTP/1.1 200"), "who comes now is served");
    let mut late = connect(addr, "/chat/late");
    for message in ["one", "two", "three"] {
        late.send(Message::text(message)).unwrap();
        assert_eq!(text(&mut late), message);
    }
}
