//! Many connections that come and go leave nothing behind.

use std::time::Duration;

use fanline::Limits;

use crate::world::{World, handshake, masked};

#[test]
fn row_35_short_connections_by_the_hundred_thousand_leave_nothing() {
    let mut world = World::new(Limits { connections_max: 100, ..Limits::default() });
    let whole = [handshake("/a").as_bytes(), &masked(0x81, b"hi"), &masked(0x88, &[3, 232])].concat();
    for _ in 0..1000 {
        for _ in 0..100 {
            let client = world.connect();
            world.send(client, &whole);
            world.end(client);
        }
        world.turn();
        assert!(world.engine.is_empty() && world.engine.rooms().is_empty());
        world.clients.clear();
        world.now += Duration::from_millis(100);
    }
    assert_eq!((world.metrics.opened.get(), world.metrics.ended.get()), (100_000, 100_000));
    assert_eq!((world.metrics.messages.get(), world.metrics.lost.get()), (100_000, 0));
}

#[test]
fn row_38_a_room_forgets_its_members_however_they_go() {
    let mut world = World::new(Limits::default());
    let stays = world.open("/room");
    for round in 0..50 {
        let members: Vec<usize> = (0..20).map(|_| world.open("/room")).collect();
        assert_eq!(world.engine.rooms().members("/room"), 21);
        for (i, member) in members.into_iter().enumerate() {
            match i % 4 {
                0 => world.end(member),
                1 => world.send(member, &masked(0x88, &[3, 232])),
                2 => world.send_text(member, "leave"),
                _ => world.send_text(member, "bye"),
            }
        }
        world.turn();
        assert_eq!(world.engine.rooms().members("/room"), 1, "round {round}");
        world.take(stays);
    }
    assert_eq!(world.engine.rooms().log_bytes(), 0);
}

#[test]
fn past_connections_max_the_next_are_told_503_and_past_that_they_are_dropped() {
    let mut world = World::new(Limits { connections_max: 2, ..Limits::default() });
    let (a, _b, third) = (world.open("/a"), world.open("/b"), world.connect());
    world.turn();
    assert!(world.take(third).starts_with(b"HTTP/1.1 503 Service Unavailable\r\n"));
    world.end(a);
    world.end(third);
    world.turn();
    world.open("/c");
}

#[test]
fn a_thousand_polls_whose_time_is_up_at_once_are_answered_a_few_a_turn_and_the_first_come_first() {
    let mut world = World::new(Limits { flush_budget: 100, ..Limits::default() });
    let pollers: Vec<usize> = (0..1000).map(|_| world.connect()).collect();
    for poller in &pollers {
        world.send(*poller, b"GET /wait/r?since=1:0 HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    world.turn();
    let answered = |world: &World| {
        let has_answer = |poller: &&usize| !world.clients[**poller].pipe.borrow().to_peer.is_empty();
        pollers.iter().filter(has_answer).count()
    };
    world.pass(Duration::from_secs(29));
    assert_eq!(answered(&world), 0);
    world.now += Duration::from_secs(2);
    for turn in 0..20 {
        let before = world.metrics.requests.get();
        world.engine.turn(world.now);
        world.engine.check_invariants();
        let asked = world.metrics.requests.get() - before;
        assert!(asked <= 100, "{asked} in turn {turn}");
    }
    assert_eq!(answered(&world), 1000);
    // The same for those who are woken by news, and whoever has waited longest is served first.
    for poller in &pollers {
        world.take(*poller);
        world.send(*poller, b"GET /wait/r?since=1:0 HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    world.turn();
    world.engine.apply(fanline::engine::Command::Publish("/r".into(), "news".into()));
    let late = world.connect();
    world.engine.turn(world.now);
    world.send(late, b"GET /wait/r?since=1:1 HTTP/1.1\r\nHost: x\r\n\r\n");
    world.engine.turn(world.now);
    world.engine.apply(fanline::engine::Command::Publish("/r".into(), "more".into()));
    for _ in 0..7 {
        world.engine.turn(world.now);
    }
    assert!(world.take(late).is_empty(), "it has waited for less than the others");
    world.turn();
    assert_eq!(answered(&world), 1000);
    assert!(!world.take(late).is_empty());
}

#[test]
fn messages_that_inflate_to_much_take_turns_with_everybody_elses() {
    let mut world = World::new(Limits { read_budget: 1 << 20, ..Limits::default() });
    let bomber = world.open_with("/a", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    let bystander = world.open("/b");
    let bomb = masked(0xc2, &deflated(&vec![0; 1 << 20]));
    world.send(bomber, &bomb.repeat(10));
    for turn in 1..=10 {
        world.send_text(bystander, "only me");
        world.engine.turn(world.now);
        world.engine.check_invariants();
        assert_eq!(world.texts(bystander), ["only you"]);
        assert_eq!(world.metrics.messages.get(), 2 * turn, "one of each a turn");
    }
}

#[test]
fn row_16_of_part_2_bombs_on_many_connections_take_turns_and_hold_up_nobody() {
    let budgets = Limits { read_budget: 1 << 20, inflate_budget: 4 << 20, ..Limits::default() };
    let mut world = World::new(budgets);
    let bomb = masked(0xc2, &deflated(&vec![0; 1 << 20]));
    let bombers: Vec<usize> = (0..50)
        .map(|i| world.open_with(&format!("/bomb/{i}"), "Sec-WebSocket-Extensions: permessage-deflate\r\n"))
        .collect();
    let bystander = world.open("/bystander");
    for bomber in &bombers {
        world.send(*bomber, &bomb.repeat(3));
    }
    let mut all = world.metrics.messages.get();
    for _ in 0..25 {
        world.send_text(bystander, "only me");
        world.engine.turn(world.now);
        world.engine.check_invariants();
        assert_eq!(world.texts(bystander), ["only you"]);
        let inflated = world.metrics.messages.get() - all - 1;
        assert!(inflated <= 4, "{inflated} bombs in a turn");
        all = world.metrics.messages.get();
    }
    let told = world.told();
    for bomber in 0..50 {
        let own = format!("message /bomb/{bomber} (binary)");
        assert!((1..=3).contains(&told.iter().filter(|line| **line == own).count()), "each in its turn");
    }
    world.turn();
    assert_eq!(world.told().iter().filter(|line| line.starts_with("message /bomb")).count(), 150);
}

/// One message as RFC 7692 §7.2.1 has it compressed.
fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; payload.len() + 100];
    let mut stream = zlib_rs::Deflate::new(6, false, 15);
    stream.compress(payload, &mut out, zlib_rs::DeflateFlush::SyncFlush).unwrap();
    out.truncate(stream.total_out() as usize - 4);
    out
}

#[test]
fn row_25_of_part_2_many_who_send_tiny_messages_as_fast_as_they_can_leave_the_turn_to_others() {
    let mut world = World::new(Limits { frame_budget: 100, ..Limits::default() });
    let flooders: Vec<usize> = (0..20).map(|_| world.open("/flood")).collect();
    let pings = world.open("/flood");
    let asks = world.connect();
    let bystander = world.open("/bystander");
    let handled = |world: &World| world.metrics.messages.get();
    let before = handled(&world);
    for flooder in &flooders {
        world.send(*flooder, &masked(0x81, b"only me").repeat(4000));
    }
    world.send(pings, &masked(0x89, b"?").repeat(1000));
    world.send(asks, &b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000));
    world.send_text(bystander, "only me");
    world.engine.turn(world.now);
    assert_eq!(world.texts(bystander), ["only you"]);
    assert_eq!(handled(&world) - before, 20 * 100 + 1);
    assert_eq!(world.metrics.requests.get(), 7, "a request counts for 16 frames");
    assert_eq!(world.frames(pings).len(), 100);
    // Nothing is lost for it.
    world.turn();
    assert_eq!(handled(&world) - before, 20 * 4000 + 1);
    assert_eq!(world.metrics.requests.get(), 1000);
    assert_eq!(world.frames(pings).len(), 900);
    for flooder in flooders {
        assert_eq!(world.texts(flooder).len(), 4000);
    }
}
