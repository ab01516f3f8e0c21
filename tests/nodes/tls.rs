//! Redis over TLS: one server, and a cluster; and servers that are not who they should be.

use std::path::Path;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, free_port};
use super::node::Node;
use super::redis::Redis;

/// Writes a certificate for these names and its key, which is its own authority; what Redis has to be told.
fn certify(folder: &Path, names: &[&str]) -> Vec<String> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let pair = rcgen::generate_simple_self_signed(names).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    std::fs::write(path("cert.pem"), pair.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    let args = [
        "--tls-cert-file".to_owned(),
        path("cert.pem"),
        "--tls-key-file".to_owned(),
        path("key.pem"),
        "--tls-ca-cert-file".to_owned(),
        path("cert.pem"),
        "--tls-auth-clients".to_owned(),
        "no".to_owned(),
    ];
    args.to_vec()
}

fn serve(args: &[String]) -> (Redis, u16) {
    let port = free_port();
    let port_text = port.to_string();
    let own = ["--bind", "127.0.0.1", "--tls-port", &port_text, "--requirepass", "secret"];
    let args: Vec<&str> = own.into_iter().chain(args.iter().map(String::as_str)).collect();
    (Redis::start(&args), port)
}

#[test]
fn row_50_rooms_are_shared_over_tls_by_a_server_that_is_who_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let (redis, port) = serve(&certify(folder.path(), &["127.0.0.1", "localhost"]));
    let ca = folder.path().join("cert.pem").display().to_string();
    let nodes = [
        Node::ready(&format!("rediss://:secret@127.0.0.1:{port}/3?ca={ca}"), &[]),
        Node::ready(&format!("rediss://:secret@localhost:{port}/3?ca={ca}"), &[]),
    ];
    let members: Vec<_> = nodes.iter().map(|node| node.member("/chat/lobby", None)).collect();
    // Longer than what a session keeps, and than what a socket takes at once.
    let long = "0123456789abcdef".repeat(20 << 10);
    let said: Vec<String> = (0..8).map(|n| format!("{n} {long}")).collect();
    for (n, text) in said.iter().enumerate() {
        assert_eq!(nodes[n % 2].request("POST", "/rooms/lobby/messages", "", text).0, 201);
    }
    nodes[0].insist("lobby", "end");
    for member in members {
        let heard = member.join().unwrap();
        assert_eq!((heard.closed, heard.error), (None, None));
        let lengths: Vec<usize> = heard.texts.iter().map(String::len).collect();
        assert!(heard.texts[..8] == said[..] && heard.texts[8] == "end", "{lengths:?}");
    }
    drop(redis);
    nodes.iter().for_each(|node| _ = node.wait_until(503));
}

#[test]
fn a_server_that_nobody_vouches_for_or_that_has_another_name_gets_no_password() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (redis, port) = serve(&certify(folders[0].path(), &["localhost"]));
    certify(folders[1].path(), &["localhost"]);
    let ca = |at: usize| folders[at].path().join("cert.pem").display().to_string();
    let nodes = [
        Node::start(&format!("rediss://:secret@127.0.0.1:{port}/?ca={}", ca(0)), &[]),
        Node::start(&format!("rediss://:secret@localhost:{port}/?ca={}", ca(1)), &[]),
        Node::start(&format!("redis://:secret@localhost:{port}/"), &[]),
    ];
    let right = Node::ready(&format!("rediss://:secret@localhost:{port}/?ca={}", ca(0)), &[]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        nodes.iter().for_each(|node| assert_eq!(node.get("/readyz").0, 503));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(right.get("/readyz").0, 200);
    let clients = redis.ask(&["--no-auth-warning", "-a", "secret", "client", "list"]);
    let names = clients.lines().filter(|line| line.contains("name=fanline-")).count();
    assert_eq!(names, 2, "only the two lines of the one: {clients}");
}

#[test]
fn rooms_of_a_cluster_are_shared_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let args = certify(folder.path(), &["127.0.0.1"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let cluster = Cluster::start_over_tls(2, &args);
    let url = cluster.url(&[1]).replace("redis+", "rediss+");
    let url = format!("{url}?ca={}", folder.path().join("cert.pem").display());
    let nodes = [Node::ready(&url, &[]), Node::ready(&url, &[])];
    for shard in 0..2 {
        let room = cluster.room_at(shard, 2);
        let members = nodes.each_ref().map(|node| node.member(&format!("/chat/{room}"), None));
        nodes[0].insist(&room, "hello");
        nodes[1].insist(&room, "end");
        members.into_iter().for_each(|member| assert_eq!(member.join().unwrap().texts, ["hello", "end"]));
    }
}
