//! UTF-8 in text messages: RFC 6455 §5.6 and §8.1.

use super::case::{Case, Outcome};
use super::fragmentation::parts;
use super::framing::letters;
use super::script::{
    NOT_UTF8, Step, binary, expect_failure, expect_message, fails, fails_after, script, send, send_all, text,
};
use super::target::Target;
use super::utf8_table::{BAD, GOOD};
use crate::client::frame::{Frame, TEXT, glue};
use crate::client::wire::Feed;

/// Good text around a bad sequence, so that an error is not only seen at the beginning.
const AROUND: &str = "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}";

/// The group's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = GOOD.iter().flat_map(|&(name, bytes)| good(name, bytes)).collect();
    cases.extend(BAD.iter().flat_map(|&(name, bytes)| bad(name, bytes)));
    cases.extend(
        BAD.iter().filter(|(_, bytes)| bad_at(bytes).is_some()).flat_map(|&(name, bytes)| fast(name, bytes)),
    );
    cases.extend(others());
    cases
}

fn good(name: &'static str, bytes: &'static [u8]) -> [Case; 3] {
    [
        script(format!("s8_1_{name}_is_text"), vec![send(&Frame::text(bytes)), text(bytes)]),
        Case::new(format!("s8_1_{name}_cut_at_each_byte_is_text"), move |target| {
            let (mut socket, frame) = (target.open()?, Frame::text(bytes).encode());
            for offset in 6..frame.len() {
                socket.send_bytes(&frame, Feed::Cut(offset))?;
                expect_message(&mut socket, TEXT, bytes)?;
            }
            Ok(())
        }),
        Case::new(format!("s8_1_{name}_across_fragments_is_text"), move |target| {
            let mut socket = target.open()?;
            for offset in 0..=bytes.len() {
                socket.send_bytes(&glue(&halves(bytes, offset)), Feed::Whole)?;
                expect_message(&mut socket, TEXT, bytes)?;
            }
            Ok(())
        }),
    ]
}

fn halves(bytes: &[u8], offset: usize) -> Vec<Frame> {
    let (before, after) = bytes.split_at(offset);
    parts(TEXT, &[before, after])
}

/// The bad bytes in good text; after a sequence that is only too short the message ends.
fn embedded(bytes: &[u8]) -> Vec<u8> {
    let after = if bad_at(bytes).is_some() { "edited" } else { "" };
    [AROUND.as_bytes(), bytes, after.as_bytes()].concat()
}

/// How many bytes it takes to know that the sequence is bad; `None` if only its end tells.
fn bad_at(bytes: &[u8]) -> Option<usize> {
    (1..=bytes.len())
        .find(|&length| std::str::from_utf8(&bytes[..length]).is_err_and(|error| error.error_len().is_some()))
}

fn bad(name: &'static str, bytes: &'static [u8]) -> [Case; 3] {
    let message = embedded(bytes);
    let frame = Frame::text(message.clone()).encode();
    [
        script(format!("s8_1_{name}_is_1007"), vec![send(&Frame::text(message.clone())), fails(NOT_UTF8)]),
        script(
            format!("s8_1_{name}_byte_by_byte_is_1007"),
            vec![Step::Send(frame, Feed::Bytewise), fails(NOT_UTF8)],
        ),
        Case::new(format!("s8_1_{name}_across_fragments_is_1007"), move |target| {
            for offset in AROUND.len()..=AROUND.len() + bytes.len() {
                let mut socket = target.open()?;
                socket.send_bytes(&glue(&halves(&message, offset)), Feed::Whole)?;
                expect_failure(target, &mut socket, NOT_UTF8, &[])?;
            }
            Ok(())
        }),
    ]
}

fn fast(name: &'static str, bytes: &'static [u8]) -> [Case; 2] {
    let known = bad_at(bytes).unwrap_or(bytes.len());
    let start = [AROUND.as_bytes(), &bytes[..known]].concat();
    let rest = vec![b'.'; 100];
    let frame = Frame::text([start.as_slice(), &rest].concat()).encode();
    let (begun, ended) = (frame[..frame.len() - 100].to_vec(), frame[frame.len() - 100..].to_vec());
    let (first, last) = (Frame::text(start).more().encode(), Frame::continuation(rest).encode());
    // §8.1 asks for a failure when it is found; `--strict` demands it before the rest is sent.
    let row = |what: &str, start: Vec<u8>, rest: Vec<u8>| {
        let steps = vec![Step::Send(start, Feed::Whole), Step::FailsEarly { rest, codes: NOT_UTF8 }];
        script(format!("s8_1_{name}_fails_before_the_{what}_ends"), steps)
    };
    [row("frame", begun, ended), row("message", first, last)]
}

fn others() -> Vec<Case> {
    let long = "\u{6b22}".repeat(70_000 / 3).into_bytes();
    let long_frame = Frame::text(long.clone()).encode();
    let spoilt = [long.as_slice(), b"\xff"].concat();
    vec![
        script(
            "s5_6_binary_may_hold_bytes_that_are_no_utf8",
            vec![send(&Frame::binary(vec![0xff, 0xc0, 0x80])), binary(vec![0xff, 0xc0, 0x80])],
        ),
        script(
            "s8_1_text_after_bad_binary_is_judged_afresh",
            vec![
                send_all(&[Frame::binary(vec![0xe2, 0x82]), Frame::text("fine")]),
                binary(vec![0xe2, 0x82]),
                text("fine"),
            ],
        ),
        script(
            "s8_1_half_a_character_is_not_completed_by_the_next_message",
            vec![send_all(&[Frame::text(vec![0xe2, 0x82]), Frame::text(vec![0xac])]), fails(NOT_UTF8)],
        ),
        script(
            "s8_1_good_text_before_bad_text_is_echoed",
            vec![send_all(&[Frame::text("good"), Frame::text(vec![0xff])]), fails_after(&["good"], NOT_UTF8)],
        ),
        script(
            "s8_1_a_long_text_of_3_byte_characters",
            vec![send(&Frame::text(long.clone())), text(long.clone())],
        ),
        script(
            "s8_1_a_long_text_in_pieces_of_1000",
            vec![Step::Send(long_frame, Feed::Chunks(1000)), text(long)],
        ),
        script(
            "s8_1_a_bad_byte_at_the_end_of_a_long_text_is_1007",
            vec![send(&Frame::text(spoilt)), fails(NOT_UTF8)],
        ),
        Case::new("s8_1_a_bad_byte_at_each_of_the_first_80_places_is_1007", |target| {
            spoilt_at_each_place(target, 80)
        }),
        Case::new("s8_1_a_character_cut_by_an_empty_fragment_and_a_ping_is_text", cut_by_others),
    ]
}

fn spoilt_at_each_place(target: &Target, places: usize) -> Outcome {
    for place in 0..places {
        let mut message = letters(places + 7);
        message[place] = 0xff;
        let mut socket = target.open()?;
        socket.send(&Frame::text(message))?;
        expect_failure(target, &mut socket, NOT_UTF8, &[])?;
    }
    Ok(())
}

fn cut_by_others(target: &Target) -> Outcome {
    let mut socket = target.open()?;
    let frames = [
        Frame::text(vec![0xf0, 0x9f]).more(),
        Frame::continuation("").more(),
        Frame::ping("\u{ff}"),
        Frame::continuation(vec![0x98]).more(),
        Frame::continuation(vec![0x80]),
    ];
    socket.send_bytes(&glue(&frames), Feed::Whole)?;
    super::script::expect_pong(&mut socket, "\u{ff}".as_bytes())?;
    expect_message(&mut socket, TEXT, "\u{1f600}".as_bytes())
}
