//! History, resume and presence through the engine: where a member starts, and what it is sent then.

use fanline::Limits;
use std::time::Duration;

use crate::world::World;

fn publish(world: &mut World, member: usize, texts: std::ops::RangeInclusive<usize>) {
    for i in texts {
        world.send_text(member, &format!("m{i}"));
        world.turn();
    }
    world.take(member);
}

#[test]
fn row_43_a_newcomer_is_sent_the_last_ones_and_then_what_is_published() {
    let mut world = World::new(Limits::default());
    let a = world.open("/kept");
    publish(&mut world, a, 1..=8);
    let b = world.open_and_replay("/kept?last=3");
    world.send_text(a, "m9");
    world.turn();
    assert_eq!(world.texts(b), ["m6", "m7", "m8", "m9"]);
    let c = world.open_and_replay("/kept?last=100");
    assert_eq!(world.texts(c), ["m5", "m6", "m7", "m8", "m9"], "five are kept");
    let d = world.open_and_replay("/kept");
    assert_eq!(world.texts(d), [] as [&str; 0]);
}

#[test]
fn who_joins_by_a_message_that_is_not_answered_is_sent_the_last_ones_too() {
    let mut world = World::new(Limits::default());
    let a = world.open("/kept");
    publish(&mut world, a, 1..=3);
    world.send_text(a, "again");
    world.turn();
    assert_eq!(world.texts(a), ["m2", "m3"]);
}

#[test]
fn a_newcomer_gets_neither_a_gap_nor_a_double_however_narrow_its_socket_and_whatever_is_published_meanwhile()
{
    for window in [0, 1, 5, 13, 200] {
        let mut world = World::new(Limits::default());
        let a = world.open("/kept");
        publish(&mut world, a, 1..=5);
        let b = world.open_and_replay("/kept?last=0");
        let c = world.connect();
        world.narrow(c, 129 + window);
        world.send(c, crate::world::handshake("/kept?since=1:2").as_bytes());
        world.turn();
        for i in 6..=40 {
            world.send_text(a, &format!("m{i}"));
            if i % 3 == 0 {
                world.widen(c, 4);
            }
            world.turn();
        }
        world.widen(c, usize::MAX);
        world.turn();
        let bytes = world.take(c);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        world.clients[c].pipe.borrow_mut().to_peer = bytes[end..].to_vec();
        let want: Vec<String> = (3..=40).map(|i| format!("m{i}")).collect();
        assert_eq!(world.texts(c), want, "window {window}");
        assert_eq!(world.texts(b), want[3..]);
    }
}

#[test]
fn who_asks_for_what_is_gone_or_was_another_room_is_told() {
    let mut world = World::new(Limits::default());
    let a = world.open("/kept");
    publish(&mut world, a, 1..=8);
    for (since, want) in [
        ("1:8", &[][..]),
        ("1:3", &["m4", "m5", "m6", "m7", "m8"]),
        ("1:2", &["missed some"]),
        ("1:9", &["missed some"]),
        ("2:8", &["missed some"]),
        ("1:2&last=1", &["missed some", "m8"]),
    ] {
        let b = world.open_and_replay(&format!("/kept?since={since}"));
        assert_eq!(world.texts(b), want, "{since}");
    }
}

#[test]
fn where_only_the_newest_matters_who_resumes_gets_it_and_is_told_that_the_rest_is_missing() {
    let mut world = World::new(Limits::default());
    let a = world.open("/kept/latest");
    publish(&mut world, a, 1..=4);
    for (start, want) in [
        ("since=1:4", &[][..]),
        ("since=1:3", &["m4"]),
        ("since=1:2", &["missed some", "m4"]),
        ("since=1:0&last=3", &["missed some", "m4"]),
        ("last=3", &["m4"]),
    ] {
        let b = world.open_and_replay(&format!("/kept/latest?{start}"));
        assert_eq!(world.texts(b), want, "{start}");
    }
}

#[test]
fn history_outlives_the_members_and_goes_when_it_is_old() {
    let mut world = World::new(Limits::default());
    let a = world.open("/kept");
    publish(&mut world, a, 1..=2);
    world.end(a);
    world.turn();
    assert_eq!(world.engine.rooms().len(), 1);
    world.pass(Duration::from_secs(30));
    let b = world.open_and_replay("/kept?since=1:1");
    assert_eq!(world.texts(b), ["m2", "somebody left"]);
    world.end(b);
    world.pass(Duration::from_secs(40));
    let c = world.open_and_replay("/kept?since=1:1");
    assert_eq!(world.texts(c), ["missed some"]);
    world.end(c);
    world.pass(Duration::from_secs(120));
    assert_eq!((world.engine.rooms().len(), world.engine.rooms().log_bytes()), (0, 0));
}

#[test]
fn row_10_part_2_five_thousand_resume_at_once_and_memory_grows_by_cursors_only() {
    let mut world = World::new(Limits::default());
    let a = world.open("/kept");
    for i in 0..5 {
        world.send_text(a, &format!("{i}{}", "x".repeat(10_000)));
        world.turn();
    }
    let held = world.engine.rooms().log_bytes();
    assert!((50_000..51_000).contains(&held), "{held}");
    let clients: Vec<usize> = (0..5000).map(|_| world.connect()).collect();
    for client in &clients {
        world.send(*client, crate::world::handshake("/kept?since=1:0").as_bytes());
    }
    world.turn();
    assert_eq!(world.engine.rooms().log_bytes(), held);
    for client in &clients {
        let pipe = world.clients[*client].pipe.borrow();
        assert!(pipe.to_peer.len() > 50_000 && pipe.writes <= 4, "{} writes", pipe.writes);
    }
}

#[test]
fn a_storm_of_long_resumes_does_not_make_everybody_else_wait_for_its_end() {
    let mut world = World::new(Limits { walk_slice_bytes: 1 << 20, ..Limits::default() });
    let a = world.open("/kept");
    for _ in 0..5 {
        world.send_text(a, &"x".repeat(60_000));
        world.turn();
    }
    let clients: Vec<usize> = (0..100).map(|_| world.connect()).collect();
    for client in &clients {
        world.send(*client, crate::world::handshake("/kept?since=1:0").as_bytes());
    }
    world.engine.turn(world.now);
    let served = |world: &World| {
        let long = |client: &&usize| world.clients[**client].pipe.borrow().to_peer.len() > 300_000;
        clients.iter().filter(long).count()
    };
    assert_eq!(served(&world), 4, "a MiB, and hardly more, in one turn");
    world.turn();
    assert_eq!(served(&world), 100);
}

#[test]
fn row_37_a_quiet_member_is_sent_everything_but_its_own() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.open("/kept?quiet"), world.open("/kept?quiet"));
    for i in 0..20 {
        if i % 3 == 0 {
            world.narrow(a, 0);
        }
        world.send_text(if i % 2 == 0 { a } else { b }, &format!("m{i}"));
        world.turn();
        if i % 5 == 4 {
            world.widen(a, usize::MAX);
            world.turn();
        }
    }
    world.widen(a, usize::MAX);
    world.turn();
    let odd: Vec<String> = (0..20).filter(|i| i % 2 == 1).map(|i| format!("m{i}")).collect();
    let even: Vec<String> = (0..20).filter(|i| i % 2 == 0).map(|i| format!("m{i}")).collect();
    assert_eq!((world.texts(a), world.texts(b)), (odd, even));
}

#[test]
fn readers_of_json_and_of_frames_get_the_same_in_the_same_order() {
    let mut world = World::new(Limits::default());
    let a = world.open("/kept");
    publish(&mut world, a, 1..=3);
    let json = world.open_and_replay("/kept?json&last=2");
    world.send_text(a, "m\"4");
    world.turn();
    let texts = world.texts(json);
    assert_eq!(texts.len(), 3);
    assert!(texts[0].starts_with(r#"{"type":"message","offset":2,"time":"#), "{}", texts[0]);
    assert!(texts[2].ends_with(r#","text":"m\"4"}"#), "{}", texts[2]);
    world.end(json);
    world.turn();
    publish(&mut world, a, 5..=5);
    let json = world.open_and_replay("/kept?json&since=1:4");
    assert!(world.texts(json)[0].contains(r#""offset":5"#));
}

#[test]
fn row_51_presence_is_one_entry_for_a_user_and_gone_with_its_last_connection() {
    let mut world = World::new(Limits::default());
    let watcher = world.open("/kept");
    let (a, b) = (world.open("/kept?user=ann"), world.open("/kept?user=ann"));
    let users = |world: &World| -> Vec<(String, u32)> {
        let roll = world.engine.rooms().roll("/kept");
        roll.map_or_else(Vec::new, |roll| roll.users(None).map(|(user, n)| (user.to_owned(), n)).collect())
    };
    assert_eq!(users(&world), [("ann".to_owned(), 2)]);
    world.end(a);
    world.turn();
    assert_eq!(users(&world), [("ann".to_owned(), 1)]);
    assert_eq!(world.texts(watcher), [r#"{"join":"ann"}"#, "somebody left"]);
    // A silent death: nothing comes any more, and nothing says so.
    world.pass(Duration::from_secs(41));
    assert!(world.is_gone(b));
    assert_eq!(users(&world), [("ann".to_owned(), 0)], "it may come back");
    world.pass(Duration::from_secs(5));
    assert_eq!(users(&world), []);
}

#[test]
fn row_51_who_reloads_a_page_makes_no_notices_and_who_stays_away_makes_one_in_time() {
    let mut world = World::new(Limits { presence_leaving_max: 2, ..Limits::default() });
    let watcher = world.open("/kept");
    let told = |world: &mut World| {
        world.turn();
        let texts = world.texts(watcher).into_iter();
        texts.filter(|text| text.starts_with('{')).collect::<Vec<String>>()
    };
    let mut ann = world.open("/kept?user=ann");
    assert_eq!(told(&mut world), [r#"{"join":"ann"}"#]);
    for _ in 0..3 {
        world.end(ann);
        world.turn();
        world.pass(Duration::from_secs(4));
        ann = world.open("/kept?user=ann");
        assert_eq!(told(&mut world), [""; 0]);
    }
    world.end(ann);
    world.turn();
    let sleep = world.engine.sleep(world.now).unwrap();
    assert!(sleep <= Duration::from_secs(5), "it wakes up in time: {sleep:?}");
    world.pass(Duration::from_secs(5));
    assert_eq!(told(&mut world), [r#"{"leave":"ann"}"#]);
    // More than may come back at once: the first of them has left.
    let crowd = ["bob", "cid", "dan"].map(|user| world.open(&format!("/kept?user={user}")));
    told(&mut world);
    for id in crowd {
        world.end(id);
    }
    assert_eq!(told(&mut world), [r#"{"leave":"bob"}"#]);
    world.pass(Duration::from_secs(5));
    assert_eq!(told(&mut world), [r#"{"leave":"cid"}"#, r#"{"leave":"dan"}"#]);
}
