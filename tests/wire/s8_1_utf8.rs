//! Text is UTF-8, RFC 6455 §5.6 and §8.1.

use crate::feed::{Rig, Row, Start, binary, by_us, row, text};
use crate::frames::{self, BINARY, CONTINUATION, TEXT, frame};

const REASON: &str = "text is not UTF-8";

/// The first and the last character of each width, and around the surrogates.
const VALID: &str = "\0\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff} 房间 🙂";

/// What no continuation can make UTF-8: stray, overlong, surrogate, above U+10FFFF, broken off, and bytes never used.
const INVALID: [&[u8]; 16] = [
    b"\x80",
    b"\xbf",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xc3x",
    b"\xe6\x88x",
];

/// The first byte after which nothing can repair the text.
fn first_fatal(bytes: &[u8]) -> usize {
    let is_fatal =
        |len: &usize| std::str::from_utf8(&bytes[..*len]).is_err_and(|error| error.error_len().is_some());
    (1..=bytes.len()).find(is_fatal).unwrap()
}

#[test]
fn row_20_s8_1_every_width_of_character_is_text() {
    let rows: Vec<Row> = VALID
        .chars()
        .map(|c| row(&format!("{c:?}"), frames::text(&c.to_string())).gives(text(&c.to_string())))
        .chain([row("all", frames::text(VALID)).gives(text(VALID))])
        .collect();
    Start::open().check(&rows);
}

#[test]
fn row_20_s8_1_a_character_may_be_split_between_fragments() {
    let rows: Vec<Row> = (0..=VALID.len())
        .map(|cut| {
            let (a, b) = VALID.as_bytes().split_at(cut);
            let first = frame(TEXT).fin(false).payload(a).bytes();
            let last = frame(CONTINUATION).payload(b).bytes();
            row(&format!("split at {cut}"), [first, last].concat()).gives(text(VALID))
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn s8_1_a_character_may_be_split_into_a_fragment_for_each_byte_with_pings_between() {
    let mut bytes = frame(TEXT).fin(false).bytes();
    for byte in "🙂房".bytes() {
        bytes.extend(frame(CONTINUATION).fin(false).payload([byte]).bytes());
        bytes.extend(frame(CONTINUATION).fin(false).bytes());
        bytes.extend(frames::pong("between"));
    }
    bytes.extend(frame(CONTINUATION).bytes());
    Start::open().check(&[row("byte by byte", bytes).gives(text("🙂房"))]);
}

#[test]
fn row_20_s8_1_text_that_is_not_utf8_is_1007() {
    let rows: Vec<Row> = INVALID
        .iter()
        .flat_map(|bad| [b"".as_slice(), b"some text before "].map(|before| [before, bad].concat()))
        .map(|payload| {
            let bytes = frame(TEXT).payload(&payload).bytes();
            row(&format!("{payload:x?}"), bytes).fails(1007, REASON)
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn s8_1_text_that_ends_inside_a_character_is_1007() {
    let ends: [&[u8]; 5] = [b"\xc3", b"\xe6", b"\xe6\x88", b"\xf0\x9f", b"a\xf0\x9f\x99"];
    let rows: Vec<Row> = ends
        .iter()
        .flat_map(|end| {
            let whole = frame(TEXT).payload(end).bytes();
            let first = frame(TEXT).fin(false).payload(end).bytes();
            [whole, [first, frame(CONTINUATION).bytes()].concat()]
        })
        .enumerate()
        .map(|(at, bytes)| row(&format!("row {at}"), bytes).fails(1007, REASON))
        .collect();
    Start::open().check(&rows);
}

#[test]
fn row_20_s8_1_a_fragment_that_cannot_become_text_fails_before_the_message_ends() {
    let rows: Vec<Row> = INVALID
        .iter()
        .map(|bad| {
            let bytes = frame(TEXT).fin(false).payload(bad).bytes();
            row(&format!("{bad:x?}"), bytes).fails(1007, REASON)
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn s8_1_the_connection_fails_at_the_first_impossible_byte_of_a_frame_that_goes_on() {
    for bad in INVALID {
        let payload = [b"before ", bad, &[b'x'; 1000]].concat();
        let bytes = frame(TEXT).payload(&payload).bytes();
        let header = bytes.len() - payload.len();
        let fatal = header + 7 + first_fatal(bad);
        let mut rig = Rig::new(&Start::open());
        bytes[..fatal - 1].chunks(1).for_each(|byte| rig.feed(byte));
        assert_eq!(rig.seen, [], "{bad:x?}: still possible");
        rig.feed(&bytes[fatal - 1..fatal]);
        assert_eq!(rig.seen, [by_us(1007, REASON, false)], "{bad:x?}: no longer");
    }
}

#[test]
fn s8_1_what_is_fatal_only_together_with_the_next_fragment_is_1007() {
    let rows: Vec<Row> = INVALID
        .iter()
        .filter(|bad| bad.len() > 1)
        .map(|bad| {
            let first = frame(TEXT).fin(false).payload(&bad[..1]).bytes();
            let last = frame(CONTINUATION).payload(&bad[1..]).bytes();
            row(&format!("{bad:x?}"), [first, last].concat()).fails(1007, REASON)
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn s5_6_binary_may_be_any_bytes() {
    let rows: Vec<Row> = INVALID
        .iter()
        .map(|bytes| row(&format!("{bytes:x?}"), frame(BINARY).payload(bytes).bytes()).gives(binary(bytes)))
        .collect();
    Start::open().check(&rows);
}
