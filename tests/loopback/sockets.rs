//! Bare sockets: heads and frames cut by the network, sockets that end in every way, storms.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fanline::{Limits, Server};
use tungstenite::Message;

use crate::binary::Process;
use crate::client::{connect, exchange, tcp, text};

const HELLO: &[u8] = &[0x81, 0x85, 1, 2, 3, 4, b'h' ^ 1, b'e' ^ 2, b'l' ^ 3, b'l' ^ 4, b'o' ^ 1];

fn request(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// The answer to a handshake, up to its empty line.
pub fn handshake(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> String {
    let mut stream = tcp(addr);
    stream.write_all(request(addr, path, headers).as_bytes()).unwrap();
    read_until(&mut stream, b"\r\n\r\n")
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> String {
    let (mut got, mut byte) = (Vec::new(), [0]);
    while !got.ends_with(end) {
        stream.read_exact(&mut byte).unwrap();
        got.push(byte[0]);
    }
    String::from_utf8_lossy(&got).into_owned()
}

#[test]
fn row_2_a_head_in_many_segments_with_a_frame_behind_it_and_another_in_pieces() {
    let server = Process::start(&["--listen", "127.0.0.1:0"]);
    let addr = server.addr();
    let mut stream = tcp(addr);
    stream.set_nodelay(true).unwrap();
    let head = request(addr, "/echo", &[]);
    let bytes = [head.as_bytes(), HELLO, HELLO].concat();
    for piece in bytes.chunks(17) {
        stream.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(read_until(&mut stream, b"\r\n\r\n").contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let mut frames = [0; 14];
    stream.read_exact(&mut frames).unwrap();
    assert_eq!(&frames, b"\x81\x05hello\x81\x05hello");
}

#[test]
fn s10_4_a_length_over_the_limit_is_refused_from_the_header() {
    let server = Process::start(&["--listen", "127.0.0.1:0", "--message-bytes-max", "1MiB"]);
    let addr = server.addr();
    let mut stream = tcp(addr);
    let header = [&[0x82, 0xff][..], &((1u64 << 20) + 1).to_be_bytes(), &[1, 2, 3, 4]].concat();
    stream.write_all(&[request(addr, "/echo", &[]).as_bytes(), &header].concat()).unwrap();
    read_until(&mut stream, b"\r\n\r\n");
    let mut close = [0; 4];
    stream.read_exact(&mut close).unwrap();
    assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, 1009));
}

#[test]
fn messages_as_long_as_the_limit_pass_both_ways_and_fill_the_sockets_on_the_way() {
    let server = Process::start(&["--listen", "127.0.0.1:0"]);
    let mut client = connect(server.addr(), "/echo");
    let message = Message::Binary((0..16u32 << 20).map(|i| (i >> 8) as u8).collect::<Vec<_>>().into());
    // Two in a row, the first of them unread for a while: the server has to stop reading, and go on.
    for _ in 0..2 {
        client.send(message.clone()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(client.read().unwrap(), message);
    }
}

#[test]
fn row_3_and_4_what_is_no_handshake_gets_a_reason_and_the_connection_ends() {
    let server = Process::start(&["--listen", "127.0.0.1:0"]);
    let addr = server.addr();
    let good = request(addr, "/echo", &[]);
    let host = format!("Host: {addr}");
    let rows: &[(&str, &str, &str)] = &[
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "X: y", "400 Bad Request"),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", "426 Upgrade Required"),
        ("GET /echo", "POST /echo", "405 Method Not Allowed"),
        ("HTTP/1.1", "HTTP/1.0", "400 Bad Request"),
        ("/echo", "/nothing", "404 Not Found"),
        (&host, "X: y", "400 Bad Request"),
        ("\r\nUpgrade", "\nUpgrade", "400 Bad Request"),
        ("Host", " Host", "400 Bad Request"),
    ];
    for (from, to, status) in rows {
        let answer = exchange(addr, good.replacen(from, to, 1).as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{to}: {answer}");
        assert_eq!(
            answer.split("\r\n\r\n").nth(1).unwrap().lines().count(),
            1,
            "one line says why: {answer}"
        );
        assert_eq!(answer.contains("sec-websocket-version: 13"), status.starts_with("426"));
    }
    let long = format!("GET /echo HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(20_000));
    assert!(exchange(addr, long.as_bytes()).starts_with("HTTP/1.1 431 "));
}

#[test]
fn row_58_no_connection_is_left_half_closed_whoever_ends_it() {
    let server = Process::start(&["--listen", "127.0.0.1:0", "--linger-deadline", "200ms"]);
    let addr = server.addr();
    let mut held = Vec::new();
    for i in 0..30 {
        let mut stream = tcp(addr);
        stream.write_all(request(addr, "/chat/x", &[]).as_bytes()).unwrap();
        read_until(&mut stream, b"\r\n\r\n");
        match i % 3 {
            0 => drop(stream),
            1 => {
                stream.shutdown(Shutdown::Write).unwrap();
                held.push(stream);
            }
            _ => {
                stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
                held.push(stream);
            }
        }
    }
    // The server's side of each: its local port is ours. 08 is CLOSE_WAIT, 01 ESTABLISHED (proc_net_tcp.txt).
    let deadline = Instant::now() + Duration::from_secs(5);
    while !states(addr.port(), &["01", "08"]).is_empty() {
        assert!(Instant::now() < deadline, "left over: {:?}", states(addr.port(), &["01", "08"]));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn states(port: u16, wanted: &[&str]) -> Vec<String> {
    let local = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = fields
        .filter(|fields| fields.len() > 3 && fields[1].ends_with(&local) && wanted.contains(&fields[3]));
    ours.map(|fields| fields[3].to_owned()).collect()
}

#[test]
fn row_59_as_many_connections_wait_to_be_accepted_as_the_backlog_says() {
    let waiting = |backlog| {
        let limits = Limits { accept_backlog: backlog, ..Limits::default() };
        // Bound and not run: nobody is accepted.
        let server = Server::builder().listen("127.0.0.1:0").unwrap().limits(limits).bind(()).unwrap();
        let addr = server.local_addrs()[0];
        let patience = Duration::from_millis(100);
        let streams: Vec<_> =
            (0..64).map_while(|_| TcpStream::connect_timeout(&addr, patience).ok()).collect();
        streams.len()
    };
    assert_eq!(waiting(4096), 64);
    assert!(waiting(4) < 10);
}

#[test]
fn row_35_a_new_socket_for_every_message_and_the_server_keeps_nothing_open() {
    let server = Process::start(&["--listen", "127.0.0.1:0"]);
    let mut witness = connect(server.addr(), "/chat/x");
    for i in 0..300 {
        let mut client = connect(server.addr(), "/chat/x");
        client.send(format!("{i}").into()).unwrap();
        assert_eq!(text(&mut client), format!("{i}"));
        assert_eq!(text(&mut witness), format!("{i}"));
        client.close(None).unwrap();
        while client.read().is_ok() {}
    }
}

#[test]
fn row_5_of_part_2_who_comes_back_is_not_counted_beside_its_dead_connection() {
    let args = ["--listen", "127.0.0.1:0", "--connections-max", "60", "--connections-per-address-max", "50"];
    let server = Process::start(&args);
    let before: Vec<_> = (0..50).map(|_| connect(server.addr(), "/chat/herd")).collect();
    // It finds out at once that all have gone and that all are back.
    server.signal("-STOP");
    for client in before {
        let socket = socket2::SockRef::from(client.get_ref());
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
    let back: Vec<_> = (0..50).map(|_| tcp(server.addr())).collect();
    server.signal("-CONT");
    for stream in back {
        let request = format!("ws://{}/chat/herd", server.addr());
        let (mut client, _) = tungstenite::client(request, stream).expect("a place");
        client.send(Message::text("back")).unwrap();
    }
}
