//! Which client a connection counts for, and from when that is known.

use fanline::proxy::forwarded::Client;
use fanline::{Limits, Networks};

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
