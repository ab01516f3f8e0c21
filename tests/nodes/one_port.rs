//! All cores of one machine: several processes share a port, and their rooms through one Redis.

use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::node::{Node, PATIENCE, text, told};
use super::redis::Redis;

/// Processes, as a machine of four cores has them.
const PROCESSES: usize = 4;

/// Connections enough that each process has some: with four, that one has none happens once in ten million runs.
const MEMBERS: usize = 64;

#[test]
fn row_22_of_part_2_four_processes_on_one_port_are_one_server_and_one_of_them_may_die() {
    let redis = Redis::start(&[]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut nodes: Vec<Node> =
        (0..PROCESSES).map(|_| Node::at(port, &redis.url(), &["--reuse-port"])).collect();
    // Each request is answered by any of them: so many in a row are by all.
    let begun = Instant::now();
    while !(0..MEMBERS).all(|_| nodes[0].get("/readyz").0 == 200) {
        assert!(begun.elapsed() < PATIENCE, "they are never ready");
    }
    let mut members: Vec<_> =
        (0..MEMBERS).map(|_| nodes[0].connect("/chat/lobby", Some("fanline.v1"))).collect();
    // What a member has been sent last is where it goes on.
    let mut epochs = Vec::new();
    for member in &mut members {
        let joined: Value = serde_json::from_str(&text(member)).unwrap();
        assert_eq!(joined["recovered"], true);
        epochs.push(joined["position"].as_str().unwrap().split(':').next().unwrap().to_owned());
    }
    for n in 0..20 {
        nodes[0].insist("lobby", &format!("before {n}"));
    }
    for member in &mut members {
        let texts: Vec<String> = (0..20).map(|_| text(member)).collect();
        let want: Vec<String> = (0..20).map(|n| format!("before {n}")).collect();
        assert_eq!(told(&texts), want, "every process has the one order");
    }
    nodes.pop().unwrap().kill();
    // The dead process's socket is gone with it: whoever comes is answered by those that are left.
    let survivor = &nodes[0];
    sleep(Duration::from_millis(50));
    let (mut lost, mut kept) = (0, 0);
    survivor.insist("lobby", "after");
    for (member, epoch) in members.iter_mut().zip(&epochs) {
        match member.read() {
            Ok(message) => {
                assert_eq!(told(&[message.to_string()]), ["after"]);
                kept += 1;
            }
            Err(_) => {
                lost += 1;
                let path = format!("/chat/lobby?since={epoch}:20");
                let mut again = survivor.connect(&path, Some("fanline.v1"));
                let joined: Value = serde_json::from_str(&text(&mut again)).unwrap();
                assert_eq!(joined["recovered"], true);
                assert_eq!(told(&[text(&mut again)]), ["after"]);
            }
        }
    }
    assert!(lost > 0 && kept > 0, "{lost} lost, {kept} kept: each process had some");
}
