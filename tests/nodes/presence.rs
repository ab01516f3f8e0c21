//! Who is in a room over several nodes, who is told of it, and what becomes of it when a node or Redis fails.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use super::cluster::Cluster;
use super::node::{Node, PATIENCE};
use super::redis::{Redis, Wire};

/// The lease and the grace of these tests, in which their patience is counted.
const LEASE: Duration = Duration::from_secs(3);
const TIMES: [&str; 4] = ["--presence-lease", "3s", "--presence-grace", "1500ms"];

/// A folder with the configuration of a room whose users are announced, named by a header.
struct Hall {
    _folder: tempfile::TempDir,
    config: String,
}

impl Hall {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("hall.toml");
        let text = "[auth.header]\nname = 'x-user'\nfrom = ['127.0.0.1']\n\
                    [[route]]\npath = '/chat/{room}'\nmode = 'room'\npresence = 'announced'\n\
                    [[route]]\npath = '/quiet/{room}'\nmode = 'room'\npresence = 'on'\n";
        std::fs::write(&config, text).unwrap();
        Self { config: config.to_str().unwrap().to_owned(), _folder: folder }
    }

    fn node(&self, url: &str) -> Node {
        self.node_with(url, &TIMES)
    }

    fn node_with(&self, url: &str, args: &[&str]) -> Node {
        Node::ready(url, &[&["--config", &self.config], args].concat())
    }
}

type Client = WebSocket<TcpStream>;

/// A user comes in.
fn enter(node: &Node, user: &str) -> Client {
    enter_at(node, "/chat/lobby", user)
}

fn enter_at(node: &Node, path: &str, user: &str) -> Client {
    let begun = Instant::now();
    loop {
        let mut request = format!("ws://{}{path}", node.addr).into_client_request().unwrap();
        request.headers_mut().insert("x-user", user.parse().unwrap());
        let stream = TcpStream::connect(node.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((client, _)) => return client,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{user} cannot come in: {error}"),
        }
    }
}

/// Somebody without a name, who is not listed and hears the notices, up to one message, which is published for this.
struct Ear<'n>(&'n Node, Client);

impl<'n> Ear<'n> {
    fn new(node: &'n Node) -> Self {
        Self(node, node.connect("/chat/lobby", None))
    }

    fn hear(&mut self) -> String {
        match self.1.read().unwrap() {
            Message::Text(text) => text.to_string(),
            other => panic!("not a text: {other:?}"),
        }
    }

    /// The next notices.
    fn expect(&mut self, notices: &[&str]) {
        for notice in notices {
            assert_eq!(self.hear(), *notice);
        }
    }

    /// Whatever has been told until now.
    fn rest(&mut self) -> Vec<String> {
        self.0.insist("lobby", &format!("mark of {}", self.0.addr));
        let mark = format!("mark of {}", self.0.addr);
        std::iter::from_fn(|| Some(self.hear()).filter(|said| *said != mark)).collect()
    }
}

fn join(user: &str) -> String {
    format!("{{\"join\":\"{user}\"}}")
}

fn leave(user: &str) -> String {
    format!("{{\"leave\":\"{user}\"}}")
}

fn json(node: &Node, path: &str) -> Value {
    let (status, body) = node.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// Who is in the room, with the number of connections.
fn users(node: &Node) -> Vec<(String, u64)> {
    let page = json(node, "/rooms/lobby/presence");
    let entry =
        |entry: &Value| (entry["user"].as_str().unwrap().to_owned(), entry["connections"].as_u64().unwrap());
    page["users"].as_array().unwrap().iter().map(entry).collect()
}

fn listed(want: &[(&str, u64)]) -> Vec<(String, u64)> {
    want.iter().map(|(user, connections)| ((*user).to_owned(), *connections)).collect()
}

/// Waits until a node says that these are in the room; how long that took.
fn wait_for(node: &Node, want: &[(&str, u64)]) -> Duration {
    let begun = Instant::now();
    while users(node) != listed(want) {
        assert!(begun.elapsed() < PATIENCE, "{:?}, not {want:?}", users(node));
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

/// Waits until a node has been told, when it said who is there itself, that so many nodes do.
fn knows_of_nodes(node: &Node, count: u64) {
    let begun = Instant::now();
    while json(node, "/rooms?prefix=lobby")["rooms"][0]["nodes"] != count {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn row_51_who_is_in_a_room_is_the_union_over_nodes_and_notices_come_once_and_in_one_order() {
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let (one, two) = (hall.node(&redis.url()), hall.node(&redis.url()));
    let mut ears = [Ear::new(&one), Ear::new(&two)];
    let ann = enter(&one, "ann");
    wait_for(&two, &[("ann", 1)]);
    let ann_too = enter(&two, "ann");
    let bob = enter(&two, "bob/\"\\");
    for node in [&one, &two] {
        wait_for(node, &[("ann", 2), ("bob/\"\\", 1)]);
        let info = json(node, "/rooms/lobby");
        assert_eq!((&info["users"], &info["nodes"]), (&2.into(), &2.into()), "{info}");
    }
    // Each node counts its own by itself, and the others are at most a third of the lease old.
    let begun = Instant::now();
    while json(&one, "/rooms/lobby")["members"] != 5
        || json(&two, "/rooms?prefix=lobby")["rooms"][0]["members"] != 5
    {
        assert!(begun.elapsed() < PATIENCE);
    }
    drop(ann);
    wait_for(&one, &[("ann", 1), ("bob/\"\\", 1)]);
    drop((ann_too, bob));
    wait_for(&one, &[]);
    let told = [ears[0].rest(), ears[1].rest()];
    assert_eq!(told[0][..2], [join("ann"), join("bob/\\\"\\\\")]);
    let mut left = told[0][2..].to_vec();
    left.sort();
    assert_eq!(left, [leave("ann"), leave("bob/\\\"\\\\")]);
    assert_eq!(told[1][..4], told[0], "one order");
    for key in redis.ask(&["keys", "*{lobby}*"]).lines() {
        assert_ne!(redis.ask(&["ttl", key]), "-1", "{key} is forgotten some day");
    }
}

#[test]
fn row_51_a_node_that_crashes_takes_its_members_with_it_after_one_lease_each_once() {
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let (one, mut two, three) = (hall.node(&redis.url()), hall.node(&redis.url()), hall.node(&redis.url()));
    let mut ears = [Ear::new(&one), Ear::new(&three)];
    let _ann = enter(&one, "ann");
    ears[0].expect(&[&join("ann")]);
    let _bob = enter(&two, "bob");
    ears[0].expect(&[&join("bob")]);
    let (_ann_too, _cid) = (enter(&two, "ann"), enter(&two, "cid"));
    ears[0].expect(&[&join("cid")]);
    let _dan = enter(&two, "dan");
    ears[0].expect(&[&join("dan")]);
    // Long enough for all nodes to know that nobody's lease is over because Redis was away.
    std::thread::sleep(LEASE / 2);
    let killed = Instant::now();
    two.kill();
    // One of them comes back elsewhere within the lease.
    let _dan_again = enter(&three, "dan");
    assert_eq!(users(&one).len(), 4, "it is not known yet that the node is gone");
    ears[0].expect(&[&leave("bob"), &leave("cid")]);
    let took = killed.elapsed();
    assert!(took > LEASE / 2, "after {took:?}: not before the lease is over");
    assert_eq!(users(&three), listed(&[("ann", 1), ("dan", 1)]));
    let told = [ears[0].rest(), ears[1].rest()];
    assert_eq!(told[0], [""; 0], "each once, and nobody else");
    let all = ["join ann", "join bob", "join cid", "join dan", "leave bob", "leave cid"];
    let all = all.map(|words| {
        words.split_once(' ').map_or(String::new(), |(what, user)| format!("{{\"{what}\":\"{user}\"}}"))
    });
    assert_eq!(told[1][..6], all, "the same at the other node");
}

#[test]
fn row_8_of_part_2_a_node_that_nobody_has_heard_of_since_is_missed_by_whoever_asks() {
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let (mut one, two) = (hall.node(&redis.url()), hall.node(&redis.url()));
    let _ann = enter(&one, "ann");
    wait_for(&two, &[("ann", 1)]);
    one.kill();
    // The other node has never had the room open.
    wait_for(&two, &[]);
    let mut ear = Ear::new(&two);
    assert_eq!(ear.rest(), [""; 0]);
    assert!(two.get("/rooms/lobby/messages").1.contains(r#"{"leave":"ann"}"#), "it is in the history");
}

#[test]
fn row_8_of_part_2_who_reconnects_here_or_at_another_node_within_the_grace_time_has_not_been_away() {
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let patient = ["--presence-grace", "15s"];
    let (one, two) = (hall.node_with(&redis.url(), &patient), hall.node_with(&redis.url(), &patient));
    let mut ear = Ear::new(&two);
    let mut ann = enter(&one, "ann");
    ear.expect(&[&join("ann")]);
    for node in [&one, &two, &one, &two] {
        ann.close(None).unwrap();
        wait_for(&two, &[("ann", 0)]);
        ann = enter(node, "ann");
        wait_for(&two, &[("ann", 1)]);
    }
    assert_eq!(ear.rest(), [""; 0]);
}

#[test]
fn row_51_who_does_not_come_back_within_the_grace_time_has_left_also_when_its_node_is_dead_by_then() {
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let (mut one, two) = (hall.node(&redis.url()), hall.node(&redis.url()));
    let mut ear = Ear::new(&two);
    let ann = enter(&one, "ann");
    ear.expect(&[&join("ann")]);
    let left = Instant::now();
    drop(ann);
    wait_for(&two, &[("ann", 0)]);
    one.kill();
    ear.expect(&[&leave("ann")]);
    assert!(left.elapsed() > Duration::from_millis(1400), "after {:?}", left.elapsed());
    assert_eq!((users(&two), ear.rest()), (listed(&[]), Vec::new()));
}

#[test]
fn row_8_of_part_2_a_node_that_is_cut_off_for_less_than_the_lease_is_not_missed() {
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let wire = Wire::new(redis.socket());
    let lease = ["--presence-lease", "20s", "--presence-grace", "0ms"];
    let (one, two) =
        (hall.node_with(&redis.url(), &lease), hall.node_with(&format!("redis://{}", wire.addr()), &lease));
    let mut ear = Ear::new(&one);
    let _ann = enter(&two, "ann");
    ear.expect(&[&join("ann")]);
    let bob = enter(&two, "bob");
    ear.expect(&[&join("bob")]);
    wire.cut();
    two.wait_until(503);
    // Those who are there stay; what changes meanwhile is told later, and what comes to nothing is not.
    drop(bob);
    let (_cid, fleeting) = (enter(&two, "cid"), enter(&two, "dan"));
    drop(fleeting);
    assert_eq!(two.get("/rooms/lobby/presence").0, 503, "a part of the list is not shown as the whole");
    assert_eq!(json(&two, "/rooms/lobby")["room"], "lobby", "what is known here is");
    assert_eq!(users(&one), listed(&[("ann", 1), ("bob", 1)]));
    wire.mend();
    let mut told = [ear.hear(), ear.hear()];
    told.sort();
    assert_eq!(told, [join("cid"), leave("bob")]);
    assert_eq!(users(&one), listed(&[("ann", 1), ("cid", 1)]));
    assert_eq!(ear.rest(), [""; 0]);
}

#[test]
fn row_8_of_part_2_a_node_that_is_cut_off_for_longer_than_the_lease_enters_its_users_again() {
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let wire = Wire::new(redis.socket());
    let (one, two) = (hall.node(&redis.url()), hall.node(&format!("redis://{}", wire.addr())));
    let mut ear = Ear::new(&one);
    let (_ann, _ann_too) = (enter(&one, "ann"), enter(&two, "ann"));
    ear.expect(&[&join("ann")]);
    let _bob = enter(&two, "bob");
    ear.expect(&[&join("bob")]);
    wire.cut();
    ear.expect(&[&leave("bob")]);
    wait_for(&one, &[("ann", 1)]);
    wire.mend();
    ear.expect(&[&join("bob")]);
    wait_for(&one, &[("ann", 2), ("bob", 1)]);
    assert_eq!(ear.rest(), [""; 0]);
}

#[test]
fn row_8_of_part_2_redis_comes_back_empty_and_has_everybody_again_without_a_second_join() {
    let (mut redis, hall) = (Redis::start(&[]), Hall::new());
    let (one, two) = (hall.node(&redis.url()), hall.node(&redis.url()));
    let (_ann, _bob) = (enter(&one, "ann"), enter(&two, "bob"));
    [&one, &two].iter().for_each(|node| knows_of_nodes(node, 2));
    let mut reader = one.connect("/chat/lobby", Some("fanline.v1"));
    redis.kill();
    [&one, &two].iter().for_each(|node| assert!(node.wait_until(503) < PATIENCE));
    redis.run();
    [&one, &two].iter().for_each(|node| assert!(node.wait_until(200) < PATIENCE));
    let (_ann_again, _bob_again) = (enter(&one, "ann"), enter(&two, "bob"));
    for node in [&one, &two] {
        // The members that read messages as they are have been closed, since they cannot be told.
        wait_for(node, &[("ann", 1), ("bob", 1)]);
    }
    one.insist("lobby", "end");
    let mut told = Vec::new();
    while told.last().is_none_or(|said: &Value| said["text"] != "end") {
        let Message::Text(text) = reader.read().unwrap() else { continue };
        told.push(serde_json::from_str::<Value>(&text).unwrap());
    }
    let notices: Vec<&Value> = told.iter().filter(|said| said["type"] == "notice").collect();
    assert!(notices.is_empty(), "{told:?}");
    assert!(told.iter().any(|said| said["type"] == "reset"), "{told:?}");
}

#[test]
fn row_8_of_part_2_redis_is_away_for_longer_than_the_lease_and_nobody_has_left() {
    let (mut redis, hall) = (Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]), Hall::new());
    // A lease of which a third is time enough to connect again.
    let lease = ["--presence-lease", "6s", "--presence-grace", "0ms"];
    let nodes = [hall.node_with(&redis.url(), &lease), hall.node_with(&redis.url(), &lease)];
    let mut ear = Ear::new(&nodes[0]);
    let _ann = enter(&nodes[0], "ann");
    ear.expect(&[&join("ann")]);
    let _bob = enter(&nodes[1], "bob");
    ear.expect(&[&join("bob")]);
    redis.kill();
    std::thread::sleep(Duration::from_secs(7));
    redis.run();
    nodes.iter().for_each(|node| assert!(node.wait_until(200) < PATIENCE));
    std::thread::sleep(Duration::from_secs(3));
    for node in &nodes {
        wait_for(node, &[("ann", 1), ("bob", 1)]);
    }
    assert_eq!(ear.rest(), [""; 0]);
}

#[test]
fn row_8_of_part_2_a_node_that_is_ended_says_who_has_gone_and_does_not_leave_that_to_its_lease() {
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let times = ["--presence-lease", "60s", "--presence-grace", "1500ms", "--drain-duration", "100ms"];
    let (one, two) = (hall.node_with(&redis.url(), &times), hall.node_with(&redis.url(), &times));
    let mut ear = Ear::new(&one);
    let _ann = enter(&two, "ann");
    ear.expect(&[&join("ann")]);
    let _bob = enter(&two, "bob");
    ear.expect(&[&join("bob")]);
    two.signal(Signal::TERM);
    wait_for(&one, &[("ann", 0), ("bob", 0)]);
    let _ann_again = enter(&one, "ann");
    ear.expect(&[&leave("bob")]);
    assert_eq!((users(&one), ear.rest()), (listed(&[("ann", 1)]), Vec::new()));
}

#[test]
fn row_8_of_part_2_what_redis_has_of_a_node_is_put_right_where_it_is_not_what_it_was() {
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let node = hall.node(&redis.url());
    let mut ear = Ear::new(&node);
    let _ann = enter(&node, "ann");
    ear.expect(&[&join("ann")]);
    let _bob = enter(&node, "bob");
    ear.expect(&[&join("bob")]);
    // As after a replica was promoted that had not heard of the latest: bob has not come yet, and a ghost has not gone.
    let versions = redis.ask(&["hgetall", "fanline:versions{lobby}"]);
    let name = versions.lines().next().unwrap().to_owned();
    redis.ask(&["hdel", "fanline:seats{lobby}", "bob"]);
    redis.ask(&["zrem", "fanline:users{lobby}", "bob"]);
    redis.ask(&["zrem", "fanline:nodes{lobby}", &format!("{name} bob")]);
    redis.ask(&["hset", "fanline:seats{lobby}", "ghost", &format!("a {name} 1")]);
    redis.ask(&["zadd", "fanline:users{lobby}", "0", "ghost"]);
    redis.ask(&["zadd", "fanline:nodes{lobby}", "0", &format!("{name} ghost")]);
    redis.ask(&["hset", "fanline:versions{lobby}", &name, "1 2"]);
    ear.expect(&[&join("bob"), &leave("ghost")]);
    assert_eq!(users(&node), listed(&[("ann", 1), ("bob", 1)]));
    assert_eq!(ear.rest(), [""; 0]);
}

/// Users come and go at three nodes, one of which is cut off now and then, and one killed. Whatever happens, each user's
/// notices are a join, a leave, a join and so on, and in the end they and the list agree with who is there.
#[test]
fn row_8_of_part_2_whatever_happens_the_notices_of_a_user_alternate_and_end_with_the_truth() {
    const USERS: usize = 20;
    let seed =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let mut rng = fastrand::Rng::with_seed(seed);
    eprintln!("SEED={seed}");
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let wire = Wire::new(redis.socket());
    let times = ["--presence-lease", "1500ms", "--presence-grace", "300ms"];
    let (near, far) = (redis.url(), format!("redis://{}", wire.addr()));
    let steady = hall.node_with(&near, &times);
    let mut others = [hall.node_with(&far, &times), hall.node_with(&near, &times)];
    let mut ear = Ear::new(&steady);
    let mut there: Vec<(usize, usize, Client)> = Vec::new();
    // The room has to be open on a node that is cut off, for somebody to come in there meanwhile.
    let mut doors = [others[0].connect("/chat/lobby", None), others[1].connect("/chat/lobby", None)];
    let mut mends_at = None;
    for _ in 0..150 {
        if mends_at.is_some_and(|at| at < Instant::now()) {
            wire.mend();
            mends_at = None;
        }
        match rng.u32(..30) {
            0 | 1 if mends_at.is_none() => {
                // For less than the lease, or for more.
                wire.cut();
                mends_at = Some(Instant::now() + Duration::from_millis(rng.u64(..3_500)));
            }
            2 => {
                others[1].kill();
                others[1] = hall.node_with(&near, &times);
                doors[1] = others[1].connect("/chat/lobby", None);
                there.retain(|(node, ..)| *node != 2);
            }
            // About twenty are there.
            _ if rng.usize(..40) >= there.len() => {
                let (node, user) = (rng.usize(..3), rng.usize(..USERS));
                let at = if node == 0 { &steady } else { &others[node - 1] };
                there.push((node, user, enter(at, &format!("user {user}"))));
            }
            _ => drop(there.swap_remove(rng.usize(..there.len()))),
        }
        std::thread::sleep(Duration::from_millis(rng.u64(..120)));
    }
    if mends_at.is_some() {
        wire.mend();
    }
    let mut truth = BTreeMap::new();
    for (_, user, _) in &there {
        *truth.entry(format!("user {user}")).or_insert(0) += 1;
    }
    let truth: Vec<(&str, u64)> = truth.iter().map(|(user, count)| (user.as_str(), *count)).collect();
    for node in [&steady, &others[0], &others[1]] {
        node.wait_until(200);
        wait_for(node, &truth);
    }
    let mut told: BTreeMap<String, bool> = BTreeMap::new();
    for notice in ear.rest() {
        let said: BTreeMap<String, String> = serde_json::from_str(&notice).unwrap();
        let (what, user) = said.into_iter().next().unwrap();
        let is_here = what == "join";
        assert_ne!(told.insert(user, is_here).unwrap_or(false), is_here, "{notice} a second time");
    }
    let told: Vec<&String> = told.iter().filter(|(_, is_here)| **is_here).map(|(user, _)| user).collect();
    assert_eq!(told, truth.iter().map(|(user, _)| *user).collect::<Vec<_>>(), "what was told is what is so");
}

#[test]
fn row_51_on_a_channels_layer_each_node_knows_who_is_there_by_itself_with_the_same_grace() {
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let args = ["--backplane-layer", "channels", "--presence-grace", "1500ms"];
    let (one, two) = (hall.node_with(&redis.url(), &args), hall.node_with(&redis.url(), &args));
    let mut ear = Ear::new(&one);
    let (ann, _bob) = (enter(&one, "ann"), enter(&two, "bob"));
    ear.expect(&[&join("ann")]);
    wait_for(&one, &[("ann", 1)]);
    wait_for(&two, &[("bob", 1)]);
    drop(ann);
    wait_for(&one, &[("ann", 0)]);
    let ann = enter(&one, "ann");
    wait_for(&one, &[("ann", 1)]);
    drop(ann);
    ear.expect(&[&leave("ann")]);
    assert_eq!(json(&one, "/rooms/lobby").get("nodes"), None);
}

#[test]
fn row_8_of_part_2_in_a_cluster_each_shard_has_the_presence_of_its_rooms_and_takes_it_along_with_their_slots()
{
    let (cluster, hall) = (Cluster::start(3, 0, &[]), Hall::new());
    let times =
        ["--presence-lease", "4s", "--presence-grace", "300ms", "--backplane-publish-deadline", "15s"];
    let (one, mut two) =
        (hall.node_with(&cluster.url(&[0]), &times), hall.node_with(&cluster.url(&[1]), &times));
    let rooms: Vec<String> = (0..3).map(|shard| cluster.room_at(shard, 3)).collect();
    let list = |room: &str| {
        // While a slot is on its way nobody is told who is in its rooms.
        let (status, page) = one.get(&format!("/rooms/{room}/presence"));
        let page: Value = if status == 200 { serde_json::from_str(&page).unwrap() } else { Value::Null };
        let users = page["users"].as_array().cloned().unwrap_or_default();
        users.iter().map(|user| user["user"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let wait_for = |room: &str, names: &[&str]| {
        let begun = Instant::now();
        while list(room) != names {
            assert!(begun.elapsed() < PATIENCE, "{room}: {:?}, not {names:?}", list(room));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let mut ears: Vec<Client> =
        rooms.iter().map(|room| one.connect(&format!("/chat/{room}"), None)).collect();
    let mut users = Vec::new();
    for (room, ear) in rooms.iter().zip(&mut ears) {
        for (node, user) in [(&one, "ann"), (&two, "bob")] {
            users.push(enter_at(node, &format!("/chat/{room}"), user));
            assert_eq!(ear.read().unwrap(), Message::text(join(user)));
        }
        wait_for(room, &["ann", "bob"]);
    }
    cluster.migrate(cluster.slot(&rooms[0]), 0, 2, Duration::ZERO);
    wait_for(&rooms[0], &["ann", "bob"]);
    users.push(enter_at(&two, &format!("/chat/{}", rooms[0]), "cid"));
    assert_eq!(ears[0].read().unwrap(), Message::text(join("cid")), "and nobody had left meanwhile");
    two.kill();
    for (room, ear) in rooms.iter().zip(&mut ears) {
        assert_eq!(ear.read().unwrap(), Message::text(leave("bob")), "{room}");
        if *room == rooms[0] {
            assert_eq!(ear.read().unwrap(), Message::text(leave("cid")));
        }
        wait_for(room, &["ann"]);
    }
}

#[test]
fn row_51_who_is_listed_and_not_announced_makes_no_notice_and_is_gone_with_its_node_all_the_same() {
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let (one, mut two) = (hall.node(&redis.url()), hall.node(&redis.url()));
    let mut ear = one.connect("/quiet/hush", None);
    let (_ann, _bob) = (enter_at(&one, "/quiet/hush", "ann"), enter_at(&two, "/quiet/hush", "bob"));
    let begun = Instant::now();
    let wait_for = |names: &[&str]| {
        while json(&one, "/rooms/hush/presence")["users"].as_array().unwrap().len() != names.len() {
            assert!(begun.elapsed() < 2 * PATIENCE);
            std::thread::sleep(Duration::from_millis(20));
        }
        let page = json(&one, "/rooms/hush/presence");
        let users = page["users"].as_array().unwrap().iter().map(|user| user["user"].as_str().unwrap());
        assert_eq!(users.collect::<Vec<_>>(), names);
    };
    wait_for(&["ann", "bob"]);
    two.kill();
    wait_for(&["ann"]);
    one.insist("hush", "end");
    assert!(matches!(ear.read().unwrap(), Message::Text(text) if text == "end"), "nothing before it");
}

#[test]
fn row_51_a_crowd_that_comes_at_once_is_listed_page_by_page_in_the_order_of_names() {
    let (redis, hall) = (Redis::start(&[]), Hall::new());
    let (one, two) = (hall.node(&redis.url()), hall.node(&redis.url()));
    let mut ear = Ear::new(&two);
    let names: Vec<String> = (0..150).map(|n| format!("user {n:03}")).collect();
    let clients: Vec<Client> =
        names.iter().enumerate().map(|(n, name)| enter([&one, &two][n % 2], name)).collect();
    let begun = Instant::now();
    while json(&one, "/rooms/lobby")["users"] != 150 {
        assert!(begun.elapsed() < PATIENCE);
    }
    let (mut got, mut after) = (Vec::new(), String::new());
    loop {
        let page = json(&two, &format!("/rooms/lobby/presence?limit=40&after={}", after.replace(' ', "%20")));
        let users = page["users"].as_array().unwrap();
        assert!(users.len() <= 40);
        got.extend(users.iter().map(|user| user["user"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(got, names);
    let mut told: Vec<String> = (0..150).map(|_| ear.hear()).collect();
    told.sort();
    assert_eq!(told, names.iter().map(|name| join(name)).collect::<Vec<_>>());
    drop(clients);
    wait_for(&one, &[]);
    assert_eq!(ear.rest().len(), 150, "and each has left once");
    for key in ["users", "seats", "nodes", "leases", "leaving", "versions"] {
        assert_eq!(
            redis.ask(&["exists", &format!("fanline:{key}{{lobby}}")]),
            "0",
            "{key}: nothing is left behind"
        );
    }
    assert_eq!(two.get("/rooms/nowhere/presence").0, 404);
}
