//! Which client a connection counts for, and from when that is known.

use fanline::proxy::forwarded::{Announced, Client};
use fanline::{Limits, Networks};

use crate::pipe::Pipe;
use crate::world::World;

#[test]
fn row_14_of_part_2_which_client_a_connection_counts_for_and_is_it_known_yet() {
    let direct = Client::Known([192, 0, 2, 1].into());
    let mut world = World::new(Limits::default());
    let client = world.connect();
    let id = world.clients[client].id;
    assert_eq!(world.engine.client(id), Some(direct), "without a proxy it is known at once");
    world.ask(client, "GET /x", "X-Forwarded-For: 1.1.1.1\r\n", "");
    assert_eq!(world.engine.client(id), Some(direct), "nobody is trusted");

    world.engine.reload(|_, rules| rules.trusted_proxies = Networks::parse(&["192.0.2.0/24"]).unwrap());
    let client = world.connect();
    let id = world.clients[client].id;
    assert_eq!(world.engine.client(id), Some(Client::Awaited), "the proxy has still to say");
    world.ask(client, "GET /x", "X-Forwarded-For: 1.1.1.1\r\n", "");
    assert_eq!(world.engine.client(id), Some(Client::Known([1, 1, 1, 1].into())));
    world.ask(client, "GET /x", "X-Forwarded-For: 9.9.9.9, 2.2.2.2, 192.0.2.7\r\n", "");
    assert_eq!(
        world.engine.client(id),
        Some(Client::Known([2, 2, 2, 2].into())),
        "the latest request counts"
    );
    let open = world.open_with("/room", "X-Forwarded-For: 3.3.3.3\r\n");
    let open_id = world.clients[open].id;
    assert_eq!(world.engine.client(open_id), Some(Client::Known([3, 3, 3, 3].into())));
    let plain = world.open("/room");
    assert_eq!(world.engine.client(world.clients[plain].id), Some(direct), "the proxy itself");
    world.clients[open].pipe.borrow_mut().ended = true;
    world.engine.ready(open_id, true, false, true);
    world.turn();
    assert_eq!(world.engine.client(open_id), None, "it has gone");
}

#[test]
fn row_18_of_part_2_one_address_has_no_more_connections_than_it_may() {
    let mut world = World::new(Limits { connections_per_address_max: 2, ..Limits::default() });
    let first = world.open("/a");
    world.open("/b");
    let third = world.connect();
    world.turn();
    let told = world.answer(third);
    assert!(told.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{told}");
    assert!(told.contains("this address has as many connections as it may have"), "{told}");
    world.end(third);
    world.end(first);
    world.turn();
    let again = world.open("/c");

    // Behind a proxy each client counts for itself, and the proxy for nobody.
    world.engine.reload(|_, rules| rules.trusted_proxies = Networks::parse(&["192.0.2.0/24"]).unwrap());
    let from = |ip: &str| format!("X-Forwarded-For: {ip}\r\n");
    for ip in ["1.1.1.1", "2.2.2.2", "1.1.1.1", "2.2.2.2"] {
        world.open_with("/proxied", &from(ip));
    }
    let many = world.connect();
    let told = world.ask(many, "GET /x", &from("1.1.1.1"), "");
    assert!(told.starts_with("HTTP/1.1 429 "), "{told}");
    // One connection of a proxy serves one client after the other.
    let kept = world.connect();
    for ip in ["3.3.3.3", "4.4.4.4", "3.3.3.3", "3.3.3.3"] {
        let told = world.ask(kept, "GET /x", &from(ip), "");
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    }
    for _ in 0..3 {
        world.open("/nobody-is-named");
    }
    world.end(again);
    for client in 0..world.clients.len() {
        world.end(client);
    }
    world.turn();
    assert!(world.engine.is_empty());
}

#[test]
fn row_18_of_part_2_who_is_refused_for_its_address_takes_nobody_elses_place() {
    let limits = Limits { connections_per_address_max: 1, connections_max: 10, ..Limits::default() };
    let mut world = World::new(limits);
    world.open("/a");
    let refused: Vec<usize> = (0..11).map(|_| world.connect()).collect();
    world.turn();
    for client in &refused {
        assert!(world.answer(*client).starts_with("HTTP/1.1 429 "));
    }
    let other = |last| Pipe { from: Some([198, 51, 100, last].into()), ..Pipe::default() };
    for last in 0..9 {
        let client = world.try_connect(other(last)).expect("a place");
        let told = world.ask(client, "GET /x", "", "");
        assert!(told.starts_with("HTTP/1.1 200 "), "{last}: {told}");
    }
    let full = world.try_connect(other(9)).expect("a slot");
    world.turn();
    assert!(world.answer(full).starts_with("HTTP/1.1 503 "));
    // They linger only up to a number; the next are dropped, and so is who was named too late.
    let lingering = (0..1000).take_while(|_| world.try_connect(Pipe::default()).is_some()).count();
    assert_eq!(refused.len() + 1 + lingering, 64);
    world.engine.check_invariants();
    for client in 0..world.clients.len() {
        world.end(client);
    }
    world.turn();
    assert!(world.engine.is_empty());
    world.open("/again");
}

#[test]
fn row_18_of_part_2_a_client_that_a_proxy_header_names_is_counted_before_it_has_asked() {
    let mut world = World::new(Limits { connections_per_address_max: 2, ..Limits::default() });
    let mut told = Vec::new();
    for _ in 0..4 {
        let pipe = Pipe { announced: Announced::Awaited, ..Pipe::default() };
        let client = world.try_connect(pipe).expect("a slot");
        world.turn();
        world.clients[client].pipe.borrow_mut().announced =
            Announced::Client(([203, 0, 113, 7], 4660).into());
        world.send(client, b"");
        world.turn();
        told.push(world.answer(client).starts_with("HTTP/1.1 429 "));
    }
    assert_eq!(told, [false, false, true, true]);
    // A proxy that names nobody does not vouch for what a request says.
    world.engine.reload(|_, rules| rules.trusted_proxies = Networks::parse(&["192.0.2.0/24"]).unwrap());
    let nameless = Pipe { announced: Announced::Nobody, ..Pipe::default() };
    let client = world.try_connect(nameless).expect("a slot");
    let id = world.clients[client].id;
    let proxy = Some(Client::Known([192, 0, 2, 1].into()));
    assert_eq!(world.engine.client(id), proxy);
    world.ask(client, "GET /x", "X-Forwarded-For: 1.1.1.1\r\n", "");
    assert_eq!(world.engine.client(id), proxy);
}
