//! Rows 26 to 34: what a handler is told, each exactly once and in order.

use fanline::engine::Command;
use fanline::{CloseCode, CloseReason, Limits, Refusal};

use crate::world::{World, handshake, masked};

#[test]
fn row_26_open_messages_and_close_come_once_and_in_order() {
    let mut world = World::new(Limits::default());
    let a = world.open("/a");
    world.send_text(a, "one");
    world.send_text(a, "two");
    world.send(a, &masked(0x88, &[3, 232]));
    world.turn();
    world.end(a);
    world.turn();
    assert_eq!(
        world.told(),
        ["open /a", "message /a one", "message /a two", "close /a 1000 Peer clean=true"]
    );
    assert!(world.is_gone(a));
    assert!(world.engine.is_empty());
}

#[test]
fn row_27_sending_outside_of_callbacks_and_to_who_is_gone() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.open("/a"), world.open("/b"));
    let (id, gone) = (world.clients[a].id, world.clients[b].id);
    world.engine.apply(Command::Send(id, "from outside".into()));
    world.turn();
    assert_eq!(world.texts(a), ["from outside"]);
    world.end(b);
    world.turn();
    let next = world.open("/c");
    world.engine.apply(Command::Send(gone, "to nobody".into()));
    world.engine.apply(Command::Close(gone, CloseReason::bare(CloseCode::NORMAL)));
    world.turn();
    assert_eq!(world.frames(next), [], "the slot's next tenant is not the one who was meant");
}

#[test]
fn row_28_a_close_asked_for_comes_after_everything_sent_and_published_before_it() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.open("/a"), world.open("/a"));
    world.send(a, &[masked(0x81, b"only me"), masked(0x81, b"bye"), masked(0x81, b"unheard")].concat());
    world.turn();
    let close = [&4001u16.to_be_bytes()[..], b"asked to"].concat();
    let want = [(0x81, b"only you".to_vec()), (0x81, b"last words".to_vec()), (0x88, close.clone())];
    assert_eq!(world.frames(a), want);
    assert_eq!(world.texts(b), ["last words"]);
    assert!(!world.told().iter().any(|told| told.starts_with("close")), "the peer has not answered");
    world.send(a, &masked(0x88, &close));
    world.turn();
    assert_eq!(world.told().last().unwrap(), "close /a 4001 Server clean=true");
    assert_eq!(world.texts(b), ["somebody left"]);
}

#[test]
fn row_29_a_close_is_clean_when_both_sent_one_and_1006_only_when_the_transport_is_lost() {
    let mut world = World::new(Limits::default());
    let (a, b, c, d) = (world.open("/a"), world.open("/b"), world.open("/c"), world.open("/d"));
    world.end(a);
    world.turn();
    assert_eq!(world.told().last().unwrap(), "close /a 1006 Loss clean=false");
    world.send(b, &masked(0x88, b""));
    world.turn();
    assert_eq!(world.told().last().unwrap(), "close /b 1005 Peer clean=true");
    assert_eq!(world.frames(b), [(0x88, vec![])]);
    world.send_text(c, "bye");
    world.turn();
    world.end(c);
    world.turn();
    assert_eq!(world.told().last().unwrap(), "close /c 4001 Server clean=false");
    world.send(d, &masked(0x83, b""));
    world.turn();
    assert_eq!(world.told().last().unwrap(), "close /d 1002 Server clean=false");
    assert_eq!(
        (world.metrics.violations.get(), world.metrics.lost.get(), world.metrics.ended.get()),
        (1, 1, 4)
    );
}

#[test]
fn row_30_a_handler_refuses_before_101_and_nothing_remains_of_it() {
    let mut world = World::new(Limits::default());
    let a = world.connect();
    world.send(a, handshake("/refused").as_bytes());
    world.turn();
    let answer = String::from_utf8(world.take(a)).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 403 Forbidden\r\n")
            && answer.ends_with("\r\n\r\n{\"error\":\"not you\"}\n"),
        "{answer}"
    );
    assert!(world.engine.rooms().is_empty());
    assert_eq!(world.told(), ["open /refused"]);
    assert_eq!(world.metrics.refused_403.get(), 1);
    world.end(a);
    world.turn();
    assert!(world.is_gone(a));
}

#[test]
fn row_30_a_decision_may_come_later_and_what_came_meanwhile_is_not_lost() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.connect(), world.connect());
    for client in [a, b] {
        world.send(client, &[handshake("/x/later").as_bytes(), &masked(0x81, b"early")].concat());
    }
    world.turn();
    assert_eq!((world.take(a), world.told()), (vec![], vec![]));
    let (id_a, id_b) = (world.clients[a].id, world.clients[b].id);
    world.engine.apply(Command::Admit(id_a));
    world.engine.apply(Command::Refuse(id_b, Refusal::Forbidden("no").into()));
    world.engine.apply(Command::Admit(id_b));
    world.turn();
    assert!(world.take(a).starts_with(b"HTTP/1.1 101"));
    assert!(world.take(b).starts_with(b"HTTP/1.1 403"));
    assert_eq!(world.told(), ["open /x/later", "message /x/later early"]);
}

#[test]
fn row_31_a_greeting_sent_while_opening_follows_the_answer_in_the_same_write() {
    let mut world = World::new(Limits::default());
    let a = world.connect();
    world.send(a, handshake("/greeted").as_bytes());
    world.turn();
    let got = world.take(a);
    assert!(got.starts_with(b"HTTP/1.1 101") && got.ends_with(b"\r\n\r\n\x81\x07welcome"));
    assert_eq!(world.clients[a].pipe.borrow().writes, 1);
}

#[test]
fn row_30_a_handler_can_open_and_close_at_once_so_that_a_browser_sees_the_code() {
    let mut world = World::new(Limits::default());
    let a = world.connect();
    world.send(a, handshake("/goodbye").as_bytes());
    world.turn();
    let want = [b"\r\n\r\n\x81\x0djust a moment\x88\x04".as_slice(), &4000u16.to_be_bytes(), b"no"].concat();
    assert!(world.take(a).ends_with(&want));
    assert!(world.engine.rooms().is_empty());
}

#[test]
fn row_32_leaving_happens_once_after_every_kind_of_end() {
    let mut world = World::new(Limits::default());
    let witness = world.open("/room");
    let ends: [fn(&mut World, usize); 4] = [
        |world, client| world.end(client),
        |world, client| world.send(client, &masked(0x88, &[3, 232])),
        |world, client| world.send(client, &masked(0x83, b"")),
        |world, client| {
            let id = world.clients[client].id;
            world.engine.apply(Command::Close(id, CloseReason::bare(CloseCode::POLICY)));
            world.turn();
            world.end(client);
        },
    ];
    for end in ends {
        let client = world.open("/room");
        end(&mut world, client);
        world.turn();
        assert_eq!(world.engine.rooms().members("/room"), 1);
        assert_eq!(world.texts(witness), ["somebody left"], "told once");
    }
}

#[test]
fn row_34_a_second_end_changes_nothing() {
    let mut world = World::new(Limits::default());
    let a = world.open("/a");
    world.send(a, &masked(0x88, &[3, 232]));
    world.turn();
    let told = world.told();
    world.send(a, &[masked(0x88, &[3, 232]), masked(0x81, b"ghost")].concat());
    world.end(a);
    world.turn();
    let id = world.clients[a].id;
    world.engine.apply(Command::Close(id, CloseReason::bare(CloseCode::NORMAL)));
    world.turn();
    assert_eq!(world.told(), told);
}

#[test]
fn a_page_and_then_an_upgrade_on_one_connection_and_requests_in_a_row() {
    let mut world = World::new(Limits::default());
    let a = world.connect();
    let page = "GET /p HTTP/1.1\r\nHost: x\r\n\r\n";
    world.send(a, format!("{page}{page}{}", handshake("/a")).as_bytes());
    world.turn();
    let got = String::from_utf8(world.take(a)).unwrap();
    assert_eq!((got.matches("HTTP/1.1 200").count(), got.matches("HTTP/1.1 101").count()), (2, 1), "{got}");
    world.send_text(a, "hello");
    world.turn();
    assert_eq!(world.texts(a), ["hello"]);
}
