//! Rooms through the engine: fan-out, slow readers, fairness.

use fanline::app::{App, Mode, Pattern, Route};
use fanline::engine::Command;
use fanline::{Keep, Lag, Limits};

use crate::world::{World, masked};

#[test]
fn row_37_everybody_in_the_room_gets_every_message_in_one_order_the_sender_too() {
    let mut world = World::new(Limits { walk_slice: 2, ..Limits::default() });
    let members: Vec<usize> = (0..7).map(|_| world.open("/room")).collect();
    let stranger = world.open("/elsewhere");
    for (i, member) in members.iter().enumerate() {
        world.send_text(*member, &format!("from {i}"));
    }
    world.turn();
    let first = world.texts(members[0]);
    assert_eq!(first.len(), 7);
    for member in &members[1..] {
        assert_eq!(world.texts(*member), first);
    }
    assert_eq!(world.frames(stranger), []);
}

#[test]
fn several_messages_pending_for_one_member_are_one_write() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.open("/room"), world.open("/room"));
    world.send(a, &[masked(0x81, b"1"), masked(0x82, b"2"), masked(0x81, b"3")].concat());
    let before = world.clients[b].pipe.borrow().writes;
    world.turn();
    assert_eq!(world.clients[b].pipe.borrow().writes, before + 1);
    assert_eq!(world.frames(b), [(0x81, b"1".to_vec()), (0x82, b"2".to_vec()), (0x81, b"3".to_vec())]);
}

#[test]
fn a_slow_member_gets_everything_once_its_socket_takes_bytes_again_whatever_the_cuts() {
    for window in [0, 1, 2, 3, 100, 1000] {
        let mut world = World::new(Limits::default());
        let (a, slow) = (world.open("/room"), world.open("/room"));
        world.narrow(slow, window);
        let texts: Vec<String> = (0..50).map(|i| format!("{i} {}", "x".repeat(i * 5))).collect();
        for text in &texts {
            world.send_text(a, text);
            world.turn();
        }
        assert_eq!(world.texts(a), texts);
        // What it was sent so far, and then seven bytes at a time.
        while {
            world.widen(slow, 7);
            world.turn();
            world.clients[slow].pipe.borrow().window == 0
        } {}
        assert_eq!(world.texts(slow), texts, "window {window}");
        assert_eq!(world.engine.rooms().log_bytes(), 0);
    }
}

#[test]
fn a_member_whom_the_log_has_passed_is_closed_with_1013_and_the_others_go_on() {
    let mut world = World::new(Limits { room_log_bytes_max: 2000, ..Limits::default() });
    let (a, stalled) = (world.open("/room"), world.open("/room"));
    world.narrow(stalled, 0);
    for i in 0..100 {
        world.send_text(a, &format!("{i} {}", "x".repeat(100)));
        world.turn();
        assert!(world.engine.rooms().log_bytes() <= 2000);
    }
    assert_eq!(world.texts(a).len(), 100);
    assert_eq!((world.engine.rooms().members("/room"), world.metrics.passed.get()), (1, 1));
    world.widen(stalled, usize::MAX);
    world.turn();
    assert_eq!(world.frames(stalled).last().unwrap().1[..2], 1013u16.to_be_bytes());
}

/// A member is stalled while a hundred messages pass, and then is not.
fn stall(path: &str) -> (World, usize, Vec<String>) {
    let mut world = World::new(Limits { room_log_bytes_max: 2000, ..Limits::default() });
    let (a, stalled) = (world.open(path), world.open(path));
    world.narrow(stalled, 0);
    for i in 0..100 {
        world.send_text(a, &format!("{i} {}", "x".repeat(100)));
        world.turn();
        assert!(world.engine.rooms().log_bytes() <= 2000);
    }
    assert_eq!(world.texts(a).len(), 100, "the others are not held up");
    world.widen(stalled, 30);
    world.turn();
    world.widen(stalled, usize::MAX);
    world.turn();
    let first = |text: String| text.split(' ').next().unwrap().to_owned();
    let texts = world.texts(stalled).into_iter().map(first).collect();
    (world, stalled, texts)
}

#[test]
fn row_2_and_3_of_part_2_a_stalled_member_skips_and_is_told_how_many() {
    let (mut world, stalled, texts) = stall("/skip");
    let skipped = world.metrics.skipped.get();
    assert_eq!(texts[0], format!("{{\"skipped\":{skipped}}}"));
    let want: Vec<String> = (skipped..100).map(|i| i.to_string()).collect();
    assert!(skipped > 80 && texts[1..] == want, "{texts:?}");
    assert_eq!(world.engine.rooms().info("/skip").unwrap().skipped, skipped);
    world.send_text(stalled, "on it goes");
    world.turn();
    assert_eq!(world.texts(stalled), ["on it goes"]);
}

#[test]
fn row_3_of_part_2_what_a_rooms_slow_members_were_not_sent_is_told_to_who_asks_for_the_room() {
    let plain = Route::new(Pattern::parse("/skip").unwrap(), Mode::Room);
    let app = App::new(vec![Route { lag: Lag::Skip, keep: Keep::default(), ..plain }]);
    let mut world = World::with_handler(app, Limits { room_log_bytes_max: 2000, ..Limits::default() });
    let (member, stalled, asking) = (world.open("/skip"), world.open("/skip"), world.connect());
    assert!(world.ask(asking, "GET /rooms/skip", "", "").ends_with("\"skipped\":0,\"users\":0}\n"));
    world.narrow(stalled, 0);
    for _ in 0..100 {
        world.send_text(member, &"x".repeat(100));
        world.turn();
    }
    world.widen(stalled, usize::MAX);
    world.turn();
    let skipped = format!("\"skipped\":{}", world.metrics.skipped.get());
    assert!(world.metrics.skipped.get() > 80);
    for target in ["/rooms/skip", "/rooms"] {
        let answer = world.ask(asking, &format!("GET {target}"), "", "");
        assert!(answer.contains(&skipped), "{answer}");
    }
}

#[test]
fn row_2_and_3_of_part_2_a_stalled_member_goes_on_with_the_newest() {
    let (mut world, stalled, texts) = stall("/latest");
    assert_eq!((texts.as_slice(), world.metrics.skipped.get()), (&["99".to_owned()][..], 99));
    world.send_text(stalled, "on it goes");
    world.turn();
    assert_eq!(world.texts(stalled), ["on it goes"]);
}

#[test]
fn row_4_of_part_2_a_blocked_reader_gets_its_pong_before_what_waits() {
    let mut world = World::new(Limits::default());
    let a = world.open("/a");
    world.narrow(a, 5);
    world.send_text(a, "big");
    world.send_text(a, "big");
    world.turn();
    world.send(a, &masked(0x89, b"alive?"));
    world.turn();
    world.widen(a, usize::MAX);
    world.turn();
    let kinds: Vec<u8> = world.frames(a).iter().map(|(first, _)| *first).collect();
    assert_eq!(kinds, [0x82, 0x8a, 0x82], "after the frame that had begun, before the one that had not");
}

#[test]
fn a_peer_that_does_not_read_its_replies_is_not_read_either() {
    let limits = Limits { outbound_bytes_high: 30_000, outbound_bytes_low: 5_000, ..Limits::default() };
    let mut world = World::new(limits);
    let a = world.open("/a");
    world.narrow(a, 0);
    for _ in 0..20 {
        world.send_text(a, "big");
    }
    world.turn();
    assert_eq!(world.metrics.messages.get(), 3, "the third reply passed the mark");
    world.widen(a, usize::MAX);
    world.turn();
    assert_eq!(world.frames(a).len(), 20);
}

#[test]
fn a_publisher_that_outruns_the_walk_waits_and_nobody_is_lost() {
    let limits =
        Limits { room_log_bytes_max: 20_000, walk_slice: 1, read_budget: 1 << 20, ..Limits::default() };
    let mut world = World::new(limits);
    let publisher = world.open("/room");
    let members: Vec<usize> = (0..20).map(|_| world.open("/room")).collect();
    for i in 0..200 {
        world.send_text(publisher, &format!("{i:04} {}", "x".repeat(995)));
    }
    world.turn();
    for member in members {
        assert_eq!(world.texts(member).len(), 200);
    }
    assert_eq!(world.metrics.passed.get(), 0);
}

#[test]
fn a_publisher_goes_on_when_all_for_whose_sake_it_waited_have_gone() {
    let mut world = World::new(Limits { room_log_bytes_max: 2000, ..Limits::default() });
    let publisher = world.open("/elsewhere");
    let member = world.open("/kept");
    for i in 0..30 {
        world.send_text(publisher, &format!("to /kept {}", "x".repeat(i * 10)));
    }
    // The room is crowded before the walk has come to its member, and then the member goes.
    world.end(member);
    world.turn();
    assert_eq!(world.metrics.messages.get(), 30);
    world.send_text(publisher, "bye");
    world.turn();
    assert!(world.frames(publisher).iter().any(|(first, _)| *first == 0x88));
}

#[test]
fn many_members_who_send_much_at_once_cost_nobody_a_message() {
    let limits = Limits { room_log_bytes_max: 20_000, walk_slice: 1, ..Limits::default() };
    let mut world = World::new(limits);
    let members: Vec<usize> = (0..20).map(|_| world.open("/room")).collect();
    for member in &members {
        for _ in 0..3 {
            world.send_text(*member, &"x".repeat(15_000));
        }
    }
    for _ in 0..1000 {
        world.engine.turn(world.now);
        let held = world.engine.rooms().log_bytes();
        assert!(held <= 20_000 + 15_004, "{held} bytes");
    }
    world.turn();
    for member in members {
        assert_eq!(world.texts(member).len(), 60);
    }
    assert_eq!((world.metrics.passed.get(), world.metrics.publications_unheard.get()), (0, 0));
}

#[test]
fn a_message_from_elsewhere_is_served_between_two_slices_of_a_walk() {
    let mut world = World::new(Limits { walk_slice: 10, ..Limits::default() });
    let members: Vec<usize> = (0..100).map(|_| world.open("/room")).collect();
    let bystander = world.open("/alone");
    world.engine.apply(Command::Publish("/room".into(), "to all".into()));
    world.engine.turn(world.now);
    let served = members.iter().filter(|m| !world.clients[**m].pipe.borrow().to_peer.is_empty()).count();
    assert_eq!(served, 10);
    world.send_text(bystander, "only me");
    world.engine.turn(world.now);
    assert_eq!(world.texts(bystander), ["only you"]);
    world.turn();
    for member in members {
        assert_eq!(world.texts(member), ["to all"]);
    }
}

#[test]
fn long_messages_make_shorter_slices() {
    let mut world = World::new(Limits { walk_slice: 10, walk_slice_bytes: 3000, ..Limits::default() });
    let members: Vec<usize> = (0..10).map(|_| world.open("/room")).collect();
    world.engine.apply(Command::Publish("/room".into(), "x".repeat(1000).into()));
    world.engine.turn(world.now);
    let served = members.iter().filter(|m| !world.clients[**m].pipe.borrow().to_peer.is_empty()).count();
    assert_eq!(served, 3);
    world.turn();
    for member in members {
        assert_eq!(world.texts(member).len(), 1);
    }
}

#[test]
fn row_39_leaving_a_room_ends_what_it_sends() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.open("/room"), world.open("/room"));
    world.send_text(b, "leave");
    world.turn();
    world.send_text(a, "still here?");
    world.turn();
    assert_eq!((world.texts(a), world.texts(b)), (vec!["still here?".to_owned()], vec![]));
    assert_eq!(world.engine.rooms().members("/room"), 1);
}

#[test]
fn authors_who_wait_for_a_crowded_room_go_on_in_the_order_in_which_they_came() {
    let mut world = World::new(Limits { room_log_bytes_max: 1000, walk_slice: 4, ..Limits::default() });
    let authors: Vec<usize> = (0..20).map(|_| world.open("/room")).collect();
    for author in &authors {
        world.send(*author, &masked(0x81, format!("{author:0100}").as_bytes()).repeat(2000));
    }
    for _ in 0..200 {
        world.engine.turn(world.now);
        world.engine.check_invariants();
    }
    let told = world.told();
    for author in authors {
        let own = format!("message /room {author:0100}");
        let heard = told.iter().filter(|line| **line == own).count();
        assert!(heard > 2, "author {author} was heard {heard} times");
    }
}

#[test]
fn who_publishes_over_http_to_a_room_that_is_behind_is_told_to_try_again() {
    let limits = Limits { room_log_bytes_max: 1000, walk_slice: 1, ..Limits::default() };
    let mut world = World::new(limits);
    let members: Vec<usize> = (0..10).map(|_| world.open("/r")).collect();
    let poster = world.connect();
    assert!(world.ask(poster, "POST /wait/r", "", "first").starts_with("HTTP/1.1 200"));
    world.send_text(members[0], &"x".repeat(600));
    world.send(poster, b"POST /wait/r HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nsecond");
    world.engine.turn(world.now);
    world.turn();
    let answer = world.answer(poster);
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("behind"), "{answer}");
    assert!(world.ask(poster, "POST /wait/r", "", "third").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_page_of_history_is_as_long_as_it_may_be_in_json() {
    let plain = Route::new(Pattern::parse("/chat/{room}").unwrap(), Mode::Room);
    let limits = Limits { page_bytes_max: 10_000, ..Limits::default() };
    let mut world = World::with_handler(App::new(vec![plain]), limits);
    let author = world.open("/chat/a");
    for _ in 0..5 {
        world.send_text(author, &"\u{1}".repeat(1000));
    }
    world.turn();
    let client = world.connect();
    let answer = world.ask(client, "GET /rooms/a/messages", "", "");
    assert!(answer.contains("\"more\":true"), "{} bytes", answer.len());
    assert!(answer.len() < 11_000, "{} bytes", answer.len());
}
