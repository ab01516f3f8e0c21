//! The frame's header, RFC 6455 §5.1 and §5.2.

use crate::feed::{Row, Start, binary, row, text};
use crate::frames::{self, BINARY, CLOSE, CONTINUATION, PING, PONG, RSV1, RSV2, RSV3, TEXT, frame};

#[test]
fn s5_7_the_examples_a_client_may_send() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    Start::open().check(&[row("a masked text", hello).gives(text("Hello")), row("a masked pong", pong)]);
}

#[test]
fn row_15_s5_2_all_three_lengths() {
    let rows: Vec<Row> = [0, 1, 124, 125, 126, 127, 128, 255, 256, 65_534, 65_535, 65_536, 65_537]
        .into_iter()
        .map(|len| {
            let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            row(&format!("{len} bytes"), frames::binary(&payload)).gives(binary(&payload))
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn row_15_s5_2_a_length_in_more_bytes_than_it_needs_is_1002() {
    let short = [0, 1, 124, 125].map(|len| {
        let bytes = frame(BINARY).claims_16(len).payload(vec![7; len.into()]).bytes();
        row(&format!("{len} in 16 bits"), bytes).fails(1002, "length not minimal")
    });
    let long = [0, 125, 126, 65_535].map(|len| {
        let bytes = frame(BINARY).claims_64(len).bytes();
        row(&format!("{len} in 64 bits"), bytes).fails(1002, "length not minimal")
    });
    Start::open().check(&[short, long].concat());
}

#[test]
fn row_15_s5_2_a_64_bit_length_with_its_highest_bit_set_is_1002() {
    let rows = [1 << 63, u64::MAX, (1 << 63) | 70_000].map(|len| {
        row(&format!("{len:#x}"), frame(BINARY).claims_64(len).bytes()).fails(1002, "length above 2^63")
    });
    Start::open().check(&rows);
}

#[test]
fn s5_2_a_header_is_judged_by_its_first_wrong_byte() {
    // Nothing has to follow the byte that cannot be right: whoever sends it may never send more.
    let rows = [
        row("an opcode", [0x83]).fails(1002, "reserved opcode"),
        row("a bit", [0xa1]).fails(1002, "reserved bit set"),
        row("a fragmented ping", [0x09]).fails(1002, "fragmented control frame"),
        row("no mask", [0x81, 0x05]).fails(1002, "frame without a mask"),
        row("a long ping", [0x89, 0xfe]).fails(1002, "control frame above 125 bytes"),
        row("a length", [0x82, 0xff, 0x80]).fails(1002, "length above 2^63"),
        row("a length in 16 bits", [0x82, 0xfe, 0, 125]).fails(1002, "length not minimal"),
        row("a length in 64 bits", [0x82, 0xff, 0, 0, 0, 0, 0, 0, 255, 255])
            .fails(1002, "length not minimal"),
    ];
    Start::open().check(&rows);
}

#[test]
fn row_17_s5_1_a_client_frame_without_a_mask_is_1002() {
    let rows: Vec<Row> = [TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG]
        .into_iter()
        .flat_map(|opcode| [0, 5, 125].map(|len| (opcode, len)))
        .map(|(opcode, len)| {
            let bytes = frame(opcode).unmasked().payload(vec![0; len]).bytes();
            row(&format!("opcode {opcode}, {len} bytes"), bytes).fails(1002, "frame without a mask")
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn s5_1_a_frame_without_a_mask_inside_a_message_is_1002() {
    let start = frame(TEXT).fin(false).payload("a").bytes();
    let rest = frame(CONTINUATION).unmasked().payload("b").bytes();
    Start::open().check(&[row("a fragment", [start, rest].concat()).fails(1002, "frame without a mask")]);
}

#[test]
fn row_18_s5_2_a_reserved_bit_without_an_extension_is_1002() {
    let bits = [RSV1, RSV2, RSV3, RSV1 | RSV2, RSV2 | RSV3, RSV1 | RSV2 | RSV3];
    let rows: Vec<Row> = [TEXT, BINARY, CLOSE, PING, PONG]
        .into_iter()
        .flat_map(|opcode| bits.map(|bits| (opcode, bits)))
        .map(|(opcode, bits)| {
            let bytes = frame(opcode).rsv(bits).bytes();
            row(&format!("opcode {opcode}, bits {bits:#x}"), bytes).fails(1002, "reserved bit set")
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn row_18_s5_2_a_reserved_bit_on_a_continuation_is_1002() {
    let rows = [RSV1, RSV2, RSV3].map(|bits| {
        let start = frame(TEXT).fin(false).payload("a").bytes();
        let rest = frame(CONTINUATION).rsv(bits).payload("b").bytes();
        row(&format!("bits {bits:#x}"), [start, rest].concat()).fails(1002, "reserved bit set")
    });
    Start::open().check(&rows);
}

#[test]
fn row_18_s5_2_an_unknown_opcode_is_1002() {
    let rows: Vec<Row> = [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf]
        .into_iter()
        .flat_map(|opcode| [true, false].map(|fin| (opcode, fin)))
        .map(|(opcode, fin)| {
            let bytes = frame(opcode).fin(fin).payload("payload").bytes();
            row(&format!("opcode {opcode:#x}, fin {fin}"), bytes).fails(1002, "reserved opcode")
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn s5_2_what_came_before_a_violation_is_still_delivered_and_answered() {
    let bytes = [frames::text("first"), frames::ping("p"), frame(3).bytes()].concat();
    let row = row("text, ping, nonsense", bytes)
        .gives(text("first"))
        .answers(frames::server(PONG, "p"))
        .fails(1002, "reserved opcode");
    Start::open().check(&[row]);
}

#[test]
fn s5_2_a_client_that_speaks_http_on_an_open_connection_is_1002() {
    // `G` is a fragment with RSV1 and an opcode that is reserved.
    let request = "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";
    Start::open().check(&[row("a request", request).fails(1002, "reserved opcode")]);
}
