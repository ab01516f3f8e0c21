//! Compressed messages that are wrong, too big or misplaced: RFC 7692 §6, §7.2.2 and §8.

use super::case::{Case, Fault, Outcome, skip};
use super::deflate::{OFFER, deflate_script, fragments, packed};
use super::framing::octets;
use super::script::{
    NOT_UTF8, PROTOCOL, TOO_BIG, expect_failure, expect_message, fails, fails_after, send, send_all, text,
};
use super::target::Target;
use super::utf8_table::BAD;
use crate::client::frame::{BINARY, Frame, RSV1, RSV2, RSV3, glue};
use crate::client::socket::Socket;
use crate::client::wire::Feed;

const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

/// A deflate stream that breaks its own rules fails the connection; RFC 7692 names no code.
const BROKEN: &[u16] = &[1002, 1007];

/// Payloads that are no deflate stream, RFC 1951 §3.2.
const PAYLOADS: &[(&str, &[u8])] = &[
    ("a_block_of_the_reserved_type", &[0x06]),
    ("a_final_block_of_the_reserved_type", &[0x07]),
    (
        "a_stored_block_whose_lengths_disagree",
        &[0x00, 0x05, 0x00, 0x00, 0x00, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
    ),
    ("a_reference_before_the_beginning", &[0x02, 0x21, 0x00, 0x00]),
    ("too_many_code_lengths", &[0xfc, 0xff, 0xff]),
    ("an_over_subscribed_code", &[0x04, 0x00, 0xfe, 0xff, 0xff]),
    ("plain_text_that_claims_to_be_compressed", b"This text was never compressed."),
    ("bytes_of_all_ones", &[0xff; 32]),
];

/// The group's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = broken();
    cases.extend(misplaced());
    cases.extend(no_text());
    cases.extend(too_big());
    cases
}

fn broken() -> Vec<Case> {
    let rows = PAYLOADS.iter().flat_map(|&(name, payload)| {
        [
            deflate_script(format!("s7_2_2_{name}_fails"), vec![send(&packed(payload)), fails(BROKEN)]),
            deflate_script(
                format!("s7_2_2_{name}_in_fragments_fails"),
                vec![
                    super::script::Step::Send(fragments(&[&payload[..1], &payload[1..], b""]), Feed::Whole),
                    fails(BROKEN),
                ],
            ),
        ]
    });
    let others = [
        deflate_script(
            "s7_2_2_broken_data_after_a_good_message_fails",
            vec![send(&packed(HELLO)), text("Hello"), send(&packed([0x07])), fails(BROKEN)],
        ),
        deflate_script(
            "s7_2_2_a_good_message_before_broken_data_is_echoed",
            vec![send_all(&[packed(HELLO), packed([0x07])]), fails_after(&["Hello"], BROKEN)],
        ),
        Case::new("rfc7692_s7_2_2_broken_data_leaves_other_connections_alone", others_live),
    ];
    rows.chain(others).collect()
}

/// One decompressor may serve them all: what one peer broke must not show in another's messages.
fn others_live(target: &Target) -> Outcome {
    let (mut bystander, agreed) = target.open_deflate(OFFER)?;
    let mut deflater = agreed.deflater();
    for round in 0..3 {
        let (mut socket, _) = target.open_deflate(OFFER)?;
        socket.send(&packed([0x07]))?;
        expect_failure(target, &mut socket, BROKEN, &[])?;
        let data = format!("round {round} of the bystander").into_bytes();
        bystander.send(&packed(deflater.message(&data)))?;
        expect_message(&mut bystander, 1, &data)?;
    }
    Ok(())
}

fn misplaced() -> Vec<Case> {
    let row = |name: &str, frames: &[Frame]| deflate_script(name, vec![send_all(frames), fails(PROTOCOL)]);
    let (before, after) = HELLO.split_at(3);
    vec![
        row(
            "s6_1_rsv1_on_a_continuation_is_1002",
            &[packed(before).more(), Frame::continuation(after).rsv(RSV1)],
        ),
        row(
            "s6_1_rsv1_on_the_continuation_of_a_plain_message_is_1002",
            &[Frame::text("a").more(), Frame::continuation("b").rsv(RSV1)],
        ),
        row("s6_1_rsv1_on_a_ping_is_1002", &[Frame::ping("x").rsv(RSV1)]),
        row("s6_1_rsv1_on_a_pong_is_1002", &[Frame::pong("x").rsv(RSV1)]),
        row("s6_1_rsv1_on_a_close_is_1002", &[Frame::close(1000, "").rsv(RSV1)]),
        row("s6_1_rsv2_on_a_compressed_message_is_1002", &[packed(HELLO).rsv(RSV1 | RSV2)]),
        row("s6_1_rsv3_on_a_compressed_message_is_1002", &[packed(HELLO).rsv(RSV1 | RSV3)]),
        row("s6_1_rsv2_on_a_plain_message_is_1002", &[Frame::text("x").rsv(RSV2)]),
        row("s6_1_rsv3_on_a_plain_message_is_1002", &[Frame::text("x").rsv(RSV3)]),
        row("s6_1_rsv1_on_a_continuation_of_nothing_is_1002", &[Frame::continuation("x").rsv(RSV1)]),
        row("s6_1_rsv1_on_a_reserved_opcode_is_1002", &[Frame::new(0x3, "x").rsv(RSV1)]),
        row("s6_1_an_unmasked_compressed_frame_is_1002", &[packed(HELLO).unmasked()]),
        row("s6_1_a_new_message_inside_a_compressed_one_is_1002", &[packed(before).more(), packed(HELLO)]),
    ]
}

fn no_text() -> Vec<Case> {
    let cases = BAD.iter().step_by(4).map(|&(name, bytes)| {
        Case::new(format!("rfc7692_s6_2_{name}_inside_compressed_text_is_1007"), move |target| {
            let (mut socket, agreed) = target.open_deflate(OFFER)?;
            let payload = agreed.deflater().message(&[b"text before ", bytes].concat());
            socket.send(&packed(payload))?;
            expect_failure(target, &mut socket, NOT_UTF8, &[])
        })
    });
    let binary = Case::new("rfc7692_s6_2_compressed_binary_may_be_no_utf8", |target: &Target| {
        let (mut socket, agreed) = target.open_deflate(OFFER)?;
        socket.send(&Frame::binary(agreed.deflater().message(b"\xff\xfe\xc0")).rsv(RSV1))?;
        expect_message(&mut socket, BINARY, b"\xff\xfe\xc0")
    });
    cases.chain([binary]).collect()
}

/// A connection, its limit, and a compressor.
fn bounded(target: &Target) -> Result<(Socket, usize, crate::client::deflate::Deflater), Fault> {
    let (socket, agreed) = target.open_deflate(OFFER)?;
    match target.message_bytes_max {
        Some(limit) => Ok((socket, limit as usize, agreed.deflater())),
        None => skip("the server's limit is unknown: give --message-bytes-max"),
    }
}

fn too_big() -> Vec<Case> {
    vec![
        Case::new("rfc7692_s8_a_message_that_inflates_to_the_limit_is_echoed", |target| {
            let (mut socket, limit, mut deflater) = bounded(target)?;
            let data = octets(limit);
            socket.send(&Frame::binary(deflater.message(&data)).rsv(RSV1))?;
            expect_message(&mut socket, BINARY, &data)
        }),
        Case::new("rfc7692_s8_a_message_that_inflates_to_one_byte_more_is_1009", |target| {
            let (mut socket, limit, mut deflater) = bounded(target)?;
            socket.send(&Frame::binary(deflater.message(&octets(limit + 1))).rsv(RSV1))?;
            expect_failure(target, &mut socket, TOO_BIG, &[])
        }),
        Case::new("rfc7692_s8_a_bomb_of_eight_limits_of_zeros_is_1009", |target| {
            let (mut socket, limit, mut deflater) = bounded(target)?;
            socket.send(&Frame::binary(deflater.message(&vec![0; limit * 8])).rsv(RSV1))?;
            expect_failure(target, &mut socket, TOO_BIG, &[])
        }),
        Case::new("rfc7692_s8_a_bomb_in_small_fragments_is_1009", |target| {
            let (mut socket, limit, mut deflater) = bounded(target)?;
            let payload = deflater.message(&vec![0; limit * 4]);
            let parts: Vec<&[u8]> = payload.chunks(64).collect();
            let mut frames = super::fragmentation::parts(BINARY, &parts);
            frames[0] = frames[0].clone().rsv(RSV1);
            socket.send_bytes(&glue(&frames), Feed::Whole)?;
            expect_failure(target, &mut socket, TOO_BIG, &[])
        }),
        Case::new("rfc7692_s8_a_header_of_a_compressed_frame_far_over_the_limit_is_1009", |target| {
            let (mut socket, limit, _) = bounded(target)?;
            // Deflate makes what it cannot shorten longer, by at most a bit in eight: a header just over the limit may
            // still begin a message within it, one of twice the limit cannot.
            socket.send(&Frame::binary("").rsv(RSV1).announcing(limit as u64 * 2))?;
            expect_failure(target, &mut socket, TOO_BIG, &[])
        }),
        Case::new("rfc7692_s8_a_bomb_leaves_other_connections_alone", |target| {
            let (mut bystander, agreed) = target.open_deflate(OFFER)?;
            let (mut socket, limit, mut deflater) = bounded(target)?;
            socket.send(&Frame::binary(deflater.message(&vec![0; limit * 8])).rsv(RSV1))?;
            expect_failure(target, &mut socket, TOO_BIG, &[])?;
            bystander.send(&packed(agreed.deflater().message(b"unharmed")))?;
            expect_message(&mut bystander, 1, b"unharmed")
        }),
    ]
}
