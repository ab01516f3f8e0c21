//! Compressed messages, RFC 7692 §6 and §7.2.

use fanline::engine::Rules;
use fanline::ws::deflate::Inflater;

use crate::deflate::{compressed, deflate, inflate, noise, stored, twice_noise};
use crate::feed::{Row, Start, binary, by_us, row, text};
use crate::frames::{self, BINARY, CLOSE, CONTINUATION, PING, PONG, RSV1, RSV2, RSV3, TEXT, frame, server};
use crate::http::{ask, read_answer};
use crate::wire_transport::{Recorder, Served};

/// RFC 7692 §7.2.3.1.
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

fn fragments(opcode: u8, payload: &[u8], cut: usize) -> Vec<u8> {
    let first = compressed(opcode, &payload[..cut]).fin(false).bytes();
    [first, frame(CONTINUATION).payload(&payload[cut..]).bytes()].concat()
}

#[test]
fn rfc7692_s7_2_3_the_examples_as_frames() {
    let rows = [
        row("one compressed block", compressed(TEXT, HELLO).bytes()).gives(text("Hello")),
        row("in two fragments", fragments(TEXT, &HELLO, 3)).gives(text("Hello")),
        row("no compression", compressed(TEXT, stored(b"Hello")).bytes()).gives(text("Hello")),
        row("BFINAL", compressed(TEXT, [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]).bytes())
            .gives(text("Hello")),
        row("two blocks", {
            let blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
            compressed(TEXT, blocks).bytes()
        })
        .gives(text("Hello")),
        row("empty", compressed(TEXT, [0x00]).bytes()).gives(text("")),
        row("empty binary", compressed(BINARY, [0x00]).bytes()).gives(binary("")),
        row("not a byte", compressed(BINARY, []).bytes()).gives(binary("")),
    ];
    Start::deflate().check(&rows);
}

#[test]
fn rfc7692_s6_2_a_message_may_be_cut_into_fragments_anywhere() {
    let plain = twice_noise(400);
    let payload = deflate(plain.as_bytes(), 15);
    let rows: Vec<Row> = (0..=payload.len())
        .step_by(9)
        .map(|cut| row(&format!("at {cut}"), fragments(TEXT, &payload, cut)).gives(text(&plain)))
        .collect();
    Start::deflate().check(&rows);
}

#[test]
fn rfc7692_s6_2_control_frames_stand_between_compressed_fragments() {
    let first = compressed(BINARY, &HELLO[..2]).fin(false).bytes();
    let last = frame(CONTINUATION).payload(&HELLO[2..]).bytes();
    let row = row("a ping", [first, frames::ping("p"), last].concat())
        .answers(server(PONG, "p"))
        .gives(binary("Hello"));
    Start::deflate().check(&[row]);
}

#[test]
fn rfc7692_s6_a_message_without_rsv1_is_not_compressed() {
    let rows = [
        row("text", frames::text("plain")).gives(text("plain")),
        row("bytes that would inflate", frame(BINARY).payload(HELLO).bytes()).gives(binary(HELLO)),
        row("in turns", [compressed(TEXT, HELLO).bytes(), frames::text("x")].concat())
            .gives(text("Hello"))
            .gives(text("x")),
    ];
    Start::deflate().check(&rows);
}

#[test]
fn rfc7692_s6_1_rsv1_on_a_control_frame_or_a_continuation_is_1002() {
    let rows = [CLOSE, PING, PONG].map(|opcode| {
        row(&format!("opcode {opcode}"), frame(opcode).rsv(RSV1).bytes()).fails(1002, "reserved bit set")
    });
    let first = compressed(TEXT, &HELLO[..3]).fin(false).bytes();
    let plain = frame(TEXT).fin(false).payload("a").bytes();
    let last = frame(CONTINUATION).rsv(RSV1).payload(&HELLO[3..]).bytes();
    let continued = [
        row("of a compressed message", [first, last.clone()].concat()).fails(1002, "reserved bit set"),
        row("of a plain message", [plain, last].concat()).fails(1002, "reserved bit set"),
    ];
    Start::deflate().check(&[&rows[..], &continued].concat());
}

#[test]
fn s5_2_rsv2_and_rsv3_have_no_meaning_under_permessage_deflate_either() {
    let rows = [RSV2, RSV3, RSV1 | RSV2, RSV1 | RSV3].map(|bits| {
        let bytes = frame(TEXT).rsv(bits).payload(HELLO).bytes();
        row(&format!("{bits:#x}"), bytes).fails(1002, "reserved bit set")
    });
    Start::deflate().check(&rows);
}

#[test]
fn rfc7692_s7_2_2_what_does_not_inflate_is_1007() {
    let rows = [
        row("a reserved block type", compressed(TEXT, [0x06]).bytes()),
        row("noise", compressed(TEXT, [0xff; 9]).bytes()),
        row("cut short", compressed(TEXT, &HELLO[..4]).bytes()),
        row("a stored block with a wrong length", compressed(BINARY, [0, 5, 0, 0, 0]).bytes()),
        row("plain text", compressed(TEXT, "plain text").bytes()),
    ];
    Start::deflate().check(&rows.map(|row| row.fails(1007, "corrupt compressed data")));
}

#[test]
fn rfc7692_s7_1_1_2_no_window_is_kept_between_a_clients_messages() {
    // RFC 7692 §7.2.3.2: "Hello" again, by reference to the message before, which was agreed not to be done.
    let bytes = [compressed(TEXT, HELLO).bytes(), compressed(TEXT, [0xf2, 0x00, 0x11, 0x00, 0x00]).bytes()];
    let row = row("a reference", bytes.concat()).gives(text("Hello")).fails(1007, "corrupt compressed data");
    Start::deflate().check(&[row]);
}

#[test]
fn rfc7692_s7_2_2_a_client_may_use_a_window_of_32_kib() {
    // What repeats lies 32,000 bytes back, out of reach of any smaller window.
    let plain = twice_noise(64_000);
    let payload = deflate(plain.as_bytes(), 15);
    assert!(payload.len() < plain.len() / 3, "the repetition was found");
    Start::deflate().check(&[row("far back", compressed(TEXT, payload).bytes()).gives(text(&plain))]);
}

#[test]
fn rfc7692_s7_2_2_what_failed_on_one_connection_leaves_nothing_to_the_next() {
    // All connections of a loop share the inflater.
    let mut inflater = Inflater::default();
    let bomb = deflate(&[0; 5000], 15);
    for failing in [&HELLO[..4], &[0xff; 9], &[0x06], &bomb, &HELLO] {
        let failed = inflater.inflate(failing, 100).is_err();
        assert_eq!(failed, failing != HELLO);
        assert_eq!(inflater.inflate(&HELLO, 100).as_deref(), Ok(b"Hello".as_slice()), "after {failing:x?}");
        assert!(inflater.inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00], 100).is_err(), "no window to refer to");
    }
}

#[test]
fn s8_1_text_that_inflates_to_what_is_not_utf8_is_1007() {
    let rows = [b"\xff".as_slice(), b"ok \xc3", b"\xed\xa0\x80"].map(|bad| {
        let bytes = compressed(TEXT, stored(bad)).bytes();
        row(&format!("{bad:x?}"), bytes).fails(1007, "text is not UTF-8")
    });
    Start::deflate().check(&rows);
    Start::deflate()
        .check(&[row("binary", compressed(BINARY, stored(b"\xff")).bytes()).gives(binary([0xff]))]);
}

#[test]
fn s10_4_what_a_message_inflates_to_is_held_to_the_limit_exactly() {
    let bomb = |len: usize| compressed(BINARY, deflate(&vec![0; len], 15)).bytes();
    let rows = [
        row("at the limit", bomb(20_000)).gives(binary(vec![0; 20_000])),
        row("one over", bomb(20_001)).fails(1009, "message too big"),
        row("far over", bomb(2_000_000)).fails(1009, "message too big"),
    ];
    Start::deflate().message_bytes_max(20_000).check(&rows);
}

#[test]
fn row_16_of_part_2_a_bomb_in_any_fragments_is_held_to_the_limit_exactly() {
    let in_pieces = |payload: &[u8], len: usize| -> Vec<u8> {
        let pieces: Vec<&[u8]> = payload.chunks(len).collect();
        let frames = pieces.iter().enumerate().map(|(at, piece)| {
            let frame = if at == 0 { compressed(BINARY, piece) } else { frame(CONTINUATION).payload(piece) };
            frame.fin(at + 1 == pieces.len()).bytes()
        });
        frames.collect::<Vec<_>>().concat()
    };
    let (within, over) = (deflate(&[0; 100_000], 15), deflate(&[0; 100_001], 15));
    assert!(over.len() < 150, "{} bytes", over.len());
    let rows: Vec<Row> = [1, 2, 50, over.len()]
        .into_iter()
        .flat_map(|len| {
            [
                row(&format!("at the limit, by {len}"), in_pieces(&within, len)).gives(binary([0; 100_000])),
                row(&format!("one over, by {len}"), in_pieces(&over, len)).fails(1009, "message too big"),
            ]
        })
        .collect();
    Start::deflate().message_bytes_max(100_000).check(&rows);
}

#[test]
fn row_16_of_part_2_what_crosses_our_close_is_neither_kept_nor_inflated() {
    let bomb = deflate(&[0; 5000], 15);
    let half = compressed(BINARY, &bomb[..9]).fin(false).bytes();
    let rest = frame(CONTINUATION).payload(&bomb[9..]).bytes();
    let rows = [
        row("a bomb", compressed(BINARY, &bomb).bytes()),
        row("in two", [half, frames::ping("p"), rest].concat()),
        row("corrupt", compressed(TEXT, [0xff; 9]).bytes()),
        row("not UTF-8", frame(TEXT).payload([0xff]).bytes()),
        row("longer in all than a message may be", {
            let first = frame(BINARY).fin(false).payload([0; 900]).bytes();
            [first, frame(CONTINUATION).payload([0; 900]).bytes()].concat()
        }),
    ];
    let answered = rows.map(|row| row.and(frames::close(1000, "")).gives(by_us(1000, "bye", true)));
    Start::closing().and_deflate().message_bytes_max(1000).check(&answered);
    let out_of_order = [
        row("a continuation of nothing", frame(CONTINUATION).bytes()),
        row("one inside another", [compressed(TEXT, "a").fin(false).bytes(), frames::text("b")].concat()),
    ];
    Start::closing().and_deflate().check(&out_of_order.map(|row| row.gives(by_us(1000, "bye", false))));
}

#[test]
fn s10_4_compressed_fragments_are_held_to_the_limit_before_they_inflate() {
    // 300 bytes, and what deflate may add to them.
    let first = compressed(BINARY, [0; 200]).fin(false).bytes();
    let rest = |len: u64| [first.clone(), frame(CONTINUATION).claims_64(len).bytes()].concat();
    Start::deflate()
        .message_bytes_max(100_000)
        .check(&[row("far over", rest(1 << 40)).fails(1009, "message too big")]);
}

#[test]
fn s10_4_a_message_within_the_limit_is_not_refused_because_deflate_made_it_longer() {
    let plain = noise(300);
    let payload = deflate(&plain, 15);
    assert!(payload.len() > plain.len());
    let rows = [
        row("in one frame", compressed(BINARY, &payload).bytes()).gives(binary(&plain)),
        row("in two", fragments(BINARY, &payload, 200)).gives(binary(&plain)),
        row("one over", compressed(BINARY, deflate(&noise(301), 15)).bytes()).fails(1009, "message too big"),
    ];
    Start::deflate().message_bytes_max(300).check(&rows);
}

/// A server that has agreed to compression under this offer, and the frames it echoes.
fn echoes(offer: &str, messages: &[Vec<u8>]) -> Vec<frames::Got> {
    let mut served = Served::new(Recorder::default(), Rules { deflate: true, ..Rules::default() });
    served.send(&ask().and("Sec-WebSocket-Extensions", offer).bytes());
    let bytes = served.received();
    assert_eq!(read_answer(&bytes).0.status, 101);
    messages.iter().for_each(|message| served.send(message));
    frames::read_server(&served.received())
}

#[test]
fn rfc7692_s7_2_1_own_messages_inflate_within_the_window_that_was_asked_for() {
    let plain = twice_noise(60_000);
    for bits in 9..=15u8 {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        for frame in echoes(&offer, &[frames::text(&plain), frames::binary(&plain)]) {
            assert_eq!(frame.bits, 0x80 | RSV1, "one final frame, compressed");
            assert!(frame.payload.len() < plain.len());
            // Each message inflates alone: the server keeps no window either.
            assert!(inflate(&frame.payload, bits) == plain.as_bytes(), "window {bits}");
        }
    }
}

#[test]
fn rfc7692_s6_1_rsv1_stands_on_compressed_messages_only() {
    let noise = noise(300);
    let sent =
        [frames::text("short"), frames::binary(&noise), frames::ping([b'p'; 125]), frames::close(1000, "")];
    let got = echoes("permessage-deflate", &sent);
    let bits: Vec<(u8, u8)> = got.iter().map(|frame| (frame.opcode, frame.bits)).collect();
    assert_eq!(bits, [(TEXT, 0x80), (BINARY, 0x80), (PONG, 0x80), (CLOSE, 0x80)]);
    assert_eq!(got[1].payload, noise);
}

#[test]
fn rfc7692_s6_2_a_compressed_message_and_its_compressed_echo() {
    let plain = twice_noise(1000);
    let message = compressed(TEXT, deflate(plain.as_bytes(), 15)).bytes();
    let got = echoes("permessage-deflate; client_max_window_bits", &[message]);
    assert_eq!((got[0].opcode, got[0].bits), (TEXT, 0x80 | RSV1));
    assert_eq!(inflate(&got[0].payload, 15), plain.as_bytes());
}
