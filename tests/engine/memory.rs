//! The memory budget: what is in use is known, and what is given up when that is nearly all.

use std::time::Duration;

use fanline::Limits;
use fanline::metrics::memory::Class;

use crate::world::{World, handshake, masked};

/// A budget without the buffers that are kept for long messages.
fn limits(memory_budget: usize) -> Limits {
    Limits { memory_budget, spare_bytes_max: 0, read_budget: 16 << 10, ..Limits::default() }
}

/// The beginning of a binary message of 16 MiB: its header, and so many bytes.
fn part(len: usize) -> Vec<u8> {
    let mut frame = vec![0x82, 0xff];
    frame.extend((16u64 << 20).to_be_bytes());
    frame.extend([0; 4]);
    frame.resize(frame.len() + len, b'x');
    frame
}

fn holder(world: &mut World, bytes: usize) -> usize {
    let client = world.open("/holds");
    world.send(client, &part(bytes));
    world.turn();
    client
}

fn used(world: &World) -> usize {
    let memory = &world.metrics.memory;
    let sum: usize = Class::ALL.into_iter().map(|class| memory.get(class)).sum();
    assert_eq!(memory.total(), sum);
    sum
}

#[test]
fn all_that_is_used_is_known_by_its_class_and_none_is_left_when_all_have_gone() {
    let mut world = World::new(Limits::default());
    let get = |world: &World, class| world.metrics.memory.get(class);
    assert_eq!(used(&world), 0);

    let silent = world.connect();
    assert!(get(&world, Class::Connections) > 100);
    world.send(silent, &handshake("/a").as_bytes()[..50]);
    world.turn();
    assert!((50..1000).contains(&get(&world, Class::Incoming)), "{}", get(&world, Class::Incoming));
    holder(&mut world, 100_000);
    // Room is made for as much again as has come.
    assert!((100_000..300_000).contains(&get(&world, Class::Incoming)), "{}", get(&world, Class::Incoming));

    let stalled = world.open("/stalls");
    world.narrow(stalled, 100);
    for _ in 0..5 {
        world.send_text(stalled, "big");
        world.turn();
    }
    assert!((50_000..200_000).contains(&get(&world, Class::Outgoing)), "{}", get(&world, Class::Outgoing));

    world.open("/kept/json?json&user=ann");
    let author = world.open("/kept/json?user=bob");
    let before = (get(&world, Class::Logs), get(&world, Class::Rooms));
    for _ in 0..3 {
        world.send_text(author, &"x".repeat(30_000));
        world.turn();
    }
    assert!(get(&world, Class::Logs) - before.0 >= 2 * 3 * 30_000, "in both encodings");
    assert!(before.1 > 500);
    let deflated = world.open_with("/a", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    world.send_text(deflated, "big");
    world.pass(Duration::from_secs(6));
    assert!(get(&world, Class::Compression) > 100_000);
    used(&world);

    for client in 0..world.clients.len() {
        world.end(client);
    }
    world.pass(Duration::from_secs(100));
    assert!(world.engine.is_empty() && world.engine.rooms().is_empty());
    for class in Class::ALL {
        assert_eq!(get(&world, class), 0, "{}", class.name());
    }
    assert_eq!(used(&world), 0);
}

#[test]
fn row_2_of_part_2_at_80_percent_publishers_are_read_once_a_second() {
    let mut world = World::new(limits(1_000_000));
    let (reader, author) = (world.open("/room"), world.open("/room"));
    let hog = holder(&mut world, 415_000);
    assert!((800_000..900_000).contains(&used(&world)), "{}", used(&world));
    world.pass(Duration::from_millis(1));

    let three: Vec<u8> = ["one", "two", "three"].iter().flat_map(|t| masked(0x81, t.as_bytes())).collect();
    world.send(author, &three);
    world.turn();
    assert_eq!(world.texts(reader), ["one"]);
    world.pass(Duration::from_millis(900));
    assert_eq!(world.texts(reader), [""; 0]);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.texts(reader), ["two"]);
    // Whoever publishes nothing is served as ever.
    world.send_text(reader, "only me");
    world.turn();
    assert_eq!(world.texts(reader), ["only you"]);

    world.end(hog);
    world.turn();
    assert_eq!(world.texts(reader), ["three"]);
    world.send(author, &three);
    world.turn();
    assert_eq!(world.texts(reader), ["one", "two", "three"]);
    assert_eq!(world.metrics.shed.get(), 0);
}

#[test]
fn row_2_of_part_2_nobody_holds_up_the_publishers_for_longer_than_two_seconds() {
    let mut world = World::new(limits(1_000_000));
    let (reader, author) = (world.open("/room"), world.open("/room"));
    let small = holder(&mut world, 60_000);
    let hog = holder(&mut world, 340_000);
    assert!((800_000..900_000).contains(&used(&world)), "{}", used(&world));
    world.pass(Duration::from_millis(1900));
    assert!(!world.is_gone(hog) && world.take(hog).is_empty());
    world.pass(Duration::from_millis(300));
    assert_eq!(world.frames(hog), [(0x88, b"\x03\xf5the server is short of memory".to_vec())]);
    assert_eq!((world.metrics.shed.get(), world.is_gone(small)), (1, false));
    for text in ["one", "two"] {
        world.send_text(author, text);
        world.turn();
    }
    assert_eq!(world.texts(reader), ["one", "two"]);
}

#[test]
fn row_2_of_part_2_at_90_percent_history_gets_shorter() {
    let mut world = World::new(limits(400_000));
    let author = world.open("/kept/long");
    for _ in 0..5 {
        world.send_text(author, &"x".repeat(60_000));
        world.turn();
    }
    let history = |world: &World| world.engine.rooms().info("/kept/long").unwrap().history;
    assert_eq!(history(&world), 5);
    let hog = holder(&mut world, 30_000);
    world.turn();
    assert!(history(&world) < 5, "{} of 5 with {} bytes used", history(&world), used(&world));
    assert!(used(&world) < 360_000, "{}", used(&world));
    assert!(!world.is_gone(hog));
    assert_eq!(world.metrics.shed.get(), 0);
}

#[test]
fn row_2_of_part_2_at_95_percent_who_holds_the_most_goes_first() {
    let mut world = World::new(limits(1_000_000));
    // Each holds so little that it is ended only once nobody holds more.
    let many: Vec<usize> = (0..30).map(|_| world.open("/holds")).collect();
    let modest = holder(&mut world, 80_000);
    let hog = holder(&mut world, 200_000);
    let is_told = |world: &mut World, client: usize| {
        let last = world.frames(client).pop();
        last.is_some_and(|last| last == (0x88, b"\x03\xf5the server is short of memory".to_vec()))
    };
    let mut went = Vec::new();
    for client in &many {
        world.send(*client, &part(17_000));
        world.turn();
        for client in [hog, modest].iter().chain(&many) {
            if is_told(&mut world, *client) {
                went.push(*client);
            }
        }
        assert!(used(&world) < 1_000_000, "{}", used(&world));
    }
    assert_eq!(went[..2], [hog, modest]);
    assert_eq!(went.len() as u64, world.metrics.shed.get());
    assert!(went.len() < 16, "{} had to go", went.len());
}

#[test]
fn row_2_of_part_2_at_95_percent_nobody_comes() {
    let mut world = World::new(limits(0));
    let many: Vec<usize> = (0..300).map(|_| world.open("/stays")).collect();
    // What is used is not what anybody could be ended for.
    world.engine.set_machine_memory(Some(2 * used(&world)));
    let late = world.connect();
    world.turn();
    let answer = world.answer(late);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("the server is short of memory"), "{answer}");
    world.pass(Duration::from_secs(5));
    assert_eq!(world.metrics.shed.get(), 0);
    for client in many {
        assert!(!world.is_gone(client));
        world.end(client);
    }
    world.pass(Duration::from_secs(10));
    world.open("/again");
}

#[test]
fn row_2_of_part_2_logs_that_wait_for_stalled_members_go_first_where_they_are_the_most() {
    let mut world = World::new(Limits { room_log_bytes_max: 4 << 20, ..limits(1_000_000) });
    let (author, stalled) = (world.open("/slow"), world.open("/slow"));
    let bystander = world.open("/skip");
    world.narrow(stalled, 0);
    let mut published = 0;
    while world.metrics.passed.get() == 0 {
        world.send_text(author, &"x".repeat(60_000));
        world.turn();
        published += 1;
        assert!(used(&world) < 1_000_000 + 70_000, "{}", used(&world));
        world.pass(Duration::from_millis(1000));
        assert!(published < 60, "somebody has to give way");
    }
    assert!(published > 5, "{published}");
    world.widen(stalled, usize::MAX);
    world.turn();
    assert_eq!(world.frames(stalled), [(0x88, b"\x03\xf5too slow for the room".to_vec())]);
    let long: Vec<bool> = world.texts(author).iter().map(|text| text.len() == 60_000).collect();
    assert_eq!(long.iter().filter(|is_long| **is_long).count(), published, "who keeps up has it all");
    assert_eq!((world.metrics.shed.get(), world.is_gone(bystander)), (0, false));
}

#[test]
fn row_2_of_part_2_whatever_they_do_together_the_budget_is_kept() {
    const BUDGET: usize = 4 << 20;
    let mut limits = Limits { message_bytes_max: 1 << 20, room_log_bytes_max: 1 << 20, ..limits(BUDGET) };
    limits.spare_bytes_max = 1 << 20;
    let margin = limits.read_budget + 2 * limits.message_bytes_max;
    let mut world = World::new(limits);
    let mut most = 0;
    for round in 0..30 {
        for kind in 0..40 {
            let client = world.connect();
            match kind % 5 {
                0 => world.send(client, format!("GET / HTTP/1.1\r\nHost: {}", "x".repeat(9000)).as_bytes()),
                1 => world.send(client, b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n"),
                _ => world.send(client, handshake(&format!("/kept/{}", kind % 7)).as_bytes()),
            }
            world.turn();
            match kind % 5 {
                1 => world.send(client, &vec![b'x'; 150_000]),
                2 => world.send(client, &part(200_000)),
                3 => {
                    world.narrow(client, 10);
                    world.send(client, &masked(0x81, b"big").repeat(30));
                }
                4 => world.send(client, &masked(0x81, &vec![b'y'; 50_000]).repeat(5)),
                _ => {}
            }
            world.turn();
            most = most.max(used(&world));
        }
        world.pass(Duration::from_millis(500));
        assert!(most <= BUDGET + margin, "{most} in round {round}");
    }
    assert!(most > BUDGET / 100 * 90, "it was put to the test: {most}");
    for client in 0..world.clients.len() {
        world.end(client);
    }
    world.pass(Duration::from_secs(200));
    assert_eq!(used(&world), 0);
}

/// A whole binary message of so many bytes.
fn long(len: usize) -> Vec<u8> {
    let mut frame = vec![0x82, 0xff];
    frame.extend((len as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.resize(frame.len() + len, b'x');
    frame
}

#[test]
fn row_2_of_part_2_one_long_publication_to_many_slow_members_is_held_and_counted_once() {
    let mut world = World::new(limits(4_000_000));
    let members: Vec<usize> = (0..20).map(|_| world.open("/room")).collect();
    let author = world.open("/room");
    members.iter().for_each(|member| world.narrow(*member, 10_000));
    world.send(author, &long(500_000));
    world.turn();
    assert!((500_000..1_500_000).contains(&used(&world)), "{}", used(&world));
    assert_eq!(world.metrics.shed.get(), 0);
    for member in members {
        world.widen(member, usize::MAX);
        world.turn();
        assert_eq!(world.frames(member), [(0x82, vec![b'x'; 500_000])]);
    }
    assert!(used(&world) < 100_000, "{}", used(&world));
}

#[test]
fn row_2_of_part_2_who_keeps_the_end_of_a_long_publication_keeps_all_of_it_and_is_ended_for_it() {
    let limits = Limits { room_log_bytes_max: 100_000, ..limits(4_000_000) };
    let margin = limits.read_budget + 2 * 900_000;
    let mut world = World::new(limits);
    let author = world.open("/room");
    for round in 1..=3 {
        let member = world.open("/room");
        world.narrow(member, 899_000);
        world.send(author, &long(900_000));
        world.turn();
        let logs = world.metrics.memory.get(Class::Logs);
        assert!(logs >= round * 900_000, "{logs} in round {round}");
    }
    assert_eq!(world.metrics.shed.get(), 0);
    for _ in 0..5 {
        let member = world.open("/room");
        world.narrow(member, 899_000);
        world.send(author, &long(900_000));
        world.turn();
        assert!(used(&world) <= 4_000_000 + margin, "{}", used(&world));
        world.pass(Duration::from_millis(1100));
        assert!(used(&world) < 3_800_000, "{}", used(&world));
    }
    assert!((1..8).contains(&world.metrics.shed.get()), "{}", world.metrics.shed.get());
    assert!(!world.is_gone(author));
}

#[test]
fn row_2_of_part_2_many_who_hold_little_do_not_pass_the_budget_together() {
    let limits = limits(4_000_000);
    let ceiling = 4_000_000 + limits.read_budget + (64 << 10);
    let mut world = World::new(limits);
    let holders: Vec<usize> = (0..300).map(|_| world.open("/holds")).collect();
    for round in 0..4 {
        for holder in &holders {
            if !world.is_gone(*holder) {
                world.send(*holder, &if round == 0 { part(10_000) } else { vec![b'x'; 10_000] });
                world.turn();
                assert!(used(&world) <= ceiling, "{} in round {round}", used(&world));
            }
        }
    }
    assert!(world.metrics.shed.get() > 0);
}

#[test]
fn row_2_of_part_2_many_who_hold_little_hold_up_the_publishers_for_two_seconds_at_most() {
    let mut world = World::new(limits(4_000_000));
    let (reader, author) = (world.open("/room"), world.open("/room"));
    let mut holders = Vec::new();
    while used(&world) < 3_240_000 {
        holders.push(holder(&mut world, 20_000));
    }
    assert!(used(&world) < 3_600_000, "{}", used(&world));
    world.pass(Duration::from_millis(2200));
    assert!(used(&world) < 3_200_000, "{}", used(&world));
    for text in ["one", "two", "three"] {
        world.send_text(author, text);
        world.turn();
    }
    assert_eq!(world.texts(reader), ["one", "two", "three"]);
    let mut closed = |holder: usize| world.frames(holder).iter().any(|(first, _)| *first == 0x88);
    let gone = holders.iter().filter(|holder| closed(**holder)).count();
    assert_eq!(gone as u64, world.metrics.shed.get());
    assert!((1..20).contains(&gone), "{gone} of {}", holders.len());
}

#[test]
fn row_2_of_part_2_what_requests_that_waited_are_answered_counts_before_it_is_sent() {
    let limits = limits(4_000_000);
    let ceiling = 4_000_000 + limits.read_budget + 2 * 100_000;
    let mut world = World::new(limits);
    for _ in 0..300 {
        let poller = world.connect();
        world.send(poller, b"GET /wait/r?since=1:0&long=1 HTTP/1.1\r\nHost: x\r\n\r\n");
        world.turn();
        world.narrow(poller, 0);
    }
    world.engine.apply(fanline::engine::Command::Publish("/r".into(), "news".into()));
    let mut asked = world.metrics.requests.get();
    while world.engine.has_work() {
        let (before, requests) = (used(&world), asked);
        world.engine.turn(world.now);
        world.engine.check_invariants();
        asked = world.metrics.requests.get();
        let answered = (asked - requests) as usize;
        assert!(before + answered * 100_000 <= ceiling, "{answered} answers on top of {before}");
    }
}

#[test]
fn row_2_of_part_2_what_comes_behind_a_ping_counts_at_once() {
    let limits = limits(1_000_000);
    let ceiling = 1_000_000 + limits.read_budget + 64_000;
    let mut world = World::new(limits);
    let clients: Vec<usize> = (0..50).map(|_| world.open("/holds")).collect();
    for client in &clients {
        world.send(*client, &[masked(0x89, b"?"), part(60_000)].concat());
    }
    world.engine.turn(world.now);
    world.engine.check_invariants();
    let is_read = |client: &&usize| world.clients[**client].pipe.borrow().to_engine.is_empty();
    let taken = clients.iter().filter(is_read).count() * 60_000;
    assert!(taken <= ceiling, "{taken} bytes");
}

#[test]
fn row_2_of_part_2_what_a_transport_keeps_itself_is_counted_as_it_comes_and_goes() {
    let mut world = World::new(Limits::default());
    let author = world.open("/room");
    let members: Vec<usize> = (0..20).map(|_| world.open("/room")).collect();
    for member in &members {
        world.narrow(*member, 0);
        world.clients[*member].pipe.borrow_mut().swallows = 50_000;
    }
    world.send_text(author, &"x".repeat(10_000));
    world.turn();
    let tls = |world: &World| world.metrics.memory.get(Class::Tls);
    assert_eq!(tls(&world), 20 * 10_004);
    for member in &members {
        world.widen(*member, usize::MAX);
    }
    world.engine.check_invariants();
    assert_eq!(tls(&world), 0);
}

#[test]
fn row_2_of_part_2_who_waits_for_the_walk_while_memory_is_short_waits_for_memory_too() {
    let mut world = World::new(Limits { room_log_bytes_max: 1000, ..limits(1_000_000) });
    let (reader, author) = (world.open("/room"), world.open("/room"));
    holder(&mut world, 415_000);
    assert!((800_000..900_000).contains(&used(&world)), "{}", used(&world));
    world.pass(Duration::from_millis(1));
    world.send(author, &masked(0x81, &[b'x'; 600]).repeat(4));
    world.pass(Duration::from_millis(900));
    assert_eq!(world.texts(reader).len(), 1);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.texts(reader).len(), 1);
}

#[test]
fn row_2_of_part_2_keys_of_publications_go_when_they_are_too_old_whether_or_not_more_come() {
    let mut world = World::new(Limits { idempotency_age: Duration::from_secs(10), ..Limits::default() });
    let _member = world.open("/r");
    let client = world.connect();
    let rooms = |world: &World| world.metrics.memory.get(Class::Rooms);
    for key in 0..500 {
        let answer = world.ask(client, "POST /wait/r", &format!("key: {key:0100}\r\n"), "news");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(rooms(&world) > 50_000, "{}", rooms(&world));
    world.pass(Duration::from_secs(20));
    assert!(rooms(&world) < 10_000, "{}", rooms(&world));
}
