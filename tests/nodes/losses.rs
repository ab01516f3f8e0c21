//! Faults of Redis in which something is lost: whoever can be told is told, and whoever cannot is closed.

use tungstenite::Message;

use super::node::{Node, text, told};
use super::redis::{Redis, Wire};

#[test]
fn row_7_of_part_2_redis_is_restarted_empty_and_members_are_told_that_history_is_lost() {
    let mut redis = Redis::start(&[]);
    let nodes = [Node::ready(&redis.url(), &[]), Node::ready(&redis.url(), &[])];
    let json: Vec<_> = nodes.iter().map(|node| node.member("/chat/lobby", Some("fanline.v1"))).collect();
    let raw: Vec<_> = nodes.iter().map(|node| node.member("/chat/lobby", None)).collect();
    let mut events = nodes[1].connect("/chat/other", None);
    nodes[0].insist("lobby", "before");
    let old = nodes[0].get("/rooms/lobby").1;
    let old: serde_json::Value = serde_json::from_str(&old).unwrap();
    let since = format!("/chat/lobby?since={}", old["position"].as_str().unwrap());
    redis.kill();
    for node in &nodes {
        node.wait_until(503);
    }
    redis.run();
    for node in &nodes {
        node.wait_until(200);
    }
    nodes[1].insist("lobby", "after");
    nodes[1].insist("lobby", "end");
    for member in json {
        let heard = member.join().unwrap();
        assert_eq!(heard.error, None, "it stayed connected");
        assert_eq!(told(&heard.texts), ["joined", "before", "reset", "after", "end"]);
    }
    for member in raw {
        let heard = member.join().unwrap();
        assert_eq!((heard.texts, heard.closed), (vec!["before".to_owned()], Some(1013)));
    }
    assert_eq!(nodes[0].try_connect(&since, None).err(), Some(410));
    // A room in which there was nothing has lost nothing that anybody knows of; it is told all the same.
    assert!(matches!(events.read().unwrap(), Message::Close(Some(close)) if u16::from(close.code) == 1013));
}

/// A member has got 1, 2 and 3 when its node is cut off; then Redis is restarted, and comes back with other data than it
/// had. What the member is told from then on, in another epoch unless it cannot be told that the data are other ones.
fn after_a_change(change: impl FnOnce(&Redis), count: usize, is_other_epoch: bool) -> Vec<serde_json::Value> {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let wire = Wire::new(redis.socket());
    let node = Node::ready(&format!("redis://{}", wire.addr()), &[]);
    let mut client = node.connect("/chat/lobby", Some("fanline.v1"));
    let next = |client: &mut _| serde_json::from_str::<serde_json::Value>(&text(client)).unwrap();
    let first = next(&mut client)["position"].as_str().unwrap().to_owned();
    for n in 1..=3 {
        node.insist("lobby", &n.to_string());
        assert_eq!(next(&mut client)["text"], n.to_string());
    }
    wire.cut();
    node.wait_until(503);
    redis.kill();
    redis.run();
    change(&redis);
    wire.mend();
    node.wait_until(200);
    let reset = next(&mut client);
    assert_eq!((&reset["type"], &reset["recovered"]), (&"reset".into(), &false.into()));
    let position = reset["position"].as_str().unwrap();
    let is_other = position.split(':').next() != first.split(':').next();
    assert_eq!(is_other, is_other_epoch, "no position stands for two messages, as far as that can be known");
    node.insist("lobby", "after");
    (0..count).map(|_| next(&mut client)).collect()
}

fn texts(told: &[serde_json::Value]) -> Vec<&str> {
    told.iter().map(|told| told["text"].as_str().unwrap()).collect()
}

#[test]
fn redis_comes_back_without_the_latest_messages_that_members_have() {
    let told = after_a_change(
        |redis| {
            redis.ask(&["hset", "fanline:state{lobby}", "offset", "1"]);
            redis.ask(&["del", "fanline:log{lobby}"]);
            redis.ask(&["xadd", "fanline:log{lobby}", "1-0", "s", "1 t 1 1 1", "p", "1"]);
        },
        2,
        true,
    );
    assert_eq!(texts(&told), ["1", "after"]);
}

#[test]
fn redis_comes_back_with_another_message_in_the_place_of_one_that_members_have() {
    let told = after_a_change(
        |redis| {
            redis.ask(&["hset", "fanline:state{lobby}", "offset", "4"]);
            redis.ask(&["del", "fanline:log{lobby}"]);
            for (id, said) in [("1-0", "1"), ("2-0", "other 2"), ("3-0", "other 3"), ("4-0", "other 4")] {
                redis.ask(&["xadd", "fanline:log{lobby}", id, "s", &format!("1 t 1 1 {id}"), "p", said]);
            }
        },
        5,
        true,
    );
    assert_eq!(texts(&told), ["1", "other 2", "other 3", "other 4", "after"]);
}

#[test]
fn redis_comes_back_with_other_messages_and_without_the_one_by_which_that_could_be_seen() {
    let told = after_a_change(
        |redis| {
            redis.ask(&["hset", "fanline:state{lobby}", "offset", "5"]);
            redis.ask(&["del", "fanline:log{lobby}"]);
            for (id, said) in [("4-0", "other 4"), ("5-0", "other 5")] {
                redis.ask(&["xadd", "fanline:log{lobby}", id, "s", &format!("1 t 1 1 {id}"), "p", said]);
            }
        },
        2,
        false,
    );
    // Those in the places of 2 and 3 have been missed: what came behind them is not led up to as if nothing were.
    assert_eq!(texts(&told), ["other 5", "after"]);
}

#[test]
fn what_is_trimmed_before_a_node_could_read_it_is_owned_up_to() {
    let redis = Redis::start(&[]);
    let wire = Wire::new(redis.socket());
    let near = Node::ready(&redis.url(), &["--backplane-log-min", "10"]);
    let far = Node::ready(&format!("redis://{}", wire.addr()), &["--backplane-log-min", "10"]);
    let member = far.member("/chat/lobby", Some("fanline.v1"));
    near.insist("lobby", "before");
    while !far.get("/rooms/lobby/messages").1.contains("before") {}
    wire.cut();
    far.wait_until(503);
    for n in 0..150 {
        near.insist("lobby", &format!("missed {n}"));
    }
    wire.mend();
    far.wait_until(200);
    near.insist("lobby", "end");
    let heard = told(&member.join().unwrap().texts);
    let reset = heard.iter().position(|word| word == "reset").unwrap();
    assert_eq!(heard[..reset], ["joined", "before"]);
    assert_eq!(heard[reset + 1], "missed 50", "a hundred are kept");
    assert_eq!(heard.len(), reset + 1 + 101);
}

#[test]
fn without_redis_rooms_that_are_open_are_read_and_others_are_refused_in_time() {
    let mut redis = Redis::start(&[]);
    let node = Node::ready(&redis.url(), &["--admission-deadline", "500ms"]);
    let _member = node.connect("/chat/lobby", None);
    node.insist("lobby", "hello");
    while !node.get("/rooms/lobby/messages").1.contains("hello") {}
    redis.kill();
    node.wait_until(503);
    assert!(node.get("/rooms/lobby/messages").1.contains("hello"));
    assert_eq!(text(&mut node.connect("/chat/lobby?last=1", None)), "hello");
    assert_eq!(node.try_connect("/chat/other", None).err(), Some(503));
    assert_eq!(node.get("/rooms/third/messages").0, 503);
    assert_eq!(node.get("/rooms/fourth/events").0, 503);
    redis.run();
    node.wait_until(200);
    node.connect("/chat/other", None);
}

#[test]
fn a_publication_over_a_socket_is_answered_with_an_error_when_it_does_not_come_through() {
    let mut redis = Redis::start(&[]);
    let node = Node::ready(&redis.url(), &[]);
    let mut client = node.connect("/chat/lobby", Some("fanline.v1"));
    text(&mut client);
    redis.kill();
    client.send(Message::text(r#"{"text":"a","id":"1"}"#)).unwrap();
    let answer: serde_json::Value = serde_json::from_str(&text(&mut client)).unwrap();
    assert_eq!((&answer["type"], &answer["id"]), (&"error".into(), &"1".into()));
}
