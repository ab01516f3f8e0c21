//! One entry of a recording: something the engine was told, or what a call of it gave.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::bytes::{put, put_bytes, take, take_bytes};
use crate::proxy::forwarded::Announced;
use crate::proxy::networks::Hop;

/// What stands in a recording, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// The driver does something with the engine.
    Input(Input),
    /// The engine does something with a connection, which is named by its number, and this comes of it.
    Call(u64, Call<'a>),
    /// Anything else.
    Other(Other<'a>),
}

/// What whoever drives the engine does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// It wakes up: so many nanoseconds have passed since it did before.
    Wake(u64),
    /// Somebody has come: its address, what kind of peer it is, and what its PROXY header has said.
    Connect(Option<SocketAddr>, Hop, Announced),
    /// A connection, by the bits of its id, is readable (1), writable (2), has hung up (4).
    Ready(u64, u8),
    /// The engine takes its turn.
    Turn,
    /// It is asked to drain.
    Drain,
    /// It is asked to stop.
    Stop,
    /// It drops all connections.
    DropAll,
    /// Nobody is listened to any more.
    Deaf,
    /// The configuration is read anew; what it became follows if it can be used.
    Reload,
}

/// What a call of a connection's transport gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// A read gave these bytes; none at the end.
    Read(Cow<'a, [u8]>),
    /// A read failed.
    NotRead(Failure),
    /// Of so many bytes that were offered so many were taken; the sum of all that this connection was sent.
    Write(u64, u64, u32),
    /// A write of so many bytes failed.
    NotWritten(u64, Failure),
    /// The outgoing side was ended, or could not be.
    Shut(bool),
    /// What the transport itself held back could not be sent.
    NotResumed,
    /// The transport takes up so much memory now.
    Held(u64),
    /// What its PROXY header says has changed.
    Announced(Announced),
    /// The connection was let go.
    Gone,
}

/// Why a call failed, as far as the engine asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Not now.
    WouldBlock,
    /// A signal came.
    Interrupted,
    /// Anything else.
    Broken,
}

/// What is neither told to the engine nor a call of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Other<'a> {
    /// What the application took from outside.
    Answer(Cow<'a, [u8]>),
    /// The configuration from here on, and whether there is a gate.
    Settings(bool, Cow<'a, str>),
    /// The recording ends here, and why.
    End(Cow<'a, str>),
}

impl Entry<'_> {
    /// Appends the entry without its length.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Entry::Input(input) => input.write(out),
            Entry::Call(conn, call) => {
                out.push(call.kind());
                put(out, *conn);
                call.write(out);
            }
            Entry::Other(other) => {
                let (kind, bytes) = match other {
                    Other::Answer(bytes) => (40, &bytes[..]),
                    Other::Settings(has_gate, text) => (41 + u8::from(*has_gate), text.as_bytes()),
                    Other::End(why) => (43, why.as_bytes()),
                };
                out.push(kind);
                put_bytes(out, bytes);
            }
        }
    }

    /// Reads an entry that takes up all of `bytes`; `None` where it is none.
    pub fn read(bytes: &[u8]) -> Option<Entry<'static>> {
        let (&kind, mut from) = bytes.split_first()?;
        let from = &mut from;
        let entry = match kind {
            0..20 => Entry::Input(Input::read(kind, from)?),
            20..40 => {
                let conn = take(from)?;
                Entry::Call(conn, Call::read(kind, from)?)
            }
            40..44 => {
                let bytes = take_bytes(from)?.to_vec();
                let text = |bytes| String::from_utf8(bytes).ok().map(Cow::Owned);
                Entry::Other(match kind {
                    40 => Other::Answer(bytes.into()),
                    41 | 42 => Other::Settings(kind == 42, text(bytes)?),
                    _ => Other::End(text(bytes)?),
                })
            }
            _ => return None,
        };
        from.is_empty().then_some(entry)
    }
}

impl Input {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Input::Wake(ns) => {
                out.push(0);
                put(out, *ns);
            }
            Input::Connect(addr, hop, announced) => {
                out.push(1);
                put_address(out, *addr);
                match hop {
                    Hop::Ip(ip) => put_address(out, Some(SocketAddr::new(*ip, 1))),
                    Hop::Unix => put_bytes(out, b"unix"),
                    Hop::Unknown => put_bytes(out, b""),
                }
                put_announced(out, *announced);
            }
            Input::Ready(id, bits) => {
                out.push(2);
                put(out, *id);
                out.push(*bits);
            }
            Input::Turn => out.push(3),
            Input::Drain => out.push(4),
            Input::Stop => out.push(5),
            Input::DropAll => out.push(6),
            Input::Deaf => out.push(7),
            Input::Reload => out.push(8),
        }
    }

    fn read(kind: u8, from: &mut &[u8]) -> Option<Self> {
        Some(match kind {
            0 => Input::Wake(take(from)?),
            1 => {
                let addr = take_address(from)?;
                let hop = match take_bytes(from)? {
                    b"" => Hop::Unknown,
                    b"unix" => Hop::Unix,
                    ip => Hop::Ip(address(ip)?.ip()),
                };
                Input::Connect(addr, hop, take_announced(from)?)
            }
            2 => Input::Ready(take(from)?, take_byte(from)?),
            3 => Input::Turn,
            4 => Input::Drain,
            5 => Input::Stop,
            6 => Input::DropAll,
            7 => Input::Deaf,
            8 => Input::Reload,
            _ => return None,
        })
    }
}

impl Call<'_> {
    fn kind(&self) -> u8 {
        match self {
            Call::Read(_) => 20,
            Call::NotRead(_) => 21,
            Call::Write(..) => 22,
            Call::NotWritten(..) => 23,
            Call::Shut(_) => 24,
            Call::NotResumed => 25,
            Call::Held(_) => 26,
            Call::Announced(_) => 27,
            Call::Gone => 28,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Call::Read(bytes) => put_bytes(out, bytes),
            Call::NotRead(why) => out.push(why.byte()),
            Call::Write(offered, taken, sum) => {
                put(out, *offered);
                // Nearly always it is all that was offered.
                put(out, offered - taken);
                out.extend_from_slice(&sum.to_le_bytes());
            }
            Call::NotWritten(offered, why) => {
                put(out, *offered);
                out.push(why.byte());
            }
            Call::Shut(done) => out.push(u8::from(*done)),
            Call::Held(bytes) => put(out, *bytes),
            Call::Announced(announced) => put_announced(out, *announced),
            Call::NotResumed | Call::Gone => {}
        }
    }

    fn read(kind: u8, from: &mut &[u8]) -> Option<Call<'static>> {
        Some(match kind {
            20 => Call::Read(take_bytes(from)?.to_vec().into()),
            21 => Call::NotRead(Failure::of(take_byte(from)?)?),
            22 => {
                let offered = take(from)?;
                let taken = offered.checked_sub(take(from)?)?;
                let (sum, rest) = from.split_first_chunk::<4>()?;
                *from = rest;
                Call::Write(offered, taken, u32::from_le_bytes(*sum))
            }
            23 => Call::NotWritten(take(from)?, Failure::of(take_byte(from)?)?),
            24 => Call::Shut(take_byte(from)? != 0),
            25 => Call::NotResumed,
            26 => Call::Held(take(from)?),
            27 => Call::Announced(take_announced(from)?),
            28 => Call::Gone,
            _ => return None,
        })
    }
}

impl Failure {
    fn byte(self) -> u8 {
        match self {
            Failure::WouldBlock => 0,
            Failure::Interrupted => 1,
            Failure::Broken => 2,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Failure::WouldBlock, Failure::Interrupted, Failure::Broken].get(usize::from(byte)).copied()
    }
}

fn take_byte(from: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = from.split_first()?;
    *from = rest;
    Some(byte)
}

/// An address as its bytes and its port; nothing for none.
fn put_address(out: &mut Vec<u8>, addr: Option<SocketAddr>) {
    let Some(addr) = addr else { return put_bytes(out, b"") };
    let mut bytes = match addr.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend_from_slice(&addr.port().to_be_bytes());
    put_bytes(out, &bytes);
}

fn take_address(from: &mut &[u8]) -> Option<Option<SocketAddr>> {
    match take_bytes(from)? {
        b"" => Some(None),
        bytes => address(bytes).map(Some),
    }
}

fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = match (<[u8; 4]>::try_from(ip), <[u8; 16]>::try_from(ip)) {
        (Ok(v4), _) => IpAddr::from(v4),
        (_, Ok(v6)) => IpAddr::from(v6),
        (Err(_), Err(_)) => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

fn put_announced(out: &mut Vec<u8>, announced: Announced) {
    match announced {
        Announced::Nothing => out.push(0),
        Announced::Nobody => out.push(1),
        Announced::Awaited => out.push(2),
        Announced::Client(addr) => {
            out.push(3);
            put_address(out, Some(addr));
        }
    }
}

fn take_announced(from: &mut &[u8]) -> Option<Announced> {
    Some(match take_byte(from)? {
        0 => Announced::Nothing,
        1 => Announced::Nobody,
        2 => Announced::Awaited,
        3 => Announced::Client(take_address(from)??),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_read_as_it_was_written_and_never_cut_or_lengthened() {
        let (v4, v6) = ("1.2.3.4:5".parse().unwrap(), "[::1]:80".parse().unwrap());
        let inputs = [
            Input::Wake(123_456_789),
            Input::Connect(Some(v4), Hop::Ip([1, 2, 3, 4].into()), Announced::Nothing),
            Input::Connect(None, Hop::Unix, Announced::Client(v6)),
            Input::Connect(Some(v6), Hop::Unknown, Announced::Awaited),
            Input::Ready(7 << 32 | 9, 5),
            Input::Turn,
            Input::Drain,
            Input::Stop,
            Input::DropAll,
            Input::Deaf,
            Input::Reload,
        ];
        let calls = [
            Call::Read(b"bytes".into()),
            Call::Read(b"".into()),
            Call::NotRead(Failure::WouldBlock),
            Call::Write(70_000, 66, 0x1234_5678),
            Call::NotWritten(9, Failure::Broken),
            Call::Shut(true),
            Call::NotResumed,
            Call::Held(1 << 20),
            Call::Announced(Announced::Nobody),
            Call::Gone,
        ];
        let others = [
            Other::Answer(b"{}".into()),
            Other::Settings(true, "deflate = true".into()),
            Other::Settings(false, "deflate = true".into()),
            Other::End("the server has ended".into()),
        ];
        let inputs = inputs.into_iter().map(Entry::Input);
        let calls = calls.into_iter().map(|call| Entry::Call(300, call));
        for entry in inputs.chain(calls).chain(others.into_iter().map(Entry::Other)) {
            let mut out = Vec::new();
            entry.write(&mut out);
            assert_eq!(Entry::read(&out), Some(entry.clone()));
            for len in 0..out.len() {
                assert_eq!(Entry::read(&out[..len]), None, "{entry:?} cut to {len}");
            }
            out.push(0);
            assert_eq!(Entry::read(&out), None, "{entry:?} with a byte more");
        }
    }
}
