//! The example configurations, each doing what it is for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::binary::{Process, fanline};
use crate::client::{Client, closed, connect, exchange, get, tcp, text, try_connect};
use crate::sockets::handshake;

/// The binary with an example's configuration, on a port of its own.
fn example(name: &str) -> Process {
    example_with(name, &[])
}

fn example_with(name: &str, args: &[&str]) -> Process {
    let config = format!("{}/examples/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    Process::start(&[&["--config", &config, "--listen", "127.0.0.1:0"], args].concat())
}

/// Publishes as curl does: the answer's status and body.
fn publish(addr: SocketAddr, room: &str, headers: &str, body: &str) -> (u16, String) {
    let request = format!(
        "POST /rooms/{room}/messages HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(addr, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn texts(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| text(client)).collect()
}

/// Says a word of its own and hears it: nothing else was waiting before it.
fn hears_nothing_before(client: &mut Client, word: &str) {
    client.send(word.into()).unwrap();
    assert_eq!(text(client), word);
}

#[test]
fn every_example_is_good_and_is_tried_here() {
    let source = include_str!("examples.rs");
    let mut count = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let checked = fanline(&["check", path.to_str().unwrap()]).output().unwrap();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(source.contains(&format!("(\"{name}\"")), "{name} is not tried");
            count += 1;
        }
    }
    assert_eq!(count, 8);
}

#[test]
fn channels_without_its_redis_is_alive_and_says_that_it_is_not_ready() {
    // With it, `tests/channels` tries it.
    let nowhere = "redis+unix:///nowhere/redis.sock";
    let server = example_with("channels", &["--backplane-url", nowhere, "--admission-deadline", "200ms"]);
    assert!(get(server.addr(), "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(server.addr(), "/readyz").starts_with("HTTP/1.1 503"));
    assert_eq!(publish(server.addr(), "lobby", "", "hello").0, 503);
    assert_eq!(publish(server.addr(), "a%20b", "", "hello").0, 400, "no group has such a name");
}

#[test]
fn row_42_a_tornado_client_is_sent_an_id_then_the_history_then_what_is_new() {
    let server = example("tutorials");
    let mut first = connect(server.addr(), "/chatsocket");
    let uid = text(&mut first);
    assert!(uuid_like(&uid), "{uid}");
    for i in 0..3 {
        first.send(format!("{i}").into()).unwrap();
    }
    assert_eq!(texts(&mut first, 3), ["0", "1", "2"]);
    let mut second = connect(server.addr(), "/chatsocket");
    let other = text(&mut second);
    assert!(uuid_like(&other) && other != uid, "{other}");
    first.send("3".into()).unwrap();
    assert_eq!(texts(&mut second, 4), ["0", "1", "2", "3"]);
}

fn uuid_like(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

#[test]
fn row_44_history_is_kept_as_it_was_said_and_is_bounded() {
    let server = example("tutorials");
    let mut author = connect(server.addr(), "/chatsocket");
    text(&mut author);
    let odd = r#"{"uid": "x", "message": "<b onclick=alert(1)>\u0000 **{}** 说"} not JSON"#;
    author.send(odd.into()).unwrap();
    author.send(Message::Binary(vec![0, 255, 3].into())).unwrap();
    author.read().unwrap();
    author.read().unwrap();
    let mut later = connect(server.addr(), "/chatsocket");
    text(&mut later);
    assert_eq!(text(&mut later), odd);
    assert_eq!(later.read().unwrap(), Message::Binary(vec![0, 255, 3].into()));
    for i in 0..250 {
        author.send(format!("{i}").into()).unwrap();
        text(&mut author);
    }
    let mut newcomer = connect(server.addr(), "/chatsocket");
    text(&mut newcomer);
    let want: Vec<String> = (50..250).map(|i| i.to_string()).collect();
    assert_eq!(texts(&mut newcomer, 200), want, "the last 200, and no more");
    hears_nothing_before(&mut newcomer, "that was all");
}

#[test]
fn row_45_json_of_the_tutorials_page_passes_through_and_becomes_no_html_here() {
    let server = example("tutorials");
    let (mut a, mut b) = (connect(server.addr(), "/chatsocket"), connect(server.addr(), "/chatsocket"));
    let uid = text(&mut a);
    text(&mut b);
    let said = format!(r#"{{"uid":"{uid}","message":"<script>alert('你好')</script> &amp; \"quoted\""}}"#);
    a.send(said.as_str().into()).unwrap();
    assert_eq!((text(&mut a), text(&mut b)), (said.clone(), said));
}

#[test]
fn row_47_what_is_said_comes_with_the_user_and_the_time() {
    let server = example("tutorials");
    let (mut a, mut b) =
        (connect(server.addr(), "/webfin/websocket/"), connect(server.addr(), "/webfin/websocket"));
    a.send("大家好 {time}".into()).unwrap();
    let (heard, other) = (text(&mut a), text(&mut b));
    assert_eq!(heard, other);
    let rest = heard.strip_prefix("anonymous-").unwrap();
    let (time, rest) = rest.split_at("2025-11-21 10:00:00".len());
    assert_eq!(rest, "-说:大家好 {time}");
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00 00:00:00");
    // The clock of the test is the server's, but for the seconds that pass between the two.
    let today = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output().unwrap();
    let today = String::from_utf8(today.stdout).unwrap();
    assert!(time.starts_with(today.trim()) || time[11..].starts_with("23:59:"), "{time} is not {today}");
    a.send(Message::Binary(vec![1, 2].into())).unwrap();
    assert_eq!(b.read().unwrap(), Message::Binary(vec![1, 2].into()), "only text has a template");
}

#[test]
fn row_33_the_word_exit_ends_with_1000_and_the_member_has_left_the_group() {
    let server = example("tutorials");
    let (mut a, mut b) = (connect(server.addr(), "/chat/g1/"), connect(server.addr(), "/chat/g1/"));
    let members = |count: usize| {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !get(server.addr(), "/rooms/g1").contains(&format!("\"members\":{count}")) {
            assert!(Instant::now() < deadline, "never {count} members");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    members(2);
    a.send("exit".into()).unwrap();
    assert_eq!(closed(&mut a).unwrap().0, 1000);
    members(1);
    hears_nothing_before(&mut b, "still here");
    b.send("exit now".into()).unwrap();
    assert_eq!(text(&mut b), "exit now", "only the word itself ends anything");
    // At `/chat/` the consumer greets first, and ends on the same word.
    let mut c = connect(server.addr(), "/chat/");
    assert_eq!(text(&mut c), "欢迎大哥光临!");
    c.send("exit".into()).unwrap();
    assert_eq!(closed(&mut c).unwrap().0, 1000);
}

#[test]
fn the_tutorials_other_pages_find_what_they_expect() {
    let server = example("tutorials");
    for path in ["/", "/xxoo", "/websocket"] {
        let (mut a, mut b) = (connect(server.addr(), path), connect(server.addr(), path));
        hears_nothing_before(&mut a, "hello");
        assert_eq!(text(&mut b), "hello", "{path}");
    }
    for path in ["/", "/chat"] {
        let answer = handshake(server.addr(), path, &[("Sec-WebSocket-Protocol", "chat, superchat")]);
        assert!(answer.contains("sec-websocket-protocol: chat\r\n"), "{answer}");
    }
    // A history for /chatsocket is asked for by the options of its own route.
    let mut a = connect(server.addr(), "/chatsocket");
    text(&mut a);
    for i in 0..150 {
        a.send(format!("{i}").into()).unwrap();
        text(&mut a);
    }
    let page = get(server.addr(), "/rooms/chatsocket/messages?limit=1000");
    assert_eq!(page.matches("\"offset\":").count(), 150, "{page}");
}

#[test]
fn row_49_rooms_work_without_a_word_of_configuration() {
    let server = Process::start(&["--listen", "127.0.0.1:0"]);
    let mut members: Vec<Client> = (0..5).map(|_| connect(server.addr(), "/chat/group")).collect();
    let mut stranger = connect(server.addr(), "/chat/other");
    members[3].send("to all of the group".into()).unwrap();
    for member in &mut members {
        assert_eq!(text(member), "to all of the group");
    }
    assert_eq!(publish(server.addr(), "group", "", "from outside").0, 201);
    for member in &mut members {
        assert_eq!(text(member), "from outside");
    }
    hears_nothing_before(&mut stranger, "alone");
}

#[test]
fn row_56_uploads_show_how_far_they_are_to_who_watches_and_to_who_comes_late() {
    let server = example("uploads");
    let addr = server.addr();
    let mut early = connect(addr, "/uploads/u7");
    for percent in [10, 40, 70] {
        assert_eq!(publish(addr, "u7", "", &format!("{{\"percent\": {percent}}}")).0, 201);
    }
    assert_eq!(texts(&mut early, 3), [10, 40, 70].map(|percent| format!("{{\"percent\": {percent}}}")));
    let mut late = connect(addr, "/uploads/u7");
    assert_eq!(text(&mut late), "{\"percent\": 70}", "how far it is, and not how far it was");
    publish(addr, "u7", "", "done");
    assert_eq!((text(&mut early), text(&mut late)), ("done".into(), "done".into()));
    assert_eq!(publish(addr, "u7", "", &"x".repeat(5000)).0, 413);
    late.send("{\"percent\": 100}".into()).unwrap();
    assert_eq!(closed(&mut late).unwrap(), (1008, "this room may only be read".into()));
    // Before anybody watches, too.
    assert_eq!(publish(addr, "u8", "", "1").0, 201);
    assert_eq!(text(&mut connect(addr, "/uploads/u8")), "1");
}

#[test]
fn row_56_editing_goes_to_the_others_and_who_comes_later_gets_every_change() {
    let server = example("editing");
    let (mut a, mut b) = (connect(server.addr(), "/docs/notes"), connect(server.addr(), "/docs/notes"));
    for i in 0..300 {
        a.send(format!("a{i}").into()).unwrap();
    }
    let want: Vec<String> = (0..300).map(|i| format!("a{i}")).collect();
    assert_eq!(texts(&mut b, 300), want);
    b.send("b".into()).unwrap();
    assert_eq!(text(&mut a), "b", "the first thing it hears is not its own");
    let mut late = connect(server.addr(), "/docs/notes");
    assert_eq!(texts(&mut late, 301), [want, vec!["b".into()]].concat());
    a.send(Message::Binary(vec![7].into())).unwrap();
    assert_eq!(late.read().unwrap(), Message::Binary(vec![7].into()));
    assert_eq!(b.read().unwrap(), Message::Binary(vec![7].into()));
}

#[test]
fn row_56_games_have_one_order_for_all_no_past_and_bounds() {
    let server = example("games");
    let mut players: Vec<Client> = (0..4).map(|_| connect(server.addr(), "/games/tron")).collect();
    for move_ in 0..20 {
        for (player, client) in players.iter_mut().enumerate() {
            client.send(format!("{player}:{move_}").into()).unwrap();
        }
    }
    let order = texts(&mut players[0], 80);
    for player in &mut players[1..] {
        assert_eq!(texts(player, 80), order);
    }
    for player in 0..4 {
        let own: Vec<_> = order.iter().filter(|said| said.starts_with(&format!("{player}:"))).collect();
        assert_eq!(own.len(), 20);
        assert!((0..20).all(|at| *own[at] == format!("{player}:{at}")));
    }
    let mut late = connect(server.addr(), "/games/tron");
    hears_nothing_before(&mut late, "what is past is past");
    late.send("x".repeat(513).into()).unwrap();
    assert_eq!(closed(&mut late).unwrap().0, 1009);
    let mut flooding = connect(server.addr(), "/games/other");
    for _ in 0..200 {
        // It is cut off in the middle of this.
        if flooding.send("x".into()).is_err() {
            break;
        }
    }
    assert_eq!(closed(&mut flooding).unwrap().0, 1008);
}

#[test]
fn row_56_chat_replays_fifty_and_goes_on_where_somebody_was() {
    let server = example("chat");
    let addr = server.addr();
    let mut positions = Vec::new();
    for i in 0..60 {
        let (status, body) = publish(addr, "lobby", "", &format!("{i}"));
        assert_eq!(status, 201);
        positions.push(body.split("\"position\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned());
    }
    let numbers = |range: std::ops::Range<i32>| range.map(|i| i.to_string()).collect::<Vec<_>>();
    assert_eq!(texts(&mut connect(addr, "/chat/lobby"), 50), numbers(10..60));
    assert_eq!(texts(&mut connect(addr, "/chat/lobby?last=3"), 3), numbers(57..60));
    let mut back = connect(addr, &format!("/chat/lobby?since={}", positions[54]));
    assert_eq!(texts(&mut back, 5), numbers(55..60), "what was missed, and nothing twice");
    hears_nothing_before(&mut back, "hello again");
    let elsewhere = positions[0].replace(|c: char| c.is_ascii_hexdigit(), "1");
    assert_eq!(try_connect(addr, &format!("/chat/lobby?since={elsewhere}"), &[]).err(), Some(410));
    let presence = get(addr, "/rooms/lobby/presence");
    assert!(presence.contains("\"room\":\"lobby\""), "{presence}");
    for _ in 0..30 {
        if back.send("me, me, me".into()).is_err() {
            break;
        }
    }
    assert_eq!(closed(&mut back).unwrap().0, 1008);
}

#[test]
fn row_56_notifications_come_by_http_and_members_only_read_them() {
    let server = example("notifications");
    let addr = server.addr();
    let mut ann = connect(addr, "/notifications/ann");
    let mut bob = connect(addr, "/notifications/bob");
    let token = "Authorization: Bearer for-trying-only-0123456789\r\n";
    let with_key = format!("{token}Idempotency-Key: order-17\r\n");
    let (status, first) = publish(addr, "ann", &with_key, "on its way");
    assert_eq!(status, 201);
    let (status, again) = publish(addr, "ann", &with_key, "on its way");
    assert_eq!((status, again), (200, first), "tried again, and not published again");
    assert_eq!(publish(addr, "ann", "", "anybody").0, 401);
    assert_eq!(publish(addr, "ann", &token.replace("9\r", "8\r"), "somebody").0, 401);
    assert_eq!(publish(addr, "ann", token, "arrived").0, 201);
    assert_eq!(texts(&mut ann, 2), ["on its way", "arrived"]);
    publish(addr, "bob", token, "for bob");
    assert_eq!(text(&mut bob), "for bob", "the first that he hears");
    ann.send("me too".into()).unwrap();
    assert_eq!(closed(&mut ann).unwrap(), (1008, "this room may only be read".into()));
    assert_eq!(texts(&mut connect(addr, "/notifications/ann"), 2), ["on its way", "arrived"]);
    let events = first_bytes_of(addr, "/rooms/ann/events?last=20", "data: arrived");
    assert!(events.contains("content-type: text/event-stream\r\n"), "{events}");
    assert!(events.contains("data: on its way\n"), "{events}");
}

/// What a request is answered until `end` has come; the connection is left then.
fn first_bytes_of(addr: SocketAddr, path: &str, end: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = tcp(addr);
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes()).unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&got).contains(end) {
        let len = stream.read(&mut buffer).unwrap();
        assert!(len > 0, "it ended after {}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&buffer[..len]);
    }
    String::from_utf8_lossy(&got).into_owned()
}

#[test]
fn row_56_prices_are_the_newest_also_for_a_reader_that_is_slow() {
    let server = example("prices");
    let addr = server.addr();
    let mut slow = connect(addr, "/prices/acme");
    for price in 0..100 {
        assert_eq!(publish(addr, "acme", "", &price.to_string()).0, 201);
    }
    let mut late = connect(addr, "/prices/acme");
    assert_eq!(text(&mut late), "99", "the price there is, and none that there was");
    let page = get(addr, "/rooms/acme/messages?limit=1");
    assert!(page.contains("\"text\":\"99\"") && page.matches("\"offset\":").count() == 1, "{page}");
    // Meanwhile it does not read: the sockets hold some megabytes for it, and not the sixteen that go by.
    let mut posting = tcp(addr);
    for price in 0..4000 {
        post_along(&mut posting, "acme", &format!("{price:>4000}"));
    }
    post_along(&mut posting, "acme", "the last");
    let mut heard = vec![text(&mut slow)];
    while heard.last().unwrap() != "the last" {
        heard.push(text(&mut slow));
    }
    assert_eq!(heard[..100], (0..100).map(|price| price.to_string()).collect::<Vec<_>>());
    let prices: Vec<u32> = heard[100..heard.len() - 1].iter().map(|it| it.trim().parse().unwrap()).collect();
    assert!(prices.is_sorted() && prices.len() < 4000, "it was sent all {} of them", prices.len());
    slow.send("cheap".into()).unwrap();
    assert_eq!(closed(&mut slow).unwrap().0, 1008);
}

/// Publishes on a connection that is kept, and waits for the answer.
fn post_along(stream: &mut std::net::TcpStream, room: &str, body: &str) {
    use std::io::{Read, Write};
    let head = format!("POST /rooms/{room}/messages HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n");
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0; 1024]);
    while !got.ends_with(b"}\n") {
        let len = stream.read(&mut buffer).unwrap();
        assert!(len > 0, "the connection ended");
        got.extend_from_slice(&buffer[..len]);
    }
    assert!(got.starts_with(b"HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&got));
}
