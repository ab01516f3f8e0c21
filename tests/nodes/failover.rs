//! One Redis on several hosts: the nodes are with whichever is the primary, and what it lacks is owned up to.

use std::time::Duration;

use super::cluster::{free_port, wait_until};
use super::node::{Node, text, told};
use super::redis::{Redis, Wire};

/// A primary, a replica, and the URL that names both.
struct Pair {
    primary: Redis,
    replica: Redis,
    ports: [String; 2],
    url: String,
}

impl Pair {
    fn start() -> Self {
        let ports = [free_port().to_string(), free_port().to_string()];
        let start = |port: &str, more: &[&str]| {
            Redis::start(&[&["--bind", "127.0.0.1", "--port", port], more].concat())
        };
        let primary = start(&ports[0], &[]);
        let replica = start(&ports[1], &["--replicaof", "127.0.0.1", &ports[0]]);
        wait_until("it follows its primary", || {
            replica.ask(&["info", "replication"]).contains("master_link_status:up")
        });
        // The replica is named first: that a server answers does not make it the primary.
        let url = format!("redis://127.0.0.1:{},127.0.0.1:{}/0", ports[1], ports[0]);
        Self { primary, replica, ports, url }
    }
}

#[test]
fn row_7_of_part_2_nodes_follow_the_primary_to_another_host_and_back() {
    let mut pair = Pair::start();
    let nodes = [Node::ready(&pair.url, &[]), Node::ready(&pair.url, &[])];
    let raw: Vec<_> = nodes.iter().map(|node| node.member("/chat/lobby", None)).collect();
    let json = nodes[1].member("/chat/lobby", Some("fanline.v1"));
    nodes[0].insist("lobby", "before");
    pair.primary.wait_until_copied(&pair.replica);
    pair.primary.kill();
    nodes.iter().for_each(|node| assert!(node.wait_until(503) < Duration::from_secs(3)));
    assert_eq!(nodes[0].post("lobby", "refused").0, 503, "a replica takes nothing");
    assert_eq!(pair.replica.ask(&["replicaof", "no", "one"]), "OK");
    nodes.iter().for_each(|node| _ = node.wait_until(200));
    nodes[0].insist("lobby", "promoted");
    // The old one comes back, still thinks that it is the primary, and nobody is there; then it follows the new one.
    pair.primary.run();
    nodes[1].insist("lobby", "beside the old one");
    assert_eq!(pair.primary.ask(&["replicaof", "127.0.0.1", &pair.ports[1]]), "OK");
    wait_until("it follows the new one", || {
        pair.primary.ask(&["info", "replication"]).contains("master_link_status:up")
    });
    nodes[1].insist("lobby", "demoted");
    pair.replica.wait_until_copied(&pair.primary);
    // And back, without that any connection is cut: who publishes is told that it is read only.
    assert_eq!(pair.primary.ask(&["replicaof", "no", "one"]), "OK");
    assert_eq!(pair.replica.ask(&["replicaof", "127.0.0.1", &pair.ports[0]]), "OK");
    nodes[0].insist("lobby", "end");
    nodes.iter().for_each(|node| _ = node.wait_until(200));
    let want = ["before", "promoted", "beside the old one", "demoted", "end"];
    for member in raw {
        let heard = member.join().unwrap();
        assert_eq!((heard.closed, heard.error), (None, None), "they stayed");
        assert_eq!(heard.texts, want);
    }
    assert_eq!(told(&json.join().unwrap().texts)[1..], want, "and no reset");
    wait_until("both lines of both lead to the primary", || {
        let channels = [&pair.primary, &pair.replica].map(|redis| redis.ask(&["pubsub", "channels"]));
        channels[0].contains("{lobby}") && channels[1].is_empty()
    });
}

#[test]
fn what_a_promoted_replica_never_had_begins_another_epoch_on_every_node() {
    let mut pair = Pair::start();
    let nodes = [Node::ready(&pair.url, &[]), Node::ready(&pair.url, &[])];
    let members: Vec<_> = nodes.iter().map(|node| node.member("/chat/lobby", Some("fanline.v1"))).collect();
    let raw = nodes[0].member("/chat/lobby", None);
    nodes[0].insist("lobby", "before");
    pair.primary.wait_until_copied(&pair.replica);
    // It follows no longer, so what comes now is lost with the primary.
    assert_eq!(pair.replica.ask(&["replicaof", "no", "one"]), "OK");
    nodes[0].insist("lobby", "lost");
    nodes[1].insist("lobby", "lost, too");
    while !nodes.iter().all(|node| node.get("/rooms/lobby/messages").1.contains("lost, too")) {}
    pair.primary.kill();
    nodes[1].insist("lobby", "after");
    nodes[0].insist("lobby", "end");
    for member in members {
        let heard = member.join().unwrap();
        assert_eq!((heard.closed, heard.error), (None, None), "they stayed");
        let word = told(&heard.texts);
        assert_eq!(word[..3], ["joined", "before", "lost"]);
        assert_eq!((&*word[3], &*word[4]), ("lost, too", "reset"));
        let rest: Vec<&String> = word[5..].iter().filter(|word| *word != "before").collect();
        assert_eq!(rest, ["after", "end"], "the new epoch is the same for all: {word:?}");
    }
    let heard = raw.join().unwrap();
    assert_eq!(
        (heard.texts, heard.closed),
        (["before", "lost", "lost, too"].map(str::to_owned).to_vec(), Some(1013))
    );
}

/// Publishes a text until it is published; where it stands.
fn publish(node: &Node, text: &str) -> String {
    node.insist("lobby", text);
    let (status, answer) = node.post("lobby", text);
    assert_eq!(status, 200, "it is there: {answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    answer["position"].as_str().unwrap().to_owned()
}

/// What somebody is told who goes on at a node after this position, up to the `end`.
fn resume(node: &Node, position: &str) -> Vec<serde_json::Value> {
    let heard = node.member(&format!("/chat/lobby?since={position}"), Some("fanline.v1")).join().unwrap();
    assert_eq!((heard.closed, heard.error), (None, None));
    heard.texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

fn texts(told: &[serde_json::Value]) -> Vec<&str> {
    told[1..].iter().map(|told| told["text"].as_str().unwrap()).collect()
}

/// To whoever comes with the position `lost` a node says that it has something else in that place; whoever comes with
/// `kept` goes on without a gap.
fn owns_up(node: &Node, kept: &str, lost: &str, since: &[&str]) {
    while !node.get("/rooms/lobby/messages").1.contains("end") {}
    let path = format!("/chat/lobby?since={lost}");
    let joined = text(&mut node.connect(&path, Some("fanline.v1")));
    assert!(joined.contains("\"recovered\":false"), "{joined}");
    assert_eq!(node.try_connect(&path, None).err(), Some(410), "who cannot be told is not let in");
    assert!(node.get(&format!("/rooms/lobby/messages?since={lost}")).1.contains("\"recovered\":false"));
    let told = resume(node, kept);
    assert_eq!((&told[0]["recovered"], &*texts(&told)), (&true.into(), since), "{told:?}");
}

#[test]
fn row_7_of_part_2_a_place_that_a_lost_primary_gave_is_not_taken_for_that_of_another_message() {
    let mut pair = Pair::start();
    let [mut one, other] = [Node::ready(&pair.url, &[]), Node::ready(&pair.url, &[])];
    let kept = publish(&one, "before");
    pair.primary.wait_until_copied(&pair.replica);
    assert_eq!(pair.replica.ask(&["replicaof", "no", "one"]), "OK");
    let lost = publish(&one, "lost");
    assert_eq!(lost, kept.replace(":1", ":2"), "in the same epoch");
    // Nobody is left who has ever had it, but the client that was told.
    one.kill();
    pair.primary.kill();
    for text in ["another one", "behind it", "end"] {
        other.insist("lobby", text);
    }
    owns_up(&other, &kept, &lost, &["another one", "behind it", "end"]);
    let late = Node::ready(&pair.url, &[]);
    owns_up(&late, &kept, &lost, &["another one", "behind it", "end"]);
}

#[test]
fn row_7_of_part_2_a_place_given_by_a_redis_that_came_back_without_its_latest_second_is_not_given_again() {
    let mut redis = Redis::start(&[]);
    let [mut one, other] = [Node::ready(&redis.url(), &[]), Node::ready(&redis.url(), &[])];
    let kept = publish(&one, "before");
    assert_eq!(redis.ask(&["save"]), "OK");
    let lost = publish(&one, "lost");
    one.kill();
    redis.kill();
    redis.run();
    for text in ["another one", "end"] {
        other.insist("lobby", text);
    }
    owns_up(&other, &kept, &lost, &["another one", "end"]);
}

#[test]
fn who_has_lost_nothing_in_a_failover_goes_on_without_a_reset_and_is_told_the_new_epoch() {
    let mut pair = Pair::start();
    let [one, other] = [Node::ready(&pair.url, &[]), Node::ready(&pair.url, &[])];
    let stays = other.member("/chat/lobby", Some("fanline.v1"));
    let plain = other.member("/chat/lobby", None);
    one.insist("lobby", "before");
    while !other.get("/rooms/lobby/messages").1.contains("before") {}
    pair.primary.wait_until_copied(&pair.replica);
    pair.primary.kill();
    assert_eq!(pair.replica.ask(&["replicaof", "no", "one"]), "OK");
    one.insist("lobby", "after");
    one.insist("lobby", "end");
    let heard = stays.join().unwrap();
    assert_eq!((heard.closed, heard.error), (None, None), "it stayed");
    assert_eq!(told(&heard.texts), ["joined", "before", "after", "end"]);
    let heard: Vec<serde_json::Value> =
        heard.texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let epoch = |told: &serde_json::Value| {
        told["position"].as_str().map(|at| at.split(':').next().unwrap().to_owned())
    };
    assert_eq!(epoch(&heard[1]), None, "the epoch is that of the beginning");
    assert!(epoch(&heard[2]).is_some() && epoch(&heard[2]) != epoch(&heard[0]), "{heard:?}");
    assert_eq!(plain.join().unwrap().texts, ["before", "after", "end"]);
    let after = heard[2]["position"].as_str().unwrap();
    while !one.get("/rooms/lobby/messages").1.contains("end") {}
    let told = resume(&one, after);
    assert_eq!((&told[0]["recovered"], &*texts(&told)), (&true.into(), &["end"][..]));
}

#[test]
fn of_two_nodes_the_one_that_had_more_than_the_promoted_replica_resets_its_members_and_the_other_does_not() {
    let mut pair = Pair::start();
    let wire = Wire::new(pair.primary.socket());
    let [near, far] = [
        Node::ready(&pair.url, &[]),
        Node::ready(&format!("redis://{},127.0.0.1:{}/0", wire.addr(), pair.ports[1]), &[]),
    ];
    let members = [&near, &far].map(|node| node.member("/chat/lobby", Some("fanline.v1")));
    near.insist("lobby", "before");
    while !far.get("/rooms/lobby/messages").1.contains("before") {}
    pair.primary.wait_until_copied(&pair.replica);
    wire.cut();
    assert_eq!(pair.replica.ask(&["replicaof", "no", "one"]), "OK");
    near.insist("lobby", "lost");
    while !near.get("/rooms/lobby/messages").1.contains("lost") {}
    pair.primary.kill();
    far.insist("lobby", "after");
    far.insist("lobby", "end");
    let [near, far] = members.map(|member| told(&member.join().unwrap().texts));
    assert_eq!(near[..4], ["joined", "before", "lost", "reset"]);
    assert_eq!(near[4..].iter().filter(|word| *word != "before").collect::<Vec<_>>(), ["after", "end"]);
    assert_eq!(far, ["joined", "before", "after", "end"]);
}

#[test]
fn a_user_of_redis_who_is_refused_info_has_rooms_all_the_same() {
    let port = free_port().to_string();
    let redis = Redis::start(&["--bind", "127.0.0.1", "--port", &port]);
    assert_eq!(redis.ask(&["acl", "setuser", "ann", "on", ">secret", "~*", "&*", "+@all", "-info"]), "OK");
    let url = format!("redis://ann:secret@127.0.0.1:{port}/0");
    let nodes = [Node::ready(&url, &[]), Node::ready(&url, &[])];
    let member = nodes[1].member("/chat/lobby", Some("fanline.v1"));
    for text in ["one", "two", "end"] {
        nodes[0].insist("lobby", text);
    }
    assert_eq!(told(&member.join().unwrap().texts), ["joined", "one", "two", "end"]);
}
