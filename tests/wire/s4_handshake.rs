//! The opening handshake on the server's side, RFC 6455 §4.2.

use fanline::OwnedMessage;
use fanline::http::upgrade::accept_key;

use crate::frames::{self, TEXT, server};
use crate::http::{ACCEPT, Answer, Ask, KEY, ask, get, read_answer};
use crate::wire_transport::{Call, Recorder, Served, expect_served};

/// What a server answers to a request, whether it ends the connection then, and what it counted.
fn answer(ask: &Ask) -> (Answer, Served<Recorder>) {
    let mut served = Served::recorder();
    served.send(&ask.bytes());
    let bytes = served.received();
    let (answer, rest) = read_answer(&bytes);
    assert_eq!(rest, b"", "nothing follows");
    (answer, served)
}

fn assert_opens(ask: &Ask) {
    let (answer, served) = answer(ask);
    assert_eq!(answer.status, 101, "{}: {}", ask.text(), answer.body);
    assert_eq!(answer.one("sec-websocket-accept"), ACCEPT);
    assert!(matches!(served.calls(), [Call::Open(_)]), "{:?}", served.calls());
}

/// Refused with this status and a reason; the handler never hears of it, and the connection ends.
fn assert_refused(ask: &Ask, status: u16, reason: &str) {
    let (answer, served) = answer(ask);
    let body = format!("{{\"error\":\"{reason}\"}}\n");
    assert_eq!((answer.status, answer.body.as_str()), (status, body.as_str()), "{}", ask.text());
    assert_eq!(served.calls(), [], "{}", ask.text());
    assert!(served.is_ended(), "{}", ask.text());
    let counted = served.metrics.all().into_iter().find(|(name, _)| *name == format!("refused_{status}"));
    assert_eq!(counted.map(|(_, count)| count), Some(1), "{}", ask.text());
}

#[test]
fn row_1_s4_2_2_accept_key_is_the_sha1_of_key_and_guid() {
    assert_eq!(accept_key(KEY.as_bytes()), ACCEPT);
    assert_eq!(accept_key(b"x3JJHMbDL1EzLkh9GBhXDw=="), "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
}

#[test]
fn row_1_s4_2_2_the_answer_byte_by_byte() {
    let mut served = Served::recorder();
    served.send(&ask().bytes());
    let want = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {ACCEPT}\r\n\r\n"
    );
    assert_eq!(String::from_utf8(served.received()).unwrap(), want);
    assert!(!served.is_ended());
}

#[test]
fn row_1_s4_2_1_names_and_tokens_in_any_case_and_in_lists() {
    for connection in ["upgrade", "UPGRADE", "keep-alive, Upgrade", "Upgrade,keep-alive", "a,, \tupgrade "] {
        assert_opens(&ask().with("Connection", connection));
    }
    for upgrade in ["WebSocket", "WEBSOCKET", "h2c, websocket", " websocket\t"] {
        assert_opens(&ask().with("Upgrade", upgrade));
    }
    assert_opens(&ask().with("Connection", "keep-alive").and("Connection", "Upgrade"));
    let shouted = ask().text().replace("Sec-WebSocket", "SEC-WEBSOCKET").replace("Upgrade:", "uPGRADE:");
    let tight = ask().text().replace(": ", ":");
    for text in [shouted, tight] {
        let mut served = Served::recorder();
        served.send(text.as_bytes());
        assert_eq!(read_answer(&served.received()).0.one("sec-websocket-accept"), ACCEPT, "{text}");
    }
}

#[test]
fn s4_2_1_the_order_of_the_fields_is_not_important() {
    let fields: [(&str, &str); 5] = [
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Host", "server.example.com"),
    ];
    for turn in 0..fields.len() {
        let mut turned = fields;
        turned.rotate_left(turn);
        assert_opens(&get("/chat").with_fields(&turned));
    }
}

#[test]
fn s4_2_1_the_target_may_be_an_absolute_uri() {
    for target in ["http://server.example.com/chat", "HTTPS://other/chat", "ws://h:1/chat?x=http://y"] {
        let (answer, served) = answer(&ask().target(target));
        assert_eq!(answer.status, 101, "{target}");
        assert_eq!(served.calls(), [Call::Open("/chat".into())], "{target}");
    }
}

#[test]
fn row_2_s4_2_2_head_and_frames_however_they_are_cut() {
    let frames = [frames::text("one"), frames::binary("two"), frames::text("three")];
    let calls = [
        Call::Open("/chat".into()),
        Call::Message(OwnedMessage::Text("one".into())),
        Call::Message(OwnedMessage::Binary(b"two".to_vec())),
        Call::Message(OwnedMessage::Text("three".into())),
    ];
    let echoes = [server(TEXT, "one"), server(frames::BINARY, "two"), server(TEXT, "three")];
    for n in 0..=frames.len() {
        let bytes = [ask().bytes(), frames[..n].concat()].concat();
        expect_served(Served::recorder, &bytes, &calls[..=n], |sent| {
            let (answer, rest) = read_answer(sent);
            assert_eq!(answer.status, 101);
            assert_eq!(rest, echoes[..n].concat());
        });
    }
}

#[test]
fn row_2_s5_2_many_frames_in_one_segment() {
    let many: Vec<u8> = (0..500).flat_map(|i| frames::text(&i.to_string())).collect();
    let mut served = Served::recorder();
    served.send(&[ask().bytes(), many].concat());
    let echoes: Vec<u8> = (0..500).flat_map(|i| server(TEXT, i.to_string())).collect();
    assert_eq!(read_answer(&served.received()).1, echoes);
}

#[test]
fn row_3_s4_2_1_a_handshake_without_a_right_key_is_400_with_a_reason() {
    assert_refused(&ask().without("Sec-WebSocket-Key"), 400, "Sec-WebSocket-Key is missing");
    assert_refused(&ask().and("Sec-WebSocket-Key", KEY), 400, "Sec-WebSocket-Key stands twice");
    let keys = [
        "",
        "short",
        "AAAAAAAAAAAAAAAAAAAA",     // 15 bytes
        "AAAAAAAAAAAAAAAAAAAAAAA=", // 17 bytes
        "AAAAAAAAAAAAAAAAAAAAAAAA", // 18 bytes
        "AAAAAAAAAAAAAAAAAAAAAA",   // 16 bytes without padding
        "AAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAA!==",
        "AAAAAAAAAAA AAAAAAAAAAA==",
        "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==",
    ];
    for key in keys {
        let reason = "Sec-WebSocket-Key is not the base64 of 16 bytes";
        assert_refused(&ask().with("Sec-WebSocket-Key", key), 400, reason);
    }
}

#[test]
fn row_3_a_plain_get_where_only_websocket_is_spoken_is_426() {
    let (answer, served) = answer(&get("/chat").and("Host", "h"));
    assert_eq!((answer.status, answer.body.as_str()), (426, "{\"error\":\"this path speaks WebSocket\"}\n"));
    assert_eq!((answer.one("upgrade"), answer.one("connection")), ("websocket", "Upgrade"));
    assert_eq!(served.metrics.refused_426.get(), 1);
    assert!(!served.is_ended(), "the client may ask again on the same connection");
}

#[test]
fn s4_2_1_what_does_not_match_the_description_of_a_handshake_is_refused() {
    let connection = "Connection does not name Upgrade";
    assert_refused(&ask().without("Connection"), 400, connection);
    assert_refused(&ask().with("Connection", "keep-alive"), 400, connection);
    assert_refused(&ask().with("Connection", "Upgraded"), 400, connection);
    assert_refused(&ask().without("Host"), 400, "Host is missing");
    assert_refused(&ask().and("Host", "other"), 400, "Host stands twice");
    assert_refused(&ask().line("GET /chat HTTP/1.0"), 400, "the handshake needs HTTP/1.1");
    assert_refused(&ask().line("GET chat HTTP/1.1"), 400, "the target is not a path");
    assert_refused(&ask().line("GET /chat#top HTTP/1.1"), 400, "the target is not a path");
    assert_refused(&ask().and("Content-Length", "5"), 400, "the handshake has a body");
    assert_refused(&ask().and("Transfer-Encoding", "chunked"), 400, "the handshake has a body");
    let protocol = "Sec-WebSocket-Protocol is not a list of tokens";
    assert_refused(&ask().and("Sec-WebSocket-Protocol", "a b"), 400, protocol);
    let extensions = "Sec-WebSocket-Extensions is not a list of extensions";
    assert_refused(&ask().and("Sec-WebSocket-Extensions", "a b"), 400, extensions);
    for method in ["POST", "PUT", "OPTIONS", "get"] {
        let line = format!("{method} /chat HTTP/1.1");
        assert_refused(&ask().line(&line), 405, "this method is not served here");
    }
}

#[test]
fn s4_2_1_a_request_that_does_not_name_websocket_is_no_handshake() {
    for other in
        [ask().without("Upgrade"), ask().with("Upgrade", "h2c"), ask().with("Upgrade", "websocket/13")]
    {
        let (answer, served) = answer(&other);
        assert_eq!(answer.status, 426);
        assert_eq!(served.calls(), [Call::Http("/chat".into())]);
    }
}

#[test]
fn row_4_s4_4_a_version_other_than_13_is_426_and_told_13() {
    for version in ["0", "7", "8", "12", "14", "25", "255", "13, 8", "013", "+13", "x", ""] {
        let ask = ask().with("Sec-WebSocket-Version", version);
        assert_refused(&ask, 426, "only version 13 of the WebSocket protocol is spoken");
        assert_eq!(answer(&ask).0.one("sec-websocket-version"), "13");
    }
    assert_eq!(answer(&ask().without("Sec-WebSocket-Version")).0.one("sec-websocket-version"), "13");
    assert_eq!(answer(&ask().and("Sec-WebSocket-Version", "13")).0.status, 426, "§11.3.5: it stands once");
}

#[test]
fn row_25_older_drafts_are_not_spoken() {
    let hixie_76 = get("/chat")
        .with_fields(&[("Host", "h"), ("Upgrade", "WebSocket"), ("Connection", "Upgrade")])
        .with_fields(&[("Sec-WebSocket-Key1", "18x 6]8vM;54 *(5:  {   U1]8  z [  8")])
        .with_fields(&[("Sec-WebSocket-Key2", "1_ tx7X d  <  nw  334J702) 7]o}` 0")]);
    assert_refused(&hixie_76, 426, "only version 13 of the WebSocket protocol is spoken");
}

#[test]
fn row_9_fields_that_mean_nothing_here_are_ignored() {
    let fields = [
        ("Pragma", "no-cache"),
        ("Cache-Control", "no-cache"),
        ("User-Agent", "x/1.0 (\u{e9})"),
        ("Accept-Encoding", "gzip, deflate, br"),
        ("X-Empty", ""),
        ("Sec-WebSocket-Accept", "from a client"),
        ("Sec-WebSocket-Key1", "x"),
    ];
    assert_opens(&ask().with_fields(&fields));
}

#[test]
fn row_10_the_answer_has_none_of_the_fields_of_older_drafts() {
    let ask = ask().and("Origin", "http://server.example.com").and("WebSocket-Protocol", "x");
    let (answer, _) = answer(&ask);
    let names: Vec<&str> = answer.names().collect();
    assert_eq!(names, ["upgrade", "connection", "sec-websocket-accept"]);
}

#[test]
fn s4_2_2_what_the_handler_sends_while_opening_follows_the_answer() {
    let greeted = || {
        let handler = Recorder { greeting: Some("欢迎大哥光临!"), ..Recorder::default() };
        Served::new(handler, Default::default())
    };
    let bytes = [ask().bytes(), frames::text("hello")].concat();
    let calls = [Call::Open("/chat".into()), Call::Message(OwnedMessage::Text("hello".into()))];
    expect_served(greeted, &bytes, &calls, |sent| {
        let (answer, rest) = read_answer(sent);
        assert_eq!(answer.status, 101);
        assert_eq!(rest, [server(TEXT, "欢迎大哥光临!"), server(TEXT, "hello")].concat());
    });
}

#[test]
fn s4_2_2_what_arrives_before_a_deferred_decision_waits_for_it() {
    let bytes = [ask().bytes(), frames::text("early"), frames::ping("p")].concat();
    for cut in 1..bytes.len() {
        let mut served = Served::new(Recorder { defers: true, ..Recorder::default() }, Default::default());
        served.send(&bytes[..cut]);
        served.send(&bytes[cut..]);
        assert!(served.calls().is_empty() && served.received().is_empty(), "nothing before the decision");
        served.admit();
        let sent = served.received();
        let (answer, rest) = read_answer(&sent);
        assert_eq!(answer.status, 101);
        let mut opcodes: Vec<u8> = frames::read_server(rest).iter().map(|frame| frame.opcode).collect();
        opcodes.sort_unstable();
        assert_eq!(opcodes, [TEXT, frames::PONG], "cut at {cut}");
    }
}
