//! Windows and contexts of permessage-deflate: RFC 7692 §7.1.1 and §7.1.2.

use super::case::{Case, Outcome, fail};
use super::deflate::{OFFER, noise, packed};
use super::framing::letters;
use super::script::{expect_message, expect_pong};
use super::target::Target;
use crate::client::frame::{BINARY, Frame, RSV1, TEXT, glue};
use crate::client::socket::Heard;
use crate::client::wire::Feed;

/// The cases of windows and contexts.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = windows();
    cases.extend(takeover());
    cases
}

fn windows() -> Vec<Case> {
    let own = (9..=15).map(|bits: u8| {
        Case::new(format!("rfc7692_s7_1_2_1_the_server_keeps_to_a_window_of_{bits}_bits"), move |target| {
            let (mut socket, _) = target.open_deflate(&format!("{OFFER}; server_max_window_bits={bits}"))?;
            // A block that repeats beyond the window tempts a compressor to refer too far back.
            let block = noise((1 << bits) + 600);
            let data = [block.as_slice(), &block, &block].concat();
            socket.send(&Frame::binary(data.clone()))?;
            expect_message(&mut socket, BINARY, &data)?;
            socket.send(&Frame::binary(data.clone()))?;
            expect_message(&mut socket, BINARY, &data)
        })
    });
    let client = (9..=15).map(|bits: u8| {
        Case::new(
            format!("rfc7692_s7_1_2_2_the_server_reads_a_client_window_of_{bits}_bits"),
            move |target| {
                let (mut socket, mut agreed) =
                    target.open_deflate(&format!("{OFFER}; client_max_window_bits={bits}"))?;
                agreed.client_max_window_bits = Some(agreed.client_max_window_bits.unwrap_or(bits).min(bits));
                let (mut deflater, block) = (agreed.deflater(), noise(1 << (bits - 1)));
                for _ in 0..3 {
                    let data = [block.as_slice(), &block, &block].concat();
                    socket.send(&Frame::binary(deflater.message(&data)).rsv(RSV1))?;
                    expect_message(&mut socket, BINARY, &data)?;
                }
                Ok(())
            },
        )
    });
    own.chain(client).collect()
}

fn takeover() -> Vec<Case> {
    let offers = [
        ("with_takeover", "permessage-deflate"),
        ("with_server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
        ("with_client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
        (
            "without_any_takeover",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
    ];
    let cases = offers.into_iter().flat_map(|(name, offer)| {
        [
            Case::new(format!("rfc7692_s7_1_1_the_same_message_twenty_times_{name}"), move |target| {
                repeat(target, offer, |_| letters(300))
            }),
            Case::new(format!("rfc7692_s7_1_1_messages_that_resemble_each_other_{name}"), move |target| {
                repeat(target, offer, |round| {
                    format!("{{\"room\":\"r\",\"count\":{round},\"text\":\"hello hello\"}}").into_bytes()
                })
            }),
        ]
    });
    let pipelined = Case::new("rfc7692_s7_1_1_a_hundred_messages_in_one_segment", |target: &Target| {
        let (mut socket, agreed) = target.open_deflate(OFFER)?;
        let mut deflater = agreed.deflater();
        let frames: Vec<Frame> =
            (0..100).map(|index| packed(deflater.message(format!("message {index}").as_bytes()))).collect();
        socket.send_bytes(&glue(&frames), Feed::Whole)?;
        for index in 0..100 {
            expect_message(&mut socket, TEXT, format!("message {index}").as_bytes())?;
        }
        expect_no_more(&mut socket)
    });
    cases.chain([pipelined]).collect()
}

fn expect_no_more(socket: &mut crate::client::socket::Socket) -> Outcome {
    socket.send(&Frame::ping("last"))?;
    match socket.hear()? {
        Heard::Pong(payload) if payload == b"last" => Ok(()),
        other => fail(format!("heard {} after all echoes", super::script::words(&other))),
    }
}

fn repeat(target: &Target, offer: &str, message: fn(usize) -> Vec<u8>) -> Outcome {
    let (mut socket, agreed) = target.open_deflate(offer)?;
    let mut deflater = agreed.deflater();
    if offer.contains("client_no_context_takeover") {
        deflater = deflater.without_takeover();
    }
    for round in 0..20 {
        let data = message(round);
        socket.send(&packed(deflater.message(&data)))?;
        expect_message(&mut socket, TEXT, &data)?;
    }
    socket.send(&Frame::ping(""))?;
    expect_pong(&mut socket, b"")
}
