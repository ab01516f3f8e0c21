//! Closing: RFC 6455 §5.5.1, §7.1 and §7.4.

use super::case::{Case, Outcome};
use super::framing::{letters, octets};
use super::script::{
    PROTOCOL, Step, closes, closes_after, expect_close, expect_end, fails, script, send, send_all, text,
};
use super::target::Target;
use super::utf8_table::{BAD, GOOD};
use crate::client::frame::{BINARY, CLOSE, Frame, PING, TEXT};
use crate::client::wire::Feed;

/// Codes that a client may send: those of §7.4.1 and of the registry, and the ranges of §7.4.2.
const VALID: &[u16] = &[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4001, 4999];

/// Codes that the registry added after the RFC.
const REGISTERED_LATER: &[u16] = &[1012, 1013, 1014];

/// Codes that §7.4.1 says are never set in a Close frame, and those that §7.4.2 says are not used.
const NEVER: &[u16] = &[0, 1, 500, 999, 1005, 1006, 1015];

/// Codes without a meaning so far.
const UNDEFINED: &[u16] = &[1004, 1016, 1100, 2000, 2999, 5000, 32768, 65535];

/// The group's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = codes();
    cases.extend(bodies());
    cases.extend(afterwards());
    cases.extend(ends());
    cases
}

fn codes() -> Vec<Case> {
    let echoed = VALID.iter().chain(REGISTERED_LATER).map(|&code| {
        script(
            format!("s5_5_1_close_echoes_the_code_{code}"),
            vec![send(&Frame::close(code, "")), closes([Some(code)])],
        )
    });
    let never = NEVER.iter().map(|&code| {
        script(format!("s7_4_code_{code}_is_1002"), vec![send(&Frame::close(code, "")), fails(PROTOCOL)])
    });
    let undefined = UNDEFINED.iter().map(|&code| {
        script(
            format!("s7_4_2_undefined_code_{code}_closes_with_1002"),
            vec![send(&Frame::close(code, "")), closes([Some(1002)])],
        )
    });
    echoed.chain(never).chain(undefined).collect()
}

fn bodies() -> Vec<Case> {
    let plain = Frame::new(CLOSE, "");
    let long = letters(123);
    let mut cases = vec![
        script("s5_5_1_an_empty_close_is_answered", vec![send(&plain), closes([None, Some(1000)])]),
        script("s5_5_1_a_body_of_one_byte_is_1002", vec![send(&Frame::new(CLOSE, "x")), fails(PROTOCOL)]),
        script("s5_5_1_a_reason_is_allowed", vec![send(&Frame::close(1000, "bye")), closes([Some(1000)])]),
        script(
            "s5_5_1_a_reason_of_123_bytes_is_allowed",
            vec![send(&Frame::close(1000, &long)), closes([Some(1000)])],
        ),
        script(
            "s5_5_1_a_reason_of_124_bytes_is_1002",
            vec![send(&Frame::close(1000, letters(124))), fails(PROTOCOL)],
        ),
        script(
            "s5_5_1_a_close_byte_by_byte",
            vec![Step::Send(Frame::close(1001, "gone").encode(), Feed::Bytewise), closes([Some(1001)])],
        ),
        script(
            "s5_5_1_an_empty_close_byte_by_byte",
            vec![Step::Send(plain.encode(), Feed::Bytewise), closes([None, Some(1000)])],
        ),
        script(
            "s5_5_1_a_bad_reason_in_a_bad_code_is_a_failure",
            vec![send(&Frame::close(1005, b"\xff")), fails(&[1002, 1007])],
        ),
        Case::new("s5_5_1_a_close_cut_at_each_offset", cut_everywhere),
    ];
    cases.extend(GOOD.iter().filter(|(_, bytes)| bytes.len() <= 123).map(|&(name, bytes)| {
        let steps = vec![send(&Frame::close(1000, bytes)), closes([Some(1000)])];
        script(format!("s5_5_1_{name}_is_a_reason"), steps)
    }));
    cases.extend(BAD.iter().map(|&(name, bytes)| {
        // §5.5.1 with §8.1; some servers call it a violation of the frame's form.
        let steps = vec![send(&Frame::close(1000, [b"reason ", bytes].concat())), fails(&[1007, 1002])];
        script(format!("s5_5_1_{name}_in_a_reason_fails"), steps)
    }));
    cases
}

fn cut_everywhere(target: &Target) -> Outcome {
    let bytes = Frame::close(3001, "cut").encode();
    for offset in 1..bytes.len() {
        let mut socket = target.open()?;
        socket.send_bytes(&bytes, Feed::Cut(offset))?;
        expect_close(target, &mut socket, &[Some(3001)], &[])?;
    }
    Ok(())
}

fn afterwards() -> Vec<Case> {
    let close = Frame::close(1000, "");
    let row = |what: &str, after: Frame| {
        script(
            format!("s5_5_1_{what}_after_a_close_is_ignored"),
            vec![send_all(&[close.clone(), after]), closes([Some(1000)])],
        )
    };
    vec![
        row("a_text_message", Frame::text("late")),
        row("a_large_message", Frame::binary(octets(100_000))),
        row("a_ping", Frame::ping("late")),
        row("a_second_close", Frame::close(1001, "")),
        row("half_a_message", Frame::text("late").more()),
        row("a_bad_frame", Frame::new(0x3, "late")),
        script(
            "s5_5_1_what_came_before_a_close_is_echoed_first",
            vec![
                send_all(&[Frame::text("one"), Frame::binary("two"), close.clone()]),
                closes_after(&[(TEXT, b"one"), (BINARY, b"two")], [Some(1000)]),
            ],
        ),
        script(
            "s5_5_1_a_large_echo_is_finished_before_the_close",
            vec![
                send_all(&[Frame::binary(octets(200_000)), close.clone()]),
                closes_after(&[(BINARY, &octets(200_000))], [Some(1000)]),
            ],
        ),
        script(
            "s5_5_1_a_close_in_mid_fragment_is_answered",
            vec![send_all(&[Frame::text("half").more(), close.clone()]), closes([Some(1000), None])],
        ),
        script(
            "s5_5_1_a_close_in_mid_fragment_after_good_messages",
            vec![
                send_all(&[Frame::text("whole"), Frame::text("half").more(), close]),
                closes_after(&[(TEXT, b"whole")], [Some(1000), None]),
            ],
        ),
        script(
            "s5_5_1_a_ping_before_a_close_is_answered_or_not_but_never_after_it",
            vec![
                send(&Frame::new(PING, "p")),
                Step::Pong(b"p".to_vec()),
                send(&Frame::close(1000, "")),
                closes([Some(1000)]),
            ],
        ),
    ]
}

fn ends() -> Vec<Case> {
    let half = Frame::text("hello").encode()[..8].to_vec();
    vec![
        script(
            "s7_1_1_the_server_ends_tcp_after_the_close_handshake",
            vec![send(&Frame::close(1000, "")), closes([Some(1000)])],
        ),
        script(
            "s7_1_7_the_server_ends_tcp_after_a_failure",
            vec![send(&Frame::new(0xB, "")), fails(PROTOCOL)],
        ),
        script("s7_1_6_a_fin_without_a_close_ends_the_connection", vec![Step::FinishSending, Step::Ends]),
        script(
            "s7_1_6_a_fin_in_mid_frame_ends_the_connection",
            vec![Step::Send(half, Feed::Whole), Step::FinishSending, Step::Ends],
        ),
        script(
            "s5_5_1_a_close_with_a_fin_behind_it_is_answered",
            vec![send(&Frame::close(1000, "")), Step::FinishSending, closes([Some(1000)])],
        ),
        script(
            "s5_5_1_a_message_and_a_close_with_a_fin_behind_them_are_answered",
            vec![
                send_all(&[Frame::text("last"), Frame::close(1000, "")]),
                Step::FinishSending,
                closes_after(&[(TEXT, b"last")], [Some(1000)]),
            ],
        ),
        script(
            "s5_5_1_a_large_message_and_a_close_with_a_fin_behind_them_are_answered",
            vec![
                send_all(&[Frame::binary(octets(1 << 20)), Frame::close(1000, "")]),
                Step::FinishSending,
                closes_after(&[(BINARY, &octets(1 << 20))], [Some(1000)]),
            ],
        ),
        script(
            "s7_1_7_a_bad_frame_with_a_fin_behind_it_fails",
            vec![send(&Frame::new(0x3, "")), Step::FinishSending, fails(PROTOCOL)],
        ),
        script(
            "s7_1_6_a_fin_after_a_message_ends_the_connection",
            vec![send(&Frame::text("last")), text("last"), Step::FinishSending, Step::Ends],
        ),
        Case::new("s7_1_1_a_silent_client_is_ended_after_a_failure", silent_after_failure),
    ]
}

/// The server does not wait for ever for the answer to its own Close.
fn silent_after_failure(target: &Target) -> Outcome {
    let mut socket = target.open()?;
    socket.send(&Frame::new(0x3, ""))?;
    match socket.hear()? {
        crate::client::socket::Heard::End => Ok(()),
        crate::client::socket::Heard::Close(..) => expect_end(target, &mut socket),
        other => super::case::fail(format!("heard {}", super::script::words(&other))),
    }
}
