//! The commands over the admin API, each a process of its own against a server that is another.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Output, Stdio};

use serde_json::{Value, json};
use tungstenite::Message;

use crate::admin::{Site, TOKEN, rows};
use crate::auth::jwt;
use crate::binary::fanline;
use crate::client::{Client, closed, tcp, text, try_connect};

/// What a command has printed, which has done what it was to do.
fn printed(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(err, "");
    out.into_owned()
}

/// Why a command has not.
fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Site {
    fn says(&self, args: &[&str]) -> String {
        printed(&self.run(args))
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[args, &["--json"]].concat())).unwrap()
    }

    fn start(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

fn join_as(site: &Site, path: &str, user: &str) -> Client {
    let token = jwt(json!({ "sub": user, "exp": 9_999_999_999u64, "jti": format!("{user}-1") }));
    try_connect(site.addr(), &format!("{path}?token={token}"), &[]).unwrap()
}

#[test]
fn rooms_and_peers_are_printed_as_tables_and_as_json() {
    let site = Site::private();
    assert_eq!(site.says(&["rooms"]), "no rooms\n");
    let _clients: Vec<Client> = (0..3).map(|_| site.join("/chat/lobby")).collect();
    let _mary = join_as(&site, "/chat/other", "mary");
    let shown = site.says(&["rooms"]);
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ROOM", "MEMBERS", "LAGGING", "PUBLICATIONS", "SKIPPED", "LOG"]);
    assert_eq!(lines[1][..4], ["lobby", "3", "0", "0"]);
    assert_eq!(lines[2][..2], ["other", "1"]);
    assert_eq!(rows(&site.json(&["rooms", "--prefix", "lob"]), "rooms").len(), 1);
    let shown = site.says(&["peers", "--user", "mary"]);
    assert!(shown.starts_with("ID ") && shown.lines().count() == 2, "{shown}");
    assert!(
        shown.contains("127.0.0.1") && shown.contains("mary") && shown.contains("/chat/{room}"),
        "{shown}"
    );
    let cut = site.says(&["peers", "--room", "lobby", "--limit", "2", "--sort", "age"]);
    assert!(cut.ends_with("and 1 more; --limit 0 shows all\n"), "{cut}");
    let cut = site.says(&["peers", "--limit", "2"]);
    assert!(cut.ends_with("and more; --limit 0 shows all\n"), "nobody has counted them: {cut}");
    assert!(!site.says(&["peers", "--limit", "0"]).contains("more"));
    assert_eq!(rows(&site.json(&["peers", "--limit", "0"]), "peers").len(), 5);
}

#[test]
fn the_slowest_reader_is_the_first_by_lag() {
    let site = Site::new("[limits]\nroom_log_bytes_max = '64MiB'\n[admin]\nlisten = ['127.0.0.1:0']");
    let mut reader = join_as(&site, "/chat/lobby", "reader");
    let _stalled = join_as(&site, "/chat/lobby", "stalled");
    for _ in 0..20 {
        reader.send(Message::binary(vec![b'x'; 1 << 20])).unwrap();
        assert_eq!(reader.read().unwrap().len(), 1 << 20);
    }
    let shown = site.says(&["peers", "--sort", "lag"]);
    let cells: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[2], "stalled", "{shown}");
    let slow = site.json(&["peers", "--sort", "lag", "--limit", "1"])["peers"][0].take();
    let (lag, owed) = (slow["lag"].as_u64().unwrap(), slow["owed_bytes"].as_u64().unwrap());
    assert!(lag > 5 && lag <= 20 && owed >= (lag - 1) << 20, "{slow}");
    assert_eq!(site.ask("GET /admin/api/rooms/lobby")["lagging"], 1);
    let top = site.says(&["top", "--once"]);
    assert!(top.contains("stalled") && top.contains("lobby"), "{top}");
}

#[test]
fn who_is_kicked_is_told_why_and_nobody_to_kick_is_a_failure() {
    let site = Site::private();
    let mut marys = [join_as(&site, "/chat/a", "mary"), join_as(&site, "/echo", "mary")];
    let mut john = join_as(&site, "/chat/a", "john");
    let mut jane = join_as(&site, "/chat/a", "jane");
    assert_eq!(
        site.says(&["kick", "--user", "mary", "--code", "4000", "--reason", "a & b"]),
        "closed 2 connections\n"
    );
    for mary in &mut marys {
        assert_eq!(closed(mary), Some((4000, "a & b".to_owned())));
    }
    assert_eq!(site.says(&["kick", "--token", "john-1"]), "closed 1 connection\n");
    assert_eq!(closed(&mut john).unwrap().0, 1008);
    let id = rows(&site.json(&["peers", "--user", "jane"]), "peers")[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(site.json(&["kick", &id]), json!({ "closed": 1 }));
    assert_eq!(closed(&mut jane).unwrap().0, 1008);
    assert!(failed(&site.run(&["kick", "--user", "mary"])).contains("nobody was there"));
    assert!(failed(&site.run(&["kick", "--user", "mary", "--code", "1005"])).contains("code is one that"));
    for usage in [&["kick"][..], &["kick", "1.1", "--user", "x"], &["peers", "--sort", "size"], &["tap"]] {
        assert_eq!(site.run(usage).status.code(), Some(2), "{usage:?}");
    }
}

#[test]
fn what_is_published_comes_out_at_a_tap() {
    let site = Site::private();
    assert!(failed(&site.run(&["tap", "lobby"])).contains("there is no room `lobby`"));
    let mut member = site.join("/chat/lobby");
    let mut tap = site.start(&["tap", "lobby", "--count", "3"]);
    site.await_that("GET /admin/api/rooms/lobby", |room| room["members"] == 2);
    let told = site.says(&["publish", "lobby", "你好 & 100 %"]);
    assert!(told.starts_with("published at ") && told.ends_with(":1 to 2 members\n"), "{told}");
    assert_eq!(text(&mut member), "你好 & 100 %");
    let mut publish = site.command(&["publish", "lobby", "-"]);
    let mut publish = publish.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    publish.stdin.take().unwrap().write_all(b"one\ntwo").unwrap();
    assert!(publish.wait().unwrap().success());
    member.send(Message::binary(vec![0, 255])).unwrap();
    let lines = BufReader::new(tap.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.map(|line| line.unwrap().split_once("  ").unwrap().1.to_owned()).collect();
    assert_eq!(lines, ["你好 & 100 %", "one\\u{a}two", "(2 bytes)"]);
    assert!(tap.wait().unwrap().success());
    let last = site.says(&["tap", "lobby", "--last", "2", "--count", "1", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap()["text"], "one\ntwo");
}

#[test]
fn a_room_whose_name_has_a_slash_or_looks_like_a_question_is_reached_as_any() {
    let config = "
        [[route]]
        path = '/news'
        mode = 'room'
        room = 'team/a b?/peers'
        [admin]
        listen = ['127.0.0.1:0']
    ";
    let site = Site::new(config);
    let mut member = site.join("/news");
    let told = site.says(&["publish", "team/a b?/peers", "hello"]);
    assert!(told.ends_with(":1 to 1 members\n"), "{told}");
    assert_eq!(text(&mut member), "hello");
    let last = site.says(&["tap", "team/a b?/peers", "--last", "1", "--count", "1"]);
    assert!(last.ends_with("  hello\n"), "{last}");
    assert_eq!(rows(&site.json(&["peers", "--room", "team/a b?/peers"]), "peers").len(), 1);
}

#[test]
fn a_tap_that_is_too_slow_is_ended_and_holds_up_nobody() {
    let site = Site::new("[limits]\nroom_log_bytes_max = '1MiB'\n[admin]\nlisten = ['127.0.0.1:0']");
    let mut member = site.join("/chat/lobby");
    // Nobody reads what it prints, so it reads nothing after a while; and this one reads nothing from the first.
    let mut tap = site.start(&["tap", "lobby"]);
    let mut deaf = tcp(site.admin());
    let ask = format!("GET /admin/api/rooms/lobby/tap HTTP/1.1\r\nHost: {}\r\n\r\n", site.admin());
    deaf.write_all(ask.as_bytes()).unwrap();
    site.await_that("GET /admin/api/rooms/lobby", |room| room["members"] == 3);
    let long = "x".repeat(1 << 20);
    for _ in 0..30 {
        member.send(Message::text(&long)).unwrap();
        assert_eq!(text(&mut member).len(), 1 << 20, "who keeps up gets all of it, at once");
    }
    site.await_that("GET /admin/api/rooms/lobby", |room| room["members"] == 1);
    let mut read = 0;
    deaf.read_to_end(&mut Vec::new()).map(|len| read = len).unwrap_or_default();
    assert!(read < 30 << 20, "it was ended before all had come");
    std::io::copy(&mut tap.stdout.take().unwrap(), &mut std::io::sink()).unwrap();
    let output = tap.wait_with_output().unwrap();
    assert!(failed(&output).contains("the server has ended the tap"));
    assert_eq!(site.ask("GET /admin/api/status")["counters"]["passed"], 2);
}

#[test]
fn top_prints_a_look_for_scripts() {
    let site = Site::private();
    let _clients: Vec<Client> = (0..3).map(|_| site.join("/chat/lobby")).collect();
    let shown = site.says(&["top", "--once"]);
    let lines: Vec<&str> = shown.lines().collect();
    let title = format!("fanline {}   pid {}   up ", env!("CARGO_PKG_VERSION"), site.server.id());
    assert!(lines[0].starts_with(&title) && lines[0].ends_with("   ready"), "{shown}");
    let groups: Vec<&str> = lines.iter().skip(1).map_while(|line| line.split_whitespace().next()).collect();
    assert_eq!(groups[..4], ["there", "in", "out", "dropped"]);
    assert!(lines[1].contains("websockets 3   rooms 1   memory "), "{shown}");
    assert!(lines[2].contains("messages 0/s   requests "), "{shown}");
    assert!(shown.contains("\nROOM ") && shown.contains("\nlobby ") && shown.contains("\nID "), "{shown}");
    let json = site.json(&["top", "--once"]);
    assert_eq!((&json["status"]["websockets"], rows(&json, "peers").len()), (&json!(3), 4));
    // Without a terminal there is nothing to draw in, and that is said.
    assert_ne!(site.run(&["top"]).status.code(), Some(0));
}

#[test]
fn the_token_is_shown_and_what_is_wrong_is_said_with_what_to_do() {
    let site = Site::new("[admin]\ntoken = { file = 'token' }");
    let said = failed(&site.run(&["rooms"]));
    assert!(said.contains("FANLINE_ADMIN_TOKEN") && said.contains("--token-file"), "{said}");
    let with = |name: &str, value: &str| site.command(&["rooms"]).env(name, value).output().unwrap();
    assert!(
        failed(&with("FANLINE_ADMIN_TOKEN", "wrong-0123456789")).contains("does not know this admin token")
    );
    printed(&with("FANLINE_ADMIN_TOKEN", TOKEN));
    let file = site.folder.path().join("token");
    let file = file.to_str().unwrap();
    printed(&with("FANLINE_ADMIN_TOKEN_FILE", file));
    site.says(&["rooms", "--token-file", file]);
    assert!(failed(&site.run(&["rooms", "--token-file", "/none"])).contains("/none: No such file"));
    let nowhere = failed(&site.run(&["rooms", "--admin", "http://127.0.0.1:1"]));
    assert!(nowhere.contains("cannot be reached") && nowhere.contains("--admin-listen"), "{nowhere}");
    assert!(failed(&site.run(&["rooms", "--admin", "https://x:1"])).contains("ssh -L"));
}

#[test]
fn row_23_of_part_2_the_admin_api_can_be_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("admin.sock").display());
    let mut server = fanline(&["--listen", "127.0.0.1:0", "--admin-listen", &socket]);
    let mut server = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == format!("listening on http://{socket} for admins")));
    let output = fanline(&["rooms", "--admin", &socket]).env_remove("FANLINE_ADMIN_TOKEN").output().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(printed(&output), "no rooms\n");
}

#[test]
fn help_names_the_commands_and_bench_says_where_the_harness_is() {
    let help = printed(&fanline(&["-h"]).output().unwrap());
    for command in ["check", "top", "rooms", "peers", "kick", "tap", "publish", "bench"] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))),
            "{command}\n{help}"
        );
    }
    assert!(printed(&fanline(&["bench"]).output().unwrap()).contains("cargo loadtest echo"));
}
