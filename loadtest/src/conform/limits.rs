//! Limits: RFC 6455 §7.4.1 code 1009 and §10.4, a message refused from its header.

use super::case::{Case, Fault, Outcome, skip};
use super::framing::{letters, octets};
use super::script::{Step, TOO_BIG, expect_failure, expect_message, play, still_lives};
use super::target::Target;
use crate::client::frame::{BINARY, Frame, TEXT, glue};
use crate::client::wire::Feed;

/// A fraction of a limit, so that tests of totals need few frames.
const PARTS: u64 = 8;

/// The group's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = announced();
    cases.extend([
        Case::new("s10_4_a_binary_message_at_the_limit_is_echoed", |target| at_limit(target, BINARY)),
        Case::new("s10_4_a_text_message_at_the_limit_is_echoed", |target| at_limit(target, TEXT)),
        Case::new("s10_4_a_fragmented_message_at_the_limit_is_echoed", fragments_at_limit),
        Case::new("s10_4_a_message_one_byte_over_the_limit_is_1009", one_byte_over),
        Case::new("s10_4_fragments_over_the_limit_are_refused_from_the_last_header", total_over),
        Case::new("s10_4_a_second_fragment_of_a_whole_limit_is_refused_from_its_header", second_over),
        Case::new("s10_4_small_fragments_over_the_limit_are_1009", small_fragments_over),
        Case::new("s10_4_the_limit_counts_one_message_and_not_several", several_messages),
        Case::new("s10_4_a_refused_message_leaves_others_alone", others_live),
        Case::new("s10_4_a_ping_between_fragments_is_not_counted", pings_not_counted),
    ]);
    cases
}

fn limit_of(target: &Target) -> Result<u64, Fault> {
    match target.message_bytes_max {
        Some(limit) => Ok(limit),
        None => skip("the server's limit is unknown: give --message-bytes-max"),
    }
}

/// Headers of frames whose payload never comes.
fn announced() -> Vec<Case> {
    type Row = (&'static str, u8, fn(u64) -> u64);
    let rows: [Row; 7] = [
        ("one_byte_over", BINARY, |limit| limit + 1),
        ("one_byte_over_as_text", TEXT, |limit| limit + 1),
        ("twice_the_limit", BINARY, |limit| limit * 2),
        ("4_gib", BINARY, |_| 1 << 32),
        ("4_gib_and_one_byte", BINARY, |_| (1 << 32) + 1),
        ("2_to_the_40", TEXT, |_| 1 << 40),
        ("2_to_the_63_less_one", BINARY, |_| (1 << 63) - 1),
    ];
    let cases = rows.into_iter().flat_map(|(name, opcode, length)| {
        [(Feed::Whole, ""), (Feed::Bytewise, "_byte_by_byte")].map(|(feed, manner)| {
            Case::new(format!("s10_4_a_header_of_{name}{manner}_is_1009_before_the_payload"), move |target| {
                let header = Frame::new(opcode, "").announcing(length(limit_of(target)?)).encode();
                let mut socket = target.open()?;
                socket.send_bytes(&header, feed)?;
                expect_failure(target, &mut socket, TOO_BIG, &[])
            })
        })
    });
    cases.collect()
}

fn at_limit(target: &Target, opcode: u8) -> Outcome {
    let payload = letters(limit_of(target)? as usize);
    let mut socket = target.open()?;
    socket.send(&Frame::new(opcode, payload.clone()))?;
    expect_message(&mut socket, opcode, &payload)?;
    still_lives(&mut socket)
}

fn fragments_at_limit(target: &Target) -> Outcome {
    let payload = octets(limit_of(target)? as usize);
    let parts: Vec<&[u8]> = payload.chunks(payload.len().div_ceil(PARTS as usize).max(1)).collect();
    let mut socket = target.open()?;
    socket.send_bytes(&glue(&super::fragmentation::parts(BINARY, &parts)), Feed::Whole)?;
    expect_message(&mut socket, BINARY, &payload)?;
    still_lives(&mut socket)
}

fn one_byte_over(target: &Target) -> Outcome {
    let frame = Frame::binary(octets(limit_of(target)? as usize + 1));
    play(target, &mut target.open()?, &[super::script::send(&frame), super::script::fails(TOO_BIG)])
}

fn total_over(target: &Target) -> Outcome {
    let part = limit_of(target)? / PARTS;
    let rest = limit_of(target)? - part * (PARTS - 1);
    let mut frames = vec![Frame::binary(octets(part as usize)).more()];
    frames.extend((2..PARTS).map(|_| Frame::continuation(octets(part as usize)).more()));
    frames.push(Frame::continuation("").announcing(rest + 1));
    refuses(target, &frames)
}

fn second_over(target: &Target) -> Outcome {
    let limit = limit_of(target)?;
    refuses(target, &[Frame::text("x").more(), Frame::continuation("").announcing(limit)])
}

fn small_fragments_over(target: &Target) -> Outcome {
    let part = limit_of(target)?.div_ceil(64) as usize;
    let mut frames = vec![Frame::binary(octets(part)).more()];
    frames.extend((0..64).map(|_| Frame::continuation(octets(part)).more()));
    refuses(target, &frames)
}

fn refuses(target: &Target, frames: &[Frame]) -> Outcome {
    let mut socket = target.open()?;
    socket.send_bytes(&glue(frames), Feed::Whole)?;
    expect_failure(target, &mut socket, TOO_BIG, &[])
}

fn several_messages(target: &Target) -> Outcome {
    let payload = octets((limit_of(target)? / 2 + 1) as usize);
    let mut socket = target.open()?;
    for _ in 0..3 {
        socket.send(&Frame::binary(payload.clone()))?;
        expect_message(&mut socket, BINARY, &payload)?;
    }
    still_lives(&mut socket)
}

fn others_live(target: &Target) -> Outcome {
    let limit = limit_of(target)?;
    let mut bystander = target.open()?;
    refuses(target, &[Frame::binary("").announcing(limit + 1)])?;
    bystander.send(&Frame::text("unharmed"))?;
    expect_message(&mut bystander, TEXT, b"unharmed")
}

fn pings_not_counted(target: &Target) -> Outcome {
    let limit = limit_of(target)? as usize;
    let payload = octets(limit);
    let mut socket = target.open()?;
    socket.send(&Frame::binary(&payload[..limit - 1]).more())?;
    play(
        target,
        &mut socket,
        &[
            Step::Send(Frame::ping(letters(125)).encode(), Feed::Whole),
            Step::Pong(letters(125)),
            Step::Send(Frame::continuation(&payload[limit - 1..]).encode(), Feed::Whole),
            Step::Message(BINARY, payload),
        ],
    )
}
