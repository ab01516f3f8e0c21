//! Control frames: RFC 6455 §5.5, §5.5.2 and §5.5.3.

use super::case::{Case, Outcome, fail};
use super::framing::{letters, octets};
use super::script::{
    PROTOCOL, Step, expect_message, fails, pong, script, send, send_all, still_lives, text, words,
};
use super::target::Target;
use crate::client::frame::{BINARY, CLOSE, Frame, PING, PONG, glue};
use crate::client::socket::Heard;
use crate::client::wire::Feed;

/// The group's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = pings();
    cases.extend(pongs());
    cases.extend(wrong());
    cases
}

fn pings() -> Vec<Case> {
    let mut cases: Vec<Case> = [0, 1, 2, 124, 125]
        .into_iter()
        .map(|length| {
            let steps = vec![send(&Frame::ping(octets(length))), pong(octets(length))];
            script(format!("s5_5_2_a_ping_of_{length}_bytes_comes_back_as_a_pong"), steps)
        })
        .collect();
    let frame = Frame::ping(octets(125)).encode();
    cases.extend([
        script(
            "s5_5_2_a_ping_of_bytes_that_are_no_utf8",
            vec![send(&Frame::ping(vec![0xff, 0xfe])), pong(vec![0xff, 0xfe])],
        ),
        script("s5_5_2_a_ping_byte_by_byte", vec![Step::Send(frame, Feed::Bytewise), pong(octets(125))]),
        script(
            "s5_5_2_a_ping_under_the_zero_mask",
            vec![send(&Frame::ping("plain").mask([0; 4])), pong("plain")],
        ),
        script(
            "s5_5_2_pings_and_messages_alternate",
            vec![
                send(&Frame::ping("1")),
                pong("1"),
                send(&Frame::text("one")),
                text("one"),
                send(&Frame::ping("2")),
                pong("2"),
            ],
        ),
        Case::new("s5_5_2_a_ping_cut_at_each_offset", cut_everywhere),
        Case::new("s5_5_2_ten_pings_in_one_segment_are_answered_in_order", |target| {
            burst(target, Feed::Whole)
        }),
        Case::new("s5_5_2_ten_pings_byte_by_byte_are_answered_in_order", |target| {
            burst(target, Feed::Bytewise)
        }),
        Case::new("s5_5_2_a_ping_behind_a_large_message_is_answered", behind_a_large_message),
    ]);
    cases
}

fn cut_everywhere(target: &Target) -> Outcome {
    let mut socket = target.open()?;
    let bytes = Frame::ping("offset").encode();
    for offset in 1..bytes.len() {
        socket.send_bytes(&bytes, Feed::Cut(offset))?;
        super::script::expect_pong(&mut socket, b"offset")?;
    }
    Ok(())
}

/// §5.5.3: a server may answer only the latest of several Pings, but in order, and that one for certain.
fn burst(target: &Target, feed: Feed) -> Outcome {
    let mut socket = target.open()?;
    let frames: Vec<Frame> = (0..10).map(|index| Frame::ping(vec![b'0' + index])).collect();
    socket.send_bytes(&glue(&frames), feed)?;
    let mut next = b'0';
    while next <= b'9' {
        match socket.hear()? {
            Heard::Pong(payload) => match payload.as_slice() {
                [digit] if *digit == next || (*digit > next && *digit <= b'9' && !target.strict) => {
                    next = digit + 1
                }
                _ => {
                    return fail(format!(
                        "{} instead of Pong {}",
                        words(&Heard::Pong(payload)),
                        next as char
                    ));
                }
            },
            other => return fail(format!("heard {} instead of Pong {}", words(&other), next as char)),
        }
    }
    still_lives(&mut socket)
}

fn behind_a_large_message(target: &Target) -> Outcome {
    let mut socket = target.open()?;
    socket.send_bytes(&glue(&[Frame::binary(octets(200_000)), Frame::ping("behind")]), Feed::Whole)?;
    // §5.5.2 asks for the Pong as soon as is practical: it may overtake the echo.
    let (mut echoed, mut ponged) = (false, false);
    while !(echoed && ponged) {
        match socket.hear()? {
            Heard::Message(message) => {
                super::script::same(&message, BINARY, &octets(200_000))?;
                echoed = true;
            }
            Heard::Pong(payload) if payload == b"behind" => ponged = true,
            other => return fail(format!("heard {}", words(&other))),
        }
    }
    still_lives(&mut socket)
}

fn pongs() -> Vec<Case> {
    let unsolicited = |name: &str, frames: &[Frame]| {
        script(name, vec![send_all(frames), send(&Frame::ping("after")), pong("after")])
    };
    vec![
        unsolicited("s5_5_3_an_unsolicited_pong_is_ignored", &[Frame::pong("x")]),
        unsolicited("s5_5_3_an_empty_unsolicited_pong_is_ignored", &[Frame::pong("")]),
        unsolicited("s5_5_3_an_unsolicited_pong_of_125_bytes_is_ignored", &[Frame::pong(letters(125))]),
        unsolicited("s5_5_3_ten_unsolicited_pongs_are_ignored", &vec![Frame::pong("x"); 10]),
        Case::new("s5_5_3_a_pong_does_not_disturb_the_messages_around_it", |target| {
            let mut socket = target.open()?;
            let frames = [Frame::binary("1"), Frame::pong("x"), Frame::binary("2")];
            socket.send_bytes(&glue(&frames), Feed::Whole)?;
            expect_message(&mut socket, BINARY, b"1")?;
            expect_message(&mut socket, BINARY, b"2")?;
            still_lives(&mut socket)
        }),
    ]
}

fn wrong() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, opcode) in [("close", CLOSE), ("ping", PING), ("pong", PONG)] {
        let payload = |length: usize| if opcode == CLOSE { close_body(length) } else { octets(length) };
        let row = |rule: &str, frame: Frame| {
            script(format!("s5_5_a_{name}_{rule}_is_1002"), vec![send(&frame), fails(PROTOCOL)])
        };
        cases.push(row("of_126_bytes", Frame::new(opcode, payload(126))));
        cases.push(row("of_65536_bytes", Frame::new(opcode, payload(65536))));
        cases.extend([126, 65536].map(|length| {
            let (header, rest) = (Frame::new(opcode, "").announcing(length as u64).encode(), vec![0; length]);
            let steps = vec![Step::Send(header, Feed::Whole), Step::FailsEarly { rest, codes: PROTOCOL }];
            script(format!("s5_5_a_{name}_that_announces_{length}_bytes_is_1002"), steps)
        }));
        cases.push(row("with_fin_0", Frame::new(opcode, payload(2)).more()));
        cases.push(row("empty_with_fin_0", Frame::new(opcode, "").more()));
    }
    cases.push(script(
        "s5_5_a_fragmented_ping_with_its_continuation_is_1002",
        vec![send_all(&[Frame::ping("a").more(), Frame::continuation("b")]), fails(PROTOCOL)],
    ));
    cases.push(script(
        "s5_5_a_ping_of_126_bytes_inside_a_fragmented_message_is_1002",
        vec![send_all(&[Frame::text("a").more(), Frame::ping(octets(126))]), fails(PROTOCOL)],
    ));
    cases.push(script(
        "s5_5_an_oversized_ping_byte_by_byte_is_1002",
        vec![Step::Send(Frame::ping(octets(126)).encode(), Feed::Bytewise), fails(PROTOCOL)],
    ));
    cases
}

/// A legal code and a reason that fills the rest.
fn close_body(length: usize) -> Vec<u8> {
    [1000_u16.to_be_bytes().as_slice(), &letters(length - 2)].concat()
}
