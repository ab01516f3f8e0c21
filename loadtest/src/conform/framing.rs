//! Framing: RFC 6455 §5.1 and §5.2.

use super::case::{Case, Outcome, fail};
use super::script::{
    PROTOCOL, Step, binary, expect_message, fails, fails_after, script, send, send_all, still_lives, text,
};
use super::target::Target;
use crate::client::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, RSV1, RSV2, RSV3, TEXT, glue};
use crate::client::wire::Feed;

/// Every boundary of the three length encodings.
const LENGTHS: &[usize] = &[0, 1, 2, 125, 126, 127, 128, 255, 256, 65535, 65536, 65537, 1 << 20];

const RESERVED_OPCODES: &[u8] = &[0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF];

const RSV: &[(&str, u8)] = &[
    ("rsv1", RSV1),
    ("rsv2", RSV2),
    ("rsv3", RSV3),
    ("rsv1_and_2", RSV1 | RSV2),
    ("rsv1_and_3", RSV1 | RSV3),
    ("rsv2_and_3", RSV2 | RSV3),
    ("all_rsv_bits", RSV1 | RSV2 | RSV3),
];

/// Letters that differ from place to place, so that a shifted echo is seen.
pub(super) fn letters(length: usize) -> Vec<u8> {
    (0..length).map(|index| b'a' + (index % 23) as u8).collect()
}

/// Bytes of every value.
pub(super) fn octets(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index.wrapping_mul(31) >> 2) as u8).collect()
}

/// The group's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = lengths();
    cases.extend(feeds());
    cases.extend(masks());
    cases.extend(wrong_lengths());
    cases.extend(reserved());
    cases.extend(unmasked());
    cases.extend(several());
    cases
}

fn lengths() -> Vec<Case> {
    let echoes = LENGTHS.iter().flat_map(|&length| {
        [
            script(
                format!("s5_2_a_text_message_of_{length}_bytes"),
                vec![send(&Frame::text(letters(length))), text(letters(length))],
            ),
            script(
                format!("s5_2_a_binary_message_of_{length}_bytes"),
                vec![send(&Frame::binary(octets(length))), binary(octets(length))],
            ),
        ]
    });
    let own = [0, 125, 126, 65535, 65536].into_iter().map(|length| {
        Case::new(format!("s5_2_the_server_writes_length_{length}_minimally_and_unmasked"), move |target| {
            own_header(target, length)
        })
    });
    echoes.chain(own).collect()
}

/// §5.1, §5.2: the frame's header is the shortest, its mask bit is 0; the client checks all headers so.
fn own_header(target: &Target, length: usize) -> Outcome {
    let mut socket = target.open()?;
    socket.send(&Frame::binary(octets(length)))?;
    let mut total = 0;
    loop {
        let Some((header, payload)) = socket.frame()? else { return fail("closed instead of an echo") };
        total += payload.len();
        if header.opcode > BINARY {
            return fail(format!("opcode {} instead of an echo", header.opcode));
        }
        if header.fin {
            break;
        }
    }
    if total == length {
        still_lives(&mut socket)
    } else {
        fail(format!("{total} bytes instead of {length}"))
    }
}

fn feeds() -> Vec<Case> {
    let mut cases: Vec<Case> = [0, 1, 125, 126, 127, 1000]
        .into_iter()
        .map(|length| {
            let bytes = Frame::text(letters(length)).encode();
            script(
                format!("s5_2_a_frame_of_{length}_bytes_byte_by_byte"),
                vec![Step::Send(bytes, Feed::Bytewise), text(letters(length))],
            )
        })
        .collect();
    cases.extend([0, 5, 125, 126, 300].into_iter().map(|length| {
        Case::new(format!("s5_2_a_frame_of_{length}_bytes_cut_at_each_offset"), move |target| {
            cut_everywhere(target, length)
        })
    }));
    cases.extend([(65535, 1009), (65536, 997), (1 << 20, 32_749)].into_iter().map(|(length, size)| {
        let bytes = Frame::binary(octets(length)).encode();
        script(
            format!("s5_2_a_frame_of_{length}_bytes_in_pieces_of_{size}"),
            vec![Step::Send(bytes, Feed::Chunks(size)), binary(octets(length))],
        )
    }));
    cases.extend((1..14).map(|offset| {
        let bytes = Frame::binary(octets(65536)).encode();
        script(
            format!("s5_2_a_frame_of_65536_bytes_cut_at_offset_{offset}_of_its_header"),
            vec![Step::Send(bytes, Feed::Cut(offset)), binary(octets(65536))],
        )
    }));
    cases
}

fn cut_everywhere(target: &Target, length: usize) -> Outcome {
    let mut socket = target.open()?;
    let bytes = Frame::binary(octets(length)).encode();
    for offset in 1..bytes.len() {
        socket.send_bytes(&bytes, Feed::Cut(offset))?;
        expect_message(&mut socket, BINARY, &octets(length))?;
    }
    Ok(())
}

fn masks() -> Vec<Case> {
    let keys = [
        ("zero", [0, 0, 0, 0]),
        ("all_ones", [0xFF; 4]),
        ("one_byte_set", [0, 0, 0x80, 0]),
        ("ascending", [1, 2, 3, 4]),
    ];
    let by_key = keys.into_iter().map(|(name, key)| {
        script(
            format!("s5_3_a_masking_key_of_{name}"),
            vec![send(&Frame::binary(octets(1003)).mask(key)), binary(octets(1003))],
        )
    });
    let phases = (1..=9).map(|size| {
        let bytes = Frame::binary(octets(257)).mask([0x11, 0x22, 0x44, 0x88]).encode();
        script(
            format!("s5_3_the_mask_keeps_its_phase_in_pieces_of_{size}"),
            vec![Step::Send(bytes, Feed::Chunks(size)), binary(octets(257))],
        )
    });
    by_key.chain(phases).collect()
}

fn wrong_lengths() -> Vec<Case> {
    let long_form = |name: &str, frame: Frame, length| {
        let steps = vec![send(&frame), Step::FailsUnlessLax(BINARY, octets(length), PROTOCOL)];
        script(format!("s5_2_length_{length}_in_{name}_bits_is_1002"), steps)
    };
    let mut cases: Vec<Case> =
        [0, 1, 125].map(|length| long_form("16", Frame::binary(octets(length)).length16(), length)).into();
    cases.extend(
        [0, 1, 125, 126, 65535]
            .map(|length| long_form("64", Frame::binary(octets(length)).length64(), length)),
    );
    let announced = [("alone", 1 << 63), ("and_length_1", (1 << 63) + 1), ("and_all_others", u64::MAX)];
    cases.extend(announced.map(|(name, length)| {
        let frame = Frame::binary("").length64().announcing(length);
        script(
            format!("s5_2_a_most_significant_bit_{name}_is_1002"),
            vec![send(&frame), fails(&[1002, 1009])],
        )
    }));
    cases
}

fn reserved() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(name, bits) in RSV {
        cases.push(failing(format!("s5_2_{name}_on_text_is_1002"), Frame::text("x").rsv(bits)));
        cases.push(failing(format!("s5_2_{name}_on_binary_is_1002"), Frame::binary("x").rsv(bits)));
        cases.push(failing(format!("s5_2_{name}_on_ping_is_1002"), Frame::ping("x").rsv(bits)));
    }
    for (name, bits) in [("rsv1", RSV1), ("rsv2", RSV2), ("rsv3", RSV3)] {
        cases.push(failing(format!("s5_2_{name}_on_pong_is_1002"), Frame::pong("x").rsv(bits)));
        cases.push(failing(format!("s5_2_{name}_on_close_is_1002"), Frame::close(1000, "").rsv(bits)));
        cases.push(script(
            format!("s5_2_{name}_on_a_continuation_is_1002"),
            vec![send_all(&[Frame::text("a").more(), Frame::continuation("b").rsv(bits)]), fails(PROTOCOL)],
        ));
    }
    for &opcode in RESERVED_OPCODES {
        cases.push(failing(format!("s5_2_opcode_{opcode:x}_empty_is_1002"), Frame::new(opcode, "")));
        cases.push(failing(
            format!("s5_2_opcode_{opcode:x}_with_payload_is_1002"),
            Frame::new(opcode, "payload"),
        ));
        cases.push(script(
            format!("s5_2_opcode_{opcode:x}_inside_a_fragmented_message_is_1002"),
            vec![send_all(&[Frame::text("a").more(), Frame::new(opcode, "")]), fails(PROTOCOL)],
        ));
    }
    cases
}

fn failing(name: String, frame: Frame) -> Case {
    script(name, vec![send(&frame), fails(PROTOCOL)])
}

fn unmasked() -> Vec<Case> {
    let kinds = [
        ("text", TEXT, "x"),
        ("empty_text", TEXT, ""),
        ("binary", BINARY, "x"),
        ("ping", PING, "x"),
        ("empty_ping", PING, ""),
        ("pong", PONG, "x"),
        ("close", CLOSE, "\u{3}\u{68}"),
        ("empty_close", CLOSE, ""),
        ("continuation", CONTINUATION, "x"),
    ];
    let mut cases: Vec<Case> = kinds
        .into_iter()
        .map(|(name, opcode, payload)| {
            failing(format!("s5_1_unmasked_{name}_is_1002"), Frame::new(opcode, payload).unmasked())
        })
        .collect();
    cases.push(script(
        "s5_1_an_unmasked_frame_after_a_good_one_is_1002",
        vec![send(&Frame::text("one")), text("one"), send(&Frame::text("two").unmasked()), fails(PROTOCOL)],
    ));
    cases.push(script(
        "s5_1_an_unmasked_frame_is_refused_from_its_header",
        vec![send(&Frame::text("").unmasked().announcing(1000)), fails(PROTOCOL)],
    ));
    cases
}

fn several() -> Vec<Case> {
    let bad = Frame::new(0x3, "");
    vec![
        Case::new("s5_2_a_hundred_frames_in_one_segment", |target| hundred(target, Feed::Whole)),
        Case::new("s5_2_a_hundred_frames_in_pieces_of_13", |target| hundred(target, Feed::Chunks(13))),
        Case::new("s5_2_a_hundred_frames_in_pieces_of_1000", |target| hundred(target, Feed::Chunks(1000))),
        script(
            "s5_2_what_came_before_a_bad_frame_is_echoed",
            vec![
                send_all(&[Frame::text("one"), Frame::text("two"), bad.clone()]),
                fails_after(&["one", "two"], PROTOCOL),
            ],
        ),
        script(
            "s7_1_7_nothing_after_a_bad_frame_is_processed",
            vec![send_all(&[bad.clone(), Frame::text("late"), Frame::ping("late")]), fails(PROTOCOL)],
        ),
        script(
            "s5_2_a_bad_frame_byte_by_byte_is_1002",
            vec![Step::Send(bad.encode(), Feed::Bytewise), fails(PROTOCOL)],
        ),
        Case::new("s7_1_7_a_failed_connection_leaves_others_alone", others_live),
    ]
}

fn hundred(target: &Target, feed: Feed) -> Outcome {
    let mut socket = target.open()?;
    let payload = |index: usize| format!("{index}:{}", "x".repeat(index * 3));
    let frames: Vec<Frame> = (0..100).map(|index| Frame::text(payload(index))).collect();
    socket.send_bytes(&glue(&frames), feed)?;
    for index in 0..100 {
        expect_message(&mut socket, TEXT, payload(index).as_bytes())?;
    }
    still_lives(&mut socket)
}

fn others_live(target: &Target) -> Outcome {
    let mut bystander = target.open()?;
    target.open()?.send(&Frame::new(0xF, "bad"))?;
    bystander.send(&Frame::text("unharmed"))?;
    expect_message(&mut bystander, TEXT, b"unharmed")
}
