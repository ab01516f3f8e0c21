//! Messages in fragments, RFC 6455 §5.4.

use crate::feed::{Row, Start, binary, by_peer, row, text};
use crate::frames::{self, BINARY, CONTINUATION, PING, PONG, TEXT, frame, server};

fn first(opcode: u8, payload: &str) -> Vec<u8> {
    frame(opcode).fin(false).payload(payload).bytes()
}

fn next(payload: &str) -> Vec<u8> {
    frame(CONTINUATION).fin(false).payload(payload).bytes()
}

fn last(payload: &str) -> Vec<u8> {
    frame(CONTINUATION).payload(payload).bytes()
}

#[test]
fn row_19_s5_4_fragments_are_one_message_in_order() {
    let rows = [
        row("two", [first(TEXT, "Hel"), last("lo")].concat()).gives(text("Hello")),
        row("three", [first(TEXT, "a"), next("b"), last("c")].concat()).gives(text("abc")),
        row("binary", [first(BINARY, "a"), next("b"), last("c")].concat()).gives(binary("abc")),
        row("empty at the end", [first(TEXT, "a"), last("")].concat()).gives(text("a")),
        row("empty at the start", [first(TEXT, ""), last("a")].concat()).gives(text("a")),
        row("all empty", [first(BINARY, ""), next(""), last("")].concat()).gives(binary("")),
        row("all empty text", [first(TEXT, ""), next(""), last("")].concat()).gives(text("")),
        row("whole between", frames::text("whole")).gives(text("whole")),
    ];
    Start::open().check(&rows);
}

#[test]
fn s5_4_a_fragment_may_have_any_size() {
    let sizes = [1, 0, 125, 126, 3, 65_536, 1];
    let mut bytes = Vec::new();
    for (i, size) in sizes.iter().enumerate() {
        let opcode = if i == 0 { BINARY } else { CONTINUATION };
        bytes.extend(frame(opcode).fin(i + 1 == sizes.len()).payload(vec![i as u8; *size]).bytes());
    }
    let want: Vec<u8> = sizes.iter().enumerate().flat_map(|(i, size)| vec![i as u8; *size]).collect();
    Start::open().check(&[row("seven sizes", bytes).gives(binary(want))]);
}

#[test]
fn s5_4_a_message_may_come_in_a_thousand_fragments() {
    let mut bytes = first(TEXT, "x");
    (0..998).for_each(|_| bytes.extend(next("x")));
    bytes.extend(last("x"));
    Start::open().check(&[row("a thousand", bytes).gives(text(&"x".repeat(1000)))]);
}

#[test]
fn row_19_s5_4_control_frames_between_fragments_are_answered_at_once() {
    let rows = [
        row("a ping", [first(TEXT, "a"), frames::ping("p"), last("b")].concat())
            .answers(server(PONG, "p"))
            .gives(text("ab")),
        row("a pong", [first(BINARY, "a"), frames::pong("p"), last("b")].concat()).gives(binary("ab")),
        row("many", {
            let pings = [frames::ping("1"), frames::ping(""), frames::pong("2"), frames::ping("3")];
            [first(TEXT, "a"), pings.concat(), next("b"), frames::ping("4"), last("c")].concat()
        })
        .answers([server(PONG, "1"), server(PONG, ""), server(PONG, "3"), server(PONG, "4")].concat())
        .gives(text("abc")),
        row("a full ping", [first(TEXT, "a"), frames::ping([b'p'; 125]), last("b")].concat())
            .answers(server(PONG, [b'p'; 125]))
            .gives(text("ab")),
    ];
    Start::open().check(&rows);
}

#[test]
fn s5_4_a_ping_is_answered_before_the_message_around_it_ends() {
    let row = row("no end", [first(TEXT, "a"), frames::ping("now")].concat())
        .answers(server(PONG, "now"))
        .unfinished();
    Start::open().check(&[row]);
}

#[test]
fn s5_4_a_close_inside_a_fragmented_message_ends_the_connection() {
    let bytes = [first(TEXT, "a"), frames::close(1000, "enough"), last("b")].concat();
    let row = row("close", bytes).answers(frames::server_close(1000, "")).gives(by_peer(1000, "enough"));
    Start::open().check(&[row]);
}

#[test]
fn s5_4_data_frame_inside_a_fragmented_message_is_1002() {
    let rows: Vec<Row> = [TEXT, BINARY]
        .into_iter()
        .flat_map(|outer| [TEXT, BINARY].map(|inner| (outer, inner)))
        .flat_map(|(outer, inner)| [true, false].map(|fin| (outer, inner, fin)))
        .map(|(outer, inner, fin)| {
            let bytes = [first(outer, "a"), frame(inner).fin(fin).payload("b").bytes()].concat();
            row(&format!("{inner} inside {outer}, fin {fin}"), bytes).fails(1002, "message inside a message")
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn row_19_s5_4_a_continuation_of_nothing_is_1002() {
    let reason = "continuation of nothing";
    let rows = [
        row("at the start", last("a")).fails(1002, reason),
        row("not final", next("a")).fails(1002, reason),
        row("empty", last("")).fails(1002, reason),
        row("after a whole message", [frames::text("a"), last("b")].concat())
            .gives(text("a"))
            .fails(1002, reason),
        row("after the last fragment", [first(TEXT, "a"), last("b"), last("c")].concat())
            .gives(text("ab"))
            .fails(1002, reason),
        row("after a ping", [frames::ping(""), next("b")].concat())
            .answers(server(PONG, ""))
            .fails(1002, reason),
    ];
    Start::open().check(&rows);
}

#[test]
fn s5_4_what_follows_the_last_fragment_is_a_new_message_with_its_own_type() {
    let rows = [
        row("text then binary", [first(TEXT, "a"), last("b"), frames::binary("c")].concat())
            .gives(text("ab"))
            .gives(binary("c")),
        row("binary then text", [first(BINARY, "a"), last("b"), first(TEXT, "c"), last("d")].concat())
            .gives(binary("ab"))
            .gives(text("cd")),
    ];
    Start::open().check(&rows);
}

#[test]
fn s5_5_a_control_frame_in_fragments_is_1002_also_inside_a_message() {
    let bytes = [first(TEXT, "a"), frame(PING).fin(false).payload("p").bytes()].concat();
    Start::open().check(&[row("a ping without fin", bytes).fails(1002, "fragmented control frame")]);
}
