//! Faults of Redis, of the way to it, of nodes and of applications: what is lost then, and what is not.

use std::time::{Duration, Instant};

use serde_json::json;
use tungstenite::Message;

use super::django::Layer;
use super::node::{Node, PATIENCE, text};
use super::redis::{Redis, Wire};
use super::{node, node_at, script};

const ROUTES: &str = "[[route]]\npath = '/chat/{room}'\nmode = 'room'\nchannels = { text = 'message' }\n";

/// Publishes until it is published.
fn insist(node: &Node, message: &str) {
    let begun = Instant::now();
    while !matches!(node.post("lobby", message).0, 200 | 201) {
        assert!(begun.elapsed() < PATIENCE, "{message} is never published");
    }
}

#[test]
fn row_7_of_part_2_redis_is_restarted_empty_and_the_groups_are_joined_again() {
    let mut redis = Redis::start(&[]);
    let node = node(&redis, ROUTES, &[]);
    let mut clients = [node.connect("/chat/lobby", None), node.connect("/chat/other", None)];
    insist(&node, "before");
    assert_eq!(text(&mut clients[0]), "before");
    redis.kill();
    node.wait_until(503);
    assert_eq!(node.get("/healthz").0, 200);
    assert_eq!(node.post("lobby", "meanwhile").0, 503);
    assert_eq!(node.try_connect("/chat/third", None).err(), None.or(Some(503)));
    redis.run();
    node.wait_until(200);
    // An application that has known of nothing sends to both.
    let mut layer = Layer::start(&redis);
    for (group, client) in ["lobby", "other"].into_iter().zip(&mut clients) {
        layer.group_send(group, json!({ "type": "chat.message", "message": group }));
        assert_eq!(text(client), group, "it stayed connected");
    }
}

#[test]
fn redis_is_emptied_under_lines_that_stay_and_the_groups_are_joined_again() {
    let redis = Redis::start(&[]);
    let node = node(&redis, ROUTES, &[]);
    let mut client = node.connect("/chat/lobby", None);
    redis.ask(&["flushall"]);
    let begun = Instant::now();
    while redis.ask(&["zcard", "asgi:group:lobby"]) != "1" {
        assert!(begun.elapsed() < PATIENCE, "it does not join again");
    }
    insist(&node, "after");
    assert_eq!(text(&mut client), "after");
}

#[test]
fn a_group_that_is_gone_alone_is_joined_again_by_who_publishes() {
    let redis = Redis::start(&[]);
    let node = node(&redis, ROUTES, &[]);
    let mut client = node.connect("/chat/lobby", None);
    redis.ask(&["del", "asgi:group:lobby"]);
    assert_eq!(node.post("lobby", "to nobody").0, 503, "it is not said that the room has no members");
    insist(&node, "after");
    assert_eq!(text(&mut client), "after");
}

#[test]
fn what_redis_has_handed_out_on_a_line_that_was_cut_is_not_lost_and_comes_once() {
    let redis = Redis::start(&[]);
    let wire = Wire::new(redis.socket());
    let node = node_at(&format!("redis://{}", wire.addr()), ROUTES, &["--backplane-reply-deadline", "1s"]);
    let mut client = node.connect("/chat/lobby", None);
    let mut layer = Layer::start(&redis);
    let say = |layer: &mut Layer, n: u32| {
        layer.group_send("lobby", json!({ "type": "chat.message", "message": n.to_string() }));
    };
    (0..10).for_each(|n| say(&mut layer, n));
    (0..10).for_each(|n| assert_eq!(text(&mut client), n.to_string()));
    wire.mute();
    // The first of them is handed out and lost with the answer, at most: the others are in flight, or have not been taken.
    (10..30).for_each(|n| say(&mut layer, n));
    node.wait_until(503);
    wire.mend();
    node.wait_until(200);
    say(&mut layer, 30);
    let mut heard = Vec::new();
    while heard.last() != Some(&30) {
        heard.push(text(&mut client).parse::<u32>().unwrap());
    }
    let first = heard[0];
    assert!(first <= 11, "{heard:?}");
    assert_eq!(heard, (first..=30).collect::<Vec<_>>(), "the rest in its order, and each once");
}

#[test]
fn a_line_that_was_cut_and_still_waits_in_redis_takes_nothing_from_the_next() {
    let redis = Redis::start(&[]);
    let take = |line: &str, is_heard: &str| {
        let keys = ["eval", script::TAKE, "3", "q", "q$inflight", "q$line"];
        let said = redis.ask(&[&keys[..], &[is_heard, "2", "1000", "9", "60", line]].concat());
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    redis.ask(&["zadd", "q", "1", "a", "2", "b", "3", "c", "4", "too-long-to-be-taken", "5", "d"]);
    assert_eq!(take("2", "0"), "a b");
    assert_eq!(take("1", "1"), "", "what the next has in flight stays there");
    assert_eq!(take("3", "0"), "a b", "and is had by the one after that");
    assert_eq!(take("3", "1"), "c", "and that one has been too long");
    assert_eq!(take("3", "1"), "d");
    assert_eq!(take("3", "1"), "");
    assert_eq!(redis.ask(&["exists", "q", "q$inflight"]), "0");
}

#[test]
fn redis_is_stopped_by_a_signal_and_nobody_is_sent_anything_twice() {
    let redis = Redis::start(&[]);
    let node = node(&redis, ROUTES, &[]);
    let mut client = node.connect("/chat/lobby", None);
    let mut layer = Layer::start(&redis);
    let channel = layer.join("lobby");
    redis.signal(rustix::process::Signal::STOP);
    node.wait_until(503);
    client.send(Message::text("into the void")).unwrap();
    assert_eq!(node.post("lobby", "posted into the void").0, 503);
    redis.signal(rustix::process::Signal::CONT);
    node.wait_until(200);
    insist(&node, "end");
    let mut there = Vec::new();
    while there.last() != Some(&json!("end")) {
        there.push(layer.receive(&channel)["message"].clone());
    }
    let mut here = Vec::new();
    while here.last().map(String::as_str) != Some("end") {
        here.push(text(&mut client));
    }
    for said in ["into the void", "posted into the void"] {
        assert!(there.iter().filter(|message| **message == said).count() <= 1, "{there:?}");
        assert!(here.iter().filter(|message| **message == said).count() <= 1, "{here:?}");
    }
}

#[test]
fn row_8_of_part_2_a_node_that_dies_leaves_its_groups_and_its_queue_by_itself() {
    let redis = Redis::start(&[]);
    let short = ["--channels-group-expiry", "8s", "--channels-expiry", "1s"];
    let (mut dying, staying) = (node(&redis, ROUTES, &short), node(&redis, ROUTES, &short));
    let mut layer = Layer::with(&redis, &json!({ "group_expiry": 8, "expiry": 1 }));
    let _gone = dying.connect("/chat/lobby", None);
    let mut client = staying.connect("/chat/lobby", None);
    assert_eq!(redis.ask(&["zcard", "asgi:group:lobby"]), "2");
    dying.kill();
    let begun = Instant::now();
    loop {
        layer.group_send("lobby", json!({ "type": "chat.message", "message": "anybody?" }));
        assert_eq!(text(&mut client), "anybody?", "who lives stays in the group");
        if redis.ask(&["zcard", "asgi:group:lobby"]) == "1" {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the dead node's channel is in the group for ever");
        std::thread::sleep(Duration::from_millis(200));
    }
    let begun = Instant::now();
    // What is left is of the node that lives: its queue, what is in flight, and the number of its line.
    while redis.ask(&["--scan", "--pattern", "asgifanline.*"]).lines().count() > 3 {
        assert!(begun.elapsed() < PATIENCE, "the dead node's queue is there for ever");
    }
}

#[test]
fn row_20_of_part_2_a_node_that_ends_leaves_nothing_of_itself_on_the_layer() {
    let redis = Redis::start(&[]);
    let (ending, staying) = (node(&redis, ROUTES, &[]), node(&redis, ROUTES, &[]));
    let mut client = ending.connect("/chat/lobby", None);
    let _other = ending.connect("/chat/other", None);
    let mut stays = staying.connect("/chat/lobby", None);
    ending.insist("lobby", "kept in the room's history");
    assert_eq!(text(&mut stays), "kept in the room's history");
    assert_eq!(redis.ask(&["zcard", "asgi:group:lobby"]), "2");
    ending.signal(rustix::process::Signal::TERM);
    while client.read().is_ok() {}
    let begun = Instant::now();
    let keys = || redis.ask(&["--scan", "--pattern", "asgi*"]).lines().map(str::to_owned).collect::<Vec<_>>();
    let queue = redis.ask(&["zrange", "asgi:group:lobby", "0", "-1"]);
    // Of the one that stays there are its own group, its queue and what belongs to that.
    let is_left = |key: &String| key == "asgi:group:other" || key.contains("fanline");
    while redis.ask(&["zcard", "asgi:group:lobby"]) != "1"
        || keys().iter().filter(|key| is_left(key)).count() > 4
    {
        assert!(begun.elapsed() < PATIENCE, "{:?} of {queue}", keys());
    }
    insist(&staying, "after");
    assert_eq!(text(&mut stays), "after");
    assert!(!staying.get("/metrics").1.contains("queues_full_total 1"));
}

#[test]
fn who_does_not_take_its_messages_is_passed_over_and_the_others_are_not() {
    let redis = Redis::start(&[]);
    let node = node(&redis, ROUTES, &["--channels-capacity", "10"]);
    let mut layer = Layer::start(&redis);
    let channel = layer.join("lobby");
    let mut client = node.connect("/chat/lobby", None);
    for n in 0..30 {
        client.send(Message::text(n.to_string())).unwrap();
        assert_eq!(text(&mut client), n.to_string());
    }
    (0..10).for_each(|n| assert_eq!(layer.receive(&channel)["message"], n.to_string()));
    assert_eq!(
        layer.call(json!(["receive", channel, 0.5])),
        json!(null),
        "the queue takes no more than its capacity"
    );
}

#[test]
fn what_is_no_message_is_dropped_and_what_follows_comes() {
    let redis = Redis::start(&[]);
    let node = node(&redis, ROUTES, &["--channels-message-bytes-max", "4KiB"]);
    let mut client = node.connect("/chat/lobby", None);
    let channel = redis.ask(&["zrange", "asgi:group:lobby", "0", "-1"]);
    let queue = format!("asgi{}!", channel.split('!').next().unwrap());
    for garbage in ["", "short", "123456789012", "123456789012not a dict", "123456789012\u{1}\u{2}"] {
        redis.ask(&["zadd", &queue, "1", garbage]);
    }
    let mut layer = Layer::start(&redis);
    layer.group_send("lobby", json!({ "type": "chat.message", "message": "x".repeat(5000) }));
    layer.call(json!(["send", channel, { "type": "chat.message", "message": "to one channel" }]));
    assert_eq!(text(&mut client), "to one channel");
    node.wait_until(200);
}

#[test]
fn redis_runs_out_of_memory_and_publishing_is_refused_until_it_has_some() {
    let redis = Redis::start(&["--maxmemory-policy", "noeviction"]);
    let node = node(&redis, ROUTES, &[]);
    let mut client = node.connect("/chat/lobby", None);
    redis.ask(&["config", "set", "maxmemory", "1mb"]);
    node.wait_until(503);
    assert_eq!(node.post("lobby", "meanwhile").0, 503);
    redis.ask(&["config", "set", "maxmemory", "0"]);
    node.wait_until(200);
    insist(&node, "after");
    assert_eq!(text(&mut client), "after", "and what was refused has not come");
}
