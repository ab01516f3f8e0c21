//! Plain HTTP before an upgrade, on a connection that stays, RFC 9112 §9; and the paths of RFC 6455 §3.

use fanline::Response;
use fanline::app::{App, Route};
use fanline::engine::Rules;

use crate::frames::{self, TEXT, server};
use crate::http::{ask, get, read_answer};
use crate::wire_transport::{Call, Served, expect_served};

#[test]
fn row_11_rfc9112_s9_3_plain_requests_before_an_upgrade_on_one_connection() {
    let page = get("/page").and("Host", "h").bytes();
    let bytes = [page.clone(), page, ask().bytes(), frames::text("hi")].concat();
    let calls = [
        Call::Http("/page".into()),
        Call::Http("/page".into()),
        Call::Open("/chat".into()),
        Call::Message(fanline::OwnedMessage::Text("hi".into())),
    ];
    expect_served(Served::recorder, &bytes, &calls, |sent| {
        let (first, rest) = read_answer(sent);
        let (second, rest) = read_answer(rest);
        assert_eq!((first.status, second.body.as_str()), (200, "page\n"));
        let (third, rest) = read_answer(rest);
        assert_eq!(third.status, 101);
        assert_eq!(rest, server(TEXT, "hi"));
    });
}

#[test]
fn row_11_rfc9112_s9_3_a_client_that_wants_to_close_is_closed() {
    for ask in
        [get("/page").and("Host", "h").and("Connection", "close"), get("/page").line("GET /page HTTP/1.0")]
    {
        let mut served = Served::recorder();
        served.send(&[ask.bytes(), ask.bytes()].concat());
        let bytes = served.received();
        let (answer, rest) = read_answer(&bytes);
        assert_eq!((answer.status, answer.one("connection")), (200, "close"));
        assert_eq!(rest, b"", "what follows the last request is not read");
        assert!(served.is_ended());
    }
}

#[test]
fn row_11_a_proxys_fields_and_absolute_target_are_no_hindrance() {
    let mut served = Served::recorder();
    let ask = ask()
        .target("http://server.example.com:80/chat?room=1")
        .with("Host", "server.example.com:80")
        .and("Via", "1.1 proxy")
        .and("X-Forwarded-For", "192.0.2.1")
        .with("Connection", "upgrade, Via");
    served.send(&ask.bytes());
    assert_eq!(read_answer(&served.received()).0.status, 101);
}

#[test]
fn rfc9110_s9_3_2_head_is_answered_without_the_body() {
    let mut served = Served::recorder();
    let head = get("/page").line("HEAD /page HTTP/1.1").and("Host", "h").bytes();
    served.send(&head);
    let sent = String::from_utf8(served.received()).unwrap();
    assert!(sent.contains("\r\ncontent-length: 5\r\n") && sent.ends_with("\r\n\r\n"), "{sent}");
}

#[test]
fn rfc9110_s9_3_2_a_head_that_is_refused_gets_no_body_either() {
    let mut served = Served::recorder();
    served.send(&ask().line("HEAD /chat HTTP/1.1").bytes());
    let sent = String::from_utf8(served.received()).unwrap();
    assert!(sent.starts_with("HTTP/1.1 405 ") && sent.ends_with("\r\n\r\n"), "{sent}");
    assert_eq!(served.metrics.refused_405.get(), 1);
    assert!(served.is_ended());
}

fn app(target: &str) -> (u16, Served<App>) {
    let mut served = Served::new(App::new(Route::defaults()), Rules::default());
    served.send(&ask().target(target).bytes());
    let status = read_answer(&served.received()).0.status;
    (status, served)
}

#[test]
fn row_13_a_room_is_named_by_percent_encoded_utf8_in_the_path() {
    let rows = [
        ("/chat/lobby", "lobby"),
        ("/chat/lobby/", "lobby"),
        ("/chat/%E6%88%BF%E9%97%B4/", "房间"),
        ("/chat/%e6%88%bf%e9%97%b4", "房间"),
        ("/chat/a%20b", "a b"),
        ("/chat/lobby?x=1", "lobby"),
    ];
    for (target, room) in rows {
        let (status, served) = app(target);
        assert_eq!((status, served.engine.rooms().members(room)), (101, 1), "{target}");
    }
}

#[test]
fn row_13_a_path_that_is_not_utf8_or_climbs_is_400() {
    for target in [
        "/chat/%FF",
        "/chat/%E6%88",
        "/chat/%C0%AF",
        "/chat/../echo",
        "/chat/%2e%2e/echo",
        "/chat/.",
        "/chat/%",
        "/chat/%4",
        "/chat/%zz",
        "/chat/a%2Fb",
        "/chat/a%00b",
        "/chat/a%0d%0ab",
        "/chat/a%5Cb",
    ] {
        assert_eq!(app(target).0, 400, "{target}");
    }
}

#[test]
fn s4_2_2_a_resource_that_is_not_there_is_404() {
    for target in ["/", "/chat", "/chat/", "/nothing", "/chat/a/b"] {
        let (status, served) = app(target);
        assert_eq!(status, 404, "{target}");
        assert!(served.is_ended());
    }
}

#[test]
fn row_23_the_echo_route_echoes() {
    let (status, mut served) = app("/echo");
    served.send(&[frames::text("t"), frames::binary([0xff]), frames::text("")].concat());
    assert_eq!(status, 101);
    assert_eq!(
        served.received(),
        [server(TEXT, "t"), server(frames::BINARY, [0xff]), server(TEXT, "")].concat()
    );
}

#[test]
fn s8_6_rfc9110_a_204_says_nothing_about_a_length() {
    let mut out = Vec::new();
    Response::new(204).write(&mut out, false, true);
    assert_eq!(String::from_utf8(out).unwrap(), "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
}
