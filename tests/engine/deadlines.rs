//! Whoever never finishes, never answers or falls silent is ended by a deadline.

use std::time::Duration;

use fanline::engine::Command;
use fanline::{CloseCode, CloseReason, Limits};

use crate::world::{World, handshake, masked};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_head_that_never_ends_is_given_up() {
    let mut world = World::new(Limits::default());
    let (silent, slow) = (world.connect(), world.connect());
    for byte in b"GET / HT" {
        world.send(slow, &[*byte]);
        world.pass(SECOND);
    }
    assert!(!world.is_gone(slow));
    world.pass(3 * SECOND);
    assert!(world.is_gone(slow) && world.is_gone(silent));
    assert!(world.take(slow).is_empty());
}

#[test]
fn row_57_a_silent_connection_is_pinged_and_then_lost_with_1006() {
    let mut world = World::new(Limits::default());
    let a = world.open("/a");
    world.pass(24 * SECOND);
    assert_eq!(world.frames(a), []);
    world.pass(2 * SECOND);
    assert_eq!(world.frames(a), [(0x89, vec![])]);
    world.pass(13 * SECOND);
    assert!(!world.is_gone(a));
    world.pass(2 * SECOND);
    assert!(world.is_gone(a));
    assert_eq!(world.told().last().unwrap(), "close /a 1006 Loss clean=false");
}

#[test]
fn row_57_one_that_died_in_silence_is_found_also_while_it_is_sent_something_all_the_time() {
    let mut world = World::new(Limits::default());
    let a = world.open("/a");
    let id = world.clients[a].id;
    world.narrow(a, 40);
    for _ in 0..8 {
        // The socket's buffer takes it, until it is full, and nobody is there to read it.
        world.engine.apply(Command::Send(id, "news".into()));
        world.pass(5 * SECOND);
    }
    world.pass(SECOND);
    assert!(world.is_gone(a));
}

#[test]
fn one_that_takes_a_long_message_slowly_is_not_taken_for_dead() {
    let mut world = World::new(Limits::default());
    let a = world.open("/a");
    world.narrow(a, 10);
    world.engine.apply(Command::Send(world.clients[a].id, "x".repeat(1000).into()));
    for _ in 0..90 {
        world.pass(SECOND);
        world.widen(a, 10);
    }
    assert!(!world.is_gone(a));
}

#[test]
fn any_byte_answers_a_ping() {
    let mut world = World::new(Limits::default());
    let a = world.open("/a");
    for _ in 0..10 {
        world.pass(26 * SECOND);
        assert_eq!(world.frames(a).len(), 1);
        world.send(a, &masked(0x8a, b"")[..1]);
        world.pass(SECOND);
        world.send(a, &masked(0x8a, b"")[1..]);
    }
    assert!(!world.is_gone(a));
}

#[test]
fn pings_and_comments_come_as_often_as_the_interval_says_also_where_the_deadline_is_longer() {
    let mut world =
        World::new(Limits { ping_interval: SECOND, pong_deadline: 15 * SECOND, ..Limits::default() });
    let (a, reader) = (world.open("/a"), world.connect());
    world.ask(reader, "GET /events/r", "", "");
    let (mut pings, mut comments) = (0, 0);
    for _ in 0..200 {
        world.pass(SECOND / 10);
        comments += world.answer(reader).matches(":\n\n").count();
        if world.frames(a) == [(0x89, vec![])] {
            pings += 1;
            world.send(a, &masked(0x8a, b""));
        }
    }
    assert!((17..=20).contains(&pings) && (17..=20).contains(&comments), "{pings} {comments} in 20 s");
    // What falls silent is lost one interval and one deadline after its last sign of life.
    world.pass(15 * SECOND);
    assert!(!world.is_gone(a));
    world.pass(SECOND + SECOND / 10);
    assert!(world.is_gone(a));
}

#[test]
fn s7_1_1_a_close_that_is_never_answered_ends_after_its_deadline() {
    let mut world = World::new(Limits::default());
    let a = world.open("/a");
    let id = world.clients[a].id;
    world.engine.apply(Command::Close(id, CloseReason::bare(CloseCode::NORMAL)));
    world.pass(4 * SECOND);
    assert!(!world.is_gone(a));
    world.pass(2 * SECOND);
    assert!(world.is_gone(a));
    assert_eq!(world.told().last().unwrap(), "close /a 1000 Server clean=false");
}

#[test]
fn a_peer_that_keeps_its_side_open_after_the_close_is_dropped() {
    let mut world = World::new(Limits::default());
    let a = world.open("/a");
    world.send(a, &masked(0x88, &[3, 232]));
    world.turn();
    assert!(world.clients[a].pipe.borrow().shut, "our side ends at once");
    assert!(!world.is_gone(a), "and the peer has time to read it");
    world.pass(3 * SECOND);
    assert!(world.is_gone(a));
}

#[test]
fn a_decision_that_never_comes_is_503() {
    let mut world = World::new(Limits::default());
    let a = world.connect();
    world.send(a, handshake("/a/later").as_bytes());
    world.pass(9 * SECOND);
    assert!(world.take(a).is_empty());
    world.pass(2 * SECOND);
    assert!(world.take(a).starts_with(b"HTTP/1.1 503"));
}

#[test]
fn who_is_told_that_the_decision_took_too_long_is_still_read_to_its_end() {
    let mut world = World::new(Limits::default());
    let (quits, talks) = (world.connect(), world.connect());
    world.send(quits, handshake("/a/later").as_bytes());
    world.send(talks, handshake("/b/later").as_bytes());
    world.turn();
    world.end(quits);
    world.send(talks, &masked(0x81, b"early"));
    world.pass(11 * SECOND);
    assert!(world.take(quits).starts_with(b"HTTP/1.1 503 "));
    assert!(world.is_gone(quits), "it had ended, so nobody has to wait for it");
    // Unread input would reset the connection when it is closed, and the reset would overtake the answer.
    assert!(world.clients[talks].pipe.borrow().to_engine.is_empty());
}

#[test]
fn stopping_tells_everyone_1001_and_ends_with_the_deadline() {
    let mut world = World::new(Limits::default());
    let (polite, rude, half) = (world.open("/a"), world.open("/b"), world.connect());
    world.narrow(rude, 0);
    world.engine.stop(world.now);
    world.turn();
    assert_eq!(world.frames(polite)[0].1[..2], 1001u16.to_be_bytes());
    assert!(world.is_gone(half), "it has not asked for anything");
    world.send(polite, &masked(0x88, &[3, 233]));
    world.end(polite);
    world.turn();
    assert!(world.is_gone(polite) && world.is_gone(half) && !world.is_gone(rude));
    world.pass(11 * SECOND);
    assert!(world.is_gone(rude));
    assert!(world.engine.is_empty());
    assert!(world.told().contains(&"close /a 1001 Server clean=true".to_owned()));
    assert!(world.told().contains(&"close /b 1001 Server clean=false".to_owned()));
}

#[test]
fn a_request_that_waits_is_answered_when_the_server_stops_and_is_the_last_on_its_connection() {
    let mut world = World::new(Limits::default());
    let poller = world.connect();
    assert_eq!(world.ask(poller, "GET /wait/r?since=1:0", "", ""), "");
    world.engine.stop(world.now);
    world.turn();
    let answer = world.answer(poller);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close\r\n"), "{answer}");
    world.end(poller);
    world.turn();
    assert!(world.engine.is_empty());
}

#[test]
fn row_54_events_end_when_the_proof_of_their_reader_expires() {
    let mut world = World::new(Limits::default());
    let (reader, other) = (world.connect(), world.connect());
    world.ask(reader, "GET /events/r?expires=60000", "", "");
    world.ask(other, "GET /events/r", "", "");
    // Past a sign of life, so that the deadline for that one is the nearer.
    world.pass(59 * SECOND);
    assert!(!world.is_gone(reader));
    world.answer(reader);
    world.pass(2 * SECOND);
    assert_eq!(world.answer(reader), "", "nothing comes behind the last event");
    assert_eq!(world.engine.rooms().members("/r"), 1);
    world.end(reader);
    world.turn();
    assert!(world.is_gone(reader) && !world.is_gone(other));
}

#[test]
fn row_18_of_part_2_who_opens_and_says_nothing_is_closed_where_a_first_message_is_due() {
    let limits = Limits { first_message_deadline: 3 * SECOND, ..Limits::default() };
    let mut world = World::new(limits);
    let (silent, pings, speaks) = (world.open("/a"), world.open("/a"), world.open("/b"));
    world.pass(2 * SECOND);
    world.send(pings, &masked(0x89, b"hello?"));
    world.send_text(speaks, "hello");
    world.turn();
    world.take(pings);
    world.take(speaks);
    world.pass(SECOND / 2);
    assert_eq!(world.frames(silent), []);
    world.pass(SECOND);
    for client in [silent, pings] {
        assert_eq!(world.frames(client), [(0x88, b"\x03\xf0no message came in time".to_vec())]);
    }
    world.pass(20 * SECOND);
    assert!(world.is_gone(silent) && world.is_gone(pings) && !world.is_gone(speaks));
    assert_eq!(world.frames(speaks), []);
}

#[test]
fn row_18_of_part_2_a_long_response_is_read_slowly_by_who_reads_it_and_not_by_who_does_not() {
    for line in ["POST /x", "POST /last"] {
        let mut world = World::new(Limits::default());
        let clients = [world.connect(), world.connect()];
        let (reads, drips) = (clients[0], clients[1]);
        let header = if line == "POST /last" { "Connection: close\r\n" } else { "" };
        for client in clients {
            world.narrow(client, 0);
            world.ask(client, line, header, &"x".repeat(200_000));
        }
        let mut got = 0;
        for _ in 0..12 {
            world.pass(4 * SECOND);
            world.widen(reads, 20_000);
            world.widen(drips, 100);
            world.turn();
            got += world.take(reads).len();
        }
        assert!(got > 200_000, "{got} bytes");
        assert!(world.is_gone(drips), "{line}");
    }
}
