//! Rooms over bare sockets: connections that are kept alive and pipelined, RFC 9112 §9.3, and readers that end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::binary::Process;
use crate::client::{self, tcp};

/// A server and a connection to it.
fn connect() -> (Process, TcpStream) {
    let server = Process::start(&["--listen", "127.0.0.1:0"]);
    let stream = tcp(server.addr());
    stream.set_nodelay(true).unwrap();
    (server, stream)
}

fn post(room: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /rooms/{room}/messages HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// One response by its length: the head, and the body.
fn answer(stream: &mut TcpStream) -> (String, String) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn json(stream: &mut TcpStream) -> serde_json::Value {
    serde_json::from_str(&answer(stream).1).unwrap()
}

#[test]
fn s9_3_2_rfc9112_pipelined_requests_are_answered_in_their_order_however_they_are_cut() {
    const COUNT: usize = 40;
    let (_server, mut stream) = connect();
    // A publication and a poll in turns: each answer tells that all before it has been done.
    let requests: String =
        (0..COUNT).map(|i| post("r", &format!("m{i}")) + &get("/rooms/r/messages?last=1")).collect();
    for size in [requests.len(), 1000, 7] {
        for piece in requests.as_bytes().chunks(size) {
            stream.write_all(piece).unwrap();
        }
        for i in 0..COUNT {
            let position = json(&mut stream)["position"].clone();
            let page = json(&mut stream);
            assert_eq!(
                (&page["position"], &page["messages"][0]["text"]),
                (&position, &format!("m{i}").into())
            );
        }
    }
}

#[test]
fn s9_3_2_rfc9112_who_reads_none_of_many_answers_gets_them_all_later() {
    let (_server, mut stream) = connect();
    let text = "x".repeat(60_000);
    stream.write_all(post("r", &text).as_bytes()).unwrap();
    assert!(answer(&mut stream).0.starts_with("HTTP/1.1 201 "));
    // More answers than the server keeps for one who does not read: it has to stop reading, and to go on.
    const COUNT: usize = 400;
    let mut writer = stream.try_clone().unwrap();
    let asking = std::thread::spawn(move || {
        let request = get("/rooms/r/messages?last=1");
        (0..COUNT).try_for_each(|_| writer.write_all(request.as_bytes())).unwrap();
    });
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..COUNT {
        assert_eq!(json(&mut stream)["messages"][0]["text"], text.as_str());
    }
    asking.join().unwrap();
}

#[test]
fn row_52_what_is_pipelined_behind_a_poll_that_waits_waits_with_it() {
    let (server, mut stream) = connect();
    stream.write_all(post("r", "first").as_bytes()).unwrap();
    let since = json(&mut stream)["position"].as_str().unwrap().to_owned();
    let begun = Instant::now();
    let poll = get(&format!("/rooms/r/messages?since={since}&wait=20"));
    stream.write_all((poll + &get("/healthz")).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let mut publisher = tcp(server.addr());
    publisher.write_all(post("r", "second").as_bytes()).unwrap();
    assert_eq!(json(&mut stream)["messages"][0]["text"], "second");
    assert_eq!(answer(&mut stream).1, "ok\n");
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(200) && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn row_53_a_connection_ends_after_the_request_that_asks_for_it_and_in_http_1_0_after_the_first() {
    let close = "GET /rooms HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned();
    let old = "GET /rooms HTTP/1.0\r\n\r\n".to_owned();
    for (requests, answers) in [
        (get("/rooms") + &close + &get("/rooms"), 2),
        (old.clone() + &old, 1),
        (get("/rooms") + "oops\r\n\r\n", 2),
    ] {
        let (_server, mut stream) = connect();
        stream.write_all(requests.as_bytes()).unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        assert_eq!(got.matches("HTTP/1.1 ").count(), answers, "{requests}\n{got}");
        assert_eq!(got.matches("connection: close\r\n").count(), 1, "{got}");
    }
}

#[test]
fn row_53_a_request_for_the_head_has_the_length_and_not_the_body_and_the_next_is_right_behind() {
    let (_server, mut stream) = connect();
    stream.write_all(post("r", "first").as_bytes()).unwrap();
    answer(&mut stream);
    let head = get("/rooms/r/messages").replacen("GET", "HEAD", 1);
    stream.write_all((head + &get("/rooms/r/messages")).as_bytes()).unwrap();
    let (mut heads, mut byte) = (Vec::new(), [0]);
    while !heads.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        heads.push(byte[0]);
    }
    let (head, body) = answer(&mut stream);
    assert_eq!(String::from_utf8(heads).unwrap(), head);
    assert!(body.contains("first"));
}

#[test]
fn row_54_readers_that_go_away_leave_nothing_behind() {
    let (server, mut stream) = connect();
    stream.write_all(post("r", "first").as_bytes()).unwrap();
    let since = json(&mut stream)["position"].as_str().unwrap().to_owned();
    let members = |stream: &mut TcpStream| {
        stream.write_all(get("/rooms/r").as_bytes()).unwrap();
        json(stream)["members"].as_u64().unwrap()
    };
    let mut readers: Vec<TcpStream> = (0..20).map(|_| tcp(server.addr())).collect();
    for reader in &mut readers[..10] {
        reader.write_all(get("/rooms/r/events").as_bytes()).unwrap();
        reader.read_exact(&mut [0; 12]).unwrap();
    }
    for poller in &mut readers[10..] {
        let poll = get(&format!("/rooms/r/messages?since={since}&wait=60"));
        poller.write_all(poll.as_bytes()).unwrap();
    }
    assert_eq!(members(&mut stream), 10);
    for (number, reader) in readers.iter().enumerate() {
        // Half of them by ending their own side, the others with what they have not read: a reset.
        reader.shutdown(if number % 2 == 0 { Shutdown::Write } else { Shutdown::Both }).unwrap();
    }
    drop(readers);
    let end = Instant::now() + Duration::from_secs(10);
    while members(&mut stream) > 0 {
        assert!(Instant::now() < end, "{} are still there", members(&mut stream));
        std::thread::sleep(Duration::from_millis(20));
    }
    stream.write_all(post("r", "to nobody").as_bytes()).unwrap();
    assert!(answer(&mut stream).0.starts_with("HTTP/1.1 201 "));
}

#[test]
fn row_40_two_who_choose_the_same_key_are_both_heard_and_a_repetition_is_not() {
    let (server, mut stream) = connect();
    let send = |key: &str, body: &str| {
        let head = format!("Content-Type: text/plain\r\nIdempotency-Key: {key}\r\n");
        post("keys", body).replacen("Content-Type: text/plain\r\n", &head, 1)
    };
    let long = "k".repeat(129);
    let sent = [("1", "ann"), ("1", "bob"), ("1", "ann"), (&*long, "never"), ("2", "ann")];
    for (key, body) in sent {
        stream.write_all(send(key, body).as_bytes()).unwrap();
    }
    let status = sent.map(|_| answer(&mut stream).0[9..12].to_owned());
    assert_eq!(status, ["201", "201", "200", "400", "201"]);

    let protocol = [("sec-websocket-protocol", "fanline.v1")];
    let mut said = Vec::new();
    for text in ["cid", "dan", "cid"] {
        let mut client = client::try_connect(server.addr(), "/chat/keys", &protocol).unwrap();
        client.send(format!(r#"{{"text":"{text}","id":"1"}}"#).into()).unwrap();
        let mut ack = || serde_json::from_str::<serde_json::Value>(&client::text(&mut client)).unwrap();
        let ack = std::iter::repeat_with(&mut ack).find(|said| said["type"] == "ack").unwrap();
        said.push(ack["position"].clone());
    }
    assert_eq!(said[0], said[2]);
    assert_ne!(said[0], said[1]);
    stream.write_all(get("/rooms/keys/messages").as_bytes()).unwrap();
    let messages = json(&mut stream)["messages"].clone();
    let texts: Vec<_> = messages.as_array().unwrap().iter().map(|message| &message["text"]).collect();
    assert_eq!(texts, ["ann", "bob", "ann", "cid", "dan"]);
}
