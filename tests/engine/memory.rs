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
fn row_2_of_part_2_at_95_percent_who_holds_the_most_goes_and_nobody_comes() {
    let mut world = World::new(limits(1_000_000));
    // Each holds too little to be ended for it.
    let many: Vec<usize> = (0..30).map(|_| world.open("/holds")).collect();
    let modest = holder(&mut world, 80_000);
    let hog = holder(&mut world, 200_000);
    for client in &many {
        world.send(*client, &part(17_000));
        world.turn();
    }
    assert!(used(&world) > 950_000, "{}", used(&world));
    assert!(world.metrics.shed.get() >= 2, "{}", world.metrics.shed.get());
    for gone in [hog, modest] {
        assert_eq!(world.frames(gone).pop(), Some((0x88, b"\x03\xf5the server is short of memory".to_vec())));
    }
    let late = world.connect();
    world.turn();
    let answer = world.answer(late);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("the server is short of memory"), "{answer}");
    for client in many {
        assert!(!world.is_gone(client));
        world.end(client);
    }
    world.turn();
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
