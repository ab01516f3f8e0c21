//! Who may do what, from outside: the binary with an `[auth]` table, and clients with good, bad and no proofs.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tungstenite::Message;

use crate::binary::Process;
use crate::client::{Client, closed, exchange, tcp, text, try_connect};

pub const SECRET: &str = "a secret of more than thirty-two bytes";
const OLD_SECRET: &str = "what was the secret before that one was";
const TOKEN: &str = "printer-0a1b2c3d4e5f";

/// Every way to say who one is; `{folder}` is where the secrets lie.
const PROOFS: &str = "
    [auth.cookie]
    name = 'session'
    secrets = [{ file = '{folder}/secret' }, { file = '{folder}/old' }]
    [auth.jwt]
    secrets = { file = '{folder}/secret' }
    leeway = '0s'
    rights = 'rights'
    cookie = 'jwt'
    [auth.header]
    name = 'x-user'
    from = ['127.0.0.0/8']
    [[auth.token]]
    user = 'printer'
    secret = { file = '{folder}/token' }
";

/// The room's messages say who has sent them.
const ROUTE: &str = "
    [[route]]
    path = '/chat/{room}'
    mode = 'room'
    presence = 'on'
    template = '{user}: {text}'
    [[route]]
    path = '/board'
    mode = 'room'
    read_only = true
";

type Headers<'h> = &'h [(&'static str, &'h str)];

struct Site {
    server: Process,
    folder: tempfile::TempDir,
}

impl Site {
    fn new(auth: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("secret", &format!("{SECRET}\n"));
        write("old", OLD_SECRET);
        write("token", TOKEN);
        let config = format!("{ROUTE}{auth}").replace("{folder}", folder.path().to_str().unwrap());
        write("fanline.toml", &config);
        let file = folder.path().join("fanline.toml");
        let server = Process::start(&["--config", file.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        Self { server, folder }
    }

    fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// A request by itself: the status and the body.
    fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: text/plain\r\n\
             Content-Length: {length}\r\n{lines}\r\n{body}",
            self.addr()
        );
        let answer = exchange(self.addr(), request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(status == 401, head.contains("www-authenticate: Bearer"), "{head}");
        (status, body.to_owned())
    }

    fn status(&self, line: &str, headers: &[(&str, &str)]) -> u16 {
        self.ask(line, headers, "").0
    }

    /// The status of a WebSocket's handshake.
    fn join(&self, path: &str, headers: Headers<'_>) -> u16 {
        try_connect(self.addr(), path, headers).map_or_else(|status| status, |_| 101)
    }
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn mac(secret: &str, text: &str) -> String {
    let mac: Hmac<Sha256> = Hmac::new_from_slice(secret.as_bytes()).unwrap();
    URL_SAFE_NO_PAD.encode(mac.chain_update(text).finalize().into_bytes())
}

fn cookie(secret: &str, user: &str, expires: u64) -> String {
    let said = format!("{}.{expires}", URL_SAFE_NO_PAD.encode(user));
    format!("session={said}.{}", mac(secret, &format!("session={said}")))
}

fn jwt_with(head: &str, claims: &Value) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims.to_string()));
    format!("{text}.{}", mac(SECRET, &text))
}

pub fn jwt(claims: Value) -> String {
    jwt_with(r#"{"alg":"HS256"}"#, &claims)
}

/// What the room hears of a member that says hi: its name.
fn heard(client: &mut Client) -> String {
    client.send("hi".into()).unwrap();
    text(client).strip_suffix(": hi").unwrap().to_owned()
}

fn json_client(site: &Site, path: &str, token: &str) -> Client {
    let path = format!("{path}?token={token}");
    let mut client = try_connect(site.addr(), &path, &[("sec-websocket-protocol", "fanline.v1")]).unwrap();
    assert_eq!(told(&mut client)["type"], "joined");
    client
}

fn told(client: &mut Client) -> Value {
    serde_json::from_str(&text(client)).unwrap()
}

fn tell(client: &mut Client, said: Value) -> Value {
    client.send(Message::Text(said.to_string().into())).unwrap();
    told(client)
}

#[test]
fn row_8_the_cookies_of_a_handshake_reach_the_gate() {
    let site = Site::new(PROOFS);
    let good = cookie(SECRET, "小明", now() + 60);
    let line = format!("theme=dark; {good}; other=\"1\"");
    let mut client = try_connect(site.addr(), "/chat/lobby", &[("cookie", &line)]).unwrap();
    assert_eq!(heard(&mut client), "小明");
    let bad = line.replace("session=", "session=x");
    assert_eq!(site.join("/chat/lobby", &[("cookie", &bad)]), 401);
    assert_eq!(site.join("/chat/lobby", &[("cookie", "theme=dark")]), 101);
}

#[test]
fn row_46_every_kind_of_proof_names_the_user() {
    let site = Site::new(PROOFS);
    let (new, old) = (cookie(SECRET, "cora", now() + 60), cookie(OLD_SECRET, "otto", now() + 60));
    let token = jwt(json!({ "sub": "jot", "exp": now() + 60 }));
    let (bearer, machine) = (format!("Bearer {token}"), format!("bearer {TOKEN}"));
    let in_cookie = format!("jwt={token}");
    let in_query = format!("/chat/lobby?token={token}");
    let rows: &[(&str, Headers<'_>, &str)] = &[
        ("/chat/lobby", &[("cookie", &new)], "cora"),
        ("/chat/lobby", &[("cookie", &old)], "otto"),
        ("/chat/lobby", &[("authorization", &bearer)], "jot"),
        (&in_query, &[], "jot"),
        ("/chat/lobby", &[("cookie", &in_cookie)], "jot"),
        ("/chat/lobby", &[("authorization", &machine)], "printer"),
        ("/chat/lobby", &[("x-user", "proxied")], "proxied"),
        ("/chat/lobby", &[], "anonymous"),
    ];
    for (path, headers, want) in rows {
        let mut client = try_connect(site.addr(), path, headers).unwrap();
        assert_eq!(heard(&mut client), *want);
        let (status, present) = site.ask("GET /rooms/lobby/presence", &[], "");
        assert_eq!(
            (status, present.contains(&format!("\"{want}\""))),
            (200, *want != "anonymous"),
            "{present}"
        );
        client.close(None).unwrap();
        while client.read().is_ok() {}
    }
    let (status, _) = site.ask("POST /rooms/lobby/messages", &[("Authorization", &bearer)], "posted");
    assert!(matches!(status, 201 | 202), "{status}");
    let (_, page) = site.ask("GET /rooms/lobby/messages", &[], "");
    assert!(page.contains("jot: posted"), "{page}");
}

#[test]
fn row_46_a_header_from_anybody_else_is_not_looked_at() {
    let site = Site::new(
        "[auth]\nanonymous = 'refuse'\n[auth.header]\nname = 'x-user'\nfrom = ['10.0.0.0/8', '::1']",
    );
    assert_eq!(site.join("/chat/lobby", &[("x-user", "mary")]), 401);
    assert_eq!(site.status("GET /rooms", &[("X-User", "mary")]), 401);
}

#[test]
#[cfg(feature = "jwt-asymmetric")]
fn row_46_a_token_signed_with_a_private_key_is_verified_with_the_public_one() {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rfc7515_a3.pem");
    let site = Site::new(&format!(
        "[auth]\nanonymous = 'refuse'\n[auth.jwt]\nalgorithm = 'ES256'\nkeys = ['{keys}']"
    ));
    // {"sub":"mary","exp":4102444800}, signed with the private key of RFC 7515, appendix A.3.
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJtYXJ5IiwiZXhwIjo0MTAyNDQ0ODAwfQ.\
                 bEuUcYaRZ_dIDMhDoUMjP5N2FQdB7G4J8Y8iohm6yRZwewqVz6WtOh4Eb-gf5V4MeblGHioncuglLYy7p3M19A";
    let mut client = try_connect(site.addr(), &format!("/chat/lobby?token={token}"), &[]).unwrap();
    assert_eq!(heard(&mut client), "mary");
    let forged = token.replace("bEuU", "bEuV");
    assert_eq!(site.join(&format!("/chat/lobby?token={forged}"), &[]), 401);
    // The public key as the secret of HS256.
    let pem = std::fs::read_to_string(keys).unwrap();
    let unsigned = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
        URL_SAFE_NO_PAD.encode(r#"{"sub":"mary","exp":4102444800}"#)
    );
    let confused = format!("{unsigned}.{}", mac(&pem, &unsigned));
    assert_eq!(site.join(&format!("/chat/lobby?token={confused}"), &[]), 401);
}

#[test]
fn row_48_anonymous_visitors_are_let_in_or_may_read_or_are_told_401() {
    // Joining, publishing, events, history, who is there, the room, the rooms.
    for (policy, want) in [
        ("allow", [101, 202, 200, 200, 200, 200, 200]),
        ("read", [101, 401, 200, 200, 401, 200, 200]),
        ("refuse", [401, 401, 401, 401, 401, 401, 401]),
    ] {
        let site = Site::new(&format!("[auth]\nanonymous = '{policy}'\n{PROOFS}"));
        let bearer = format!("Bearer {TOKEN}");
        // So that there is a room to be asked about.
        let _member = try_connect(site.addr(), "/chat/lobby", &[("authorization", &bearer)]).unwrap();
        let got = [
            site.join("/chat/lobby", &[]),
            site.ask("POST /rooms/empty/messages", &[], "hi").0,
            site.status("HEAD /rooms/lobby/events", &[]),
            site.status("GET /rooms/lobby/messages", &[]),
            site.status("GET /rooms/lobby/presence", &[]),
            site.status("GET /rooms/lobby", &[]),
            site.status("GET /rooms", &[]),
        ];
        let want = want.map(|status| if status == 202 { got[1].clamp(201, 202) } else { status });
        assert_eq!(got, want, "{policy}");
        assert_eq!(site.status("GET /healthz", &[]), 200);
    }
}

#[test]
fn row_48_who_may_only_read_is_told_so_when_it_publishes() {
    let site = Site::new(&format!("[auth]\nanonymous = 'read'\n{PROOFS}"));
    let mut raw = try_connect(site.addr(), "/chat/lobby", &[]).unwrap();
    let mut other = try_connect(site.addr(), "/chat/lobby", &[("x-user", "mary")]).unwrap();
    assert_eq!(heard(&mut other), "mary");
    assert_eq!(text(&mut raw), "mary: hi");
    raw.send("hi".into()).unwrap();
    assert_eq!(closed(&mut raw).unwrap(), (1008, "this room may only be read".into()));
    let headers = [("sec-websocket-protocol", "fanline.v1")];
    let mut json = try_connect(site.addr(), "/chat/lobby", &headers).unwrap();
    assert_eq!(told(&mut json)["type"], "joined");
    let answer = tell(&mut json, json!({ "text": "hi", "id": "1" }));
    assert_eq!(answer, json!({ "type": "error", "id": "1", "reason": "this room may only be read" }));
}

#[test]
fn grants_hold_on_every_path_and_a_tokens_own_rights_replace_them() {
    let site = Site::new(&format!(
        "{PROOFS}
        [[auth.grant]]
        users = ['*']
        rooms = ['news.*']
        rights = ['join']
        [[auth.grant]]
        users = ['printer', 'mary']
        rooms = ['lobby']
        rights = ['join', 'publish', 'presence']"
    ));
    let own = |rights: Value| {
        let token = jwt(json!({ "sub": "mary", "exp": now() + 60, "rights": rights }));
        format!("Bearer {token}")
    };
    let reader = own(json!([{ "rooms": ["lobby"], "rights": ["join"] }]));
    let machine = format!("Bearer {TOKEN}");
    let nobody: Headers<'_> = &[];
    let mary: Headers<'_> = &[("x-user", "mary")];
    let john: Headers<'_> = &[("x-user", "john")];
    let reader: Headers<'_> = &[("authorization", &reader)];
    let machine: Headers<'_> = &[("authorization", &machine)];
    let _members = ["lobby", "news.sport"].map(|room| {
        try_connect(site.addr(), &format!("/chat/{room}"), if room == "lobby" { mary } else { nobody })
            .unwrap()
    });
    // Joining, publishing, events, history, presence, the room: in `lobby`, and in `news.sport`.
    let rows = [
        ("nobody", nobody, [401, 401, 401, 401, 401, 401], [101, 401, 200, 200, 401, 200]),
        ("john", john, [403, 403, 403, 403, 403, 403], [101, 403, 200, 200, 403, 200]),
        ("mary", mary, [101, 201, 200, 200, 200, 200], [101, 403, 200, 200, 403, 200]),
        ("machine", machine, [101, 201, 200, 200, 200, 200], [101, 403, 200, 200, 403, 200]),
        ("reader", reader, [101, 403, 200, 200, 403, 200], [403, 403, 403, 403, 403, 403]),
    ];
    for (who, headers, lobby, news) in rows {
        for (room, want) in [("lobby", lobby), ("news.sport", news)] {
            let got = [
                site.join(&format!("/chat/{room}"), headers),
                site.ask(&format!("POST /rooms/{room}/messages"), headers, "hi").0,
                site.status(&format!("HEAD /rooms/{room}/events"), headers),
                site.status(&format!("GET /rooms/{room}/messages"), headers),
                site.status(&format!("GET /rooms/{room}/presence"), headers),
                site.status(&format!("GET /rooms/{room}"), headers),
            ];
            assert_eq!(got, want, "{who} in {room}");
        }
    }
    let names = |headers| {
        let rooms: Value = serde_json::from_str(&site.ask("GET /rooms", headers, "").1).unwrap();
        let rooms: Vec<_> =
            rooms["rooms"].as_array().unwrap().iter().map(|room| room["room"].clone()).collect();
        json!(rooms)
    };
    assert_eq!(names(nobody), json!(["news.sport"]));
    assert_eq!(names(mary), json!(["lobby", "news.sport"]));
    assert_eq!(names(reader), json!(["lobby"]));
}

#[test]
fn bad_proofs_are_401_with_one_line_that_shows_nothing_of_them() {
    let site = Site::new(PROOFS);
    let exp = now() + 60;
    let claims = json!({ "sub": "mary", "exp": exp });
    let good = jwt(claims.clone());
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let none = jwt_with(r#"{"alg":"none"}"#, &claims);
    let none = none.rsplit_once('.').unwrap().0;
    let mut tampered = good.clone();
    tampered.replace_range(..1, if good.starts_with('a') { "b" } else { "a" });
    let tokens = [
        ("nonsense".to_owned(), "not known"),
        (format!("{unsigned}."), "signature"),
        (unsigned.to_owned(), "not known"),
        (
            format!("{}.{signature}", jwt(json!({ "sub": "root", "exp": exp })).rsplit_once('.').unwrap().0),
            "signature",
        ),
        (tampered, ""),
        (format!("{none}."), "algorithm"),
        (jwt_with(r#"{"alg":"HS512"}"#, &claims), "algorithm"),
        (jwt_with(r#"{"alg":"RS256"}"#, &claims), "algorithm"),
        (jwt(json!({ "sub": "mary", "exp": now() })), "expired"),
        (jwt(json!({ "sub": "mary", "exp": exp, "nbf": exp })), "not good yet"),
        (jwt(json!({ "sub": "mary" })), "expires"),
        (jwt(json!({ "exp": exp })), "names no user"),
        (jwt(json!({ "sub": "mary", "exp": exp, "aud": "others" })), "audience"),
        (jwt(json!({ "sub": "mary", "exp": exp, "rights": ["fly"] })), "rights"),
        (TOKEN.replace("0a", "0b"), "not known"),
    ];
    for (token, why) in &tokens {
        let (status, body) = site.ask("GET /rooms", &[("Authorization", &format!("Bearer {token}"))], "");
        assert_eq!(status, 401, "{token}: {body}");
        let reason: Value = serde_json::from_str(&body).unwrap();
        assert!(reason["error"].as_str().unwrap().contains(why), "{token}: {body}");
        assert!(body.ends_with("}\n") && body.matches('\n').count() == 1 && !body.contains(token), "{body}");
        assert_eq!(site.join(&format!("/chat/lobby?token={token}"), &[]), 401, "{token}");
        assert_eq!(site.status("GET /rooms", &[("Cookie", &format!("jwt={token}"))]), 401, "{token}");
    }
    let good = cookie(SECRET, "mary", exp);
    assert_eq!(site.status("GET /rooms", &[("Cookie", &good)]), 200);
    let stale = cookie(SECRET, "mary", now());
    let foreign = cookie("a secret that is known to nobody here", "mary", exp);
    for bad in
        [&stale, &foreign, &good[..good.len() - 1], &good.replace(&exp.to_string(), "9999999999"), "session="]
    {
        let (status, body) = site.ask("GET /rooms", &[("Cookie", bad)], "");
        assert!(status == 401 && body.contains("the cookie"), "{bad}: {status} {body}");
    }
    for header in ["Bearer", "Bearer  ", "Bearer a b"] {
        assert_eq!(site.status("GET /rooms", &[("Authorization", header)]), 401, "{header}");
    }
    assert_eq!(site.status("GET /rooms", &[("X-User", "a"), ("X-User", "b")]), 401);
}

#[test]
fn what_expires_closes_a_websocket_with_4401_and_ends_events_and_polls() {
    let site = Site::new(&format!("[auth]\nanonymous = 'refuse'\n{PROOFS}"));
    // Time enough to come in before.
    let expires = now() + 5;
    let token = jwt(json!({ "sub": "mary", "exp": expires }));
    let mut by_token = try_connect(site.addr(), &format!("/chat/lobby?token={token}"), &[]).unwrap();
    let mut by_cookie =
        try_connect(site.addr(), "/chat/lobby", &[("cookie", &cookie(SECRET, "john", expires))]).unwrap();
    let mut lasting =
        try_connect(site.addr(), "/chat/lobby", &[("authorization", &format!("Bearer {TOKEN}"))]).unwrap();
    let mut events = tcp(site.addr());
    write!(events, "GET /rooms/lobby/events?token={token} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let reading = std::thread::spawn(move || {
        let mut got = String::new();
        events.read_to_string(&mut got).unwrap();
        got
    });
    assert_eq!(closed(&mut by_token).unwrap(), (4401, "the token has expired".into()));
    assert_eq!(closed(&mut by_cookie).unwrap().0, 4401);
    assert!((expires..expires + 4).contains(&now()));
    let got = reading.join().unwrap();
    assert!(got.starts_with("HTTP/1.1 200 ") && got.contains("text/event-stream"), "{got}");
    assert_eq!(site.status(&format!("GET /rooms/lobby/events?token={token}"), &[]), 401);
    assert_eq!(site.status(&format!("GET /rooms/lobby/messages?wait=1&token={token}"), &[]), 401);
    assert_eq!(heard(&mut lasting), "printer", "what does not expire stays");
}

#[test]
fn a_poll_that_waits_past_its_tokens_end_is_told_401() {
    let site = Site::new(PROOFS);
    let token = jwt(json!({ "sub": "mary", "exp": now() + 2 }));
    let (status, body) = site.ask(&format!("GET /rooms/lobby/messages?wait=4&token={token}"), &[], "");
    assert!(status == 401 && body.contains("expired"), "{status} {body}");
}

#[test]
fn a_new_token_moves_the_end_and_brings_its_own_rights() {
    let site = Site::new(PROOFS);
    let until = |seconds: u64, user: &str| jwt(json!({ "sub": user, "exp": now() + seconds }));
    let mut client = json_client(&site, "/chat/lobby", &until(3, "mary"));
    let mut neglected = json_client(&site, "/chat/lobby", &until(3, "mary"));
    for (token, why) in [
        (until(60, "john"), "somebody else's"),
        (until(0, "mary"), "expired"),
        ("nonsense".to_owned(), "not known"),
        (jwt(json!({ "sub": "mary", "exp": now() + 60, "rights": [] })), "may not be joined"),
    ] {
        for client in [&mut client, &mut neglected] {
            let answer = tell(client, json!({ "token": token }));
            assert!(
                answer["type"] == "error" && answer["reason"].as_str().unwrap().contains(why),
                "{answer}"
            );
        }
    }
    assert_eq!(tell(&mut client, json!({ "token": until(60, "mary") })), json!({ "type": "refreshed" }));
    assert_eq!(closed(&mut neglected).unwrap().0, 4401, "a token that is refused moves nothing");
    client.send(Message::Text(json!({ "text": "still here" }).to_string().into())).unwrap();
    assert_eq!(told(&mut client)["text"], "mary: still here");
    let less = jwt(json!({ "sub": "mary", "exp": now() + 2, "rights": ["join"] }));
    assert_eq!(tell(&mut client, json!({ "token": less })), json!({ "type": "refreshed" }));
    let answer = tell(&mut client, json!({ "text": "and now" }));
    assert_eq!(answer["reason"], "this room may only be read");
    assert_eq!(closed(&mut client).unwrap().0, 4401, "the end has moved nearer");
}

#[test]
fn a_new_token_does_not_open_a_route_that_is_only_read() {
    let site = Site::new(PROOFS);
    let token = jwt(json!({ "sub": "mary", "exp": now() + 60 }));
    let mut client = json_client(&site, "/board", &token);
    let refused = json!({ "type": "error", "id": null, "reason": "this room may only be read" });
    assert_eq!(tell(&mut client, json!({ "text": "hi" })), refused);
    assert_eq!(tell(&mut client, json!({ "token": token })), json!({ "type": "refreshed" }));
    assert_eq!(tell(&mut client, json!({ "text": "hi" })), refused);
}

#[test]
fn secrets_are_read_anew_on_sighup_and_who_is_connected_stays() {
    let mut site = Site::new(PROOFS);
    let rotated = "a secret that came later, and is long enough";
    let (before, after) = (cookie(SECRET, "mary", now() + 60), cookie(rotated, "mary", now() + 60));
    let mut client = try_connect(site.addr(), "/chat/lobby", &[("cookie", &before)]).unwrap();
    assert_eq!(site.status("GET /rooms", &[("Cookie", &after)]), 401);
    std::fs::write(site.folder.path().join("secret"), rotated).unwrap();
    site.server.signal("-HUP");
    let said = site.server.said("reload: ");
    assert!(said.contains("with 2 routes"), "{said}");
    assert_eq!(site.status("GET /rooms", &[("Cookie", &after)]), 200);
    assert_eq!(site.status("GET /rooms", &[("Cookie", &before)]), 401);
    assert_eq!(heard(&mut client), "mary");
}
