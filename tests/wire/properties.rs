//! What holds of any input: valid messages come out as they went in, and nothing else does harm.

use fanline::ws::mask::Mask;
use fanline::{Closed, ClosedBy};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::deflate::{compressed, deflate};
use crate::feed::{Rig, Seen, Start, binary, text};
use crate::frames::{self, BINARY, CONTINUATION, TEXT, frame, read_server};

fn config() -> ProptestConfig {
    // No file is written: a failure prints its input, which belongs into a table.
    ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() }
}

/// A message and how it travels.
#[derive(Clone, Debug)]
struct Sent {
    message: Result<String, Vec<u8>>,
    key: [u8; 4],
    compressed: bool,
    fragments: usize,
    ping: Option<Vec<u8>>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let text = "[ -~éß房🙂\u{0}]{0,80}".prop_map(Ok);
    let bytes = vec(any::<u8>(), 0..300).prop_map(Err);
    let ping = proptest::option::of(vec(any::<u8>(), 0..126));
    (prop_oneof![text, bytes], any::<[u8; 4]>(), any::<bool>(), 1..5usize, ping).prop_map(
        |(message, key, compressed, fragments, ping)| Sent { message, key, compressed, fragments, ping },
    )
}

impl Sent {
    fn seen(&self) -> Seen {
        match &self.message {
            Ok(string) => text(string),
            Err(bytes) => binary(bytes),
        }
    }

    /// The frames: fragments of equal size, and a Ping behind the first.
    fn bytes(&self) -> Vec<u8> {
        let (opcode, plain) = match &self.message {
            Ok(text) => (TEXT, text.as_bytes()),
            Err(bytes) => (BINARY, bytes.as_slice()),
        };
        let payload = if self.compressed { deflate(plain, 15) } else { plain.to_vec() };
        let size = payload.len().div_ceil(self.fragments).max(1);
        let mut pieces: Vec<&[u8]> = payload.chunks(size).collect();
        if pieces.is_empty() {
            pieces.push(b"");
        }
        let mut out = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            let first =
                if self.compressed { compressed(opcode, piece) } else { frame(opcode).payload(piece) };
            let frame = if i == 0 { first } else { frame(CONTINUATION).payload(piece) };
            out.extend(frame.fin(i + 1 == pieces.len()).masked(self.key).bytes());
            out.extend(self.ping.iter().filter(|_| i == 0).flat_map(frames::ping));
        }
        out
    }
}

/// Feeds `bytes` in pieces of these sizes, over and over.
fn feed_in(rig: &mut Rig, mut bytes: &[u8], sizes: &[usize]) {
    for size in sizes.iter().cycle() {
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        rig.feed(piece);
        bytes = rest;
        if bytes.is_empty() {
            return;
        }
    }
}

/// What a server may ever send: whole frames, none masked, pongs within bounds, and at the end at most one Close.
fn check_sent(rig: &Rig) {
    let frames = read_server(&rig.sent);
    let closes = frames.iter().filter(|frame| frame.opcode == frames::CLOSE).count();
    assert!(closes <= 1 && frames.iter().all(|frame| frame.bits == 0x80 && frame.opcode >= frames::CLOSE));
    if closes == 1 {
        let close = &frames[frames.len() - 1];
        assert_eq!(close.opcode, frames::CLOSE, "nothing follows a Close");
        if let [high, low, reason @ ..] = close.payload.as_slice() {
            let code = u16::from_be_bytes([*high, *low]);
            assert!(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999), "{code}");
            assert!(reason.len() <= 123 && std::str::from_utf8(reason).is_ok());
        }
    }
}

/// A connection that we failed was failed with one of the codes for it, and nothing happened afterwards.
fn check_end(rig: &Rig) {
    let ends = rig.seen.iter().filter(|seen| matches!(seen, Seen::Ended(_))).count();
    assert!(ends <= 1);
    if let Some(Seen::Ended(Closed { code, by: ClosedBy::Server, clean, .. })) = rig.seen.last() {
        assert!(matches!(code, 1002 | 1007 | 1009) && !clean, "{code}");
    }
    assert_eq!(ends == 1, matches!(rig.seen.last(), Some(Seen::Ended(_))), "nothing after the end");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn s6_2_messages_come_out_as_they_went_in_however_they_are_cut(
        messages in vec(sent(), 0..8),
        sizes in vec(1..60usize, 1..8),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(Sent::bytes).collect();
        let mut rig = Rig::new(&Start::deflate());
        feed_in(&mut rig, &bytes, &sizes);
        let want: Vec<Seen> = messages.iter().map(Sent::seen).collect();
        prop_assert_eq!(&rig.seen, &want);
        let pings: Vec<Vec<u8>> = messages.iter().filter_map(|sent| sent.ping.clone()).collect();
        let pongs: Vec<Vec<u8>> = read_server(&rig.sent).into_iter().map(|pong| pong.payload).collect();
        prop_assert_eq!(pongs, pings);
        prop_assert_eq!(rig.conn.buffered(), 0);
    }

    #[test]
    fn s10_7_any_bytes_end_in_nothing_worse_than_a_close(
        bytes in vec(any::<u8>(), 0..400),
        sizes in vec(1..40usize, 1..4),
        deflate in any::<bool>(),
    ) {
        let start = if deflate { Start::deflate() } else { Start::open() };
        let mut rig = Rig::new(&start.message_bytes_max(100));
        feed_in(&mut rig, &bytes, &sizes);
        check_sent(&rig);
        check_end(&rig);
    }

    #[test]
    fn s10_7_frames_in_any_order_end_in_nothing_worse_than_a_close(
        frames in vec((any::<u8>(), any::<[u8; 4]>(), vec(any::<u8>(), 0..130)), 0..12),
        sizes in vec(1..40usize, 1..4),
    ) {
        // Half of all first bytes are of opcodes that exist, so that sequences get somewhere.
        let first = |byte: u8| if byte & 1 == 0 { [0x01, 0x00, 0x80, 0x89, 0x82, 0xc1, 0x8a, 0x88][usize::from(byte >> 5)] } else { byte };
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(byte, key, payload)| {
                let mut frame = frame(0).masked(*key).payload(payload).bytes();
                frame[0] = first(*byte);
                frame
            })
            .collect();
        let mut whole = Rig::new(&Start::deflate().message_bytes_max(300));
        whole.feed(&bytes);
        let mut cut = Rig::new(&Start::deflate().message_bytes_max(300));
        feed_in(&mut cut, &bytes, &sizes);
        check_sent(&whole);
        check_end(&whole);
        prop_assert_eq!(&whole.seen, &cut.seen);
        prop_assert_eq!(&whole.sent, &cut.sent);
    }

    #[test]
    fn rfc9112_s2_any_bytes_of_a_head_are_cut_the_same_way_wherever_they_are_split(
        parts in vec(prop::sample::select(vec!["\r\n", "\r\n\r\n", "\r", "a", "b: c", "\n"]), 0..14),
        sizes in vec(1..20usize, 1..4),
    ) {
        let text = parts.concat();
        let mut whole = Rig::new(&Start::head().head_bytes_max(20));
        whole.feed(text.as_bytes());
        let mut cut = Rig::new(&Start::head().head_bytes_max(20));
        feed_in(&mut cut, text.as_bytes(), &sizes);
        prop_assert_eq!(whole.seen, cut.seen);
    }

    #[test]
    fn row_16_s5_3_any_key_and_any_cuts_equal_the_definition(
        key in any::<[u8; 4]>(),
        plain in vec(any::<u8>(), 0..200),
        sizes in vec(1..20usize, 1..6),
    ) {
        let want: Vec<u8> = plain.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        let (mut got, mut mask, mut sizes) = (plain.clone(), Mask::new(key), sizes.iter().cycle());
        let mut rest = got.as_mut_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at_mut(rest.len().min(*sizes.next().unwrap()));
            mask.apply(piece);
            rest = after;
        }
        prop_assert_eq!(got, want);
    }

    #[test]
    fn row_20_s8_1_text_is_accepted_exactly_where_it_is_utf8(
        bytes in vec(prop_oneof![0x20..0x7fu8, 0x80..=0xbfu8, 0xc0..=0xffu8], 0..12),
        valid in "[é房🙂]{0,4}",
        cut in any::<prop::sample::Index>(),
    ) {
        let payload = [valid.as_bytes(), &bytes].concat();
        let (a, b) = payload.split_at(cut.index(payload.len() + 1));
        let mut rig = Rig::new(&Start::open());
        rig.feed(&frame(TEXT).fin(false).payload(a).bytes());
        rig.feed(&frame(CONTINUATION).payload(b).bytes());
        match std::str::from_utf8(&payload) {
            Ok(valid) => prop_assert_eq!(&rig.seen, &[text(valid)]),
            Err(_) => prop_assert!(matches!(&rig.seen[..], [Seen::Ended(closed)] if closed.code == 1007)),
        }
    }
}
