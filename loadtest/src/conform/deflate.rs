//! Compressed messages that are right: RFC 7692 §6, §7.2.

use zlib_rs::DeflateFlush;

use super::case::{Case, Outcome, fail, skip};
use super::framing::{letters, octets};
use super::script::{Step, closes, expect_message, play, same, send, send_all, still_lives, text, words};
use super::target::Target;
use crate::client::deflate::TAIL;
use crate::client::frame::{BINARY, Frame, RSV1, TEXT, glue};
use crate::client::socket::Heard;
use crate::client::wire::Feed;

/// The offer without parameters.
pub(super) const OFFER: &str = "permessage-deflate";

/// §7.2.3.1: "Hello" in one block.
const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

type Written = (&'static str, &'static [&'static [u8]], &'static [&'static str]);

/// Compressed payloads, written out, and the text that they are.
const WRITTEN: &[Written] = &[
    ("s7_2_3_1_hello_in_one_block", &[HELLO], &["Hello"]),
    (
        "s7_2_3_3_hello_stored",
        &[&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]],
        &["Hello"],
    ),
    ("s7_2_3_4_hello_in_a_final_block", &[&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]], &["Hello"]),
    (
        "s7_2_3_4_a_final_block_ends_no_connection",
        &[&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], HELLO],
        &["Hello", "Hello"],
    ),
    (
        "s7_2_3_5_hello_in_two_blocks",
        &[&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]],
        &["Hello"],
    ),
    ("s7_2_3_6_an_empty_message_of_one_zero_byte", &[&[0x00]], &[""]),
    ("s7_2_3_6_an_empty_message_between_others", &[HELLO, &[0x00], HELLO], &["Hello", "", "Hello"]),
    ("s7_2_3_6_an_empty_message_of_a_fixed_block", &[&[0x02, 0x00]], &[""]),
    ("s7_2_1_an_empty_final_block", &[&[0x03, 0x00, 0x00], HELLO], &["", "Hello"]),
    ("s7_2_1_two_empty_stored_blocks", &[&[0x00, 0x00, 0x00, 0xff, 0xff, 0x00]], &[""]),
];

/// The group's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = written();
    cases.extend(sizes());
    cases.extend(feeds());
    cases.extend(shapes());
    cases.extend(super::deflate_contexts::cases());
    cases
}

/// A case that plays a script on a connection with permessage-deflate.
pub(super) fn deflate_script(name: impl Into<String>, steps: Vec<Step>) -> Case {
    Case::new(format!("rfc7692_{}", name.into()), move |target| {
        play(target, &mut target.open_deflate(OFFER)?.0, &steps)
    })
}

/// A compressed text message in one frame.
pub(super) fn packed(payload: impl Into<Vec<u8>>) -> Frame {
    Frame::text(payload).rsv(RSV1)
}

fn written() -> Vec<Case> {
    let rows = WRITTEN.iter().map(|&(name, payloads, texts)| {
        let exchanges =
            payloads.iter().zip(texts).flat_map(|(payload, said)| [send(&packed(*payload)), text(*said)]);
        deflate_script(name, exchanges.collect())
    });
    let shared = Case::new("rfc7692_s7_2_3_2_hello_again_out_of_the_window", |target| {
        let (mut socket, agreed) = target.open_deflate(OFFER)?;
        let again = send(&packed([0xf2, 0x00, 0x11, 0x00, 0x00]));
        // A server that forgets the context, as it said, meets a reference before the beginning.
        let answer = match agreed.client_no_context_takeover {
            true => Step::EchoOrFails(TEXT, b"Hello".to_vec(), &[1002, 1007]),
            false => text("Hello"),
        };
        play(target, &mut socket, &[send(&packed(HELLO)), text("Hello"), again, answer])
    });
    rows.chain([shared]).collect()
}

fn sizes() -> Vec<Case> {
    let lengths = [1, 125, 126, 127, 1000, 65535, 65536, 1 << 20];
    let cases = lengths.into_iter().flat_map(|length| {
        [
            exchange(format!("s6_1_compressed_text_of_{length}_bytes"), TEXT, letters(length), 6),
            exchange(format!("s6_1_compressed_binary_of_{length}_bytes"), BINARY, octets(length), 6),
        ]
    });
    let levels = (0..=9)
        .map(|level| exchange(format!("s7_2_1_blocks_of_level_{level}"), BINARY, octets(70_000), level));
    let noise = exchange("s7_2_1_noise_that_does_not_shrink".to_owned(), BINARY, noise(100_000), 6);
    cases.chain(levels).chain([noise]).collect()
}

/// Bytes without repetition.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..length).map(|_| random.u8(..)).collect()
}

fn exchange(name: String, opcode: u8, data: Vec<u8>, level: i32) -> Case {
    Case::new(format!("rfc7692_{name}"), move |target| {
        let (mut socket, agreed) = target.open_deflate(OFFER)?;
        let payload = agreed.deflater_at(level).message(&data);
        socket.send(&Frame::new(opcode, payload).rsv(RSV1))?;
        expect_message(&mut socket, opcode, &data)?;
        still_lives(&mut socket)
    })
}

fn feeds() -> Vec<Case> {
    vec![
        deflate_script(
            "s6_1_a_compressed_frame_byte_by_byte",
            vec![Step::Send(packed(HELLO).encode(), Feed::Bytewise), text("Hello")],
        ),
        Case::new("rfc7692_s6_1_a_compressed_frame_cut_at_each_offset", |target| {
            let (mut socket, _) = target.open_deflate("permessage-deflate; client_no_context_takeover")?;
            let bytes = packed(HELLO).encode();
            for offset in 1..bytes.len() {
                socket.send_bytes(&bytes, Feed::Cut(offset))?;
                expect_message(&mut socket, TEXT, b"Hello")?;
            }
            Ok(())
        }),
        Case::new("rfc7692_s6_1_a_compressed_message_in_two_fragments_cut_anywhere", |target| {
            let (mut socket, _) = target.open_deflate(OFFER)?;
            for offset in 0..=HELLO.len() {
                socket.send_bytes(&fragments(&[&HELLO[..offset], &HELLO[offset..]]), Feed::Whole)?;
                expect_message(&mut socket, TEXT, b"Hello")?;
            }
            Ok(())
        }),
        Case::new("rfc7692_s6_1_a_large_compressed_message_in_many_fragments", |target| {
            let (mut socket, agreed) = target.open_deflate(OFFER)?;
            let (data, mut deflater) = (noise(200_000), agreed.deflater());
            let payload = deflater.message(&data);
            let parts: Vec<&[u8]> = payload.chunks(777).collect();
            let mut frames = super::fragmentation::parts(BINARY, &parts);
            frames[0] = frames[0].clone().rsv(RSV1);
            socket.send_bytes(&glue(&frames), Feed::Whole)?;
            expect_message(&mut socket, BINARY, &data)
        }),
    ]
}

/// Text frames of one compressed message: RSV1 on the first alone.
pub(super) fn fragments(parts: &[&[u8]]) -> Vec<u8> {
    let mut frames = super::fragmentation::parts(TEXT, parts);
    frames[0] = frames[0].clone().rsv(RSV1);
    glue(&frames)
}

fn shapes() -> Vec<Case> {
    let (before, after) = HELLO.split_at(3);
    let first = packed(before).more();
    vec![
        deflate_script(
            "s7_2_3_1_hello_in_the_two_fragments_of_the_rfc",
            vec![send_all(&[first.clone(), Frame::continuation(after)]), text("Hello")],
        ),
        deflate_script(
            "s6_1_a_ping_between_compressed_fragments",
            vec![
                send_all(&[first.clone(), Frame::ping("p")]),
                Step::Pong(b"p".to_vec()),
                send(&Frame::continuation(after)),
                text("Hello"),
            ],
        ),
        deflate_script(
            "s6_1_empty_fragments_around_a_compressed_message",
            vec![Step::Send(fragments(&[b"", HELLO, b""]), Feed::Whole), text("Hello")],
        ),
        deflate_script(
            "s6_2_an_uncompressed_message_on_the_connection",
            vec![send(&Frame::text("plain")), text("plain")],
        ),
        deflate_script("s6_2_an_uncompressed_empty_message", vec![send(&Frame::text("")), text("")]),
        deflate_script(
            "s6_2_an_uncompressed_fragmented_message",
            vec![send_all(&[Frame::text("pl").more(), Frame::continuation("ain")]), text("plain")],
        ),
        deflate_script(
            "s6_2_compressed_and_plain_messages_alternate",
            vec![
                send(&packed(HELLO)),
                text("Hello"),
                send(&Frame::text("plain")),
                text("plain"),
                send(&packed(HELLO)),
                text("Hello"),
            ],
        ),
        deflate_script(
            "s6_1_control_frames_stay_uncompressed",
            vec![send(&Frame::ping("aaaaaaaaaaaaaaaa")), Step::Pong(b"aaaaaaaaaaaaaaaa".to_vec())],
        ),
        deflate_script(
            "s6_1_a_close_is_answered_uncompressed",
            vec![send(&packed(HELLO)), text("Hello"), send(&Frame::close(1000, "bye")), closes([Some(1000)])],
        ),
        deflate_script(
            "s6_1_a_close_between_compressed_fragments",
            vec![send_all(&[first.clone(), Frame::close(1000, "")]), closes([Some(1000), None])],
        ),
        // §7.2.1 forbids a sender to leave the tail, and leaves open what a receiver does.
        deflate_script(
            "s7_2_2_a_tail_that_was_not_removed_is_read_or_fails",
            vec![
                send(&packed([HELLO, &TAIL].concat())),
                Step::EchoOrFails(TEXT, b"Hello".to_vec(), &[1002, 1007]),
            ],
        ),
        deflate_script(
            "s7_2_2_a_payload_of_no_bytes_is_empty_or_fails",
            vec![send(&packed("")), Step::EchoOrFails(TEXT, Vec::new(), &[1002, 1007])],
        ),
        Case::new("rfc7692_s7_2_1_flushes_inside_a_message", flushes_inside),
        Case::new("rfc7692_s7_2_1_the_server_removes_its_tail", tail_removed),
        Case::new("rfc7692_s6_1_a_long_echo_comes_compressed", comes_compressed),
        Case::new("rfc7692_s7_2_2_text_cut_inside_a_character_by_blocks", |target| {
            let (mut socket, agreed) = target.open_deflate(OFFER)?;
            let mut deflater = agreed.deflater();
            let mut payload = deflater.part(b"\xe2\x82", DeflateFlush::SyncFlush);
            payload.extend(deflater.message(b"\xac"));
            socket.send(&packed(payload))?;
            expect_message(&mut socket, TEXT, "\u{20ac}".as_bytes())
        }),
    ]
}

fn flushes_inside(target: &Target) -> Outcome {
    let (mut socket, agreed) = target.open_deflate(OFFER)?;
    let mut deflater = agreed.deflater();
    let mut payload = deflater.part(b"one ", DeflateFlush::SyncFlush);
    payload.extend(deflater.part(b"two ", DeflateFlush::FullFlush));
    payload.extend(deflater.message(b"three"));
    socket.send(&packed(payload))?;
    expect_message(&mut socket, TEXT, b"one two three")
}

/// §6.1 lets a server send anything uncompressed; then the cases of its compressor say little.
fn comes_compressed(target: &Target) -> Outcome {
    let (mut socket, agreed) = target.open_deflate(OFFER)?;
    socket.send(&packed(agreed.deflater().message(&letters(5000))))?;
    match socket.hear()? {
        Heard::Message(message) if message.compressed => same(&message, TEXT, &letters(5000)),
        Heard::Message(_) if target.strict => fail("the echo came uncompressed"),
        Heard::Message(_) => skip("the server chooses not to compress its answer"),
        other => fail(format!("heard {}", words(&other))),
    }
}

/// §7.2.1: what the server sends does not end with the four bytes, unless it would inflate without them too.
fn tail_removed(target: &Target) -> Outcome {
    let (mut socket, agreed) = target.open_deflate(OFFER)?;
    socket.send(&packed(agreed.deflater().message(&letters(5000))))?;
    let Some((header, payload)) = socket.frame()? else { return fail("closed instead of an echo") };
    match header.rsv {
        RSV1 if header.fin && payload.ends_with(&TAIL) => fail("the payload ends with 00 00 ff ff"),
        _ => Ok(()),
    }
}
