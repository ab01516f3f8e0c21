//! The opening handshake in pieces, with frames glued to it, and what its answer is made of: RFC 6455 §4.2.2.

use super::agreed;
use super::case::{Case, Fault, Outcome, fail, skip};
use super::script::{closes, expect_message, expect_pong, play, still_lives};
use super::target::{Target, check_switch};
use crate::client::frame::{Frame, TEXT, glue};
use crate::client::head::Response;
use crate::client::socket::Socket;
use crate::client::wire::Feed;

/// The cases that are no rows.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("s4_2_2_the_accept_follows_a_random_key_each_time", accepts_follow_keys),
        Case::new("s4_2_2_the_101_has_no_body_and_frames_follow_at_once", frames_follow_at_once),
        Case::new("rfc9110_s8_6_the_101_has_no_content_length", |target| lacks(target, "content-length")),
        Case::new("rfc9112_s6_1_the_101_has_no_transfer_encoding", |target| {
            lacks(target, "transfer-encoding")
        }),
        Case::new("s4_2_2_the_101_accepts_exactly_once", accepts_once),
        Case::new("rfc9112_s2_1_the_head_byte_by_byte", |target| opens_when_fed(target, Feed::Bytewise)),
        Case::new("rfc9112_s2_1_the_head_cut_at_each_offset", cut_head),
        Case::new("rfc9112_s2_1_the_head_in_pieces_of_seven", |target| {
            opens_when_fed(target, Feed::Chunks(7))
        }),
        Case::new("s4_1_the_first_frame_in_the_segment_of_the_head", |target| {
            with_head(target, 1, Feed::Whole)
        }),
        Case::new("s4_1_ten_frames_in_the_segment_of_the_head", |target| with_head(target, 10, Feed::Whole)),
        Case::new("s4_1_head_and_frame_byte_by_byte", |target| with_head(target, 1, Feed::Bytewise)),
        Case::new("s4_1_head_with_a_frame_cut_at_each_offset", head_with_cut_frame),
        Case::new("s4_1_a_ping_in_the_segment_of_the_head", ping_with_head),
        Case::new("s4_1_a_close_in_the_segment_of_the_head", close_with_head),
        Case::new("rfc9112_s9_3_an_upgrade_after_a_plain_request_on_one_connection", upgrade_after_plain),
    ]
}

fn accepts_follow_keys(target: &Target) -> Outcome {
    for _ in 0..5 {
        still_lives(&mut target.open()?)?;
    }
    Ok(())
}

fn frames_follow_at_once(target: &Target) -> Outcome {
    let request = target.request();
    let (wire, response) = target.ask(&request)?;
    check_switch(&request, &response)?;
    if !wire.unread().is_empty() {
        return fail("bytes follow the 101 before anything was sent");
    }
    still_lives(&mut Socket::new(wire, None))
}

fn lacks(target: &Target, field: &str) -> Outcome {
    let response = target.ask(&target.request())?.1;
    match (response.status, response.field(field)) {
        (101, None) => Ok(()),
        (101, Some(value)) => fail(format!("the 101 says {field}: {value}")),
        (status, _) => fail(format!("status {status} instead of 101")),
    }
}

fn accepts_once(target: &Target) -> Outcome {
    let response = target.ask(&target.request())?.1;
    match response.count("sec-websocket-accept") {
        1 => Ok(()),
        count => fail(format!("Sec-WebSocket-Accept occurs {count} times")),
    }
}

fn opens_when_fed(target: &Target, feed: Feed) -> Outcome {
    let request = target.request();
    let mut wire = target.wire()?;
    wire.send(&request.encode(), feed)?;
    let Some(response) = Response::read(&mut wire)? else { return fail("closed without an answer") };
    check_switch(&request, &response)?;
    if agreed::names_any(&response) {
        return fail("an extension is agreed unasked");
    }
    still_lives(&mut Socket::new(wire, None))
}

fn cut_head(target: &Target) -> Outcome {
    let length = target.request().encode().len();
    for offset in 1..length {
        opens_when_fed(target, Feed::Cut(offset)).map_err(|fault| at(offset, fault))?;
    }
    Ok(())
}

fn at(offset: usize, fault: Fault) -> Fault {
    match fault {
        Fault::Failed(words) => Fault::Failed(format!("cut at {offset}: {words}")),
        skipped @ Fault::Skipped(_) => skipped,
    }
}

/// Sends the head and frames without waiting for the 101.
fn eager(target: &Target, frames: &[u8], feed: Feed) -> Result<Socket, Fault> {
    let request = target.request();
    let mut wire = target.wire()?;
    wire.send(&[request.encode().as_slice(), frames].concat(), feed)?;
    match Response::read(&mut wire) {
        Ok(Some(response)) if response.status == 101 => {
            check_switch(&request, &response)?;
            Ok(Socket::new(wire, None))
        }
        _ if !target.strict => {
            skip("the server takes no frames before its 101, and §4.1 lets no client send them")
        }
        Ok(Some(response)) => fail(format!("status {} instead of 101", response.status)),
        Ok(None) => fail("closed without an answer"),
        Err(broken) => Err(broken.into()),
    }
}

fn with_head(target: &Target, count: usize, feed: Feed) -> Outcome {
    let frames: Vec<Frame> = (0..count).map(|index| Frame::text(format!("frame {index}"))).collect();
    let mut socket = eager(target, &glue(&frames), feed)?;
    for index in 0..count {
        expect_message(&mut socket, TEXT, format!("frame {index}").as_bytes())?;
    }
    still_lives(&mut socket)
}

fn head_with_cut_frame(target: &Target) -> Outcome {
    let frame = Frame::text("split").encode();
    let head = target.request().encode().len();
    for offset in 0..=frame.len() {
        let mut socket = eager(target, &frame, Feed::Cut(head + offset))?;
        expect_message(&mut socket, TEXT, b"split").map_err(|fault| at(offset, fault))?;
    }
    Ok(())
}

fn ping_with_head(target: &Target) -> Outcome {
    let mut socket = eager(target, &Frame::ping("early").encode(), Feed::Whole)?;
    expect_pong(&mut socket, b"early")
}

fn close_with_head(target: &Target) -> Outcome {
    let mut socket = eager(target, &Frame::close(1000, "").encode(), Feed::Whole)?;
    play(target, &mut socket, &[closes([Some(1000)])])
}

fn upgrade_after_plain(target: &Target) -> Outcome {
    let plain = target.request().without("Upgrade").without("Connection").without("Sec-WebSocket-Key");
    let (mut wire, response) = target.ask(&plain)?;
    let ends = response.tokens("connection").iter().any(|token| token.eq_ignore_ascii_case("close"));
    if response.status == 101 {
        return fail("a request without Upgrade was switched");
    }
    let request = target.request();
    wire.send(&request.encode(), Feed::Whole)?;
    match Response::read(&mut wire) {
        // RFC 9112 §9.6: a server that says so may close.
        _ if ends => Ok(()),
        Ok(Some(response)) => check_switch(&request, &response),
        Ok(None) => fail("closed after a response that did not say Connection: close"),
        Err(broken) => Err(broken.into()),
    }
}
