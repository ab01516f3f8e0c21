//! Faults of Redis in which nothing is lost: members stay, nothing comes twice or out of order, and it heals by itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::node::{Heard, Node};
use super::redis::{Redis, Wire};

/// Two nodes, two members on each, and what was published on them.
struct Scene {
    nodes: [Node; 2],
    members: Vec<std::thread::JoinHandle<Heard>>,
    said: usize,
    certain: BTreeSet<String>,
}

impl Scene {
    fn new(url: &str) -> Self {
        Self::with(url, &[])
    }

    fn with(url: &str, args: &[&str]) -> Self {
        let nodes = [Node::ready(url, args), Node::ready(url, args)];
        let members = nodes.iter().flat_map(|node| (0..2).map(|_| node.member("/chat/lobby", None)));
        let members = members.collect();
        Self { nodes, members, said: 0, certain: BTreeSet::new() }
    }

    /// Publishes some on both nodes, which take them or say 503 within the bound; how many they took.
    fn publish(&mut self, count: usize) -> usize {
        let before = self.certain.len();
        for node in &self.nodes {
            for _ in 0..count {
                self.said += 1;
                let text = format!("message {}", self.said);
                let begun = Instant::now();
                let status = node.post("lobby", &text).0;
                assert!(begun.elapsed() < Duration::from_secs(4), "{status} after {:?}", begun.elapsed());
                assert!(matches!(status, 201 | 503), "{status}");
                if status == 201 {
                    self.certain.insert(text);
                }
            }
        }
        self.certain.len() - before
    }

    /// Both nodes say within three seconds that they are not ready.
    fn turns_red(&self) {
        let begun = Instant::now();
        for node in &self.nodes {
            node.wait_until(503);
        }
        assert!(begun.elapsed() < Duration::from_secs(3), "red after {:?}", begun.elapsed());
        self.nodes.iter().for_each(|node| assert_eq!(node.get("/healthz").0, 200, "alive all the same"));
    }

    /// Both nodes are ready again by themselves, and every member has got the same: everything that was certain, each
    /// once, and of the rest what came through.
    fn heals(mut self) {
        for node in &self.nodes {
            node.wait_until(200);
        }
        assert_eq!(self.publish(3), 6);
        self.nodes[0].insist("lobby", "end");
        let heard: Vec<Heard> = self.members.into_iter().map(|member| member.join().unwrap()).collect();
        for other in &heard {
            assert_eq!((other.closed, &other.error), (None, &None), "it stayed connected");
            assert_eq!(other.texts, heard[0].texts, "one order");
        }
        let texts: BTreeSet<String> = heard[0].texts.iter().cloned().collect();
        assert_eq!(texts.len(), heard[0].texts.len(), "no double: {:?}", heard[0].texts);
        assert!(self.certain.is_subset(&texts), "no loss: {:?}", self.certain.difference(&texts));
    }
}

#[test]
fn row_7_of_part_2_redis_is_restarted_with_its_data() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut scene = Scene::new(&redis.url());
    assert_eq!(scene.publish(5), 10);
    redis.kill();
    scene.turns_red();
    assert_eq!(scene.publish(1), 0);
    redis.run();
    scene.heals();
}

#[test]
fn redis_is_away_for_a_moment_that_a_publication_outlasts() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    // On a busy machine Redis alone may take a second to start.
    let mut scene = Scene::with(&redis.url(), &["--backplane-publish-deadline", "10s"]);
    scene.publish(5);
    redis.kill();
    let (node, begun) = (&scene.nodes[0], Instant::now());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| node.post("lobby", "patient").0);
        std::thread::sleep(Duration::from_millis(100));
        redis.run();
        assert_eq!(waiting.join().unwrap(), 201, "after {:?}", begun.elapsed());
    });
    scene.certain.insert("patient".into());
    scene.heals();
}

#[test]
fn redis_is_stopped_by_a_signal_for_a_while() {
    let redis = Redis::start(&[]);
    let mut scene = Scene::new(&redis.url());
    scene.publish(5);
    redis.signal(Signal::STOP);
    scene.turns_red();
    assert_eq!(scene.publish(2), 0);
    redis.signal(Signal::CONT);
    scene.heals();
}

#[test]
fn redis_is_stopped_by_a_signal_for_longer_than_its_answers_may_take() {
    let redis = Redis::start(&[]);
    let mut scene = Scene::new(&redis.url());
    scene.publish(5);
    redis.signal(Signal::STOP);
    scene.turns_red();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(scene.publish(1), 0);
    }
    redis.signal(Signal::CONT);
    scene.heals();
}

#[test]
fn redis_runs_out_of_memory() {
    let redis = Redis::start(&["--maxmemory-policy", "noeviction"]);
    let mut scene = Scene::new(&redis.url());
    scene.publish(5);
    redis.ask(&["config", "set", "maxmemory", "1mb"]);
    scene.turns_red();
    assert_eq!(scene.publish(3), 0);
    redis.ask(&["config", "set", "maxmemory", "0"]);
    scene.heals();
}

#[test]
fn redis_refuses_the_password_for_a_while() {
    let redis = Redis::start(&["--requirepass", "right"]);
    let cli = |args: &[&str]| redis.ask(&[&["--no-auth-warning", "-a", "right"], args].concat());
    let mut scene = Scene::new(&redis.url().replace("unix://", "unix://:right@"));
    scene.publish(5);
    cli(&["config", "set", "requirepass", "other"]);
    redis.ask(&["--no-auth-warning", "-a", "other", "client", "kill", "type", "pubsub"]);
    redis.ask(&["--no-auth-warning", "-a", "other", "client", "kill", "type", "normal"]);
    scene.turns_red();
    assert_eq!(scene.publish(1), 0);
    redis.ask(&["--no-auth-warning", "-a", "other", "config", "set", "requirepass", "right"]);
    scene.heals();
}

#[test]
fn redis_is_slow_and_what_is_published_takes_longer_and_comes_all_the_same() {
    let redis = Redis::start(&[]);
    let mut scene = Scene::new(&redis.url());
    for _ in 0..5 {
        redis.signal(Signal::STOP);
        let begun = Instant::now();
        let published = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                redis.signal(Signal::CONT);
            });
            scene.publish(1)
        });
        let took = begun.elapsed();
        assert_eq!(published, 2, "each within the second that it may take");
        assert!(took >= Duration::from_millis(300), "it was not slow: {took:?}");
    }
    scene.heals();
}

#[test]
fn the_way_to_redis_is_cut_for_ten_seconds_without_a_word() {
    let redis = Redis::start(&[]);
    let wire = Wire::new(redis.socket());
    let mut scene = Scene::new(&format!("redis://{}", wire.addr()));
    scene.publish(5);
    wire.cut();
    let begun = Instant::now();
    scene.turns_red();
    while begun.elapsed() < Duration::from_secs(10) {
        assert_eq!(scene.publish(1), 0);
    }
    wire.mend();
    scene.heals();
}

#[test]
fn one_node_is_cut_off_and_reads_what_it_missed_from_the_stream() {
    let redis = Redis::start(&[]);
    let wire = Wire::new(redis.socket());
    let (near, far) = (Node::ready(&redis.url(), &[]), Node::ready(&format!("redis://{}", wire.addr()), &[]));
    let members = [near.member("/chat/lobby", None), far.member("/chat/lobby", None)];
    near.insist("lobby", "before");
    wire.cut();
    far.wait_until(503);
    for n in 0..200 {
        near.insist("lobby", &format!("missed {n}"));
    }
    wire.mend();
    far.wait_until(200);
    far.insist("lobby", "end");
    let [near, far] = members.map(|member| member.join().unwrap().texts);
    assert_eq!(near.len(), 202);
    assert_eq!(far, near);
}

#[test]
fn what_redis_has_published_and_not_answered_is_tried_again_and_published_once() {
    let redis = Redis::start(&[]);
    let wire = Wire::new(redis.socket());
    let patient = ["--backplane-publish-deadline", "15s", "--backplane-reply-deadline", "500ms"];
    let (near, far) =
        (Node::ready(&redis.url(), &[]), Node::ready(&format!("redis://{}", wire.addr()), &patient));
    let members = [near.member("/chat/lobby", None), far.member("/chat/lobby", None)];
    near.insist("lobby", "before");
    wire.mute();
    let (status, answer) = std::thread::scope(|scope| {
        // Without a key of its own: it is the node that sees to it.
        let waiting = scope.spawn(|| far.request("POST", "/rooms/lobby/messages", "", "once"));
        while !redis.ask(&["xrange", "fanline:log{lobby}", "-", "+"]).contains("once") {}
        wire.mend();
        waiting.join().unwrap()
    });
    assert_eq!(status, 201, "{answer}");
    far.insist("lobby", "end");
    for member in members {
        assert_eq!(member.join().unwrap().texts, ["before", "once", "end"]);
    }
}
