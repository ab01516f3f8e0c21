//! Cases as rows: what is sent and what must be heard, step by step.

use super::case::{Case, Fault, Outcome, fail};
use super::target::Target;
use crate::client::excerpt;
use crate::client::frame::{BINARY, Frame, TEXT, glue};
use crate::client::socket::{Heard, Message, Socket};
use crate::client::wire::Feed;

/// §7.4.1: a violation of the framing.
pub(crate) const PROTOCOL: &[u16] = &[1002];
/// §7.4.1: bytes that do not fit the message's type, here UTF-8.
pub(crate) const NOT_UTF8: &[u16] = &[1007];
/// §7.4.1: a message that is too big.
pub(crate) const TOO_BIG: &[u16] = &[1009];

/// One step of a script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Send these bytes, cut so.
    Send(Vec<u8>, Feed),
    /// Send a FIN.
    FinishSending,
    /// Hear this message.
    Message(u8, Vec<u8>),
    /// Hear a Pong with this payload.
    Pong(Vec<u8>),
    /// Hear nothing but a failure with one of these codes; the messages may come before it.
    Fails { codes: &'static [u16], after: Vec<Vec<u8>> },
    /// Hear a failure before the rest is sent; without `--strict` it may wait for the rest.
    FailsEarly { rest: Vec<u8>, codes: &'static [u16] },
    /// Hear a Close, under `--strict` with one of these codes, and then the end of TCP.
    ///
    /// The messages may come before it; `--strict` demands them.
    Closes { strict: Vec<Option<u16>>, after: Vec<(u8, Vec<u8>)> },
    /// Hear the end of TCP, with or without a Close before it.
    Ends,
    /// Hear either this message or a failure with one of these codes.
    EchoOrFails(u8, Vec<u8>, &'static [u16]),
    /// The same, but `--strict` demands the failure.
    FailsUnlessLax(u8, Vec<u8>, &'static [u16]),
}

/// Send a frame.
pub(crate) fn send(frame: &Frame) -> Step {
    Step::Send(frame.encode(), Feed::Whole)
}

/// Send frames in one segment.
pub(crate) fn send_all(frames: &[Frame]) -> Step {
    Step::Send(glue(frames), Feed::Whole)
}

/// Hear a text message.
pub(crate) fn text(payload: impl Into<Vec<u8>>) -> Step {
    Step::Message(TEXT, payload.into())
}

/// Hear a binary message.
pub(crate) fn binary(payload: impl Into<Vec<u8>>) -> Step {
    Step::Message(BINARY, payload.into())
}

/// Hear a Pong.
pub(crate) fn pong(payload: impl Into<Vec<u8>>) -> Step {
    Step::Pong(payload.into())
}

/// Hear a failure.
pub(crate) fn fails(codes: &'static [u16]) -> Step {
    Step::Fails { codes, after: Vec::new() }
}

/// Hear a failure, before which these text messages may be echoed; `--strict` demands them.
pub(crate) fn fails_after(messages: &[&str], codes: &'static [u16]) -> Step {
    Step::Fails { codes, after: messages.iter().map(|message| message.as_bytes().to_vec()).collect() }
}

/// Hear the answer to a Close.
pub(crate) fn closes(strict: impl Into<Vec<Option<u16>>>) -> Step {
    Step::Closes { strict: strict.into(), after: Vec::new() }
}

/// Hear the answer to a Close and, before it, the echoes of what was sent earlier.
///
/// §5.5.1 asks for the answer as soon as practical and lets the echoes go.
pub(crate) fn closes_after(messages: &[(u8, &[u8])], strict: impl Into<Vec<Option<u16>>>) -> Step {
    let after = messages.iter().map(|(opcode, payload)| (*opcode, payload.to_vec())).collect();
    Step::Closes { strict: strict.into(), after }
}

/// A case that plays a script on a connection without extensions.
pub(crate) fn script(name: impl Into<String>, steps: Vec<Step>) -> Case {
    Case::new(name, move |target| play(target, &mut target.open()?, &steps))
}

/// Plays steps on an open connection, then sees that it still lives unless the last step ended it.
pub(crate) fn play(target: &Target, socket: &mut Socket, steps: &[Step]) -> Outcome {
    for step in steps {
        take(target, socket, step)?;
    }
    match steps.last() {
        Some(Step::Message(..) | Step::Pong(_)) => still_lives(socket),
        _ => Ok(()),
    }
}

fn take(target: &Target, socket: &mut Socket, step: &Step) -> Outcome {
    match step {
        Step::Send(bytes, feed) => Ok(socket.send_bytes(bytes, *feed)?),
        Step::FinishSending => {
            socket.finish_sending();
            Ok(())
        }
        Step::Message(opcode, payload) => expect_message(socket, *opcode, payload),
        Step::Pong(payload) => expect_pong(socket, payload),
        Step::Fails { codes, after } => expect_failure(target, socket, codes, after),
        Step::FailsEarly { rest, codes } => expect_early_failure(target, socket, rest, codes),
        Step::Closes { strict, after } => expect_close(target, socket, strict, after),
        Step::Ends => expect_any_end(target, socket),
        Step::FailsUnlessLax(_, _, codes) if target.strict => expect_failure(target, socket, codes, &[]),
        Step::EchoOrFails(opcode, payload, codes) | Step::FailsUnlessLax(opcode, payload, codes) => {
            echo_or_failure(target, socket, *opcode, payload, codes)
        }
    }
}

/// Hears this message and nothing else.
pub(crate) fn expect_message(socket: &mut Socket, opcode: u8, payload: &[u8]) -> Outcome {
    match socket.hear()? {
        Heard::Message(message) => same(&message, opcode, payload),
        other => fail(format!("heard {} instead of the echo of {}", words(&other), excerpt(payload))),
    }
}

/// Compares a message with what it had to be.
pub(crate) fn same(message: &Message, opcode: u8, payload: &[u8]) -> Outcome {
    if message.opcode != opcode {
        return fail(format!("the echo has opcode {} instead of {opcode}", message.opcode));
    }
    if message.payload != payload {
        return fail(format!("the echo is {} instead of {}", excerpt(&message.payload), excerpt(payload)));
    }
    Ok(())
}

/// Hears this Pong and nothing else.
pub(crate) fn expect_pong(socket: &mut Socket, payload: &[u8]) -> Outcome {
    match socket.hear()? {
        Heard::Pong(heard) if heard == payload => Ok(()),
        other => fail(format!("heard {} instead of a Pong of {}", words(&other), excerpt(payload))),
    }
}

/// A Ping is answered: nothing else is under way, and the connection is open.
pub(crate) fn still_lives(socket: &mut Socket) -> Outcome {
    socket.send(&Frame::ping("still there?"))?;
    expect_pong(socket, b"still there?")
}

/// §7.1.7: the server fails the connection, with a Close that says why, and ends TCP.
///
/// The Close is a SHOULD, so that only `--strict` misses it.
pub(crate) fn expect_failure(
    target: &Target,
    socket: &mut Socket,
    codes: &[u16],
    after: &[Vec<u8>],
) -> Outcome {
    let mut awaited = after.iter();
    loop {
        match socket.hear()? {
            Heard::Message(message) => match awaited.next() {
                Some(payload) => same(&message, TEXT, payload)?,
                None => return fail(format!("answered {} instead of failing", excerpt(&message.payload))),
            },
            Heard::Pong(payload) => {
                return fail(format!("answered Pong {} instead of failing", excerpt(&payload)));
            }
            Heard::Close(Some(code), _) if codes.contains(&code) => {
                return match awaited.next() {
                    Some(payload) if target.strict => {
                        fail(format!("{} was not echoed first", excerpt(payload)))
                    }
                    _ => finish_close(target, socket, code),
                };
            }
            Heard::Close(None, _) if !target.strict => return finish_close(target, socket, codes[0]),
            Heard::End if !target.strict => return Ok(()),
            other => return fail(format!("heard {} instead of a failure with {codes:?}", words(&other))),
        }
    }
}

/// Hears a failure, before the rest is sent if `--strict`, and then at the latest.
pub(crate) fn expect_early_failure(
    target: &Target,
    socket: &mut Socket,
    rest: &[u8],
    codes: &[u16],
) -> Outcome {
    if socket.is_silent(target.bounds.fail_fast) {
        if target.strict {
            return fail(format!("no failure within {:?}", target.bounds.fail_fast));
        }
        socket.send_bytes(rest, Feed::Whole)?;
    }
    expect_failure(target, socket, codes, &[])
}

fn finish_close(target: &Target, socket: &mut Socket, code: u16) -> Outcome {
    socket.send(&Frame::close(code, ""))?;
    expect_end(target, socket)
}

/// §5.5.1: a Close is answered by a Close, and the server ends TCP (§7.1.1).
pub(crate) fn expect_close(
    target: &Target,
    socket: &mut Socket,
    strict: &[Option<u16>],
    after: &[(u8, Vec<u8>)],
) -> Outcome {
    let mut awaited = after.iter();
    loop {
        match (socket.hear()?, awaited.next()) {
            (Heard::Message(message), Some((opcode, payload))) => same(&message, *opcode, payload)?,
            (Heard::Close(..), Some((_, payload))) if target.strict => {
                return fail(format!("{} was not echoed before the Close", excerpt(payload)));
            }
            (Heard::Close(code, _), _) if !target.strict || strict.contains(&code) => {
                return expect_end(target, socket);
            }
            (Heard::Close(code, _), _) => {
                return fail(format!("the Close was answered with {code:?}, expected {strict:?}"));
            }
            (other, _) => return fail(format!("heard {} instead of a Close", words(&other))),
        }
    }
}

/// §7.1.1: the server ends TCP within a bound and says nothing after its Close.
pub(crate) fn expect_end(target: &Target, socket: &mut Socket) -> Outcome {
    match socket.within(target.bounds.close, Socket::hear) {
        Ok(Heard::End) => Ok(()),
        Ok(other) => fail(format!("heard {} after the Close", words(&other))),
        Err(_) => fail(format!("TCP is still open {:?} after the Close", target.bounds.close)),
    }
}

/// Hears the end of TCP, with or without a Close before it.
pub(crate) fn expect_any_end(target: &Target, socket: &mut Socket) -> Outcome {
    match socket.within(target.bounds.close, Socket::hear) {
        Ok(Heard::End) => Ok(()),
        Ok(Heard::Close(..)) => expect_end(target, socket),
        Ok(other) => fail(format!("heard {} instead of the end", words(&other))),
        Err(_) => fail(format!("TCP is still open after {:?}", target.bounds.close)),
    }
}

fn echo_or_failure(
    target: &Target,
    socket: &mut Socket,
    opcode: u8,
    payload: &[u8],
    codes: &[u16],
) -> Result<(), Fault> {
    match socket.hear()? {
        Heard::Message(message) => same(&message, opcode, payload),
        Heard::Close(code, _) if code.is_none_or(|code| codes.contains(&code)) => {
            finish_close(target, socket, codes[0])
        }
        Heard::End => Ok(()),
        other => fail(format!("heard {} instead of an echo or a failure with {codes:?}", words(&other))),
    }
}

/// What was heard, in words for a report.
pub(crate) fn words(heard: &Heard) -> String {
    match heard {
        Heard::Message(message) => format!("a message {}", excerpt(&message.payload)),
        Heard::Pong(payload) => format!("a Pong {}", excerpt(payload)),
        Heard::Close(Some(code), reason) => format!("Close {code} {reason:?}"),
        Heard::Close(None, _) => "Close without a code".to_owned(),
        Heard::End => "the end of TCP".to_owned(),
    }
}
