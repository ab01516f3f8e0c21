//! Rooms on the shards of a real Redis Cluster: one order everywhere, while slots move and servers fail.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tungstenite::Message;

use super::node::{Heard, Node, PATIENCE, told};
use super::redis::Redis;

/// Servers that are a cluster: primaries with a like share of the slots each, and replicas of the first of them.
pub struct Cluster {
    servers: Vec<Redis>,
    ports: Vec<u16>,
    /// What Redis calls a port of this kind.
    port: &'static str,
}

/// A port below those that the kernel gives to clients.
pub fn free_port() -> u16 {
    (0..1000)
        .map(|_| fastrand::u16(12_000..30_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Cluster {
    pub fn start(primaries: usize, replicas: usize, args: &[&str]) -> Self {
        Self::start_at("--port", primaries, replicas, args)
    }

    pub fn start_over_tls(primaries: usize, args: &[&str]) -> Self {
        let more = ["--tls-cluster", "yes", "--tls-replication", "yes"];
        Self::start_at("--tls-port", primaries, 0, &[args, &more].concat())
    }

    fn start_at(port: &'static str, primaries: usize, replicas: usize, args: &[&str]) -> Self {
        let mut cluster = Self { servers: Vec::new(), ports: Vec::new(), port };
        for _ in 0..primaries + replicas {
            cluster.add(args);
        }
        for shard in 0..primaries {
            let range = |shard: usize| (16_384 * shard / primaries).to_string();
            let last = (16_384 * (shard + 1) / primaries - 1).to_string();
            assert_eq!(cluster.ask(shard, &["cluster", "addslotsrange", &range(shard), &last]), "OK");
            let epoch = (shard + 1).to_string();
            assert_eq!(cluster.ask(shard, &["cluster", "set-config-epoch", &epoch]), "OK");
        }
        (1..primaries + replicas).for_each(|other| cluster.meet(other));
        for replica in primaries..primaries + replicas {
            let primary = cluster.id(0);
            wait_until("it knows its primary", || {
                cluster.ask(replica, &["cluster", "nodes"]).contains(&primary)
                    && cluster.ask(replica, &["cluster", "replicate", &primary]) == "OK"
            });
            wait_until("it follows its primary", || {
                cluster.ask(replica, &["info", "replication"]).contains("master_link_status:up")
            });
        }
        cluster.wait_until_whole();
        cluster
    }

    /// Starts one more server, which has no slots.
    fn add(&mut self, args: &[&str]) -> usize {
        let (port, bus) = (free_port(), free_port());
        let (port_text, bus_text) = (port.to_string(), bus.to_string());
        let own = ["--bind", "127.0.0.1", self.port, &port_text, "--cluster-enabled", "yes"];
        let bus = ["--cluster-port", &bus_text, "--cluster-node-timeout", "1500"];
        self.servers.push(Redis::start(&[&own[..], &bus[..], args].concat()));
        self.ports.push(port);
        self.servers.len() - 1
    }

    /// Has a server be known to the first, and so to all.
    fn meet(&self, other: usize) {
        let port = self.ports[other].to_string();
        let bus = self.ask(other, &["config", "get", "cluster-port"]);
        let bus = bus.lines().last().unwrap();
        assert_eq!(self.ask(0, &["cluster", "meet", "127.0.0.1", &port, bus]), "OK");
    }

    fn ask(&self, server: usize, args: &[&str]) -> String {
        self.servers[server].ask(args)
    }

    fn id(&self, server: usize) -> String {
        self.ask(server, &["cluster", "myid"])
    }

    fn wait_until_whole(&self) {
        let count = self.servers.len();
        wait_until("all know all", || {
            (0..count).all(|server| {
                let info = self.ask(server, &["cluster", "info"]);
                info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{count}"))
            })
        });
    }

    /// A URL with the names of some of them.
    pub fn url(&self, servers: &[usize]) -> String {
        let hosts: Vec<String> =
            servers.iter().map(|server| format!("127.0.0.1:{}", self.ports[*server])).collect();
        format!("redis+cluster://{}/", hosts.join(","))
    }

    pub fn slot(&self, room: &str) -> usize {
        self.ask(0, &["cluster", "keyslot", &format!("{{{room}}}")]).parse().unwrap()
    }

    /// A room in one of the slots that a primary began with.
    pub fn room_at(&self, shard: usize, primaries: usize) -> String {
        let range = 16_384 * shard / primaries..16_384 * (shard + 1) / primaries;
        (0..).map(|n| format!("room-{n}")).find(|room| range.contains(&self.slot(room))).unwrap()
    }

    /// Moves a slot as operators do, some keys at a time.
    pub fn migrate(&self, slot: usize, from: usize, to: usize, pause: Duration) {
        let slot = slot.to_string();
        let (from_id, to_id) = (self.id(from), self.id(to));
        assert_eq!(self.ask(to, &["cluster", "setslot", &slot, "importing", &from_id]), "OK");
        assert_eq!(self.ask(from, &["cluster", "setslot", &slot, "migrating", &to_id]), "OK");
        loop {
            // A key may have a line's end in it.
            let keys = self.ask(from, &["--json", "cluster", "getkeysinslot", &slot, "200"]);
            let keys: Vec<String> = serde_json::from_str(&keys).unwrap();
            if keys.is_empty() {
                break;
            }
            let port = self.ports[to].to_string();
            let head = ["migrate", "127.0.0.1", &port, "", "0", "5000", "keys"];
            let command: Vec<&str> = head.into_iter().chain(keys.iter().map(String::as_str)).collect();
            let moved = self.ask(from, &command);
            assert!(matches!(&*moved, "OK" | "NOKEY"), "{moved}");
        }
        std::thread::sleep(pause);
        for server in [to, from] {
            assert_eq!(self.ask(server, &["cluster", "setslot", &slot, "node", &to_id]), "OK");
        }
    }
}

/// The nodes get publications over sockets and HTTP meanwhile, numbered by who published them.
fn publish_meanwhile(nodes: &[Node], rooms: &[String], count: usize, meanwhile: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        for (i, node) in nodes.iter().enumerate() {
            for room in rooms {
                scope.spawn(move || {
                    let mut client = node.connect(&format!("/chat/{room}"), None);
                    for n in 0..count {
                        client.send(Message::text(format!("socket-{i} {n}"))).unwrap();
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    // It stays until all is said, so that nothing of it is given up unread.
                    client.get_ref().set_read_timeout(Some(Duration::from_secs(15))).unwrap();
                    let last = format!("socket-{i} {}", count - 1);
                    while client.read().unwrap() != Message::text(&*last) {}
                });
            }
        }
        scope.spawn(meanwhile);
    });
}

/// Each member of a room got the same, everything once, and what each publisher said in its order.
fn agree(heard: &[Heard], publishers: usize, count: usize) {
    for other in heard {
        assert_eq!((other.closed, &other.error), (None, &None));
        assert_eq!(other.texts, heard[0].texts, "one order");
    }
    for i in 0..publishers {
        let own = format!("socket-{i} ");
        let own: Vec<&String> = heard[0].texts.iter().filter(|text| text.starts_with(&own)).collect();
        let want: Vec<String> = (0..count).map(|n| format!("socket-{i} {n}")).collect();
        assert_eq!(own, want.iter().collect::<Vec<_>>(), "in the order of who published");
    }
    let all: BTreeSet<&String> = heard[0].texts.iter().collect();
    assert_eq!(all.len(), heard[0].texts.len(), "no double");
}

/// Publications wait for a slot that moves, and then come all at once: so many are to be kept that none is trimmed.
const PATIENT: [&str; 4] = ["--backplane-publish-deadline", "15s", "--backplane-log-min", "5000"];

#[test]
fn row_9_of_part_2_rooms_on_all_shards_of_a_cluster_have_one_order_each() {
    let cluster = Cluster::start(3, 0, &[]);
    let url = cluster.url(&[1]);
    let nodes = [Node::ready(&url, &PATIENT), Node::ready(&cluster.url(&[2, 0]), &PATIENT)];
    let rooms: Vec<String> = (0..3).map(|shard| cluster.room_at(shard, 3)).collect();
    let members: Vec<Vec<_>> = rooms
        .iter()
        .map(|room| nodes.iter().map(|node| node.member(&format!("/chat/{room}"), None)).collect())
        .collect();
    publish_meanwhile(&nodes, &rooms, 100, || {});
    for (room, members) in rooms.iter().zip(members) {
        nodes[1].insist(room, "end");
        let heard: Vec<Heard> = members.into_iter().map(|member| member.join().unwrap()).collect();
        agree(&heard, 2, 100);
        assert_eq!(heard[0].texts.len(), 201);
        let page = nodes[0].get(&format!("/rooms/{room}/messages?limit=1")).1;
        assert!(page.contains("end"), "{page}");
    }
    for (server, room) in rooms.iter().enumerate() {
        let keys = cluster.ask(server, &["keys", "fanline:log*"]);
        assert!(keys.contains(room), "each shard has its room: {keys}");
        assert_eq!(cluster.ask(server, &["pubsub", "channels"]), "", "only its own shard hears of a room");
        assert!(cluster.ask(server, &["pubsub", "shardchannels"]).contains(room));
    }
}

#[test]
fn a_slot_moves_while_its_room_is_published_to() {
    let cluster = Cluster::start(2, 0, &[]);
    let nodes = [Node::ready(&cluster.url(&[0]), &PATIENT), Node::ready(&cluster.url(&[1]), &PATIENT)];
    let room = cluster.room_at(0, 2);
    let members: Vec<_> = nodes.iter().map(|node| node.member(&format!("/chat/{room}"), None)).collect();
    let json = nodes[1].member(&format!("/chat/{room}"), Some("fanline.v1"));
    nodes[0].insist(&room, "first");
    let slot = cluster.slot(&room);
    publish_meanwhile(&nodes, std::slice::from_ref(&room), 500, || {
        // There and back again, once so slowly that publications have to wait.
        for (from, to, pause) in [(0, 1, 0), (1, 0, 300), (0, 1, 0)] {
            std::thread::sleep(Duration::from_millis(150));
            cluster.migrate(slot, from, to, Duration::from_millis(pause));
        }
    });
    nodes[0].insist(&room, "end");
    let heard: Vec<Heard> = members.into_iter().map(|member| member.join().unwrap()).collect();
    agree(&heard, 2, 500);
    assert_eq!(heard[0].texts.len(), 1002);
    let json = told(&json.join().unwrap().texts);
    assert_eq!(json[1..], heard[0].texts, "and no reset");
    assert!(cluster.ask(1, &["keys", "fanline:log*"]).contains(&room), "it is there now");
    assert!(cluster.ask(1, &["pubsub", "shardchannels"]).contains(&room));
    nodes.iter().for_each(|node| _ = node.wait_until(200));
}

#[test]
fn a_server_that_joins_the_cluster_later_is_found_when_slots_come_to_it() {
    let mut cluster = Cluster::start(1, 0, &[]);
    let nodes = [Node::ready(&cluster.url(&[0]), &PATIENT), Node::ready(&cluster.url(&[0]), &PATIENT)];
    let room = cluster.room_at(0, 1);
    let members: Vec<_> = nodes.iter().map(|node| node.member(&format!("/chat/{room}"), None)).collect();
    nodes[0].insist(&room, "before");
    let new = cluster.add(&[]);
    cluster.meet(new);
    cluster.wait_until_whole();
    cluster.migrate(cluster.slot(&room), 0, new, Duration::from_millis(100));
    nodes[1].insist(&room, "between");
    nodes[0].insist(&room, "end");
    for member in members {
        assert_eq!(member.join().unwrap().texts, ["before", "between", "end"]);
    }
    nodes.iter().for_each(|node| _ = node.wait_until(200));
    assert!(cluster.ask(new, &["client", "list"]).contains("name=fanline-"));
}

#[test]
fn servers_that_announce_a_name_or_nothing_at_all_are_found_by_their_addresses() {
    for kind in ["hostname", "unknown-endpoint"] {
        let args = ["--cluster-announce-hostname", "redis.test", "--cluster-preferred-endpoint-type", kind];
        let cluster = Cluster::start(2, 0, &args);
        let node = Node::ready(&cluster.url(&[1]), &PATIENT);
        let room = cluster.room_at(0, 2);
        let member = node.member(&format!("/chat/{room}"), None);
        node.insist(&room, "before");
        let moved = cluster.ask(1, &["get", &format!("{{{room}}}")]);
        let port = cluster.ports[0];
        let want = if kind == "hostname" { format!(" redis.test:{port}") } else { format!(" :{port}") };
        assert!(moved.ends_with(&want), "{moved}");
        cluster.migrate(cluster.slot(&room), 0, 1, Duration::ZERO);
        node.insist(&room, "end");
        assert_eq!(member.join().unwrap().texts, ["before", "end"]);
        node.wait_until(200);
    }
}

#[test]
fn row_6_of_part_2_one_shard_of_a_cluster_stops_and_only_its_rooms_do() {
    let cluster = Cluster::start(3, 0, &["--cluster-require-full-coverage", "no"]);
    let node = Node::ready(&cluster.url(&[0, 1, 2]), &[]);
    let rooms: Vec<String> = (0..3).map(|shard| cluster.room_at(shard, 3)).collect();
    let members: Vec<_> = rooms.iter().map(|room| node.member(&format!("/chat/{room}"), None)).collect();
    rooms.iter().for_each(|room| node.insist(room, "before"));
    cluster.servers[1].signal(Signal::STOP);
    let red = node.wait_until(503);
    assert!(red < Duration::from_secs(3), "red after {red:?}");
    assert_eq!(node.post(&rooms[1], "lost").0, 503);
    assert_eq!((node.post(&rooms[0], "on").0, node.post(&rooms[2], "on").0), (201, 201));
    cluster.servers[1].signal(Signal::CONT);
    node.wait_until(200);
    rooms.iter().for_each(|room| node.insist(room, "end"));
    for (member, said) in members.into_iter().zip([Some("on"), None, Some("on")]) {
        let heard = member.join().unwrap();
        assert_eq!((heard.closed, heard.error), (None, None), "they stayed");
        let without: Vec<&str> =
            heard.texts.iter().map(String::as_str).filter(|text| *text != "lost").collect();
        let want: Vec<&str> = ["before"].into_iter().chain(said).chain(["end"]).collect();
        assert_eq!(without, want);
    }
}

#[test]
fn row_7_of_part_2_a_replica_takes_over_from_a_primary_that_was_killed() {
    takes_over(Redis::kill, Redis::run);
}

#[test]
fn a_replica_takes_over_from_a_primary_that_does_not_move_any_more() {
    takes_over(|primary| primary.signal(Signal::STOP), |primary| primary.signal(Signal::CONT));
}

/// The first primary goes, a replica is elected, and the first comes back.
fn takes_over(go: impl FnOnce(&mut Redis), come_back: impl FnOnce(&mut Redis)) {
    let mut cluster = Cluster::start(3, 1, &[]);
    let url = cluster.url(&[0, 1]);
    let nodes = [Node::ready(&url, &PATIENT), Node::ready(&url, &PATIENT)];
    let rooms = [cluster.room_at(0, 3), cluster.room_at(1, 3)];
    let members: Vec<Vec<_>> = rooms
        .iter()
        .map(|room| {
            let path = format!("/chat/{room}");
            nodes.iter().map(|node| node.member(&path, Some("fanline.v1"))).collect()
        })
        .collect();
    rooms.iter().for_each(|room| nodes[0].insist(room, "before"));
    // What has been answered is with the replica, or it would be lost by right.
    cluster.servers[0].wait_until_copied(&cluster.servers[3]);
    go(&mut cluster.servers[0]);
    nodes.iter().for_each(|node| assert!(node.wait_until(503) < Duration::from_secs(3)));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| nodes[1].post(&rooms[0], "patient").0);
        assert_eq!(waiting.join().unwrap(), 201, "a publication outlasts the election");
    });
    nodes.iter().for_each(|node| _ = node.wait_until(200));
    rooms.iter().for_each(|room| nodes[0].insist(room, "after"));
    // The old one comes back, and finds that it is a replica now.
    come_back(&mut cluster.servers[0]);
    wait_until("it is demoted", || cluster.ask(0, &["role"]).starts_with("slave"));
    rooms.iter().for_each(|room| nodes[1].insist(room, "end"));
    for (room, want) in
        members.into_iter().zip([&["before", "patient", "after", "end"][..], &["before", "after", "end"]])
    {
        for member in room {
            let heard = member.join().unwrap();
            assert_eq!((heard.closed, heard.error), (None, None), "they stayed");
            assert_eq!(told(&heard.texts)[1..], *want);
        }
    }
    nodes.iter().for_each(|node| _ = node.wait_until(200));
}
