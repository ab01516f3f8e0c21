//! Limits on what a peer may send, RFC 6455 §10.4.

use crate::feed::{Rig, Row, Start, binary, row, text};
use crate::frames::{self, BINARY, CONTINUATION, TEXT, frame, server};

const REASON: &str = "message too big";

fn in_two(opcode: u8, a: usize, b: usize) -> Vec<u8> {
    let first = frame(opcode).fin(false).payload(vec![b'x'; a]).bytes();
    [first, frame(CONTINUATION).payload(vec![b'x'; b]).bytes()].concat()
}

#[test]
fn row_15_s10_4_a_length_over_the_limit_is_1009_from_the_header_alone() {
    let header = |frame: frames::Frame, len: u64| frame.claims_64(len).bytes();
    let rows = [
        row("one over", header(frame(BINARY), 70_001)).fails(1009, REASON),
        row("2^60", header(frame(TEXT), 1 << 60)).fails(1009, REASON),
        row("2^63 - 1", header(frame(BINARY), (1 << 63) - 1)).fails(1009, REASON),
        row("a first fragment", header(frame(TEXT).fin(false), 1 << 40)).fails(1009, REASON),
    ];
    Start::open().message_bytes_max(70_000).check(&rows);
}

#[test]
fn s10_4_a_header_that_announces_much_reserves_nothing() {
    let mut rig = Rig::new(&Start::open().message_bytes_max(1 << 40));
    rig.feed(&frame(BINARY).claims_64(1 << 40).bytes());
    assert_eq!(rig.conn.buffered(), 0);
    rig.feed(b"abc");
    assert_eq!(rig.conn.buffered(), 3);
    assert_eq!(rig.seen, []);
}

#[test]
fn row_21_s10_4_the_limit_is_exact_for_a_message_in_one_frame() {
    let rows: Vec<Row> = [TEXT, BINARY]
        .into_iter()
        .flat_map(|opcode| [299, 300, 301].map(|len| (opcode, len)))
        .map(|(opcode, len)| {
            let row =
                row(&format!("opcode {opcode}, {len} bytes"), frame(opcode).payload(vec![b'x'; len]).bytes());
            match (opcode, len) {
                (_, 301) => row.fails(1009, REASON),
                (TEXT, _) => row.gives(text(&"x".repeat(len))),
                _ => row.gives(binary(vec![b'x'; len])),
            }
        })
        .collect();
    Start::open().message_bytes_max(300).check(&rows);
}

#[test]
fn row_19_s10_4_the_limit_counts_all_fragments() {
    let rows = [
        row("200 + 100", in_two(BINARY, 200, 100)).gives(binary([b'x'; 300])),
        row("200 + 100, text", in_two(TEXT, 200, 100)).gives(text(&"x".repeat(300))),
        row("200 + 101", in_two(BINARY, 200, 101)).fails(1009, REASON),
        row("300 + 1, text", in_two(TEXT, 300, 1)).fails(1009, REASON),
        row("300 + 0", in_two(BINARY, 300, 0)).gives(binary([b'x'; 300])),
    ];
    Start::open().message_bytes_max(300).check(&rows);
}

#[test]
fn s10_4_the_limit_counts_the_bytes_of_a_character_that_is_split_between_fragments() {
    // Two of its bytes have arrived and are part of the message, though no character of it is whole.
    let first = frame(TEXT).fin(false).payload(b"xxxxxxxx\xe6\x88").bytes();
    let last = |rest: &[u8]| frame(CONTINUATION).payload(rest).bytes();
    let rows = [
        row("eleven bytes", [first.clone(), last(b"\xbf")].concat()).gives(text("xxxxxxxx房")),
        row("twelve bytes", [first, last(b"\xbfx")].concat()).fails(1009, REASON),
    ];
    Start::open().message_bytes_max(11).check(&rows);
}

#[test]
fn s10_4_a_stream_of_small_fragments_is_stopped_at_the_limit() {
    let mut bytes = frame(BINARY).fin(false).payload([0; 10]).bytes();
    (0..40).for_each(|_| bytes.extend(frame(CONTINUATION).fin(false).payload([0; 10]).bytes()));
    Start::open().message_bytes_max(300).check(&[row("410 bytes", bytes).fails(1009, REASON)]);
}

#[test]
fn s10_4_the_limit_is_of_a_message_and_not_of_control_frames() {
    let rows = [
        row("a ping", frames::ping([0; 125])).answers(server(frames::PONG, [0; 125])),
        row("between fragments", {
            let first = frame(TEXT).fin(false).payload("abcd").bytes();
            let last = frame(CONTINUATION).payload("e").bytes();
            [first, frames::ping([0; 125]), last].concat()
        })
        .answers(server(frames::PONG, [0; 125]))
        .gives(text("abcde")),
    ];
    Start::open().message_bytes_max(5).check(&rows);
}

#[test]
fn row_21_s10_4_several_mebibytes_of_binary_within_the_limit_arrive_unchanged() {
    let payload: Vec<u8> = (0..5_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let bytes = frames::binary(&payload);
    for size in [bytes.len(), 65_536, 4093] {
        let mut rig = Rig::new(&Start::open());
        bytes.chunks(size).for_each(|piece| rig.feed(piece));
        assert!(rig.seen == [binary(&payload)], "in reads of {size} bytes");
        assert_eq!(rig.conn.buffered(), 0);
    }
}

#[test]
fn s10_4_between_messages_nothing_is_kept() {
    let mut rig = Rig::new(&Start::open());
    for bytes in [in_two(TEXT, 5, 5), frames::ping("ping"), frames::binary([1; 300])] {
        let (a, b) = bytes.split_at(bytes.len() - 1);
        rig.feed(a);
        assert!(rig.conn.buffered() > 0);
        rig.feed(b);
        assert_eq!(rig.conn.buffered(), 0);
    }
}
