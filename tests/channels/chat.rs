//! What sockets here and applications there are sent, while nothing fails.

use serde_json::json;
use tungstenite::Message;

use super::django::{Layer, Site, Worker};
use super::node::{Node, text};
use super::redis::Redis;
use super::{json, node};

#[test]
fn row_40_the_chat_of_the_tutorial_speaks_with_sockets_here_in_both_directions() {
    let redis = Redis::start(&[]);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/channels.toml");
    let (site, node) = (Site::start(&redis), Node::ready(&redis.url(), &["--config", example]));
    // The same page would connect to either.
    let mut there = site.connect("lobby");
    let mut here = [node.connect("/ws/chat/lobby/", None), node.connect("/ws/chat/lobby/", None)];
    there.send(Message::text(r#"{"message":"from there 你好"}"#)).unwrap();
    assert_eq!(there.read().unwrap(), Message::text(r#"{"message": "from there \u4f60\u597d"}"#));
    for client in &mut here {
        assert_eq!(json(client), json!({ "type": "chat.message", "message": "from there 你好" }));
    }
    here[0].send(Message::text(r#"{"message":"from here 再见"}"#)).unwrap();
    assert_eq!(there.read().unwrap(), Message::text(r#"{"message": "from here \u518d\u89c1"}"#));
    for client in &mut here {
        assert_eq!(json(client)["message"], "from here 再见", "the sender gets it, too");
    }
    // And from a view, as any code of the application would.
    assert!(site.get("/announce/chat_lobby/?message=from+a+view").contains("200"));
    for client in &mut here {
        assert_eq!(json(client)["message"], "from a view");
    }
    assert_eq!(there.read().unwrap(), Message::text(r#"{"message": "from a view"}"#));
}

#[test]
fn row_50_a_group_send_reaches_the_room_of_this_name_whole_or_by_one_field() {
    let redis = Redis::start(&[]);
    let field = "[[route]]\npath = '/chat/{room}'\nmode = 'room'\nchannels = { text = 'message' }\n\
                 [[route]]\npath = '/nested/{room}'\nmode = 'room'\n\
                 channels = { group = 'n.{room}', type = 'xx.oo', text = 'message.text', field = 'message.text' }\n";
    let (whole, field) = (node(&redis, "", &[]), node(&redis, field, &[]));
    let mut layer = Layer::start(&redis);
    let (mut wholes, mut fields) = (whole.connect("/chat/lobby/", None), field.connect("/chat/lobby", None));
    let sent =
        json!({ "type": "chat.message", "message": "hi", "n": [1, -2.5, null, true, { "deep": "房" }] });
    layer.group_send("lobby", sent.clone());
    assert_eq!(json(&mut wholes), sent, "nothing is lost of it");
    assert_eq!(text(&mut fields), "hi");
    layer.group_send("lobby", json!({ "type": "other", "n": 1 }));
    assert_eq!(json(&mut wholes), json!({ "type": "other", "n": 1 }));
    assert_eq!(
        json(&mut fields),
        json!({ "type": "other", "n": 1 }),
        "where there is no such field, it is all of it"
    );
    // As a seed's consumer does it, which sends on the whole event that it got.
    let mut nested = field.connect("/nested/deep", None);
    let consumer = layer.join("n.deep");
    layer.group_send(
        "n.deep",
        json!({ "type": "xx.oo", "message": { "type": "websocket.receive", "text": "deep" } }),
    );
    assert_eq!(text(&mut nested), "deep");
    assert_eq!(layer.receive(&consumer)["message"]["text"], "deep");
    nested.send(Message::text("back")).unwrap();
    assert_eq!(layer.receive(&consumer), json!({ "type": "xx.oo", "message": { "text": "back" } }));
    assert_eq!(text(&mut nested), "back");
}

#[test]
fn bytes_are_bytes_in_both_directions() {
    let redis = Redis::start(&[]);
    let node = node(
        &redis,
        "[[route]]\npath = '/chat/{room}'\nmode = 'room'\nchannels = { text = 'bytes', field = 'bytes' }\n",
        &[],
    );
    let mut layer = Layer::start(&redis);
    let mut client = node.connect("/chat/lobby", None);
    let channel = layer.join("lobby");
    layer.group_send("lobby", json!({ "type": "chat.message", "bytes": [0, 255, 7] }));
    assert_eq!(client.read().unwrap(), Message::binary(vec![0, 255, 7]));
    layer.receive(&channel);
    client.send(Message::binary(vec![1, 2, 254])).unwrap();
    assert_eq!(layer.receive(&channel), json!({ "type": "chat.message", "bytes": { "bytes": [1, 2, 254] } }));
    assert_eq!(client.read().unwrap(), Message::binary(vec![1, 2, 254]));
}

#[test]
fn a_worker_gets_messages_with_room_and_user_and_says_what_the_room_gets() {
    let redis = Redis::start(&[]);
    let node = node(
        &redis,
        "[[auth.token]]\nsha256 = '094bcc1966635f8fdf317095129fb9025552f2a6e3cbb4e7550b3b45d1dda422'\nuser = 'mary'\n\
         [[route]]\npath = '/chat/{room}'\nmode = 'room'\n\
         channels = { group = 'chat_{room}', text = 'message', send_to = 'moderator' }\n",
        &[],
    );
    let mut client = node.connect("/chat/lobby?token=mary-and-something-nobody-guesses", None);
    let mut anonymous = node.connect("/chat/lobby", Some("fanline.v1"));
    assert_eq!(json(&mut anonymous)["type"], "joined");
    client.send(Message::text("quietly")).unwrap();
    // It waits in the channel until there is a worker.
    let _worker = Worker::start(&redis, "moderator");
    assert_eq!(text(&mut client), "mary in lobby: QUIETLY");
    assert_eq!(json(&mut anonymous)["text"], "mary in lobby: QUIETLY");
    anonymous.send(Message::text(r#"{"text":"me","id":"1"}"#)).unwrap();
    let mut answers = [json(&mut anonymous), json(&mut anonymous)];
    answers.sort_by_key(|answer| answer["type"].to_string());
    assert_eq!((&answers[0]["type"], &answers[0]["id"]), (&json!("ack"), &json!("1")));
    assert_eq!(answers[1]["text"], "None in lobby: ME");
    assert_eq!(text(&mut client), "None in lobby: ME");
}

#[test]
fn a_worker_that_is_away_has_what_its_channel_takes_and_who_publishes_more_is_told() {
    let redis = Redis::start(&[]);
    let routes = "[[route]]\npath = '/chat/{room}'\nmode = 'room'\n\
                  channels = { json = true, text = 'message', send_to = 'moderator' }\n";
    let node = node(&redis, routes, &["--channels-capacity", "2"]);
    let mut client = node.connect("/chat/lobby", Some("fanline.v1"));
    assert_eq!(json(&mut client)["type"], "joined");
    // A client does not say who it is, or for which room it speaks.
    let forged = r#"{"message":"one","user":"admin","room":"other","group":"other","type":"evil"}"#;
    assert_eq!(node.request("POST", "/rooms/lobby/messages", "", forged).0, 201);
    client.send(Message::text(r#"{"text":"two","id":"2"}"#)).unwrap();
    assert_eq!(json(&mut client)["type"], "ack");
    client.send(Message::text(r#"{"text":"three","id":"3"}"#)).unwrap();
    let refused = json(&mut client);
    assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("3")), "{refused}");
    assert_eq!(node.post("lobby", "four").0, 503);
    let _worker = Worker::start(&redis, "moderator");
    assert_eq!(json(&mut client)["text"], "None in lobby: ONE");
    assert_eq!(json(&mut client)["text"], "None in lobby: TWO");
    node.insist("lobby", "five");
    assert_eq!(json(&mut client)["text"], "None in lobby: FIVE", "and nothing of what was refused");
}

#[test]
fn what_an_application_sends_to_a_group_reaches_who_polls() {
    let redis = Redis::start(&[]);
    let node = node(
        &redis,
        "[[route]]\npath = '/chat/{room}'\nmode = 'room'\nchannels = { text = 'message' }\n",
        &[],
    );
    let mut layer = Layer::start(&redis);
    assert_eq!(node.post("lobby", "first").0, 201, "the room is opened for it");
    let position = node.get("/rooms/lobby/messages?limit=1").1;
    let value: serde_json::Value = serde_json::from_str(&position).unwrap();
    let since = value["position"].as_str().unwrap().to_owned();
    std::thread::scope(|scope| {
        let polled = scope.spawn(|| node.get(&format!("/rooms/lobby/messages?since={since}&wait=15")));
        let mut sent = 0;
        while !polled.is_finished() {
            layer.group_send("lobby", json!({ "type": "chat.message", "message": format!("sent {sent}") }));
            sent += 1;
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let (status, page) = polled.join().unwrap();
        assert!(status == 200 && page.contains("sent 0"), "{status} {page}");
    });
}

#[test]
fn row_50_two_nodes_and_an_application_share_a_group() {
    let redis = Redis::start(&[]);
    let routes = "[[route]]\npath = '/chat/{room}'\nmode = 'room'\nchannels = { text = 'message' }\n\
                  [[route]]\npath = '/edit/{room}'\nmode = 'room'\necho = false\nchannels = { text = 'message' }\n";
    let (one, two) = (node(&redis, routes, &[]), node(&redis, routes, &[]));
    let mut layer = Layer::start(&redis);
    let channel = layer.join("lobby");
    let mut clients = [
        one.connect("/chat/lobby", None),
        one.connect("/chat/lobby", None),
        two.connect("/chat/lobby", None),
    ];
    // More than a queue takes, if nobody took anything out of it.
    for n in 0..300 {
        clients[0].send(Message::text(n.to_string())).unwrap();
        if n % 50 == 49 {
            (n - 49..=n).for_each(|n| assert_eq!(text(&mut clients[2]), n.to_string()));
            (n - 49..=n).for_each(|n| assert_eq!(layer.receive(&channel)["message"], n.to_string()));
        }
    }
    for client in &mut clients[..2] {
        (0..300).for_each(|n| assert_eq!(text(client), n.to_string(), "each once, in the order of who sent"));
    }
    // An answer over HTTP is given when it has come back, and says where it stands on this node.
    let (status, answer) = two.post("lobby", "posted");
    assert_eq!(status, 201, "{answer}");
    assert!(answer.contains(":301\""), "{answer}");
    assert_eq!(two.post("lobby", "posted").0, 200, "the same key on the same node");
    assert_eq!(layer.receive(&channel), json!({ "type": "chat.message", "message": "posted" }));
    clients.iter_mut().for_each(|client| assert_eq!(text(client), "posted"));
    let page = two.get("/rooms/lobby/messages?limit=2").1;
    assert!(page.contains("\"299\"") && page.contains("posted"), "{page}");
    // Where members do not hear themselves, the others do.
    let mut quiet =
        [one.connect("/edit/a", None), one.connect("/edit/a", None), two.connect("/edit/a", None)];
    quiet[0].send(Message::text("mine")).unwrap();
    assert_eq!(text(&mut quiet[1]), "mine");
    assert_eq!(text(&mut quiet[2]), "mine");
    layer.group_send("a", json!({ "type": "chat.message", "message": "last" }));
    quiet.iter_mut().for_each(|client| assert_eq!(text(client), "last"));
}

#[test]
fn a_room_that_cannot_be_a_group_is_refused_with_400() {
    let redis = Redis::start(&[]);
    let node = node(&redis, "", &[]);
    for path in ["/chat/%E6%88%BF%E9%97%B4/", "/chat/a%20b", &format!("/chat/{}", "x".repeat(100))] {
        assert_eq!(node.try_connect(path, None).err(), Some(400), "{path}");
    }
    assert_eq!(node.request("POST", "/rooms/a%20b/messages", "", "hi").0, 400);
    assert_eq!(node.get("/rooms/a%20b/messages").0, 400);
    node.connect(&format!("/chat/{}", "x".repeat(99)), None);
}

#[test]
fn who_has_left_is_not_in_the_group_any_more() {
    let redis = Redis::start(&[]);
    let node =
        node(&redis, "[[route]]\npath = '/chat/{room}'\nmode = 'room'\nhistory = { messages = 0 }\n", &[]);
    let members = || redis.ask(&["zcard", "asgi:group:lobby"]);
    let client = node.connect("/chat/lobby", None);
    assert_eq!(members(), "1");
    assert!(redis.ask(&["ttl", "asgi:group:lobby"]).parse::<u64>().unwrap() > 86_000);
    drop(client);
    let begun = std::time::Instant::now();
    while members() != "0" {
        assert!(begun.elapsed() < super::node::PATIENCE, "it never leaves");
    }
}

#[test]
fn what_is_too_long_for_the_layer_is_refused_and_what_is_deep_comes_back() {
    let redis = Redis::start(&[]);
    let routes = "[[route]]\npath = '/chat/{room}'\nmode = 'room'\nchannels = { json = true }\n";
    let node = node(&redis, routes, &["--channels-message-bytes-max", "4KiB"]);
    let mut client = node.connect("/chat/lobby", None);
    let deep = format!("{{\"deep\":{}{}}}", "[".repeat(120), "]".repeat(120));
    client.send(Message::text(deep.clone())).unwrap();
    assert!(text(&mut client).contains(&deep[1..]));
    let post = |len| node.request("POST", "/rooms/lobby/messages", "", &"x".repeat(len)).0;
    assert_eq!(post(4097), 413);
    // With what the layer adds it is too long, too.
    assert_eq!(post(4090), 503);
    assert_eq!(post(3000), 201);
    assert!(text(&mut client).len() > 3000);
    client.send(Message::text("x".repeat(4097))).unwrap();
    assert!(matches!(client.read().unwrap(), Message::Close(Some(close)) if u16::from(close.code) == 1009));
}

#[test]
fn what_is_sent_in_one_go_comes_back_whole_although_it_is_more_than_a_queue_takes() {
    let redis = Redis::start(&[]);
    let node = node(
        &redis,
        "[[route]]\npath = '/chat/{room}'\nmode = 'room'\nchannels = { text = 'message' }\n",
        &[],
    );
    let mut client = node.connect("/chat/lobby", None);
    for n in 0..1000 {
        client.write(Message::text(n.to_string())).unwrap();
    }
    client.flush().unwrap();
    (0..1000).for_each(|n| assert_eq!(text(&mut client), n.to_string()));
}
