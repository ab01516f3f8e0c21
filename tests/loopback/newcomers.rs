//! Who comes while a server ends: answered, or left to the next one, and never reset.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{SockFilter, SockRef};

use crate::binary::Process;
use crate::client::{closed, connect, get, tcp};
use crate::drain::activated;

/// Has twenty connect and ask while the server sleeps; when it wakes, it has been sent the signal, too.
fn ask_in_its_sleep(server: &Process, signal: &str) -> Vec<TcpStream> {
    server.signal("-STOP");
    let asked = (0..20).map(|_| {
        let mut stream = tcp(server.addr());
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream
    });
    let asked = asked.collect();
    server.signal(signal);
    server.signal("-CONT");
    asked
}

fn all_are_answered(asked: Vec<TcpStream>) {
    for (at, mut stream) in asked.into_iter().enumerate() {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
}

#[test]
fn row_20_of_part_2_an_idle_server_that_drains_answers_those_who_wait_to_be_accepted() {
    for flags in [&[][..], &["--reuse-port"], &["--drain-delay", "100ms"]] {
        for visitors in [0, 1] {
            let server = Process::start(&[&["--listen", "127.0.0.1:0"], flags].concat());
            let visitors: Vec<_> = (0..visitors).map(|_| connect(server.addr(), "/echo")).collect();
            all_are_answered(ask_in_its_sleep(&server, "-TERM"));
            drop(visitors);
            assert_eq!(server.ended(), Some(0), "{flags:?}");
        }
    }
}

#[test]
fn row_20_of_part_2_the_linger_of_a_listener_is_kept_also_where_nobody_is_connected() {
    for visitors in [0, 1] {
        let flags = ["--listen", "127.0.0.1:0", "--reuse-port", "--listener-linger", "600ms"];
        let server = Process::start(&flags);
        let mut visitors: Vec<_> = (0..visitors).map(|_| connect(server.addr(), "/echo")).collect();
        let begin = Instant::now();
        server.signal("-TERM");
        visitors.iter_mut().for_each(|visitor| assert_eq!(closed(visitor).unwrap().0, 1001));
        assert_eq!(server.ended(), Some(0));
        assert!(begin.elapsed() >= Duration::from_millis(600), "{:?}", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
}

#[test]
fn row_20_of_part_2_who_waits_at_a_passed_socket_waits_for_the_next_server_however_the_first_ends() {
    for signal in ["-INT", "-TERM"] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = Process::spawn(&mut activated(&socket, "", ""), 1);
        let asked = ask_in_its_sleep(&first, signal);
        assert_eq!(first.ended(), Some(0));
        let _second = Process::spawn(&mut activated(&socket, "", ""), 1);
        all_are_answered(asked);
    }
}

/// Takes in no handshake any more, as a listener that is about to be closed does.
fn deafen(socket: &TcpListener) {
    SockRef::from(socket).attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).unwrap();
}

#[test]
fn row_20_of_part_2_a_passed_socket_does_not_go_deaf_and_one_that_has_is_healed() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let is_served = |addr: SocketAddr| get(addr, "/healthz").starts_with("HTTP/1.1 200 ");
    for round in 0..3 {
        let server = Process::spawn(&mut activated(&socket, "", "--reuse-port --listen 127.0.0.1:0"), 2);
        assert!(server.addrs.iter().all(|addr| is_served(*addr)), "round {round}");
        assert_eq!(server.end("-TERM"), Some(0));
    }
    deafen(&socket);
    let server = Process::spawn(&mut activated(&socket, "", ""), 1);
    assert!(is_served(server.addr()));
}
