//! Fragmentation: RFC 6455 §5.4.

use super::case::{Case, Outcome};
use super::framing::{letters, octets};
use super::script::{
    PROTOCOL, Step, binary, closes, expect_message, fails, fails_after, pong, script, send, send_all,
    still_lives, text,
};
use super::target::Target;
use crate::client::frame::{BINARY, Frame, TEXT, glue};
use crate::client::wire::Feed;

/// The frames of one message whose parts are given.
pub(super) fn parts(opcode: u8, parts: &[&[u8]]) -> Vec<Frame> {
    let last = parts.len().saturating_sub(1);
    let frames = parts.iter().enumerate().map(|(index, part)| {
        let frame = Frame::new(if index == 0 { opcode } else { 0 }, *part);
        if index == last { frame } else { frame.more() }
    });
    frames.collect()
}

/// Sequences of parts, all of which are one message.
const WHOLE: &[(&str, &[&str])] = &[
    ("two_parts", &["Hel", "lo"]),
    ("three_parts", &["He", "l", "lo"]),
    ("an_empty_first_part", &["", "Hello"]),
    ("an_empty_middle_part", &["Hel", "", "lo"]),
    ("an_empty_last_part", &["Hello", ""]),
    ("only_empty_parts", &["", "", ""]),
    ("a_part_per_byte", &["f", "r", "a", "g", "m", "e", "n", "t"]),
    ("a_character_cut_between_parts", &["\u{e9}", "t\u{e9}"]),
];

/// The group's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = whole();
    cases.extend(sizes());
    cases.extend(interleaved());
    cases.extend(wrong());
    cases
}

fn whole() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(name, texts) in WHOLE {
        let bytes: Vec<&[u8]> = texts.iter().map(|part| part.as_bytes()).collect();
        let (whole, as_text, as_binary) = (bytes.concat(), parts(TEXT, &bytes), parts(BINARY, &bytes));
        cases.push(script(format!("s5_4_text_of_{name}"), vec![send_all(&as_text), text(whole.clone())]));
        cases.push(script(
            format!("s5_4_binary_of_{name}"),
            vec![send_all(&as_binary), binary(whole.clone())],
        ));
        cases.push(script(
            format!("s5_4_text_of_{name}_byte_by_byte"),
            vec![Step::Send(glue(&as_text), Feed::Bytewise), text(whole)],
        ));
    }
    cases
}

fn sizes() -> Vec<Case> {
    let mut cases: Vec<Case> = [1, 125, 126, 127, 1000, 65535, 65536]
        .into_iter()
        .map(|size| {
            let data = octets(size * 3);
            let frames = parts(BINARY, &data.chunks(size).collect::<Vec<_>>());
            script(format!("s5_4_three_parts_of_{size}_bytes"), vec![send_all(&frames), binary(data)])
        })
        .collect();
    cases.push(Case::new("s5_4_a_thousand_parts", thousand_parts));
    cases.push(Case::new("s5_4_parts_cut_at_each_offset", cut_everywhere));
    cases.push(Case::new("s5_4_a_hundred_fragmented_messages_in_a_row", hundred_messages));
    cases
}

fn thousand_parts(target: &Target) -> Outcome {
    let mut socket = target.open()?;
    let data = letters(3000);
    let frames = parts(TEXT, &data.chunks(3).collect::<Vec<_>>());
    socket.send_bytes(&glue(&frames), Feed::Whole)?;
    expect_message(&mut socket, TEXT, &data)?;
    still_lives(&mut socket)
}

fn cut_everywhere(target: &Target) -> Outcome {
    let mut socket = target.open()?;
    let bytes = glue(&parts(TEXT, &[b"one", b"", b"two", b"three"]));
    for offset in 1..bytes.len() {
        socket.send_bytes(&bytes, Feed::Cut(offset))?;
        expect_message(&mut socket, TEXT, b"onetwothree")?;
    }
    Ok(())
}

fn hundred_messages(target: &Target) -> Outcome {
    let mut socket = target.open()?;
    let bytes: Vec<u8> =
        (0..100).flat_map(|index: u8| glue(&parts(BINARY, &[&[index], b"-", &[index]]))).collect();
    socket.send_bytes(&bytes, Feed::Whole)?;
    for index in 0..100 {
        expect_message(&mut socket, BINARY, &[index, b'-', index])?;
    }
    still_lives(&mut socket)
}

fn interleaved() -> Vec<Case> {
    let (first, last) = (Frame::text("a").more(), Frame::continuation("b"));
    let middle = Frame::continuation("-").more();
    vec![
        script(
            "s5_4_a_ping_between_parts_is_answered_before_the_message_ends",
            vec![send_all(&[first.clone(), Frame::ping("p")]), pong("p"), send(&last), text("ab")],
        ),
        script(
            "s5_4_a_ping_between_parts_in_one_segment",
            vec![send_all(&[first.clone(), Frame::ping("p"), last.clone()]), pong("p"), text("ab")],
        ),
        script(
            "s5_4_pings_between_all_parts",
            vec![
                send_all(&[first.clone(), Frame::ping("1")]),
                pong("1"),
                send_all(&[middle.clone(), Frame::ping("2")]),
                pong("2"),
                send(&last),
                text("a-b"),
            ],
        ),
        script(
            "s5_4_a_pong_between_parts_is_ignored",
            vec![send_all(&[first.clone(), Frame::pong("x"), last.clone()]), text("ab")],
        ),
        script(
            "s5_4_a_close_between_parts_is_answered",
            vec![send_all(&[first.clone(), Frame::close(1000, "")]), closes([Some(1000), None])],
        ),
        script(
            "s5_4_a_message_after_a_fragmented_one",
            vec![send_all(&[first.clone(), last.clone(), Frame::text("next")]), text("ab"), text("next")],
        ),
        script(
            "s5_4_the_first_part_gives_the_type",
            vec![
                send_all(&[Frame::binary("\u{ff}").more(), Frame::continuation(vec![0xFE])]),
                binary(b"\xc3\xbf\xfe".as_slice()),
            ],
        ),
    ]
}

fn wrong() -> Vec<Case> {
    let (first, last) = (Frame::text("a").more(), Frame::continuation("b"));
    let row = |name: &str, frames: &[Frame]| script(name, vec![send_all(frames), fails(PROTOCOL)]);
    vec![
        row("s5_4_text_inside_a_fragmented_message_is_1002", &[first.clone(), Frame::text("b")]),
        row("s5_4_binary_inside_a_fragmented_message_is_1002", &[first.clone(), Frame::binary("b")]),
        row("s5_4_a_second_first_part_is_1002", &[first.clone(), first.clone()]),
        row(
            "s5_4_text_inside_a_fragmented_binary_message_is_1002",
            &[Frame::binary("a").more(), Frame::text("b")],
        ),
        row(
            "s5_4_text_after_several_parts_is_1002",
            &[first.clone(), Frame::continuation("b").more(), Frame::text("c")],
        ),
        row("s5_4_a_continuation_of_nothing_is_1002", std::slice::from_ref(&last)),
        row("s5_4_an_empty_continuation_of_nothing_is_1002", &[Frame::continuation("")]),
        row("s5_4_an_unfinished_continuation_of_nothing_is_1002", &[last.clone().more()]),
        script(
            "s5_4_a_continuation_after_a_whole_message_is_1002",
            vec![send(&Frame::text("whole")), text("whole"), send(&last), fails(PROTOCOL)],
        ),
        script(
            "s5_4_a_continuation_after_a_fragmented_message_is_1002",
            vec![send_all(&[first.clone(), last.clone(), last.clone()]), fails_after(&["ab"], PROTOCOL)],
        ),
        script(
            "s5_4_a_continuation_of_nothing_after_a_ping_is_1002",
            vec![send(&Frame::ping("p")), pong("p"), send(&last), fails(PROTOCOL)],
        ),
        script(
            "s5_4_a_fin_in_mid_message_ends_the_connection",
            vec![send(&first), Step::FinishSending, Step::Ends],
        ),
    ]
}
