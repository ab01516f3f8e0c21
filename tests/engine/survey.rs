//! Looks through connections and rooms: what they find, in which order, page by page, and how little of it in a turn.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fanline::engine::survey::{Findings, Mark, Order, Subject, Survey};
use fanline::{
    CloseCode, CloseReason, ConnId, Context, Exchange, Handler, Identity, Join, Keep, Limits, Message,
    Opening, Reply, Response, Start,
};

use crate::pipe::Pipe;
use crate::world::{KEEP, World, handshake};

/// A handler that is asked by `/look?…`, and whose connections are their path's user.
#[derive(Default)]
struct Warden {
    found: Vec<Findings>,
    looks: usize,
}

impl Handler for Warden {
    type State = Identity;

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        if let Some(found) = exchange.findings() {
            let text = found.matched.to_string();
            self.found.push(found);
            return Response::text(200, &text).into();
        }
        let request = exchange.request();
        let value = |name| request.query_value(name).map(|value| value.into_owned());
        if request.path() == "/events" {
            exchange.identify(Identity { user: value("user").map(Into::into), token: None });
            return Reply::Events { room: "events".into(), start: fanline::Start::Now };
        }
        self.looks += 1;
        let subject = match (value("user"), value("token"), value("room"), value("rooms"), value("one")) {
            (Some(user), ..) => Subject::User(user),
            (_, Some(token), ..) => Subject::Token(token),
            (_, _, Some(room), ..) => Subject::Members(room),
            (_, _, _, Some(prefix), _) => Subject::Rooms(prefix),
            (.., Some(id)) => Subject::One(id.parse().unwrap()),
            (None, None, None, None, None) => Subject::Everyone,
        };
        let order = match value("order").as_deref() {
            Some("lag") => Order::Lag,
            Some("delay") => Order::Delay,
            Some("bytes") => Order::Bytes,
            Some("age") => Order::Age,
            Some("members") => Order::Members,
            Some("publications") => Order::Publications,
            _ => Order::Slot,
        };
        let code = value("close").map(|code| CloseCode::new(code.parse().unwrap()).unwrap());
        let close = code.map(|code| CloseReason::new(code, "asked to").unwrap());
        let limit = value("limit").map_or(100, |limit| limit.parse().unwrap());
        let after = value("after").map(|after| after.parse::<Mark>().unwrap());
        Reply::Survey(Box::new(Survey { subject, order, after, limit, close }))
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<Identity, Response> {
        let request = opening.request();
        let room = request.path().to_owned();
        opening.keep(&room, if room == "/kept" { KEEP } else { Keep::default() }).unwrap();
        let value = |name| request.query_value(name).map(|value| value.as_ref().into());
        let start = value("last").map_or(Start::Now, |last: Arc<str>| Start::Last(last.parse().unwrap()));
        let join = Join { start, is_quiet: value("quiet").is_some(), ..Join::default() };
        opening.join_as(&room, &join).unwrap();
        Ok(Identity { user: value("user"), token: value("token") })
    }

    fn message(&mut self, _: &mut Identity, ctx: &mut Context<'_>, message: Message<'_>) {
        let rooms: Vec<_> = ctx.rooms().collect();
        for room in &rooms {
            ctx.publish(room, message);
        }
    }

    fn identity(&self, state: &Identity) -> Identity {
        state.clone()
    }
}

fn world(limits: Limits) -> World<Warden> {
    World::with_handler(Warden::default(), limits)
}

impl World<Warden> {
    fn join(&mut self, path: &str) -> usize {
        let client = self.connect();
        self.send(client, handshake(path).as_bytes());
        self.turn();
        assert!(self.take(client).starts_with(b"HTTP/1.1 101"));
        client
    }

    fn crowd(&mut self, count: usize) {
        for _ in 0..count {
            self.join("/a");
        }
    }

    /// Asks, and turns until there is an answer; what was found.
    fn look(&mut self, query: &str) -> Findings {
        let asker = self.connect();
        let answer = self.ask(asker, &format!("GET /look?{query}"), "", "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        self.end(asker);
        self.turn();
        self.found()
    }

    fn found(&mut self) -> Findings {
        // The engine lends the handler for reading only: what it has written down last is copied out.
        let last = self.engine.handler().found.last().unwrap();
        Findings {
            peers: last.peers.clone(),
            rooms: last.rooms.clone(),
            next: last.next,
            matched: last.matched,
            is_whole: last.is_whole,
            closed: last.closed,
        }
    }
}

fn ids(found: &Findings) -> Vec<ConnId> {
    found.peers.iter().map(|peer| peer.id).collect()
}

#[test]
fn a_look_through_many_takes_many_turns_and_only_one_looks_in_each() {
    let mut world = world(Limits { survey_slice: 16, ..Limits::default() });
    world.crowd(399);
    let bystander = world.join("/b");
    let askers = [world.connect(), world.connect()];
    for asker in askers {
        world.send(asker, b"GET /look?order=age HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    let mut turns = 0;
    while world.engine.has_work() {
        world.engine.turn(world.now);
        world.engine.check_invariants();
        turns += 1;
        if turns == 10 {
            // Meanwhile the others are served in the very turn in which they ask.
            world.send_text(bystander, "hello");
            world.engine.turn(world.now);
            assert_eq!(world.texts(bystander), ["hello"]);
        }
    }
    // Each connection is worth two steps, itself and its one room.
    assert!(turns >= 2 * 400 * 2 / 16, "{turns} turns");
    for asker in askers {
        assert!(world.answer(asker).contains("402"), "all of them were meant, the askers, too");
    }
}

#[test]
fn more_looks_at_a_time_than_may_be_are_told_503() {
    let mut world = world(Limits { survey_slice: 1, surveys_max: 2, ..Limits::default() });
    world.crowd(10);
    let askers: Vec<usize> = (0..3).map(|_| world.connect()).collect();
    for asker in &askers {
        world.send(*asker, b"GET /look HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    world.turn();
    let statuses: Vec<String> = askers.iter().map(|asker| world.answer(*asker)[9..12].to_owned()).collect();
    assert_eq!(statuses, ["200", "200", "503"]);
    assert_eq!(world.look("").matched, 14, "there is a place again");
}

#[test]
fn who_goes_while_it_waits_for_what_is_found_leaves_nothing_behind() {
    let mut world = world(Limits { survey_slice: 1, surveys_max: 1, ..Limits::default() });
    world.crowd(10);
    let asker = world.connect();
    world.send(asker, b"GET /look HTTP/1.1\r\nHost: x\r\n\r\n");
    world.engine.turn(world.now);
    world.end(asker);
    world.turn();
    assert!(world.is_gone(asker) && !world.engine.has_work());
    assert_eq!(world.engine.handler().found.len(), 0, "nobody was there to be told");
    assert_eq!(world.look("").matched, 11);
}

#[test]
fn a_look_that_takes_too_long_is_answered_503_and_ends() {
    let wait = Duration::from_secs(1);
    let mut world =
        world(Limits { survey_slice: 1, surveys_max: 1, survey_deadline: wait, ..Limits::default() });
    world.crowd(10);
    let asker = world.connect();
    world.send(asker, b"GET /look HTTP/1.1\r\nHost: x\r\n\r\n");
    world.engine.turn(world.now);
    world.now += 2 * wait;
    world.engine.turn(world.now);
    world.turn();
    let answer = world.answer(asker);
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("has taken too long"), "{answer}");
    assert_eq!((world.engine.handler().looks, world.engine.handler().found.len()), (1, 0));
    assert_eq!(world.look("").matched, 12);
}

#[test]
fn where_no_request_may_wait_for_news_a_look_takes_its_time_all_the_same() {
    let mut world = world(Limits { survey_slice: 1, poll_wait_max: Duration::ZERO, ..Limits::default() });
    world.crowd(10);
    let asker = world.connect();
    world.send(asker, b"GET /look HTTP/1.1\r\nHost: x\r\n\r\n");
    while world.engine.has_work() {
        world.engine.turn(world.now);
        world.now += Duration::from_millis(100);
    }
    let answer = world.answer(asker);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.trim_end().ends_with("\r\n\r\n11"), "{answer}");
}

#[test]
fn pages_show_everybody_who_stays_once_while_others_come_and_go() {
    for seed in 0..20usize {
        let mut world = world(Limits { survey_slice: 7, ..Limits::default() });
        let clients: Vec<usize> = (0..60).map(|_| world.join("/a")).collect();
        let (mut shown, mut after, mut gone) = (Vec::new(), String::new(), BTreeSet::new());
        loop {
            let order = if seed % 2 == 0 { "slot" } else { "age" };
            let found = world.look(&format!("room=/a&order={order}&limit=9{after}"));
            assert!(found.peers.len() <= 9);
            shown.extend(ids(&found));
            let Some(next) = found.next else { break };
            after = format!("&after={next}");
            // One goes, and one or two come, who may get its place.
            let leaver = clients[(seed * 13 + shown.len() * 7) % 60];
            if gone.insert(leaver) {
                world.end(leaver);
                world.turn();
            }
            world.crowd(seed % 3);
        }
        for client in clients.iter().filter(|client| !gone.contains(*client)) {
            let times = shown.iter().filter(|id| **id == world.clients[*client].id).count();
            assert_eq!(times, 1, "client {client} with seed {seed}");
        }
    }
}

#[test]
fn the_slowest_readers_come_first_with_what_they_are_owed_and_for_how_long() {
    let mut world = world(Limits::default());
    let clients: Vec<usize> = (0..20).map(|_| world.join("/a")).collect();
    for (count, client) in [(3, clients[4]), (1, clients[11])] {
        // The last to stall has the fewest to come.
        world.narrow(client, 0);
        (0..count).for_each(|_| world.send_text(clients[0], "0123456789"));
        world.pass(Duration::from_secs(count));
    }
    let found = world.look("order=lag&limit=3");
    let slow = [world.clients[clients[4]].id, world.clients[clients[11]].id];
    assert_eq!(ids(&found)[..2], slow);
    let rows: Vec<_> = found.peers.iter().map(|peer| (peer.lag, peer.owed, peer.delay.as_secs())).collect();
    assert_eq!(rows, [(4, 48, 4), (1, 12, 1), (0, 0, 0)]);
    assert_eq!(found.peers[0].age.as_secs(), 4);
    assert_eq!(&*found.peers[0].rooms.0[0], "/a");
    for order in ["bytes", "delay"] {
        assert_eq!(ids(&world.look(&format!("order={order}&limit=2"))), slow, "{order}");
    }
    let second = world.look("order=lag&limit=1").next.unwrap();
    assert_eq!(ids(&world.look(&format!("order=lag&limit=1&after={second}"))), [slow[1]]);
}

#[test]
fn a_reader_that_stalls_in_the_middle_of_a_publication_is_as_slow_as_any() {
    let mut world = world(Limits::default());
    let clients: Vec<usize> = (0..20).map(|_| world.join("/a")).collect();
    world.narrow(clients[7], 3);
    world.send_text(clients[0], "0123456789");
    world.pass(Duration::from_secs(4));
    for order in ["lag", "delay", "bytes"] {
        let found = world.look(&format!("order={order}&limit=1"));
        assert_eq!(ids(&found), [world.clients[clients[7]].id], "by {order}");
        let slow = &found.peers[0];
        assert_eq!((slow.lag, slow.owed, slow.delay.as_secs()), (1, 9, 4), "by {order}");
    }
}

#[test]
fn a_quiet_member_is_not_behind_with_what_it_has_published_itself() {
    let mut world = world(Limits::default());
    let (quiet, other) = (world.join("/a?quiet"), world.join("/a"));
    world.narrow(quiet, 0);
    world.send_text(other, "yours");
    for _ in 0..5 {
        world.turn();
        world.send_text(quiet, "mine");
    }
    let found = world.look("order=lag&limit=1");
    assert_eq!((ids(&found), found.peers[0].lag), (vec![world.clients[quiet].id], 1));
}

#[test]
fn what_was_published_before_somebody_came_waits_for_it_from_then_on() {
    let mut world = world(Limits::default());
    let author = world.connect();
    world.send(author, handshake("/kept").as_bytes());
    world.turn();
    let answer = world.take(author);
    world.send_text(author, "old");
    world.pass(Duration::from_secs(30));
    let late = world.connect();
    world.send(late, handshake("/kept?last=1").as_bytes());
    world.narrow(late, answer.len());
    world.pass(Duration::from_secs(2));
    let found = world.look("order=delay&limit=1");
    assert_eq!((ids(&found), found.peers[0].lag), (vec![world.clients[late].id], 1));
    assert_eq!(found.peers[0].delay.as_secs(), 2, "it was not there for 30 of 32 seconds");
}

#[test]
fn what_all_readers_are_behind_is_what_the_ledger_says_is_waiting() {
    for seed in 0..30u64 {
        let mut random = seed;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let limits = Limits { room_log_bytes_max: 2000, ..Limits::default() };
        let mut world = world(limits);
        let mut clients: Vec<usize> = (0..4).map(|_| world.join("/kept")).collect();
        for step in 0..150 {
            let client = clients[draw(clients.len() as u64) as usize];
            match draw(12) {
                0 if clients.len() > 2 => {
                    clients.retain(|one| *one != client);
                    world.end(client);
                }
                1 if clients.len() < 12 => {
                    let path = ["/kept?last=3", "/kept?quiet", "/a?quiet", "/a"][draw(4) as usize];
                    let late = world.connect();
                    world.send(late, handshake(path).as_bytes());
                    clients.push(late);
                }
                2 | 3 => world.narrow(client, draw(40) as usize),
                4 | 5 => world.widen(client, draw(200) as usize),
                6 => world.widen(client, usize::MAX),
                _ => world.send_text(client, &"x".repeat(1 + draw(60) as usize)),
            }
            world.turn();
            world.now += Duration::from_millis(draw(50));
            if step % 10 == 0 {
                let behind: u64 = world.look("limit=100").peers.iter().map(|peer| peer.lag).sum();
                let waiting = world.engine.ledger().outcomes.waiting();
                assert_eq!(behind, waiting, "seed {seed}, step {step}");
            }
        }
    }
}

#[test]
fn rooms_are_sorted_by_what_is_asked_for() {
    let mut world = world(Limits { survey_slice: 2, ..Limits::default() });
    for (room, members, publications) in [("/a", 1, 5), ("/b", 3, 1), ("/c", 2, 9), ("/other", 9, 9)] {
        let clients: Vec<usize> = (0..members).map(|_| world.join(room)).collect();
        (0..publications).for_each(|_| world.send_text(clients[0], "x"));
    }
    world.turn();
    let names = |found: &Findings| found.rooms.iter().map(|room| room.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&world.look("rooms=/&order=members&limit=2")), ["/other", "/b"]);
    assert_eq!(names(&world.look("rooms=/&order=publications")), ["/c", "/other", "/a", "/b"]);
    let found = world.look("rooms=/o");
    assert_eq!((names(&found), found.matched), (vec!["/other".to_owned()], 1));
}

#[test]
fn all_connections_of_a_user_are_closed_and_nobody_elses() {
    let mut world = world(Limits { survey_slice: 3, ..Limits::default() });
    let marys: Vec<usize> = (0..5).map(|i| world.join(&format!("/room{i}?user=mary&token=t{i}"))).collect();
    let johns: Vec<usize> = (0..5).map(|i| world.join(&format!("/room{i}?user=john"))).collect();
    let reader = world.connect();
    let head = world.ask(reader, "GET /events?user=mary", "", "");
    assert!(head.contains("text/event-stream"), "{head}");
    let found = world.look("token=t3&close=4001");
    assert_eq!((found.matched, found.closed), (1, 1));
    assert_eq!(world.frames(marys[3])[0].1, b"\x0f\xa1asked to");
    let found = world.look("user=mary&close=1008&limit=2");
    assert_eq!(
        (found.matched, found.closed),
        (6, 5),
        "one is being closed already; a reader of events is hers, too"
    );
    for mary in [0, 1, 2, 4].map(|at| marys[at]) {
        assert_eq!(world.frames(mary)[0].1, b"\x03\xf0asked to");
    }
    world.end(reader);
    world.turn();
    assert!(world.is_gone(reader));
    for john in johns {
        assert_eq!(world.frames(john), []);
        assert!(!world.is_gone(john));
    }
}

#[test]
fn what_was_to_be_closed_is_closed_also_when_whoever_asked_has_gone() {
    let mut world = world(Limits { survey_slice: 1, ..Limits::default() });
    let marys: Vec<usize> = (0..5).map(|_| world.join("/a?user=mary")).collect();
    let asker = world.connect();
    world.send(asker, b"GET /look?user=mary&close=1008 HTTP/1.1\r\nHost: x\r\n\r\n");
    world.engine.turn(world.now);
    world.end(asker);
    world.turn();
    for mary in marys {
        assert_eq!(world.frames(mary).len(), 1, "a Close");
    }
}

#[test]
fn one_connection_is_found_by_its_id_and_an_old_id_finds_nobody() {
    let mut world = world(Limits::default());
    let client = world.join("/a?user=mary");
    let id = world.clients[client].id;
    let found = world.look(&format!("one={}", id.short()));
    assert_eq!((ids(&found), found.peers[0].identity.user.as_deref()), (vec![id], Some("mary")));
    world.end(client);
    world.turn();
    let next = world.join("/a?user=john");
    assert_eq!(world.clients[next].id.to_bits() as u32, id.to_bits() as u32, "it has the same slot");
    assert_eq!(world.look(&format!("one={}&close=1000", id.short())).matched, 0);
    assert_eq!(world.frames(next), []);
}

#[test]
fn those_who_run_the_server_get_in_when_all_places_are_taken() {
    let limits = Limits { connections_max: 2, admin_connections_max: 1, ..Limits::default() };
    let mut world = world(limits);
    world.crowd(2);
    let refused = world.connect();
    world.turn();
    assert!(world.answer(refused).starts_with("HTTP/1.1 503"));
    let admin = world.connect_admin(Pipe::default()).unwrap();
    assert!(world.ask(admin, "GET /look", "", "").starts_with("HTTP/1.1 200"));
    assert!(world.found().peers.last().unwrap().is_admin);
    let second = world.connect_admin(Pipe::default()).unwrap();
    world.turn();
    assert!(world.answer(second).starts_with("HTTP/1.1 503"), "their places are few, too");
    world.end(admin);
    world.turn();
    let third = world.connect_admin(Pipe::default()).unwrap();
    assert!(world.ask(third, "GET /look", "", "").starts_with("HTTP/1.1 200"));
}
