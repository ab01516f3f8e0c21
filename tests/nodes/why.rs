//! Why a message was late, found out with nothing but the commands that are shipped.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tungstenite::Message;

use super::node::{Node, PATIENCE, text};
use super::redis::Redis;

/// A node with an admin listener in a folder of its own.
struct Site {
    node: Node,
    folder: tempfile::TempDir,
}

impl Site {
    fn start(redis: &Redis, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = format!("unix:{}", folder.path().join("admin.sock").display());
        let node = Node::ready(&redis.url(), &[&["--admin-listen", &admin], args].concat());
        Self { node, folder }
    }

    /// What a command prints.
    fn ask(&self, args: &[&str]) -> String {
        let admin = format!("unix:{}", self.folder.path().join("admin.sock").display());
        let said = Command::new(env!("CARGO_BIN_EXE_fanline"))
            .args(args)
            .args(["--admin", &admin])
            .output()
            .unwrap();
        assert!(said.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let said = self.ask(&[args, &["--json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// The longest of a figure so far, in microseconds.
    fn loop_max_us(&self, name: &str) -> u64 {
        self.json(&["top", "--once"])["status"]["ledger"]["loop"][name]["max_us"].as_u64().unwrap()
    }
}

#[test]
fn row_21_of_part_2_a_slow_redis_is_seen_in_its_answers_and_nowhere_else() {
    let redis = Redis::start(&[]);
    let site = Site::start(&redis, &[]);
    let mut member = site.node.connect("/chat/lobby", None);
    let usual = site.loop_max_us("answer");
    for _ in 0..3 {
        redis.signal(Signal::STOP);
        sleep(Duration::from_millis(700));
        redis.signal(Signal::CONT);
        sleep(Duration::from_millis(100));
    }
    site.node.insist("lobby", "late");
    assert_eq!(text(&mut member), "late");
    let begun = Instant::now();
    while site.loop_max_us("answer") < 150_000 {
        assert!(begun.elapsed() < PATIENCE, "{usual} µs before, and {} now", site.loop_max_us("answer"));
    }
    let shown = site.ask(&["top", "--once"]);
    let line = shown.lines().find(|line| line.starts_with("backplane")).unwrap_or_else(|| panic!("{shown}"));
    assert!(line.contains("max"), "{line}");
}

#[test]
fn row_21_of_part_2_a_slow_reader_is_on_top_of_the_peers_and_alone_there() {
    let redis = Redis::start(&[]);
    let site = Site::start(&redis, &["--room-log-bytes-max", "64MiB"]);
    // It reads its handshake, and then nothing.
    let mut slow = site.node.connect("/chat/lobby", None);
    let mut quick = site.node.connect("/chat/lobby", None);
    // More than the kernel keeps for a socket, and less than the log.
    let long = "x".repeat(512 << 10);
    for _ in 0..60 {
        quick.send(Message::text(long.as_str())).unwrap();
        assert_eq!(text(&mut quick).len(), long.len());
    }
    let peers = site.json(&["peers", "--sort", "lag"]);
    let peers = peers["peers"].as_array().unwrap();
    assert!(peers[0]["lag"].as_u64() > Some(0) && peers[0]["delay_ms"].as_u64() > Some(0), "{peers:?}");
    assert_eq!(peers[1]["lag"], 0, "who reads is not late: {peers:?}");
    // That is the one: kicked, it is gone, and the other is not.
    site.ask(&["kick", peers[0]["id"].as_str().unwrap()]);
    let begun = Instant::now();
    while slow.read().is_ok() {
        assert!(begun.elapsed() < PATIENCE);
    }
    quick.send(Message::text("still here")).unwrap();
    assert_eq!(text(&mut quick), "still here");
}
