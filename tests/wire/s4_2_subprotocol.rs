//! Subprotocols and cookies in the handshake, RFC 6455 §4.2.2 (4) and §11.3.4.

use fanline::Limits;
use fanline::http::head::Request;

use crate::http::{Answer, Ask, ask, read_answer};
use crate::wire_transport::{Recorder, Served};

const SPOKEN: [&str; 2] = ["chat", "superchat"];

fn answer(ask: &Ask, required: bool) -> (Answer, bool) {
    let handler =
        Recorder { subprotocols: SPOKEN.to_vec(), subprotocol_required: required, ..Default::default() };
    let mut served = Served::new(handler, Default::default());
    served.send(&ask.bytes());
    (read_answer(&served.received()).0, served.is_ended())
}

#[test]
fn row_5_s4_2_2_the_servers_first_preference_among_those_offered_is_echoed() {
    let rows = [
        ("chat", Some("chat")),
        ("chat, superchat", Some("chat")),
        ("superchat, chat", Some("chat")),
        ("superchat", Some("superchat")),
        ("other,superchat ,x", Some("superchat")),
        ("other", None),
        ("Chat", None),
        ("", None),
    ];
    for (offered, want) in rows {
        let (answer, _) = answer(&ask().and("Sec-WebSocket-Protocol", offered), false);
        assert_eq!(answer.status, 101, "{offered}");
        assert_eq!(answer.all("sec-websocket-protocol"), Vec::from_iter(want), "{offered}");
    }
}

#[test]
fn s11_3_4_offers_may_stand_on_several_lines_and_the_answer_has_one() {
    let offers = ask().and("Sec-WebSocket-Protocol", "other").and("sec-websocket-protocol", "superchat");
    let (answer, _) = answer(&offers.and("Sec-WebSocket-Protocol", "chat"), false);
    assert_eq!(answer.all("sec-websocket-protocol"), ["chat"]);
}

#[test]
fn row_5_s4_2_2_where_none_is_offered_none_is_sent() {
    assert!(answer(&ask(), false).0.all("sec-websocket-protocol").is_empty());
}

#[test]
fn row_5_a_handler_may_require_one() {
    let (refused, ended) = answer(&ask().and("Sec-WebSocket-Protocol", "other"), true);
    assert_eq!((refused.status, ended), (400, true));
    assert_eq!(refused.all("sec-websocket-accept"), Vec::<&str>::new());
    let (granted, ended) = answer(&ask().and("Sec-WebSocket-Protocol", "superchat"), true);
    assert_eq!((granted.status, ended), (101, false));
}

#[test]
fn row_8_cookies_reach_the_handler() {
    let mut served = Served::recorder();
    let cookie = "session=\"abc==\"; theme = dark;  empty=; flag; session=second";
    let page = "http://server.example.com";
    served.send(&ask().and("Origin", page).and("Cookie", cookie).bytes());
    let pairs = [("session", "abc=="), ("theme", "dark"), ("empty", ""), ("session", "second")];
    let want: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(served.engine.handler().cookies, want);
}

#[test]
fn row_8_the_first_cookie_of_a_name_is_the_one() {
    let head = ask().and("Cookie", "a=1; b=2; a=3").bytes();
    let limits = Limits::default();
    let request = Request::parse(&head, &limits).unwrap();
    assert_eq!((request.cookie("a"), request.cookie("b"), request.cookie("c")), (Some("1"), Some("2"), None));
}
