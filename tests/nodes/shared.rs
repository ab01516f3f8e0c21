//! What several nodes make of one room while nothing fails.

use std::collections::BTreeSet;
use std::fs;

use tungstenite::Message;

use super::node::{Node, text, told};
use super::redis::{Redis, Wire};

#[test]
fn row_9_of_part_2_members_on_three_nodes_get_one_order_without_loss_or_double() {
    let redis = Redis::start(&[]);
    let nodes: Vec<Node> = (0..3).map(|_| Node::ready(&redis.url(), &[])).collect();
    let members: Vec<_> =
        nodes.iter().flat_map(|node| (0..3).map(|_| node.member("/chat/lobby", None))).collect();
    let json = nodes[1].member("/chat/lobby", Some("fanline.v1"));
    std::thread::scope(|scope| {
        for (i, node) in nodes.iter().enumerate() {
            // Over sockets without an answer, and over HTTP, at once.
            scope.spawn(move || {
                let mut client = node.connect("/chat/lobby", None);
                (0..100).for_each(|n| client.send(Message::text(format!("socket {i} {n}"))).unwrap());
                let heard: Vec<String> = (0..100).map(|_| text(&mut client)).collect();
                assert_eq!(heard.len(), 100);
            });
            scope.spawn(move || {
                (0..30).for_each(|n| assert_eq!(node.post("lobby", &format!("post {i} {n}")).0, 201))
            });
        }
    });
    nodes[0].insist("lobby", "end");
    let heard: Vec<Vec<String>> = members.into_iter().map(|member| member.join().unwrap().texts).collect();
    let all: BTreeSet<&String> = heard[0].iter().collect();
    assert_eq!((heard[0].len(), all.len()), (391, 391), "no loss, no double");
    heard.iter().for_each(|other| assert_eq!(*other, heard[0], "one order"));
    assert_eq!(told(&json.join().unwrap().texts)[1..], heard[0], "and the same in JSON");
    for (i, way) in (0..3).flat_map(|i| [(i, "socket"), (i, "post")]) {
        let own: Vec<&String> =
            heard[0].iter().filter(|text| text.starts_with(&format!("{way} {i} "))).collect();
        let want: Vec<String> = (0..own.len()).map(|n| format!("{way} {i} {n}")).collect();
        assert_eq!(own, want.iter().collect::<Vec<_>>(), "in the order of who published");
    }
}

#[test]
fn row_10_of_part_2_history_and_resume_are_on_another_node_after_one_was_killed() {
    let redis = Redis::start(&[]);
    let (mut one, two) = (Node::ready(&redis.url(), &[]), Node::ready(&redis.url(), &[]));
    let mut client = one.connect("/chat/lobby", Some("fanline.v1"));
    let joined: serde_json::Value = serde_json::from_str(&text(&mut client)).unwrap();
    assert_eq!(joined["recovered"], true);
    for n in 0..10 {
        one.insist("lobby", &format!("before {n}"));
    }
    for n in 0..10 {
        assert!(text(&mut client).contains(&format!("before {n}")));
    }
    let epoch = joined["position"].as_str().unwrap().split(':').next().unwrap();
    let since = format!("{epoch}:7");
    one.kill();
    for n in 0..5 {
        two.insist("lobby", &format!("after {n}"));
    }
    let three = Node::ready(&redis.url(), &[]);
    for node in [&two, &three] {
        let mut client = node.connect(&format!("/chat/lobby?since={since}"), Some("fanline.v1"));
        let joined: serde_json::Value = serde_json::from_str(&text(&mut client)).unwrap();
        assert_eq!((joined["recovered"].as_bool(), joined["position"].as_str()), (Some(true), Some(&*since)));
        let texts: Vec<String> = (0..8).map(|_| text(&mut client)).collect();
        let want =
            ["before 7", "before 8", "before 9", "after 0", "after 1", "after 2", "after 3", "after 4"];
        assert_eq!(told(&texts), want);
        let (status, page) = node.get("/rooms/lobby/messages?limit=3");
        assert!(status == 200 && page.contains("after 2") && page.contains("after 4"), "{page}");
        let mut raw = node.connect("/chat/lobby?last=2", None);
        assert_eq!((text(&mut raw), text(&mut raw)), ("after 3".into(), "after 4".into()));
        assert_eq!(node.try_connect("/chat/lobby?since=1:1", None).err(), Some(410));
    }
}

#[test]
fn row_50_rooms_are_shared_through_a_redis_with_a_password_and_a_database() {
    let redis = Redis::start(&["--requirepass", "a:b@c"]);
    let wire = Wire::new(redis.socket());
    let tcp = format!("redis://:a%3Ab%40c@{}/5", wire.addr());
    let unix = format!("redis+unix://default:a%3Ab%40c@{}?db=5", redis.socket().display());
    let (one, two) = (Node::ready(&tcp, &[]), Node::ready(&unix, &[]));
    let other_db = Node::ready(&format!("redis://:a%3Ab%40c@{}/6", wire.addr()), &[]);
    let (member, other) = (two.member("/chat/lobby", None), other_db.member("/chat/lobby", None));
    one.insist("lobby", "hello");
    one.insist("lobby", "the end");
    other_db.insist("lobby", "its own end");
    assert_eq!(member.join().unwrap().texts, ["hello", "the end"]);
    assert_eq!(other.join().unwrap().texts, ["its own end"], "another database is another world");
    assert!(redis.ask(&["--no-auth-warning", "-a", "a:b@c", "client", "list"]).contains("name=fanline-"));
}

#[test]
fn row_26_of_part_2_all_keys_begin_with_the_prefix_and_another_prefix_is_another_world() {
    let redis = Redis::start(&[]);
    let one = Node::ready(&redis.url(), &[]);
    let two = Node::ready(&redis.url(), &["--backplane-prefix", "staging:"]);
    let member = two.member("/chat/lobby", None);
    for (node, said) in [(&one, "hello end"), (&two, "staging end")] {
        assert_eq!(node.request("POST", "/rooms/lobby/messages", "", said).0, 201);
    }
    assert_eq!(member.join().unwrap().texts, ["staging end"]);
    let keys = redis.ask(&["keys", "*"]);
    assert!(keys.lines().all(|key| key.starts_with("fanline:") || key.starts_with("staging:")), "{keys}");
    assert!(keys.contains("fanline:log{lobby}") && keys.contains("staging:log{lobby}"), "{keys}");
    let channels = redis.ask(&["pubsub", "channels"]);
    assert!(channels.lines().all(|name| name.starts_with("fanline:") || name.starts_with("staging:")));
    for key in keys.lines() {
        assert_ne!(redis.ask(&["ttl", key]), "-1", "{key} is forgotten some day");
    }
}

#[test]
fn what_is_tried_again_on_another_node_is_published_once() {
    let redis = Redis::start(&[]);
    let (one, two) = (Node::ready(&redis.url(), &[]), Node::ready(&redis.url(), &[]));
    let member = two.member("/chat/lobby", None);
    let (first, second) = (one.post("lobby", "once"), two.post("lobby", "once"));
    assert_eq!((first.0, second.0), (201, 200));
    let position =
        |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap()["position"].to_string();
    assert_eq!(position(&first.1), position(&second.1));
    one.insist("lobby", "end");
    assert_eq!(member.join().unwrap().texts, ["once", "end"]);
}

#[test]
fn who_asks_for_an_answer_gets_it_when_the_publication_has_its_place() {
    let redis = Redis::start(&[]);
    let (one, two) = (Node::ready(&redis.url(), &[]), Node::ready(&redis.url(), &[]));
    let mut other = two.connect("/chat/lobby", Some("fanline.v1"));
    let mut client = one.connect("/chat/lobby", Some("fanline.v1"));
    let first = |client: &mut _| serde_json::from_str::<serde_json::Value>(&text(client)).unwrap();
    let position = first(&mut client)["position"].as_str().unwrap().to_owned();
    first(&mut other);
    client.send(Message::text(r#"{"text":"a","id":"1"}"#)).unwrap();
    client.send(Message::text(r#"{"base64":"AP8=","id":"2"}"#)).unwrap();
    let said: Vec<serde_json::Value> = (0..4).map(|_| first(&mut client)).collect();
    let acks: Vec<&serde_json::Value> = said.iter().filter(|said| said["type"] == "ack").collect();
    let epoch = position.split(':').next().unwrap();
    assert_eq!((&acks[0]["id"], &acks[0]["position"]), (&"1".into(), &format!("{epoch}:1").into()));
    assert_eq!((&acks[1]["id"], &acks[1]["position"]), (&"2".into(), &format!("{epoch}:2").into()));
    assert_eq!(first(&mut other)["text"], "a");
    assert_eq!(first(&mut other)["base64"], "AP8=");
}

#[test]
fn row_37_where_members_do_not_hear_themselves_they_do_not_over_the_round_trip_either() {
    let redis = Redis::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quiet.toml");
    fs::write(&file, "[[route]]\npath = '/edit/{room}'\nmode = 'room'\necho = false\n").unwrap();
    let args = ["--config", file.to_str().unwrap()];
    let (one, two) = (Node::ready(&redis.url(), &args), Node::ready(&redis.url(), &args));
    let mut clients =
        [one.connect("/edit/a", None), one.connect("/edit/a", None), two.connect("/edit/a", None)];
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(Message::text(format!("from {i}"))).unwrap();
    }
    for (i, client) in clients.iter_mut().enumerate() {
        let mut heard = [text(client), text(client)];
        heard.sort();
        let want: Vec<String> = (0..3).filter(|j| *j != i).map(|j| format!("from {j}")).collect();
        assert_eq!(heard.to_vec(), want);
    }
    one.insist("a", "end");
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(text(client), "end", "and nothing of its own in between"));
}

#[test]
fn a_room_without_history_is_joined_although_it_has_to_be_opened_first() {
    let redis = Redis::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("game.toml");
    fs::write(&file, "[[route]]\npath = '/game/{room}'\nmode = 'room'\nhistory = { messages = 0 }\n")
        .unwrap();
    let node = Node::ready(&redis.url(), &["--config", file.to_str().unwrap()]);
    let mut client = node.connect("/game/a", None);
    client.send(Message::text("hello")).unwrap();
    assert_eq!(text(&mut client), "hello");
}

#[test]
fn row_54_events_and_polls_are_woken_by_what_is_published_on_another_node() {
    let redis = Redis::start(&[]);
    let (one, two) = (Node::ready(&redis.url(), &[]), Node::ready(&redis.url(), &[]));
    one.insist("lobby", "first");
    let position = two.get("/rooms/lobby/messages").1;
    let position: serde_json::Value = serde_json::from_str(&position).unwrap();
    let since = position["position"].as_str().unwrap();
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| two.get(&format!("/rooms/lobby/messages?since={since}&wait=15")));
        std::thread::sleep(std::time::Duration::from_millis(300));
        one.insist("lobby", "second");
        let (status, page) = poll.join().unwrap();
        assert!(status == 200 && page.contains("second") && !page.contains("first"), "{page}");
    });
}

#[test]
fn row_20_of_part_2_a_process_that_takes_over_goes_on_with_what_redis_has() {
    let redis = Redis::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("takeover.sock");
    let args = ["--takeover", path.to_str().unwrap(), "--drain-duration", "100ms"];
    let old = Node::ready(&redis.url(), &args);
    let beside = Node::ready(&redis.url(), &[]);
    let (moved, stayed) = (old.member("/chat/lobby", None), beside.member("/chat/lobby", None));
    old.insist("lobby", "before");
    let new = Node::ready(&redis.url(), &args);
    assert_eq!(moved.join().unwrap().closed, Some(1001));
    new.insist("lobby", "end");
    assert_eq!(stayed.join().unwrap().texts, ["before", "end"]);
    let page = new.get("/rooms/lobby/messages").1;
    assert!(page.contains("before") && page.contains("end"), "{page}");
}
