//! What a server may answer to a request head, by the RFC and by Fanline's own word.

use super::agreed;
use super::case::{Case, Outcome, fail};
use super::script::still_lives;
use super::target::{Target, check_switch};
use crate::client::head::Response;
use crate::client::request::Request;
use crate::client::socket::Socket;
use crate::client::wire::{Feed, Wire};

/// The class of answers that a row allows; the status is what `--strict` demands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// 101, and the connection works.
    Opens,
    /// The same, without any extension.
    OpensPlain,
    /// The same, with no subprotocol or one of these.
    OpensWithProtocolOf(&'static [&'static str]),
    /// 101 or a refusal, where the RFC allows both; `--strict` narrows the refusal to this status.
    OpensOr(&'static [u16]),
    /// 101 or exactly this status: a MUST of RFC 9112.
    OpensOrExactly(u16),
    /// A response with an error status: §4.2.1 demands one, and leaves the code open.
    Refused(&'static [u16]),
    /// The same, unless the server reads no extensions, to which the field is unknown (§4.2.1).
    RefusedWhereRead(&'static [u16]),
    /// Exactly this status: a MUST of RFC 9112.
    Exactly(u16),
    /// §4.4: an error status and `Sec-WebSocket-Version` with 13 in it.
    VersionRefused,
    /// The same for a draft's version, which a server may know.
    VersionKnownOrRefused,
    /// Anything but a switch: the request asks for no WebSocket.
    NotSwitched(&'static [u16]),
    /// 101, a refusal or a closed connection; only `--strict` demands the status.
    Any(&'static [u16]),
}

/// A case that sends one changed request and judges the answer.
pub(super) fn ask_row(name: impl Into<String>, change: fn(Request) -> Request, answer: Answer) -> Case {
    Case::new(name, move |target| {
        let request = change(target.request());
        let mut wire = target.wire()?;
        wire.send(&request.encode(), Feed::Whole)?;
        match (Response::read(&mut wire), answer) {
            (Ok(Some(response)), _) => judge(target, &request, wire, &response, answer),
            // A server that refuses what is too big may reset the connection under its own answer.
            (_, Answer::Any(_)) if !target.strict => Ok(()),
            // Where the 400 is a SHOULD, the connection may just close.
            (Ok(None), Answer::OpensOr(_)) if !target.strict => Ok(()),
            (Ok(None), _) => fail("closed without an answer"),
            (Err(broken), _) => Err(broken.into()),
        }
    })
}

fn judge(target: &Target, request: &Request, wire: Wire, response: &Response, answer: Answer) -> Outcome {
    let opened = response.status == 101;
    match answer {
        Answer::OpensPlain if agreed::names_any(response) => fail("the 101 agrees to an extension"),
        Answer::Opens | Answer::OpensPlain => works(request, wire, response),
        Answer::OpensWithProtocolOf(offered) => {
            chosen_of(response, offered)?;
            works(request, wire, response)
        }
        Answer::OpensOr(_) | Answer::OpensOrExactly(_) if opened => works(request, wire, response),
        Answer::Any(_) | Answer::VersionKnownOrRefused if opened && !target.strict => {
            works(request, wire, response)
        }
        Answer::RefusedWhereRead(_) if opened && !target.strict && !target.deflates => {
            works(request, wire, response)
        }
        Answer::NotSwitched(_) if !opened && !target.strict && response.status < 400 => Ok(()),
        Answer::OpensOr(status)
        | Answer::Any(status)
        | Answer::NotSwitched(status)
        | Answer::Refused(status)
        | Answer::RefusedWhereRead(status) => refused(target, response, status),
        Answer::Exactly(status) | Answer::OpensOrExactly(status) => status_is(response, &[status]),
        Answer::VersionRefused | Answer::VersionKnownOrRefused => {
            names_version_13(response)?;
            refused(target, response, &[426])
        }
    }
}

fn works(request: &Request, wire: Wire, response: &Response) -> Outcome {
    check_switch(request, response)?;
    still_lives(&mut Socket::new(wire, None))
}

fn chosen_of(response: &Response, offered: &[&str]) -> Outcome {
    match response.tokens("sec-websocket-protocol").as_slice() {
        [] => Ok(()),
        [chosen] if offered.contains(chosen) => Ok(()),
        chosen => fail(format!("the server chose the subprotocols {chosen:?} from {offered:?}")),
    }
}

fn refused(target: &Target, response: &Response, status: &[u16]) -> Outcome {
    if response.status < 400 {
        return fail(format!("status {} instead of a refusal", response.status));
    }
    // RFC 9110 §15.5.22: a 426 names the protocol to upgrade to.
    if response.status == 426 && response.field("upgrade").is_none() {
        return fail("the 426 lacks Upgrade");
    }
    if target.strict { status_is(response, status) } else { Ok(()) }
}

fn status_is(response: &Response, allowed: &[u16]) -> Outcome {
    if allowed.contains(&response.status) {
        return Ok(());
    }
    fail(format!("status {} instead of {allowed:?}", response.status))
}

fn names_version_13(response: &Response) -> Outcome {
    match response.tokens("sec-websocket-version").contains(&"13") {
        true => Ok(()),
        false => fail(format!("status {} without Sec-WebSocket-Version: 13", response.status)),
    }
}
