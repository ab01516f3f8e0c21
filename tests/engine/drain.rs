//! Draining: readiness, the pace, the last words, and the hints when to come back.

use std::time::Duration;

use fanline::Limits;

use crate::world::{World, handshake, masked};

const SECOND: Duration = Duration::from_secs(1);

/// The hint in a Close frame of the server, in milliseconds.
fn hint(frame: &(u8, Vec<u8>)) -> Option<u64> {
    let (0x88, [0x03, 0xe9, reason @ ..]) = (frame.0, frame.1.as_slice()) else { return None };
    let reason = std::str::from_utf8(reason).unwrap();
    Some(reason.strip_prefix("retry in ").unwrap().strip_suffix(" ms").unwrap().parse().unwrap())
}

#[test]
fn row_5_of_part_2_a_drain_closes_at_an_even_pace_and_spreads_who_comes_back() {
    let limits = Limits { drain_rate: 50, drain_duration: 4 * SECOND, ..Limits::default() };
    let mut world = World::new(limits);
    let clients: Vec<usize> = (0..400).map(|_| world.open("/a")).collect();
    world.engine.drain(world.now);
    let (mut hints, mut per_step, mut order) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..=40 {
        let mut closed = 0;
        for (at, client) in clients.iter().enumerate() {
            // Whoever goes, the others hear of it.
            for frame in world.frames(*client).into_iter().filter(|frame| frame.0 == 0x88) {
                hints.push(hint(&frame).expect("a Close with a hint"));
                order.push(at);
                closed += 1;
                world.send(*client, &masked(0x88, &[3, 233]));
                world.end(*client);
            }
        }
        if step > 0 {
            per_step.push(closed);
        }
        world.pass(Duration::from_millis(100));
    }
    assert_eq!(hints.len(), 400);
    // 400 in four seconds are ten in each tenth of a second; a tick of the wheel is half of that.
    assert!(per_step[..39].iter().all(|count| (4..=16).contains(count)), "{per_step:?}");
    hints.sort_unstable();
    assert!(hints[0] >= 1000 && hints[399] <= 2000, "{}..{}", hints[0], hints[399]);
    let gap = hints.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(gap < 20, "400 hints over a second leave no gap of {gap} ms");
    let neighbours = order.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
    assert!(neighbours < 100, "who came together does not go together: {neighbours}");
    assert!(world.engine.is_empty());
}

#[test]
fn row_5_of_part_2_a_few_connections_are_closed_at_the_least_rate_and_not_over_the_whole_time() {
    let mut world = World::new(Limits { drain_rate: 10, ..Limits::default() });
    let clients: Vec<usize> = (0..5).map(|_| world.open("/a")).collect();
    world.engine.drain(world.now);
    world.pass(Duration::from_millis(600));
    assert!(clients.iter().all(|client| hint(&world.frames(*client)[0]).is_some()));
}

#[test]
fn readiness_is_red_first_and_connections_go_on_for_the_delay() {
    let mut world = World::new(Limits { drain_delay: 2 * SECOND, ..Limits::default() });
    let (a, web) = (world.open("/a"), world.connect());
    world.engine.drain(world.now);
    assert!(world.engine.accepts());
    world.send_text(a, "still here");
    world.pass(SECOND);
    assert_eq!(world.texts(a), ["still here"]);
    let late = world.open("/a");
    let answer = world.ask(web, "GET /x", "", "");
    assert!(answer.contains("connection: close\r\n"), "the next one goes to another server: {answer}");
    world.pass(2 * SECOND);
    assert!(!world.engine.accepts());
    assert!(hint(&world.frames(a)[0]).is_some() && hint(&world.frames(late)[0]).is_some());
}

#[test]
fn what_was_published_before_a_members_close_is_delivered_before_it() {
    let mut world = World::new(Limits::default());
    let (fast, slow) = (world.open("/kept/a"), world.open("/kept/a"));
    let reader = world.connect();
    world.ask(reader, "GET /events/kept/a", "", "");
    world.narrow(slow, 0);
    world.narrow(reader, 0);
    for text in ["one", "two", "three"] {
        world.send_text(fast, text);
        world.turn();
    }
    world.engine.drain(world.now);
    // The walk has not come round when the first are closed.
    world.send_text(fast, "four");
    world.pass(SECOND);
    world.widen(slow, usize::MAX);
    world.widen(reader, usize::MAX);
    world.pass(SECOND);
    let frames = world.frames(slow);
    let texts: Vec<_> =
        frames.iter().filter(|(first, _)| *first == 0x81).map(|(_, text)| text.as_slice()).collect();
    assert_eq!(texts[..3], [&b"one"[..], b"two", b"three"]);
    assert!(hint(frames.last().unwrap()).is_some());
    let events = world.answer(reader);
    let (three, retry) = (events.find("data: three\n\n").unwrap(), events.rfind("retry: ").unwrap());
    assert!(three < retry, "{events}");
    let ms: u64 = events[retry + 7..].strip_suffix("\n\n").unwrap().parse().unwrap();
    assert!((1000..=2000).contains(&ms), "{events}");
    assert!(world.clients[reader].pipe.borrow().shut);
}

#[test]
fn a_waiting_poll_is_answered_at_once_and_told_when_to_ask_again() {
    let mut world = World::new(Limits::default());
    let polls: Vec<usize> = (0..3).map(|_| world.connect()).collect();
    for poll in &polls {
        assert_eq!(world.ask(*poll, "GET /wait/r?since=1:0", "", ""), "");
    }
    world.engine.drain(world.now);
    world.turn();
    for poll in polls {
        let answer = world.answer(poll);
        let after = answer.split("retry-after: ").nth(1).unwrap().lines().next().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && matches!(after, "1" | "2"), "{answer}");
        assert!(answer.contains("connection: close\r\n"));
    }
}

#[test]
fn one_that_opens_while_others_are_closed_is_served_and_closed_in_its_turn() {
    let limits = Limits { drain_rate: 1, drain_duration: SECOND, ..Limits::default() };
    let mut world = World::new(limits);
    let (_first, begun, never) = (world.open("/a"), world.connect(), world.connect());
    let head = handshake("/a");
    world.send(begun, &head.as_bytes()[..20]);
    world.engine.drain(world.now);
    world.pass(Duration::from_millis(200));
    world.send(begun, &head.as_bytes()[20..]);
    world.turn();
    assert!(world.take(begun).starts_with(b"HTTP/1.1 101"));
    world.pass(2 * SECOND);
    assert!(hint(world.frames(begun).last().unwrap()).is_some());
    assert!(world.is_gone(never), "it has had time to ask");
}

#[test]
fn the_deadline_is_for_all_of_it_and_stopping_cuts_the_pace_short() {
    let mut world = World::new(Limits { drain_rate: 1, shutdown_deadline: 2 * SECOND, ..Limits::default() });
    let clients: Vec<usize> = (0..10).map(|_| world.open("/a")).collect();
    world.engine.drain(world.now);
    world.pass(Duration::from_millis(1200));
    // Half of the deadline is for the pace.
    assert!(clients.iter().all(|client| hint(&world.frames(*client)[0]).is_some()));
    assert!(!world.engine.is_overdue());
    world.pass(SECOND);
    assert!(world.engine.is_overdue());
    let mut world = World::new(Limits { drain_rate: 1, ..Limits::default() });
    let clients: Vec<usize> = (0..3).map(|_| world.open("/a")).collect();
    world.engine.drain(world.now);
    world.turn();
    world.engine.stop(world.now);
    world.turn();
    assert!(clients.iter().all(|client| world.frames(*client).last().unwrap().0 == 0x88));
}

#[test]
fn row_20_of_part_2_rooms_go_on_in_another_engine_with_the_same_epoch_and_the_next_offset() {
    let mut old = World::new(Limits::default());
    let (member, poller) = (old.open("/kept/a"), old.connect());
    for text in ["one", "two", "three"] {
        old.send_text(member, text);
        old.turn();
    }
    old.ask(poller, "POST /wait/kept/b", "key: k\r\n", "four");
    old.texts(member);
    let rooms = old.engine.freeze().unwrap();
    // What comes now is not read: it is not lost between the two.
    old.send_text(member, "five");
    old.pass(SECOND);
    assert_eq!(old.texts(member), [""; 0]);
    assert!(!old.engine.has_work(), "it does not spin meanwhile");
    let mut new = World::new(Limits::default());
    assert_eq!(new.engine.restore(&rooms, new.now), Ok(2));
    let since = |world: &mut World, position: &str| {
        let poll = world.connect();
        let answer = world.ask(poll, &format!("GET /wait/kept/a?since={position}"), "", "");
        answer.split("\r\n\r\n").nth(1).unwrap_or_default().trim().to_owned()
    };
    assert_eq!(since(&mut new, "1:1"), "true 1:2 1:3");
    let back = new.open_and_replay("/kept/a?since=1:2");
    assert_eq!(new.texts(back), ["three"]);
    new.send_text(back, "next");
    new.turn();
    assert_eq!((new.texts(back), since(&mut new, "1:3")), (vec!["next".to_owned()], "true 1:4".to_owned()));
    let retry = new.connect();
    let answer = new.ask(retry, "POST /wait/kept/b", "key: k\r\n", "four");
    assert!(answer.ends_with("2:1 true\n"), "it is not published again: {answer}");
    let other = new.connect();
    let answer = new.ask(other, "POST /wait/elsewhere", "", "x");
    assert!(answer.ends_with("3:1 false\n"), "no epoch is used twice: {answer}");
    // The new one has not made it: nothing has happened.
    old.engine.thaw();
    old.turn();
    assert_eq!(old.texts(member), ["five"]);
    // This time it has: what a member says now is not taken, and it is told to come back.
    old.engine.freeze().unwrap();
    old.engine.hand_over(old.now);
    old.send_text(member, "too late");
    old.pass(SECOND);
    let frames = old.frames(member);
    assert_eq!(frames.len(), 1);
    assert!(hint(&frames[0]).is_some());
}

#[test]
fn rooms_that_are_not_whole_are_refused_and_a_room_waits_for_its_members() {
    let mut old = World::new(Limits::default());
    let member = old.open("/a");
    old.send_text(member, "one");
    old.turn();
    let rooms = old.engine.freeze().unwrap();
    let mut new = World::new(Limits::default());
    assert!(new.engine.restore(&rooms[..rooms.len() - 1], new.now).is_err());
    let mut new = World::new(Limits::default());
    new.engine.restore(&rooms, new.now).unwrap();
    new.pass(20 * SECOND);
    let back = new.open_and_replay("/a?since=1:1");
    assert_eq!(new.texts(back), [""; 0], "nothing is missing, though the room keeps no history");
    new.end(back);
    new.pass(60 * SECOND);
    assert!(new.engine.rooms().is_empty());
}
