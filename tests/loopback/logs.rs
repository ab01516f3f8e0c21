//! What the binary writes to stderr: in which form, how much of it, and what never.

use std::io::Write;
use std::time::Instant;

use serde_json::Value;
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::binary::Process;
use crate::client::{Client, closed, connect, exchange, get, text, try_connect};

const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

fn start(args: &[&str]) -> Process {
    Process::start(&[&LISTEN[..], args].concat())
}

/// The lines of a log in JSON.
fn objects(server: Process) -> Vec<Value> {
    let lines = server.all_said("-INT");
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// The fields of the events with this message.
fn fields<'l>(log: &'l [Value], message: &str) -> Vec<&'l Value> {
    log.iter().map(|line| &line["fields"]).filter(|fields| fields["message"] == message).collect()
}

/// Sends a frame without a mask, which RFC 6455 §5.1 forbids, and waits for the end.
fn break_a_rule(client: &mut Client) {
    client.get_mut().write_all(&[0x81, 0x01, b'x']).unwrap();
    closed(client);
}

#[test]
fn a_log_for_people_has_a_time_a_level_a_place_and_a_sentence_on_each_line() {
    let server = start(&[]);
    break_a_rule(&mut connect(server.addr(), "/echo"));
    let lines = server.all_said("-INT");
    for line in &lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words[0].len() == 27 && words[0].ends_with('Z') && words[0].contains('T'), "{line}");
        assert!(["ERROR", "WARN", "INFO"].contains(&words[1]), "{line}");
        assert!(words[2].starts_with("fanline") && words[2].ends_with(':') && words.len() > 3, "{line}");
        assert!(!line.contains('\x1b'), "{line}");
    }
    for said in ["fanline starts version=", "ready listeners=", "rule=", ": ended"] {
        assert!(lines.iter().any(|line| line.contains(said)), "{said} is not in {lines:#?}");
    }
}

#[test]
fn a_log_for_programs_is_an_object_on_each_line() {
    for (args, env) in [(&["--log", "json"][..], None), (&[], Some(("FANLINE_LOG", "json")))] {
        let mut command = crate::binary::fanline(&[&LISTEN[..], args].concat());
        let server = Process::spawn(command.envs(env), 1);
        break_a_rule(&mut connect(server.addr(), "/echo"));
        let addr = server.addr().to_string();
        let log = objects(server);
        for line in &log {
            for key in ["timestamp", "level", "target"] {
                assert!(line[key].is_string(), "{key}: {line}");
            }
            assert!(line["fields"]["message"].is_string(), "{line}");
        }
        let ready = fields(&log, "ready");
        assert!(ready.len() == 1 && ready[0]["listeners"].as_str().unwrap().contains(&addr), "{ready:?}");
        let violations = fields(&log, "a connection was ended for a violation");
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0]["code"], 1002);
        assert_eq!(violations[0]["address"], "127.0.0.1");
        assert!(violations[0]["conn"].as_str().unwrap().contains('.'), "{violations:?}");
    }
}

#[test]
fn a_level_says_how_much_is_written() {
    for (level, has_limits, has_ready) in
        [("debug", true, true), ("info", false, true), ("warn", false, false), ("off", false, false)]
    {
        let server = start(&["--log-level", level]);
        assert!(get(server.addr(), "/healthz").ends_with("ok\n"));
        let said = server.all_said("-INT").join("\n");
        assert_eq!(said.contains("limits: "), has_limits, "{level}: {said}");
        assert_eq!(said.contains("ready listeners"), has_ready, "{level}: {said}");
        assert_eq!(said.is_empty(), !has_ready, "{level}: {said}");
    }
}

#[test]
fn a_flood_of_violations_is_a_few_lines_that_add_up() {
    const COUNT: u64 = 150;
    let server = start(&["--log", "json"]);
    let began = Instant::now();
    for _ in 0..COUNT {
        break_a_rule(&mut connect(server.addr(), "/echo"));
    }
    let seconds = began.elapsed().as_secs();
    let log = objects(server);
    let said = fields(&log, "a connection was ended for a violation").len() as u64;
    let more: Vec<u64> = log
        .iter()
        .map(|line| &line["fields"])
        .filter(|fields| fields["kind"] == "violation")
        .map(|fields| fields["count"].as_u64().unwrap())
        .collect();
    assert_eq!(said + more.iter().sum::<u64>(), COUNT);
    let lines = said + more.len() as u64;
    assert!(lines <= 2 * (seconds + 2), "{lines} lines in {seconds} s");
}

#[test]
fn a_server_whose_log_nobody_takes_serves_and_says_later_how_much_was_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("long".repeat(60));
    std::fs::write(&config, "").unwrap();
    let mut server = start(&["-c", config.to_str().unwrap()]);
    let (mut client, addr) = (connect(server.addr(), "/echo"), server.addr());
    // Each is a line that names the file; a pipe holds 64 KiB, some 200 of them, and nobody reads this one.
    let mut signals = 0;
    while signals < 1200 {
        server.signal("-HUP");
        signals += 1;
        if signals % 100 == 0 {
            client.send("still here".into()).unwrap();
            assert_eq!(text(&mut client), "still here", "after {signals} signals");
        }
    }
    assert!(get(addr, "/healthz").ends_with("ok\n"));
    // Now somebody reads again.
    (0..50).for_each(|_| drop(server.said("reload: ")));
    server.signal("-HUP");
    server.said("lines before this one were left out");
    assert!(get(addr, "/healthz").ends_with("ok\n"));
}

#[test]
fn a_flood_of_one_refusal_does_not_hide_the_first_of_another() {
    let server = start(&["--log", "json", "--connections-per-address-max", "1"]);
    let elsewhere = [("origin", "https://elsewhere.example")];
    for _ in 0..5 {
        assert_eq!(try_connect(server.addr(), "/echo", &elsewhere).err(), Some(403));
    }
    let _one = connect(server.addr(), "/echo");
    assert_eq!(try_connect(server.addr(), "/echo", &[]).err(), Some(429));
    let log = objects(server);
    let refusals = fields(&log, "a request was refused");
    for status in [403, 429] {
        let said = refusals.iter().filter(|fields| fields["status"] == status).count();
        assert!((1..=4).contains(&said), "{status}: {refusals:?}");
    }
}

#[test]
fn what_peers_write_is_on_a_line_of_its_own_and_does_nothing_to_a_terminal() {
    for form in ["human", "json"] {
        let server = start(&["--log", form]);
        let elsewhere = [("origin", "https://elsewhere.example")];
        for control in ["%0A", "%0D", "%1B", "%C2%9B", "%7F"] {
            let path = format!("/chat/a{control}2026-01-01T00:00:00.000000Z%20%20INFO%20forged");
            assert_eq!(try_connect(server.addr(), &path, &elsewhere).err(), Some(400));
        }
        let path = "/chat/%22quoted%22%20%E2%80%AEdesrever";
        assert_eq!(try_connect(server.addr(), path, &elsewhere).err(), Some(403));
        let lines = server.all_said("-INT");
        assert!(!lines.iter().any(|line| line.contains("forged")), "{lines:#?}");
        let line = lines.iter().find(|line| line.contains("a request was refused")).unwrap();
        assert!(line.contains("desrever"), "{line}");
        // A program reads it as it is; a terminal would turn the rest of the line around.
        assert_eq!(line.contains('\u{202e}'), form == "json", "{line:?}");
    }
}

#[test]
fn who_is_refused_is_told_of_with_the_path_and_without_the_query() {
    let server = start(&["--log", "json"]);
    let elsewhere = [("origin", "https://elsewhere.example")];
    assert_eq!(try_connect(server.addr(), "/chat/lobby?token=hush", &elsewhere).err(), Some(403));
    assert!(get(server.addr(), "/nothing").starts_with("HTTP/1.1 404 "));
    let log = objects(server);
    let refusals = fields(&log, "a request was refused");
    assert_eq!(refusals.len(), 1, "what is not found is nothing to tell of: {refusals:?}");
    assert_eq!((&refusals[0]["status"], &refusals[0]["path"]), (&403.into(), &"/chat/lobby".into()));
    assert_eq!(refusals[0]["address"], "127.0.0.1");
}

#[test]
fn secrets_and_what_people_say_are_nowhere_in_the_log() {
    const HIDDEN: &str = "swordfish";
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("fanline.toml");
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{HIDDEN}-of-an-operator")).unwrap();
    let auth = format!(
        "[auth]\nanonymous = 'refuse'\n[[auth.token]]\nuser = 'ann'\nsecret = {{ env = 'ANNS' }}\n\
         [admin]\ntoken = {{ file = '{}' }}\n",
        token.display()
    );
    // A room opens only where its Redis answers, so who may publish does it where there is none.
    let backplane = format!("[backplane]\nurl = 'redis://u:{HIDDEN}@127.0.0.1:1/0'\n");
    let path = config.to_str().unwrap();
    for (form, auth) in [("human", auth.clone()), ("json", auth + &backplane)] {
        std::fs::write(&config, &auth).unwrap();
        let mut told = crate::binary::fanline(
            &[&LISTEN[..], &["-c", path, "--log", form, "--log-level", "trace"]].concat(),
        );
        let server = Process::spawn(told.env("ANNS", format!("{HIDDEN}-of-ann-herself")), 1);
        let addr = server.addr();
        for headers in [
            "",
            "Authorization: Bearer swordfish-of-somebody\r\n",
            "Cookie: session=swordfish\r\n",
            "Authorization: Bearer swordfish-of-ann-herself\r\n",
        ] {
            if form == "json" && headers.contains("ann") {
                continue;
            }
            let ask = |line: &str, body: &str| {
                let head = format!("{line} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}");
                exchange(addr, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
            };
            ask("POST /rooms/lobby/messages?token=swordfish", "swordfish");
            ask("GET /rooms/lobby?token=swordfish", "");
            ask("POST /admin/api/kick?user=swordfish&token=swordfish", "swordfish");
        }
        server.signal("-HUP");
        let said = server.all_said("-INT").join("\n");
        assert!(said.contains("401") && !said.contains(HIDDEN), "{said}");
    }
    // Where nobody has to show anything, what is said reaches the room and nothing else.
    let server = start(&["--log-level", "trace"]);
    let mut client = connect(server.addr(), "/chat/lobby?token=swordfish");
    client.send(HIDDEN.into()).unwrap();
    assert_eq!(text(&mut client), HIDDEN);
    let reason = CloseFrame { code: CloseCode::Normal, reason: HIDDEN.into() };
    client.send(Message::Close(Some(reason))).unwrap();
    closed(&mut client);
    let mut client = connect(server.addr(), "/chat/lobby");
    client.send(HIDDEN.into()).unwrap();
    break_a_rule(&mut client);
    let said = server.all_said("-INT").join("\n");
    assert!(said.contains("violation") && !said.contains(HIDDEN), "{said}");
}

#[test]
fn what_an_operator_does_and_how_the_server_ends_is_told() {
    let server = start(&["--admin-listen", "127.0.0.1:0", "--log", "json"]);
    let (addr, admin) = (server.addrs[0], server.addrs[1]);
    let mut client = connect(addr, "/chat/lobby");
    let act = |line: &str, body: &str| {
        let head = format!("POST {line} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n");
        exchange(admin, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    };
    assert!(act("/admin/api/rooms/lobby/messages", "hello").starts_with("HTTP/1.1 201 "));
    assert!(matches!(client.read().unwrap(), Message::Text(_) | Message::Binary(_)));
    let log = objects(server);
    let acts = fields(&log, "the operator has acted");
    assert_eq!(acts.len(), 1, "{log:#?}");
    assert_eq!((&acts[0]["action"], &acts[0]["room"]), (&"publish".into(), &"lobby".into()));
    assert_eq!(acts[0]["address"], "127.0.0.1");
    let stops = fields(&log, "stop: whoever is left is told");
    assert!(stops.len() == 1 && stops[0]["connections"].as_u64() >= Some(1), "{log:#?}");
    assert_eq!(fields(&log, "ended").len(), 1);
}
