//! The admin API, against the binary: what it shows, what it does, and for whom.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::auth::{SECRET, jwt};
use crate::binary::{Process, fanline};
use crate::client::{Client, PATIENCE, closed, exchange, tcp, text, try_connect};

pub const TOKEN: &str = "operator-0123456789abcdef";

/// A server with routes, users and an admin API.
pub struct Site {
    pub server: Process,
    pub folder: tempfile::TempDir,
}

const CONFIG: &str = "
    listen = ['127.0.0.1:0']
    [auth.jwt]
    secrets = { file = 'secret' }
    [[route]]
    path = '/chat/{room}'
    mode = 'room'
    [[route]]
    path = '/echo'
    mode = 'echo'
";

impl Site {
    /// A server that is told this besides; the admin API's listener is the last, if it has one.
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("secret", SECRET);
        write("token", TOKEN);
        write("fanline.toml", &format!("{CONFIG}{config}"));
        let file = folder.path().join("fanline.toml");
        let count = 1 + usize::from(config.contains("listen = ['127"));
        let server = Process::spawn(&mut fanline(&["--config", file.to_str().unwrap()]), count);
        Self { server, folder }
    }

    pub fn private() -> Self {
        Self::new("[admin]\nlisten = ['127.0.0.1:0']")
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.server.addrs[0]
    }

    /// Where admins do.
    pub fn admin(&self) -> SocketAddr {
        *self.server.addrs.last().unwrap()
    }

    pub fn join(&self, path: &str) -> Client {
        try_connect(self.addr(), path, &[]).unwrap()
    }

    pub fn ask(&self, line: &str) -> Value {
        let (status, body) = ask(self.admin(), line, "", "");
        assert!((200..300).contains(&status), "{line}: {status} {body}");
        body
    }

    /// Asks until the answer is as wanted.
    pub fn await_that(&self, line: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(line);
            if is_so(&answer) {
                return answer;
            }
            assert!(Instant::now() < end, "{line}: {answer}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a command over the admin API.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = fanline(args);
        command.env("FANLINE_ADMIN", format!("http://{}", self.admin())).env_remove("FANLINE_ADMIN_TOKEN");
        command
    }
}

/// A request by itself: the status and the JSON of the answer.
fn ask(addr: SocketAddr, line: &str, headers: &str, body: &str) -> (u16, Value) {
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    let answer = exchange(addr, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

pub fn rows<'v>(page: &'v Value, rows: &str) -> &'v Vec<Value> {
    page[rows].as_array().unwrap_or_else(|| panic!("no {rows}: {page}"))
}

#[test]
fn without_a_listener_or_a_token_there_is_no_admin_api() {
    let site = Site::new("");
    for path in ["/admin", "/admin/", "/admin/api/status", "/admin/api/peers"] {
        assert_eq!(ask(site.addr(), &format!("GET {path}"), "", "").0, 404, "{path}");
    }
    assert_eq!(ask(site.addr(), "POST /admin/api/kick?user=x", "", "").0, 405, "as for any path");
    assert_eq!(try_connect(site.addr(), "/admin/api/live", &[]).err(), Some(404));
}

#[test]
fn row_14_a_listener_of_its_own_serves_the_admin_api_and_nothing_else_does() {
    let site = Site::private();
    assert_eq!(ask(site.admin(), "GET /admin/api/status", "", "").0, 200);
    assert_eq!(ask(site.admin(), "GET /healthz", "", "").0, 200);
    assert_eq!(ask(site.admin(), "GET /metrics", "", "").0, 200);
    assert_eq!(ask(site.addr(), "GET /metrics", "", "").0, 404);
    assert_eq!(ask(site.addr(), "GET /admin/api/status", "", "").0, 404);
    assert_eq!(ask(site.addr(), "GET /admin", "", "").0, 404);
    for path in ["/rooms", "/rooms/a", "/static/x", "/chat/a"] {
        assert_eq!(ask(site.admin(), &format!("GET {path}"), "", "").0, 404, "{path}");
    }
    assert_eq!(try_connect(site.admin(), "/chat/a", &[]).err(), Some(404));
    assert_eq!(ask(site.admin(), "GET /", "", "").0, 302);
    for line in ["POST /", "POST /metrics", "DELETE /metrics", "POST /admin", "POST /readyz"] {
        assert_eq!(ask(site.admin(), line, "", "").0, 405, "{line}");
    }
    assert_eq!(ask(site.admin(), "GET /admin/api/live", "", "").0, 426);
    assert!(exchange(site.admin(), b"GET /admin HTTP/1.0\r\n\r\n").contains("content-security-policy"));
}

#[test]
fn with_a_token_it_is_asked_for_everywhere_and_a_wrong_one_is_refused() {
    let public = Site::new("[admin]\ntoken = { file = 'token' }");
    let both = Site::new("[admin]\nlisten = ['127.0.0.1:0']\ntoken = { file = 'token' }");
    assert_eq!(ask(both.addr(), "GET /admin/api/status", "", "").0, 404, "it has a listener of its own");
    for addr in [public.addr(), both.admin()] {
        let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
        let status = |line: &str, headers: &str| ask(addr, line, headers, "").0;
        for (headers, want) in [
            (String::new(), 401),
            (bearer("operator-0123456789abcdeg"), 401),
            (bearer(&TOKEN[..24]), 401),
            (bearer(""), 401),
            (bearer(&jwt(json!({ "sub": "mary", "exp": 9_999_999_999u64 }))), 401),
            (bearer(TOKEN), 200),
        ] {
            assert_eq!(status("GET /admin/api/status", &headers), want, "{headers}");
            let (found, done) = if want == 200 { (404, 202) } else { (401, 401) };
            assert_eq!(status("GET /admin/api/rooms/none/tap", &headers), found, "{headers}");
            let metrics = if addr == both.admin() { want } else { 404 };
            assert_eq!(status("GET /metrics", &headers), metrics, "{headers}");
            assert_eq!(status("POST /admin/api/drain", &headers), done, "{headers}");
        }
    }
}

#[test]
fn a_new_token_replaces_the_old_one_when_the_configuration_is_read_anew() {
    let mut site = Site::new("[admin]\ntoken = { file = 'token' }");
    let addr = site.addr();
    let status = |token: &str| {
        let bearer = format!("Authorization: Bearer {token}\r\n");
        ask(addr, "GET /admin/api/rooms", &bearer, "").0
    };
    let new = "operator-fedcba9876543210";
    assert_eq!((status(TOKEN), status(new)), (200, 401));
    std::fs::write(site.folder.path().join("token"), new).unwrap();
    site.server.signal("-HUP");
    site.server.said("reload: ");
    assert_eq!((status(TOKEN), status(new)), (401, 200));
}

#[test]
fn the_pages_websocket_shows_the_token_as_a_subprotocol() {
    let site = Site::new("[admin]\ntoken = { file = 'token' }");
    let shown = |token: &str| format!("fanline.admin, bearer.{}", URL_SAFE_NO_PAD.encode(token));
    let open = |offered: &str, origin: &str| {
        let headers = [("sec-websocket-protocol", offered), ("origin", origin)];
        try_connect(site.addr(), "/admin/api/live", &headers)
    };
    let own = format!("http://{}", site.addr());
    for offered in ["fanline.admin", "fanline.admin, bearer.x", &shown("wrong"), &shown("")] {
        assert_eq!(open(offered, &own).err(), Some(401), "{offered}");
    }
    assert_eq!(open(&shown(TOKEN), "http://evil.example").err(), Some(403));
    let mut live = open(&shown(TOKEN), &own).unwrap();
    for _ in 0..2 {
        live.send(Message::text("?")).unwrap();
        let status: Value = serde_json::from_str(&text(&mut live)).unwrap();
        assert_eq!((&status["connections"], &status["websockets"]), (&json!(1), &json!(1)));
    }
    for _ in 0..20 {
        live.send(Message::text("?")).unwrap();
    }
    assert_eq!(closed(&mut live).unwrap().0, 1008, "who asks all the time is told to stop");
}

#[test]
fn row_12_of_part_2_pages_of_other_sites_do_not_get_at_it() {
    // Anybody's pages may connect to the rooms, and to nothing here.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanline.toml");
    std::fs::write(&file, "listen = ['127.0.0.1:0']\norigins = ['*']\n[admin]\nlisten = ['127.0.0.1:0']")
        .unwrap();
    let server = Process::spawn(&mut fanline(&["--config", file.to_str().unwrap()]), 2);
    let (addr, admin) = (server.addrs[0], server.addrs[1]);
    let evil = "Origin: http://evil.example\r\n";
    assert!(try_connect(addr, "/chat/a", &[("origin", "http://evil.example")]).is_ok());
    assert_eq!(ask(admin, "POST /admin/api/kick?user=mary", evil, "").0, 403);
    assert_eq!(ask(admin, "POST /admin/api/drain", evil, "").0, 403);
    let headers = [("origin", "http://evil.example"), ("sec-websocket-protocol", "fanline.admin")];
    assert_eq!(try_connect(admin, "/admin/api/live", &headers).err(), Some(403));
    // Also what only reads takes a place, and a tap is a member; only a browser says where its page is from.
    for path in ["status", "peers?sort=lag", "rooms/a/tap"] {
        for (site, want) in [("cross-site", 403), ("same-site", 403)] {
            let header = format!("Sec-Fetch-Site: {site}\r\n");
            assert_eq!(ask(admin, &format!("GET /admin/api/{path}"), &header, "").0, want, "{path} {site}");
        }
    }
    for site in ["same-origin", "none"] {
        let header = format!("Sec-Fetch-Site: {site}\r\n");
        assert_eq!(ask(admin, "GET /admin/api/status", &header, "").0, 200, "{site}");
    }
    // A link may lead to the page, which holds nothing.
    let linked = format!(
        "GET /admin HTTP/1.1\r\nHost: {admin}\r\nSec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n"
    );
    assert!(exchange(admin, linked.as_bytes()).starts_with("HTTP/1.1 200"));
    // A name that its owner lets point here makes its pages of the same origin.
    let rebound = format!(
        "GET /admin/api/status HTTP/1.1\r\nHost: evil.example:{}\r\nConnection: close\r\n\r\n",
        admin.port()
    );
    assert!(exchange(admin, rebound.as_bytes()).starts_with("HTTP/1.1 403"));
    assert_eq!(ask(admin, "GET /admin/api/status", "", "").0, 200);
}

#[test]
fn the_status_says_how_the_server_is() {
    let site = Site::private();
    let mut clients: Vec<Client> = (0..3).map(|_| site.join("/chat/lobby")).collect();
    clients[0].send(Message::text("hello")).unwrap();
    clients.iter_mut().for_each(|client| assert_eq!(text(client), "hello"));
    let status = site.ask("GET /admin/api/status");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pid"], site.server.id());
    assert_eq!(
        (&status["connections"], &status["websockets"], &status["rooms"]),
        (&json!(4), &json!(3), &json!(1))
    );
    assert_eq!(status["counters"]["publications"], 1);
    assert_eq!(status["limits"]["walk_slice"], "32");
    let classes = status["memory"]["classes"].as_object().unwrap();
    let sum: u64 = classes.values().map(|bytes| bytes.as_u64().unwrap()).sum();
    assert_eq!(status["memory"]["used_bytes"], sum);
    assert!(status["uptime_ms"].as_u64().unwrap() < 600_000 && status["draining"] == false);
}

#[test]
fn rooms_are_listed_by_name_or_sorted_page_by_page() {
    let site = Site::private();
    let mut clients = Vec::new();
    for (room, members) in [("a", 1), ("b", 4), ("c", 2), ("%E6%88%BF%E9%97%B4", 3)] {
        clients.extend((0..members).map(|_| site.join(&format!("/chat/{room}"))));
    }
    let names = |page: &Value| {
        let names = rows(page, "rooms").iter().map(|room| room["room"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let page = site.ask("GET /admin/api/rooms?limit=2");
    assert_eq!((names(&page), &page["total"]), (vec!["a".to_owned(), "b".to_owned()], &json!(4)));
    let rest = site.ask(&format!("GET /admin/api/rooms?after={}", page["next"].as_str().unwrap()));
    assert_eq!((names(&rest), &rest["next"]), (vec!["c".to_owned(), "房间".to_owned()], &Value::Null));
    let page = site.ask("GET /admin/api/rooms?sort=members&limit=3");
    assert_eq!((names(&page), &page["total"]), (["b", "房间", "c"].map(str::to_owned).to_vec(), &json!(4)));
    let last =
        site.ask(&format!("GET /admin/api/rooms?sort=members&after={}", page["next"].as_str().unwrap()));
    assert_eq!((names(&last), &last["next"]), (vec!["a".to_owned()], &Value::Null));
    let room = site.ask("GET /admin/api/rooms/b");
    assert_eq!((&room["members"], &room["lagging"]), (&json!(4), &json!(0)));
    assert_eq!(ask(site.admin(), "GET /admin/api/rooms/none", "", "").0, 404);
    for wrong in [
        "rooms?sort=age",
        "rooms?limit=0",
        "rooms?sort=members&after=x",
        "peers?sort=members",
        "peers?user=a&token=b",
    ] {
        assert_eq!(ask(site.admin(), &format!("GET /admin/api/{wrong}"), "", "").0, 400, "{wrong}");
    }
    assert_eq!(ask(site.admin(), "POST /admin/api/rooms", "", "").0, 405);
    assert_eq!(ask(site.admin(), "GET /admin/api/kick?user=x", "", "").0, 405);
}

#[test]
fn connections_are_shown_with_what_is_known_of_them() {
    let site = Site::private();
    let mary = jwt(json!({ "sub": "mary", "exp": 9_999_999_999u64, "jti": "t-1" }));
    let _mary = try_connect(site.addr(), &format!("/chat/lobby?token={mary}"), &[]).unwrap();
    let _echo = site.join("/echo");
    let page = site.await_that("GET /admin/api/peers?sort=age", |page| rows(page, "peers").len() == 3);
    let [first, second, own] = &rows(&page, "peers")[..] else { panic!("{page}") };
    assert_eq!(page["total"], 3);
    let shown = ["user", "token", "route", "rooms", "phase", "address", "lag", "admin"];
    let of = |peer: &Value| shown.iter().map(|key| peer[key].clone()).collect::<Vec<_>>();
    let want = json!(["mary", "t-1", "/chat/{room}", ["lobby"], "open", "127.0.0.1", 0, false]);
    assert_eq!(Value::from(of(first)), want);
    assert_eq!(
        (&second["route"], &second["user"], &second["rooms"]),
        (&json!("/echo"), &Value::Null, &json!([]))
    );
    assert_eq!((&own["phase"], &own["admin"]), (&json!("waiting"), &json!(true)));
    let members = site.ask("GET /admin/api/rooms/lobby/peers");
    assert_eq!(rows(&members, "peers")[0]["id"], first["id"]);
    let peer = site.ask(&format!("GET /admin/api/peers/{}", first["id"].as_str().unwrap()));
    assert_eq!(peer["user"], "mary");
    assert_eq!(ask(site.admin(), "GET /admin/api/peers/9.999", "", "").0, 404);
    assert_eq!(ask(site.admin(), "GET /admin/api/peers/nine", "", "").0, 400);
}

#[test]
fn row_19_of_part_2_a_users_or_a_tokens_connections_are_closed_wherever_they_are() {
    let site = Site::private();
    let token = |user: &str, id: &str| jwt(json!({ "sub": user, "exp": 9_999_999_999u64, "jti": id }));
    let join = |room: &str, user: &str, id: &str| {
        try_connect(site.addr(), &format!("/chat/{room}?token={}", token(user, id)), &[]).unwrap()
    };
    let mut phone = join("a", "mary", "phone");
    let mut laptop = join("b", "mary", "laptop");
    let mut echo =
        try_connect(site.addr(), &format!("/echo?token={}", token("mary", "laptop")), &[]).unwrap();
    let mut john = join("a", "john", "john");
    let mut events = tcp(site.addr());
    let get = format!("GET /rooms/a/events?token={} HTTP/1.1\r\nHost: x\r\n\r\n", token("mary", "tv"));
    events.write_all(get.as_bytes()).unwrap();
    let mut read = [0; 15];
    events.read_exact(&mut read).unwrap();
    let kicked = site.ask("POST /admin/api/kick?token=laptop&code=4001&reason=stolen");
    assert_eq!(kicked, json!({ "closed": 2 }));
    for client in [&mut laptop, &mut echo] {
        assert_eq!(closed(client), Some((4001, "stolen".to_owned())));
    }
    phone.send(Message::text("still here")).unwrap();
    assert_eq!((text(&mut phone), text(&mut john)), ("still here".to_owned(), "still here".to_owned()));
    assert_eq!(site.ask("POST /admin/api/kick?user=mary"), json!({ "closed": 2 }));
    assert_eq!(closed(&mut phone), Some((1008, "closed by the operator".to_owned())));
    events.read_to_end(&mut Vec::new()).unwrap();
    john.send(Message::text("alone")).unwrap();
    assert_eq!(text(&mut john), "alone");
    let id = rows(&site.ask("GET /admin/api/peers?user=john"), "peers")[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(site.ask(&format!("POST /admin/api/kick?id={id}")), json!({ "closed": 1 }));
    assert_eq!(closed(&mut john).unwrap().0, 1008);
    for wrong in ["", "?user=a&token=b", "?user=a&code=1005", "?user=a&code=x", "?id=1"] {
        assert_eq!(ask(site.admin(), &format!("POST /admin/api/kick{wrong}"), "", "").0, 400, "{wrong}");
    }
}

#[test]
fn pages_of_connections_miss_nobody_while_others_come_and_go() {
    let site = Site::private();
    let stay: Vec<Client> = (0..60).map(|_| site.join("/chat/stay")).collect();
    let mut come: Vec<Client> = (0..20).map(|_| site.join("/chat/go")).collect();
    let (mut shown, mut after) = (Vec::new(), String::new());
    loop {
        let page = site.ask(&format!("GET /admin/api/peers?limit=7{after}"));
        let ids = rows(&page, "peers").iter().filter(|peer| peer["rooms"] == json!(["stay"]));
        shown.extend(ids.map(|peer| peer["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
        come.remove(0);
        come.push(site.join("/chat/go"));
    }
    let mut once = shown.clone();
    once.sort();
    once.dedup();
    assert_eq!((shown.len(), once.len()), (stay.len(), stay.len()));
}

#[test]
fn what_is_published_over_it_reaches_the_room_and_a_tap_follows() {
    let site = Site::private();
    let mut member = site.join("/chat/lobby");
    let mut tap = tcp(site.admin());
    tap.write_all(
        format!("GET /admin/api/rooms/lobby/tap HTTP/1.1\r\nHost: {}\r\n\r\n", site.admin()).as_bytes(),
    )
    .unwrap();
    site.await_that("GET /admin/api/rooms/lobby", |room| room["members"] == 2);
    let (status, answer) = ask(
        site.admin(),
        "POST /admin/api/rooms/lobby/messages",
        "Content-Type: text/plain\r\n",
        "maintenance",
    );
    assert_eq!((status, &answer["members"]), (201, &json!(2)));
    assert_eq!(text(&mut member), "maintenance");
    let mut lines = BufReader::new(tap).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "data: maintenance"));
    let history = site.ask("GET /admin/api/rooms/lobby/messages");
    assert_eq!(rows(&history, "messages")[0]["text"], "maintenance");
    let nowhere =
        ask(site.admin(), "POST /admin/api/rooms/lob/by/messages", "Content-Type: text/plain\r\n", "x");
    assert_ne!(nowhere.0, 404, "a route with a room's name leads there");
}

#[test]
fn a_drain_that_is_asked_for_ends_the_server_gently() {
    let site = Site::private();
    let mut client = site.join("/chat/lobby");
    assert_eq!(site.ask("POST /admin/api/drain"), json!({ "draining": true }));
    let (code, reason) = closed(&mut client).unwrap();
    assert!(code == 1001 && reason.starts_with("retry in "), "{code} {reason}");
    let Site { server, folder } = site;
    assert_eq!(server.ended(), Some(0));
    drop(folder);
}

/// Echoes for a while, one after the other; the times, sorted.
fn echoes(client: &mut Client, time: Duration) -> Vec<Duration> {
    let (end, mut times) = (Instant::now() + time, Vec::new());
    while Instant::now() < end {
        let sent = Instant::now();
        client.send(Message::text("x")).unwrap();
        text(client);
        times.push(sent.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    times.sort();
    times
}

/// Prints figures for whoever wants them: `CROWD=15000 cargo test --test loopback -- --nocapture who_looks_through`.
#[test]
fn who_looks_through_a_crowd_of_connections_holds_up_nobody() {
    let size: usize = std::env::var("CROWD").map_or(1_000, |crowd| crowd.parse().unwrap());
    let span = Duration::from_millis(1_000 + size as u64 / 2);
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();
    let site = Site::private();
    let crowd: Vec<TcpStream> = (0..size)
        .map(|_| {
            let mut member = tcp(site.addr());
            let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
            write!(member, "GET /chat/crowd HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{key}\r\n\r\n").unwrap();
            assert!(member.read(&mut [0; 512]).unwrap() > 0);
            member
        })
        .collect();
    let mut bystander = site.join("/echo");
    let admin = site.admin();
    let show = |what: &str, times: &[Duration]| {
        let at = |part: usize| times[(times.len() * part / 1000).min(times.len() - 1)];
        println!(
            "{what}: {} echoes, p50 {:?}, p99 {:?}, at most {:?}",
            times.len(),
            at(500),
            at(990),
            at(1000)
        );
    };
    show("nobody looks", &echoes(&mut bystander, span));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut times = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let (status, page) = ask(admin, "GET /admin/api/peers?sort=lag&limit=100", "", "");
                assert_eq!((status, &page["total"]), (200, &json!(size + 2)));
                times.push(asked.elapsed());
            }
            times.sort();
            times
        });
        show("one page after the other", &echoes(&mut bystander, span));
        is_over.store(true, Ordering::Relaxed);
        let times = looks.join().unwrap();
        println!("{} pages of 100 among {}, p50 {:?}", times.len(), size + 2, times[times.len() / 2]);
    });
    // What the server itself says: on a machine with other work, the times above are also those of waiting for a core.
    let health = &site.ask("GET /admin/api/status")["ledger"]["loop"];
    for part in ["turn", "delay"] {
        println!("{part}: p50 {} µs, p99 {} µs", health[part]["p50_us"], health[part]["p99_us"]);
    }
    assert_eq!(crowd.len(), size);
}
