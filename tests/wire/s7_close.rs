//! The closing handshake and its codes, RFC 6455 §5.5.1 and §7.

use fanline::conn::Stage;
use fanline::{CloseCode, CloseReason, InvalidClose};

use crate::feed::{Rig, Row, Start, by_peer, by_us, row, text};
use crate::frames::{self, CLOSE, CONTINUATION, TEXT, close_payload, frame, server, server_close};

/// The codes that may travel: §7.4, and IANA's registry for 1012 to 1014.
fn may_travel(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[test]
fn s5_5_1_a_close_is_answered_with_the_same_code_and_the_connection_is_over() {
    let rows: Vec<Row> = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]
        .into_iter()
        .chain([3000, 3999, 4000, 4999])
        .map(|code| {
            row(&format!("code {code}"), frames::close(code, ""))
                .answers(server_close(code, ""))
                .gives(by_peer(code, ""))
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn row_28_s7_1_6_code_and_reason_of_the_peer_are_reported() {
    let long = "x".repeat(123);
    let rows: Vec<Row> = [(1000, "bye"), (4000, "再见"), (3000, long.as_str()), (1001, "\u{10ffff}")]
        .into_iter()
        .map(|(code, reason)| {
            row(reason, frames::close(code, reason))
                .answers(server_close(code, ""))
                .gives(by_peer(code, reason))
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn s7_1_5_a_close_without_a_code_is_answered_without_one_and_reported_as_1005() {
    let row = row("empty", frame(CLOSE).bytes()).answers(server(CLOSE, "")).gives(by_peer(1005, ""));
    Start::open().check(&[row]);
}

#[test]
fn s5_5_1_a_close_payload_of_one_byte_is_1002() {
    let bytes = frame(CLOSE).payload([3]).bytes();
    Start::open().check(&[row("one byte", bytes).fails(1002, "close payload of one byte")]);
}

#[test]
fn s7_4_a_code_that_may_not_travel_is_1002() {
    let codes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    let rows = codes.map(|code| {
        row(&format!("code {code}"), frames::close(code, "")).fails(1002, "close code not allowed")
    });
    Start::open().check(&rows);
}

#[test]
fn row_28_s7_4_every_code_is_accepted_or_refused_the_same_in_both_directions() {
    for code in 0..=u16::MAX {
        let want = if may_travel(code) { Ok(code) } else { Err(InvalidClose::Code(code)) };
        assert_eq!(CloseCode::new(code).map(CloseCode::get), want);
        let mut rig = Rig::new(&Start::open());
        rig.feed(&frames::close(code, ""));
        let answer = if may_travel(code) { code } else { 1002 };
        assert_eq!(rig.sent[2..4], answer.to_be_bytes(), "answer to {code}");
    }
}

#[test]
fn row_28_s5_5_1_a_reason_has_at_most_123_bytes_of_utf8() {
    let rows = [("x".repeat(123), true), ("x".repeat(124), false), ("é".repeat(61), true)];
    for (text, fits) in rows.into_iter().chain([("é".repeat(62), false)]) {
        assert_eq!(CloseReason::new(CloseCode::NORMAL, &text).is_ok(), fits, "{} bytes", text.len());
    }
}

#[test]
fn s5_5_1_a_reason_that_is_not_utf8_is_1007() {
    let reasons: [&[u8]; 4] = [b"\xff", b"ok\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"];
    let rows = reasons.map(|reason| {
        let payload = [&1000u16.to_be_bytes(), reason].concat();
        let bytes = frame(CLOSE).payload(payload).bytes();
        row(&format!("{reason:x?}"), bytes).fails(1007, "close reason is not UTF-8")
    });
    Start::open().check(&rows);
}

#[test]
fn s7_1_1_nothing_after_the_peers_close_is_heard_or_answered() {
    let after = [frames::text("late"), frames::ping("late"), frames::close(4000, ""), vec![0xff; 40]];
    let bytes = [frames::close(1000, ""), after.concat()].concat();
    let row = row("late", bytes).answers(server_close(1000, "")).gives(by_peer(1000, ""));
    Start::open().check(&[row]);
}

#[test]
fn s7_1_7_nothing_after_a_violation_is_heard_or_answered() {
    let after = [frames::text("late"), frames::ping("late"), frames::close(1000, "")].concat();
    let bytes = [frame(3).bytes(), after].concat();
    Start::open().check(&[row("late", bytes).fails(1002, "reserved opcode")]);
}

#[test]
fn s7_1_2_the_peers_close_ends_a_close_that_we_began_and_is_not_answered() {
    let rows = [
        row("the same code", frames::close(1000, "bye")).gives(by_us(1000, "bye", true)),
        row("another code", frames::close(4000, "also")).gives(by_us(1000, "bye", true)),
        row("no code", frame(CLOSE).bytes()).gives(by_us(1000, "bye", true)),
    ];
    Start::closing().check(&rows);
}

#[test]
fn s7_1_2_what_the_peer_sent_before_it_answered_our_close_is_passed_over() {
    let fragments = [frame(TEXT).fin(false).payload("a"), frame(CONTINUATION).payload("b")];
    let fragments: Vec<u8> = fragments.iter().flat_map(|fragment| fragment.bytes()).collect();
    let before = [frames::text("crossed"), frames::ping("p"), frames::pong("p"), fragments].concat();
    let rows = [
        row("and its answer", [before.clone(), frames::close(1000, "")].concat())
            .gives(by_us(1000, "bye", true)),
        row("no answer yet", before).unfinished(),
        row("a violation", frame(3).bytes()).gives(by_us(1000, "bye", false)),
        row("a bad close", frames::close(1005, "")).gives(by_us(1000, "bye", false)),
    ];
    Start::closing().check(&rows);
}

#[test]
fn s5_5_1_nothing_is_sent_after_our_close() {
    let mut rig = Rig::new(&Start::closing());
    rig.feed(&[frames::ping("p"), frame(3).bytes(), frames::close(1000, "")].concat());
    assert_eq!(rig.sent, b"");
    assert_eq!(rig.conn.stage(), Stage::Closed);
}

#[test]
fn s7_1_5_a_transport_that_fails_is_reported_as_1006_unless_we_had_closed() {
    let lost = |start: Start, bytes: &[u8]| {
        let mut rig = Rig::new(&start);
        rig.feed(bytes);
        rig.conn.lost().map(|closed| (closed.code, closed.clean))
    };
    assert_eq!(lost(Start::open(), b""), Some((1006, false)));
    assert_eq!(lost(Start::open(), &frames::text("t")[..4]), Some((1006, false)));
    assert_eq!(lost(Start::closing(), b""), Some((1000, false)));
    assert_eq!(lost(Start::open(), &frames::close(1000, "")), None, "it was over already");
    assert_eq!(lost(Start::head(), b"GET /"), None, "it never was open");
}

#[test]
fn s5_5_1_the_reason_is_not_echoed_so_an_answer_always_fits() {
    let mut rig = Rig::new(&Start::open());
    rig.feed(&frame(CLOSE).payload(close_payload(1000, &"é".repeat(61))).bytes());
    assert_eq!(rig.sent, server_close(1000, ""));
    assert_eq!(rig.seen, [by_peer(1000, &"é".repeat(61))]);
}

#[test]
fn s7_1_1_messages_before_a_close_are_delivered_before_it() {
    let bytes = [frames::text("a"), frames::text("b"), frames::close(1000, "")].concat();
    let row = row("a, b, close", bytes)
        .gives(text("a"))
        .gives(text("b"))
        .answers(server_close(1000, ""))
        .gives(by_peer(1000, ""));
    Start::open().check(&[row]);
}
