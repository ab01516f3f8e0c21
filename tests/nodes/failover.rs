//! One Redis on several hosts: the nodes are with whichever is the primary, and what it lacks is owned up to.

use std::time::Duration;

use super::cluster::{free_port, wait_until};
use super::node::{Node, told};
use super::redis::Redis;

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
    nodes.iter().for_each(|node| drop(node.wait_until(200)));
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
    nodes.iter().for_each(|node| drop(node.wait_until(200)));
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
