//! Much at a time: frames around the sizes of buffers, and a client that reads later than it sends, RFC 6455 §5.2.

use std::thread;
use std::time::Duration;

use super::case::{Case, Outcome, fail, skip};
use super::framing::octets;
use super::script::{expect_message, expect_pong, same, still_lives, words};
use super::target::Target;
use crate::client::frame::{BINARY, Frame, TEXT, glue};
use crate::client::socket::Heard;
use crate::client::wire::Feed;

/// Sizes that servers read at a time.
const BUFFERS: [usize; 5] = [4096, 8192, 16384, 65536, 131_072];

/// The cases of volume.
pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = BUFFERS
        .into_iter()
        .map(|size| {
            let name = format!("s5_2_frames_that_end_around_{size}_bytes_of_wire_with_one_behind");
            Case::new(name, move |target| around(target, size))
        })
        .collect();
    cases.extend([
        Case::new("s5_2_five_hundred_messages_sent_before_one_echo_is_read", unread),
        Case::new("s5_2_16_mib_of_messages_whose_echoes_are_read_late", late),
        Case::new("s5_2_ten_thousand_small_messages_at_once", small),
        Case::new("s5_4_ten_thousand_fragments_of_one_byte", fragments),
        Case::new("s5_5_2_a_ping_behind_each_of_a_hundred_fragments", pings_between),
    ]);
    cases
}

/// A frame, and one behind it whose header is cut by the end of a buffer, at every offset near it.
fn around(target: &Target, size: usize) -> Outcome {
    let mut socket = target.open()?;
    let overhead = Frame::binary(octets(size)).encode().len() - size;
    for length in size - overhead - 16..=size - overhead + 2 {
        let frames = [Frame::binary(octets(length)), Frame::text("behind it")];
        socket.send_bytes(&glue(&frames), Feed::Whole)?;
        expect_message(&mut socket, BINARY, &octets(length))?;
        expect_message(&mut socket, TEXT, b"behind it")?;
    }
    still_lives(&mut socket)
}

/// A payload that tells which message it is.
fn numbered(index: usize, length: usize) -> Vec<u8> {
    [index.to_string().as_bytes(), &octets(length)].concat()
}

/// 2 MB fit into the buffers of both kernels, whatever the server does about a peer that does not read.
fn unread(target: &Target) -> Outcome {
    let mut socket = target.open()?;
    for index in 0..500 {
        socket.send(&Frame::binary(numbered(index, 4096)))?;
    }
    for index in 0..500 {
        expect_message(&mut socket, BINARY, &numbered(index, 4096))?;
    }
    still_lives(&mut socket)
}

/// More than any buffer holds: a server that stops reading such a client must go on afterwards.
fn late(target: &Target) -> Outcome {
    let mut socket = target.open()?;
    let frames: Vec<Frame> = (0..256).map(|index| Frame::binary(numbered(index, 65_536))).collect();
    socket.send_aside(glue(&frames), Feed::Whole)?;
    thread::sleep(Duration::from_millis(300));
    for index in 0..256 {
        expect_message(&mut socket, BINARY, &numbered(index, 65_536))?;
    }
    still_lives(&mut socket)
}

fn small(target: &Target) -> Outcome {
    let mut socket = target.open()?;
    let frames: Vec<Frame> = (0..10_000).map(|index| Frame::text(index.to_string())).collect();
    socket.send_aside(glue(&frames), Feed::Whole)?;
    for index in 0..10_000 {
        expect_message(&mut socket, TEXT, index.to_string().as_bytes())?;
    }
    still_lives(&mut socket)
}

fn fragments(target: &Target) -> Outcome {
    let mut socket = target.open()?;
    let data = octets(10_000);
    let frames = super::fragmentation::parts(BINARY, &data.chunks(1).collect::<Vec<_>>());
    socket.send_bytes(&glue(&frames), Feed::Whole)?;
    match socket.hear()? {
        Heard::Message(message) => same(&message, BINARY, &data)?,
        // §10.4 lets a server bound what it takes.
        Heard::Close(Some(1008 | 1009), _) if !target.strict => return skip("the server limits fragments"),
        other => return fail(format!("heard {}", words(&other))),
    }
    still_lives(&mut socket)
}

fn pings_between(target: &Target) -> Outcome {
    let mut socket = target.open()?;
    let data = octets(100 * 1000);
    let parts = super::fragmentation::parts(BINARY, &data.chunks(1000).collect::<Vec<_>>());
    for (index, part) in parts.iter().enumerate() {
        let ping = index.to_string();
        if index + 1 == parts.len() {
            socket.send(part)?;
            break;
        }
        socket.send_bytes(&glue(&[part.clone(), Frame::ping(ping.as_str())]), Feed::Whole)?;
        expect_pong(&mut socket, ping.as_bytes())?;
    }
    expect_message(&mut socket, BINARY, &data)?;
    still_lives(&mut socket)
}
