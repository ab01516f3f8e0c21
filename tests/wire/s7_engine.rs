//! How a connection ends between a client, the server and the handler, RFC 6455 §7.1 and §7.2.

use fanline::{Closed, ClosedBy};

use crate::frames::{self, CLOSE, TEXT, frame, server, server_close};
use crate::http::{ask, get, read_answer};
use crate::wire_transport::{Call, Reaction, Recorder, Served};

fn open(reaction: Reaction) -> Served<Recorder> {
    let mut served = Served::new(Recorder { reaction, ..Recorder::default() }, Default::default());
    served.send(&ask().bytes());
    assert_eq!(read_answer(&served.received()).0.status, 101);
    served
}

/// How the handler was told that the connection ended: once.
fn closed(served: &Served<Recorder>) -> Closed {
    let closed: Vec<&Closed> = served
        .calls()
        .iter()
        .filter_map(|call| if let Call::Close(closed) = call { Some(closed) } else { None })
        .collect();
    assert_eq!(closed.len(), 1, "{:?}", served.calls());
    closed[0].clone()
}

#[test]
fn s5_5_1_a_close_is_answered_after_the_replies_before_it_and_tcp_is_closed_at_once() {
    let mut served = open(Reaction::Echo);
    served.send(&[frames::text("last"), frames::close(1001, "leaving")].concat());
    assert_eq!(served.received(), [server(TEXT, "last"), server_close(1001, "")].concat());
    assert!(served.is_ended());
    let want = Closed { code: 1001, reason: "leaving".into(), clean: true, by: ClosedBy::Peer };
    assert_eq!(closed(&served), want);
    served.end();
    assert!(served.is_gone());
}

#[test]
fn row_28_s7_1_2_a_handler_closes_with_a_code_and_a_reason() {
    for (code, reason) in [(1000, ""), (1000, "再见"), (3000, "x"), (4999, &*"y".repeat(123))] {
        let mut served = open(Reaction::Close(code, reason.into()));
        served.send(&frames::text("t"));
        assert_eq!(served.received(), server_close(code, reason));
        assert!(!served.is_ended(), "the peer's Close is awaited");
        served.send(&frames::close(code, ""));
        assert!(served.is_ended());
        assert_eq!(served.received(), b"", "an answer is not answered");
        let want = Closed { code, reason: reason.into(), clean: true, by: ClosedBy::Server };
        assert_eq!(closed(&served), want);
    }
}

#[test]
fn row_28_s7_4_a_handler_cannot_send_a_code_or_a_reason_that_may_not_travel() {
    let codes = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000].map(|code| (code, String::new()));
    for (code, reason) in codes.into_iter().chain([(1000, "x".repeat(124))]) {
        let mut served = open(Reaction::Close(code, reason));
        served.send(&frames::text("t"));
        assert!(served.engine.handler().close_refused, "{code}");
        assert_eq!(served.received(), b"", "{code}");
        assert!(!served.is_ended());
    }
}

#[test]
fn s7_1_7_a_violation_is_told_and_tcp_is_closed_without_waiting_for_an_answer() {
    let mut served = open(Reaction::Echo);
    served.send(&[frame(TEXT).unmasked().payload("t").bytes(), frames::text("late")].concat());
    assert_eq!(served.received(), server_close(1002, "frame without a mask"));
    assert!(served.is_ended());
    assert_eq!(closed(&served).code, 1002);
    assert_eq!(served.metrics.violations.get(), 1);
    served.send(&[frames::text("later"), frames::close(1000, "")].concat());
    assert_eq!(served.received(), b"");
    assert_eq!(closed(&served).code, 1002);
}

#[test]
fn s7_1_5_a_client_that_vanishes_is_reported_as_1006() {
    for left_behind in [vec![], frames::text("half a message")[..9].to_vec()] {
        let mut served = open(Reaction::Echo);
        served.send(&left_behind);
        served.end();
        let want = Closed { code: 1006, reason: String::new(), clean: false, by: ClosedBy::Loss };
        assert_eq!(closed(&served), want);
        assert!(served.is_gone());
    }
}

#[test]
fn s7_1_5_when_both_close_at_once_each_keeps_its_own_code() {
    let mut served = open(Reaction::Close(4000, "mine".into()));
    served.send(&[frames::text("t"), frames::close(4001, "yours")].concat());
    assert_eq!(served.received(), server_close(4000, "mine"));
    let want = Closed { code: 4000, reason: "mine".into(), clean: true, by: ClosedBy::Server };
    assert_eq!(closed(&served), want);
    assert!(served.is_ended());
}

#[test]
fn s7_2_2_a_refused_handshake_ends_the_connection() {
    for refused in
        [ask().without("Sec-WebSocket-Key"), ask().with("Sec-WebSocket-Version", "8"), get("/chat")]
    {
        let mut served = Served::recorder();
        served.send(&[refused.bytes(), frames::text("hello")].concat());
        let bytes = served.received();
        let (answer, rest) = read_answer(&bytes);
        assert!(answer.status >= 400 && rest.is_empty(), "{answer:?}");
        assert!(served.is_ended() && served.calls().is_empty());
    }
}

#[test]
fn s5_5_1_a_close_cut_anywhere_is_answered_once() {
    let close = frame(CLOSE).payload(frames::close_payload(1000, "bye")).bytes();
    for cut in 1..close.len() {
        let mut served = open(Reaction::Echo);
        served.send(&close[..cut]);
        assert_eq!(served.received(), b"");
        served.send(&close[cut..]);
        assert_eq!(served.received(), server_close(1000, ""));
        assert_eq!(closed(&served).reason, "bye");
    }
}
