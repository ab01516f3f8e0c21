//! The HTTP/1.1 under the handshake: requests that carry content or come one after the other, RFC 9110 and 9112.

use super::answer::{Answer, ask_row};
use super::case::{Case, Outcome, fail};
use super::script::still_lives;
use super::target::{Target, check_switch};
use crate::client::head::Response;
use crate::client::request::Request;
use crate::client::socket::Socket;
use crate::client::wire::{Feed, Wire};

type Row = (&'static str, fn(Request) -> Request, Answer);

const ROWS: &[Row] = &[
    ("rfc9112_s2_3_a_later_minor_version_is_read_as_1_1", |r| r.version("HTTP/1.2"), Answer::OpensOr(&[400])),
    (
        "rfc9112_s3_2_a_host_with_a_port_of_letters_is_400",
        |r| r.set("Host", "example.org:port"),
        Answer::Exactly(400),
    ),
    ("rfc9112_s3_2_a_host_with_an_unclosed_bracket_is_400", |r| r.set("Host", "[::1"), Answer::Exactly(400)),
    (
        "rfc9112_s3_2_two_hosts_in_one_field_are_400",
        |r| r.set("Host", "a.example, b.example"),
        Answer::Exactly(400),
    ),
    (
        "rfc9112_s3_2_a_host_with_user_information_is_400",
        |r| r.set("Host", "user@example.org"),
        Answer::Exactly(400),
    ),
    (
        "rfc9112_s6_3_a_content_length_of_letters_is_400",
        |r| r.set("Content-Length", "abc"),
        Answer::Exactly(400),
    ),
    (
        "rfc9112_s6_3_a_negative_content_length_is_400",
        |r| r.set("Content-Length", "-1"),
        Answer::Exactly(400),
    ),
    (
        "rfc9112_s6_3_content_lengths_that_differ_are_400",
        |r| r.add("Content-Length", "0").add("Content-Length", "1"),
        Answer::Exactly(400),
    ),
    (
        "rfc9110_s8_6_a_content_length_of_0_is_no_content",
        |r| r.set("Content-Length", "0"),
        Answer::OpensOr(&[400]),
    ),
    (
        "rfc9110_s7_8_two_upgrade_fields",
        |r| r.set("Upgrade", "h2c").add("Upgrade", "websocket"),
        Answer::OpensOr(&[400, 426]),
    ),
];

/// The group's cases.
pub(super) fn cases() -> Vec<Case> {
    let rows = ROWS.iter().map(|&(name, change, answer)| ask_row(name, change, answer));
    let others = [
        Case::new("rfc9112_s6_content_of_an_upgrade_is_no_frame", |target| {
            content_is_no_frame(target, target.request().set("Content-Length", "5"), b"hello")
        }),
        Case::new("rfc9112_s7_1_chunked_content_of_an_upgrade_is_no_frame", |target| {
            content_is_no_frame(
                target,
                target.request().set("Transfer-Encoding", "chunked"),
                b"5\r\nhello\r\n0\r\n\r\n",
            )
        }),
        Case::new("rfc9112_s9_3_content_is_not_taken_for_the_next_request", content_is_no_request),
        Case::new("rfc9112_s9_3_2_two_requests_in_one_segment", two_requests),
        Case::new("rfc9112_s9_3_2_a_request_and_an_upgrade_in_one_segment", request_then_upgrade),
        Case::new("rfc9112_s9_6_a_response_that_says_close_is_followed_by_the_end", close_means_close),
        Case::new("rfc9110_s9_3_2_the_response_to_head_has_no_content", head_has_no_content),
        Case::new("s4_2_1_a_fin_right_after_the_head", fin_after_head),
    ];
    rows.chain(others).collect()
}

/// The same resource, asked for without an upgrade.
fn plain(target: &Target) -> Request {
    ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"]
        .into_iter()
        .fold(target.request(), Request::without)
}

fn says_close(response: &Response) -> bool {
    response.tokens("connection").iter().any(|token| token.eq_ignore_ascii_case("close"))
}

/// RFC 9110 §7.8: the new protocol begins after the whole request, content and all.
fn content_is_no_frame(target: &Target, request: Request, content: &[u8]) -> Outcome {
    let mut wire = target.wire()?;
    wire.send(&[request.encode().as_slice(), content].concat(), Feed::Whole)?;
    match Response::read(&mut wire)? {
        Some(response) if response.status == 101 => {
            check_switch(&request, &response)?;
            still_lives(&mut Socket::new(wire, None))
        }
        Some(response) if response.status < 400 => fail(format!("status {}", response.status)),
        Some(_) | None => Ok(()),
    }
}

fn content_is_no_request(target: &Target) -> Outcome {
    let smuggled = plain(target).encode();
    let request = plain(target).method("POST").set("Content-Length", &smuggled.len().to_string());
    let mut wire = target.wire()?;
    wire.send(&[request.encode(), smuggled].concat(), Feed::Whole)?;
    wire.finish_sending();
    let Some(_) = Response::read(&mut wire)? else { return Ok(()) };
    match Response::read(&mut wire)? {
        Some(response) => fail(format!("the content was answered too, with status {}", response.status)),
        None => Ok(()),
    }
}

fn two_requests(target: &Target) -> Outcome {
    let request = plain(target).encode();
    let mut wire = target.wire()?;
    wire.send(&[request.as_slice(), &request].concat(), Feed::Whole)?;
    let Some(first) = Response::read(&mut wire)? else { return fail("closed without an answer") };
    match Response::read(&mut wire)? {
        Some(second) if second.status == first.status => Ok(()),
        Some(second) => fail(format!("status {} and then {}", first.status, second.status)),
        None if says_close(&first) => Ok(()),
        None => fail("closed after a response that did not say Connection: close"),
    }
}

fn request_then_upgrade(target: &Target) -> Outcome {
    let upgrade = target.request();
    let mut wire = target.wire()?;
    wire.send(&[plain(target).encode(), upgrade.encode()].concat(), Feed::Whole)?;
    let Some(first) = Response::read(&mut wire)? else { return fail("closed without an answer") };
    match Response::read(&mut wire)? {
        Some(second) => {
            check_switch(&upgrade, &second)?;
            still_lives(&mut Socket::new(wire, None))
        }
        None if says_close(&first) => Ok(()),
        None => fail("closed after a response that did not say Connection: close"),
    }
}

fn close_means_close(target: &Target) -> Outcome {
    let (mut wire, response) = target.ask(&plain(target).set("Connection", "close"))?;
    if !says_close(&response) {
        return fail("Connection: close was not answered with Connection: close (§9.6)");
    }
    ends(&mut wire)
}

fn ends(wire: &mut Wire) -> Outcome {
    match wire.fill("end of the connection") {
        Ok(false) => Ok(()),
        Ok(true) => fail("bytes follow the last response"),
        Err(broken) => Err(broken.into()),
    }
}

fn head_has_no_content(target: &Target) -> Outcome {
    let mut wire = target.wire()?;
    wire.send(&plain(target).method("HEAD").set("Connection", "close").encode(), Feed::Whole)?;
    let mut seen = Vec::new();
    while wire.fill("end of the response")? {
        seen.extend(wire.take(wire.unread().len()));
    }
    seen.extend(wire.take(wire.unread().len()));
    match seen.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(end) if end + 4 == seen.len() => Ok(()),
        Some(end) => fail(format!("{} bytes of content", seen.len() - end - 4)),
        None => fail("no response"),
    }
}

/// A client that shuts its direction down after the head gets its 101 or an end, and nothing hangs.
fn fin_after_head(target: &Target) -> Outcome {
    let mut wire = target.wire()?;
    let request = target.request();
    wire.send(&request.encode(), Feed::Whole)?;
    wire.finish_sending();
    match Response::read(&mut wire)? {
        Some(response) if response.status == 101 => {
            check_switch(&request, &response)?;
            super::script::expect_any_end(target, &mut Socket::new(wire, None))
        }
        Some(_) | None => Ok(()),
    }
}
