//! Rules that change under open connections.

use std::time::Duration;

use fanline::{Limits, OriginPolicy};

use crate::world::{World, handshake};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn new_limits_hold_for_connections_that_are_open_and_a_nearer_deadline_is_kept() {
    let mut world = World::new(Limits::default());
    let a = world.open("/a");
    world.pass(5 * SECOND);
    world.engine.reload(|scribe, rules| {
        scribe.told.push("reload".into());
        rules.limits = Limits { ping_interval: 2 * SECOND, message_bytes_max: 3, ..Limits::default() };
    });
    world.pass(Duration::from_millis(100));
    assert_eq!(world.frames(a), [(0x89, vec![])], "it has been silent for longer than that already");
    world.send_text(a, "four");
    world.turn();
    assert_eq!(world.frames(a)[0].1[..2], 1009u16.to_be_bytes());
    assert!(world.told().contains(&"reload".into()));
}

#[test]
fn whose_pages_may_connect_is_asked_anew() {
    let mut world = World::new(Limits::default());
    world.open("/a");
    world.engine.reload(|_, rules| rules.origins = OriginPolicy::Any);
    let stranger = "Origin: http://elsewhere\r\n";
    world.open_with("/a", stranger);
    world.engine.reload(|_, rules| rules.origins = OriginPolicy::Same);
    let b = world.connect();
    world.send(b, handshake("/a").replacen("\r\n", &format!("\r\n{stranger}"), 1).as_bytes());
    world.turn();
    assert!(world.answer(b).starts_with("HTTP/1.1 403 "));
}

#[test]
fn what_cannot_change_stays_and_a_contradiction_changes_no_limit() {
    let mut world = World::new(Limits::default());
    world.engine.reload(|_, rules| {
        rules.limits =
            Limits { connections_max: 1, receive_buffer: 2048, walk_slice: 3, ..Limits::default() };
    });
    assert_eq!(world.engine.limits(), &Limits { walk_slice: 3, ..Limits::default() });
    world.open("/a");
    world.open("/b");
    world.engine.reload(|_, rules| {
        rules.limits.outbound_bytes_low = rules.limits.outbound_bytes_high + 1;
        rules.limits.walk_slice = 4;
    });
    assert_eq!(world.engine.limits().walk_slice, 3);
}
