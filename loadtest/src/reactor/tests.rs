//! The swarm against servers that are right, slow to read, wrong, or gone.

use super::*;
use crate::synthetic::{self, Mischief};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream as Blocking};
use std::thread;

/// Remembers what it was told.
#[derive(Default)]
struct Log {
    messages: Vec<(usize, Vec<u8>)>,
    endings: Vec<Ending>,
}

impl Workload for Log {
    fn opened(&mut self, _: &mut Peer) {}

    fn message(&mut self, peer: &mut Peer, message: Message<'_>, _: Instant) {
        if let Message::Text(bytes) | Message::Binary(bytes) | Message::Pong(bytes) = message {
            self.messages.push((peer.seat, bytes.to_vec()));
        }
    }

    fn ended(&mut self, _: &mut Peer, ending: Ending) {
        self.endings.push(ending);
    }
}

fn turns(swarm: &mut Swarm, log: &mut Log, done: impl Fn(&Swarm, &Log) -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done(swarm, log) {
        assert!(Instant::now() < end, "{} connections left, {:?}", swarm.len(), log.endings);
        swarm.turn(Duration::from_millis(10), log).expect("a turn");
    }
}

/// A server that takes one connection, shakes hands, and is then `scene`.
fn stage(scene: impl FnOnce(Blocking) + Send + 'static) -> Rc<Target> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut head = [0; 1024];
        let read = stream.read(&mut head).expect("a head");
        let head = String::from_utf8_lossy(&head[..read]);
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        let accept = accept_for(key);
        write!(stream, "HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").expect("sent");
        scene(stream);
    });
    Target::new(&url).expect("an address")
}

#[test]
fn more_connections_than_the_window_are_opened_in_order_and_closed() {
    let origin = synthetic::start(Mischief::None).expect("a free port");
    let target = Target::new(&format!("{origin}/echo")).expect("an address");
    let (mut swarm, mut log) = (Swarm::new().expect("a poller"), Log::default());
    let count = HANDSHAKE_WINDOW + 20;
    let ids = swarm.open(&target, 100, count).expect("opened");
    let seats: Vec<usize> = ids.iter().filter_map(|&id| swarm.peer(id).map(|peer| peer.seat)).collect();
    assert_eq!(seats, (100..100 + count).collect::<Vec<_>>());

    let frame = Premasked::new(Opcode::Text, b"hello");
    swarm.peers().for_each(|peer| peer.send(frame.as_bytes()));
    turns(&mut swarm, &mut log, |_, log| log.messages.len() == count);
    assert!(log.messages.iter().all(|(_, bytes)| bytes == b"hello"));

    swarm.peers().for_each(Peer::close);
    turns(&mut swarm, &mut log, |swarm, _| swarm.len() == 0);
    assert!(log.endings.iter().all(|ending| *ending == Ending::Closed(Some(1000))), "{:?}", log.endings);
}

#[test]
fn what_the_socket_does_not_take_is_sent_later() {
    const SIZE: usize = 8 << 20;
    let target = stage(|mut stream| {
        stream.write_all(&[0x81, 2, b'g', b'o']).expect("sent");
        thread::sleep(Duration::from_millis(50));
        let mut all = vec![0; SIZE + 14];
        stream.read_exact(&mut all).expect("all of it");
        let right = all[14..].iter().enumerate().all(|(at, byte)| byte ^ all[10 + at % 4] == at as u8);
        stream.write_all(&[0x82, 1, u8::from(right), 0x88, 0]).expect("sent");
    });
    let (mut swarm, mut log) = (Swarm::new().expect("a poller"), Log::default());
    let id = swarm.connect(&target, 0).expect("a socket");
    let payload: Vec<u8> = (0..SIZE).map(|at| at as u8).collect();
    let frame = Premasked::new(Opcode::Binary, &payload);
    turns(&mut swarm, &mut log, |_, log| log.messages.len() + log.endings.len() > 0);
    swarm.peer(id).expect("open").send(frame.as_bytes());
    turns(&mut swarm, &mut log, |swarm, _| swarm.len() == 0);
    assert_eq!(log.endings, [Ending::Closed(None)]);
    assert_eq!(log.messages[1..], [(0, vec![1])]);
}

#[test]
fn a_ping_is_answered_and_a_violation_ends_the_connection() {
    let target = stage(|mut stream| {
        stream.write_all(&[0x89, 1, b'?']).expect("sent");
        let mut pong = [0; 7];
        stream.read_exact(&mut pong).expect("a pong");
        let right = pong[..2] == [0x8a, 0x81] && pong[6] ^ pong[2] == b'?';
        stream.write_all(&[0x82, 1, u8::from(right), 0x83, 0]).expect("sent");
    });
    let (mut swarm, mut log) = (Swarm::new().expect("a poller"), Log::default());
    swarm.connect(&target, 5).expect("a socket");
    turns(&mut swarm, &mut log, |swarm, _| swarm.len() == 0);
    assert_eq!(log.messages, [(5, vec![1])]);
    assert_eq!(log.endings, [Ending::Violation("a reserved opcode")]);
}

#[test]
fn a_server_that_is_not_there_or_goes_away_is_told_apart() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", gone.local_addr().expect("an address"));
    drop(gone);
    let mut swarm = Swarm::new().expect("a poller");
    let refused = swarm.open(&Target::new(&url).expect("an address"), 0, 1).expect_err("nobody there");
    assert!(refused.contains("refused"), "{refused}");

    let mut log = Log::default();
    swarm.connect(&stage(drop), 0).expect("a socket");
    turns(&mut swarm, &mut log, |_, log| !log.endings.is_empty());
    assert_eq!(log.endings, [Ending::Lost(io::ErrorKind::UnexpectedEof)]);
}

#[test]
fn a_turn_ends_on_time_to_within_a_fraction_of_a_millisecond() {
    let (mut swarm, mut log) = (Swarm::new().expect("a poller"), Log::default());
    let sleeps = (0..20).map(|_| {
        let start = Instant::now();
        swarm.turn_until(start + Duration::from_micros(300), &mut log).expect("a turn");
        start.elapsed()
    });
    let shortest = sleeps.min().expect("twenty");
    let range = Duration::from_micros(300)..Duration::from_micros(900);
    assert!(range.contains(&shortest), "{shortest:?}: the poller alone sleeps a millisecond");
}

#[test]
fn a_close_that_answers_ours_is_not_answered_again() {
    let target = stage(|mut stream| {
        stream.write_all(&[0x82, 0]).expect("sent");
        let mut close = [0; 8];
        stream.read_exact(&mut close).expect("a Close");
        stream.write_all(&[0x88, 2, 3, 232]).expect("sent");
        let rest = stream.read(&mut close).expect("the end");
        assert_eq!(rest, 0, "a second Close");
    });
    let (mut swarm, mut log) = (Swarm::new().expect("a poller"), Log::default());
    swarm.connect(&target, 0).expect("a socket");
    turns(&mut swarm, &mut log, |_, log| !log.messages.is_empty());
    swarm.peers().for_each(Peer::close);
    turns(&mut swarm, &mut log, |swarm, _| swarm.len() == 0);
    assert_eq!(log.endings, [Ending::Closed(Some(1000))]);
}
