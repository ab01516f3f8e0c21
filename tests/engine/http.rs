//! Requests that are more than a head: bodies, waiting, and events without an end.

use std::time::Duration;

use fanline::Limits;

use crate::world::World;

#[test]
fn s7_1_rfc9112_a_body_by_length_or_in_chunks_however_it_is_cut() {
    let by_length = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world";
    let chunked = "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5;a=b\r\nhello\r\n006 \r\n world\r\n0\r\nTrailer: t\r\n\r\n";
    for request in [by_length, chunked] {
        for cut in 1..request.len() {
            let mut world = World::new(Limits::default());
            let client = world.connect();
            // Twice, the second behind the first: the connection goes on exactly where the body ends.
            let twice = [request, request].concat();
            world.send(client, &twice.as_bytes()[..cut]);
            world.turn();
            world.send(client, &twice.as_bytes()[cut..]);
            world.turn();
            let answer = world.answer(client);
            assert_eq!(answer.matches("/x hello world\n").count(), 2, "cut at {cut}: {answer}");
        }
    }
}

#[test]
fn s6_rfc9112_a_body_that_is_too_long_or_cannot_be_read_is_refused() {
    let limits = Limits { body_bytes_max: 10, ..Limits::default() };
    let rows = [
        ("Content-Length: 11\r\n\r\n", 413),
        ("Content-Length: 99999999999999999999999\r\n\r\n", 413),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("Transfer-Encoding:\r\n\r\n", 501),
        ("Transfer-Encoding: chunked\r\n\r\nb\r\n", 413),
        ("Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\n", 413),
        ("Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n1\nx", 400),
        ("Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", 400),
    ];
    for (rest, status) in rows {
        let mut world = World::new(limits.clone());
        let client = world.connect();
        world.send(client, format!("POST /x HTTP/1.1\r\nHost: x\r\n{rest}").as_bytes());
        world.turn();
        let answer = world.answer(client);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{rest:?}: {answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    let mut world = World::new(limits);
    let client = world.connect();
    let answer = world.ask(client, "POST /x", "Expect: 100-continue\r\nContent-Length: 2\r\n", "");
    assert_eq!(answer, "HTTP/1.1 100 Continue\r\n\r\n");
    world.send(client, b"ok");
    world.turn();
    assert!(world.answer(client).ends_with("/x ok\n"));
    world.ask(client, "POST /x", "Content-Length: 2\r\n", "");
    world.pass(Duration::from_secs(31));
    assert!(world.is_gone(client), "a body that never comes");
}

#[test]
fn row_52_a_request_waits_until_something_is_published() {
    let mut world = World::new(Limits::default());
    let (poller, publisher) = (world.connect(), world.connect());
    assert_eq!(world.ask(poller, "GET /wait/r?since=1:0", "", ""), "");
    let answer = world.ask(publisher, "POST /wait/r", "", "hello");
    assert!(answer.ends_with("1:1 false\n"), "{answer}");
    assert!(world.answer(poller).ends_with("true 1:1\n"));
    assert!(world.ask(poller, "GET /wait/r?since=1:0", "", "").ends_with("true 1:1\n"), "at once");
    assert!(world.ask(poller, "GET /wait/r?since=9:9", "", "").ends_with("false \n"), "at once");
}

#[test]
fn row_52_a_request_waits_no_longer_than_it_wants_and_what_is_behind_it_waits_too() {
    let mut world = World::new(Limits::default());
    let poller = world.connect();
    assert_eq!(world.ask(poller, "GET /wait/r?since=1:0", "", ""), "");
    assert_eq!(world.ask(poller, "GET /next", "", ""), "");
    world.pass(Duration::from_secs(29));
    assert_eq!(world.answer(poller), "");
    world.pass(Duration::from_secs(2));
    let answers = world.answer(poller);
    assert!(answers.contains("true \n") && answers.ends_with("/next \n"), "{answers}");
    assert_eq!(world.ask(poller, "GET /wait/r?since=1:0", "", ""), "");
    world.end(poller);
    world.turn();
    assert!(world.is_gone(poller));
    world.pass(Duration::from_secs(130));
    assert!(world.engine.rooms().is_empty(), "nobody waits, and nothing is kept");
}

#[test]
fn a_key_makes_a_second_try_harmless() {
    let mut world = World::new(Limits::default());
    let (publisher, member) = (world.connect(), world.open("/r"));
    for want in ["1:1 false\n", "1:1 true\n"] {
        let answer = world.ask(publisher, "POST /wait/r", "Key: k1\r\n", "hello");
        assert!(answer.ends_with(want), "{answer}");
    }
    assert!(world.ask(publisher, "POST /wait/r", "Key: k2\r\n", "hello").ends_with("1:2 false\n"));
    assert_eq!(world.frames(member), vec![(0x82, b"hello".to_vec()); 2]);
    world.pass(Duration::from_secs(301));
    let publisher = world.connect();
    let answer = world.ask(publisher, "POST /wait/r", "Key: k1\r\n", "hello");
    assert!(answer.ends_with(" false\n"), "{answer}");
}

#[test]
fn row_54_events_carry_on_from_any_position_and_a_silent_reader_is_told_that_we_live() {
    let mut world = World::new(Limits::default());
    let (reader, member) = (world.connect(), world.open("/r"));
    let head = world.ask(reader, "GET /events/r", "", "");
    assert!(
        head.contains("content-type: text/event-stream\r\n")
            && head.ends_with("\r\n\r\nretry: 2000\nid: 1:0\n\n"),
        "{head}"
    );
    world.send_text(member, "one");
    world.send_text(member, "two\nlines");
    world.turn();
    assert_eq!(world.answer(reader), "id: 1:1\ndata: one\n\nid: 1:2\ndata: two\ndata: lines\n\n");
    let again = world.connect();
    assert!(
        world
            .ask(again, "GET /events/r?since=1:1", "", "")
            .ends_with("id: 1:1\n\nid: 1:2\ndata: two\ndata: lines\n\n")
    );
    let lost = world.connect();
    let told = world.ask(lost, "GET /events/r?since=5:1", "", "");
    assert!(
        told.ends_with("id: 1:2\nevent: reset\ndata: {\"position\":\"1:2\",\"recovered\":false}\n\n"),
        "{told}"
    );
    world.pass(Duration::from_secs(26));
    assert_eq!(world.answer(reader), ":\n\n");
    world.narrow(reader, 0);
    world.pass(Duration::from_secs(60));
    assert!(world.is_gone(reader), "it takes nothing any more");
    world.end(again);
    world.turn();
    assert!(world.is_gone(again));
    assert_eq!(world.engine.rooms().members("/r"), 1, "the member that never answered a ping has gone, too");
}

#[test]
fn s9_3_2_a_request_for_the_head_of_events_gets_no_event() {
    let mut world = World::new(Limits::default());
    let reader = world.connect();
    let head = world.ask(reader, "HEAD /events/r", "", "");
    assert!(head.ends_with("\r\n\r\n") && !head.contains("retry"), "{head}");
}

#[test]
fn row_52_who_was_woken_first_is_answered_first_also_where_others_are_woken_in_every_turn() {
    let mut world = World::new(Limits { flush_budget: 1, ..Limits::default() });
    let publisher = world.connect();
    let pollers: Vec<usize> = (0..30).map(|_| world.connect()).collect();
    for (room, poller) in pollers.iter().enumerate() {
        let poll = format!("GET /wait/{room}?since={}:0", room + 1);
        assert_eq!(world.ask(*poller, &poll, "", ""), "");
    }
    let post = |room: usize| format!("POST /wait/{room} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
    world.send(publisher, (post(0) + &post(1)).as_bytes());
    for room in 2..30 {
        // Each turn wakes one more, and answers one.
        world.engine.turn(world.now);
        world.send(publisher, post(room).as_bytes());
    }
    let is_answered = |poller: &usize| !world.answer(*poller).is_empty();
    let first: Vec<bool> = pollers.iter().map(is_answered).take(10).collect();
    assert_eq!(first, [true; 10]);
}
