//! A small server with planted faults, to see that the cases can fail: each fault must be found by name.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::case::{Case, Fault};
use super::target::{Bounds, Target};
use crate::client::frame::{CLOSE, CONTINUATION, Frame, PING, PONG, TEXT};
use crate::client::head::accept_of;

/// What the server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    WrongAccept,
    IgnoresVersion,
    MasksItsFrames,
    WritesLongLengths,
    TakesUnmasked,
    TakesReservedBits,
    EchoesBadUtf8,
    AnswersWrongPongs,
    DropsContinuations,
    NeverEndsTcp,
    TalksAfterClose,
    ClosesWithWrongCode,
    AgreesToEveryOffer,
    HasNoLimit,
    Hangs,
}

/// Each fault and cases that must find it; all of them pass without the fault.
const FINDS: &[(Planted, &[&str])] = &[
    (
        Planted::WrongAccept,
        &["s4_2_1_the_shortest_request_opens", "s4_2_2_the_sample_key_gives_the_sample_accept"],
    ),
    (Planted::IgnoresVersion, &["s4_4_version_7_is_426_and_names_13"]),
    (
        Planted::MasksItsFrames,
        &["s5_2_the_server_writes_length_125_minimally_and_unmasked", "s5_2_a_text_message_of_1_bytes"],
    ),
    (Planted::WritesLongLengths, &["s5_2_the_server_writes_length_125_minimally_and_unmasked"]),
    (Planted::TakesUnmasked, &["s5_1_unmasked_text_is_1002", "s5_1_unmasked_ping_is_1002"]),
    (Planted::TakesReservedBits, &["s5_2_rsv1_on_text_is_1002", "s5_2_all_rsv_bits_on_binary_is_1002"]),
    (
        Planted::EchoesBadUtf8,
        &["s8_1_the_impossible_byte_ff_is_1007", "s8_1_the_surrogate_d800_across_fragments_is_1007"],
    ),
    (Planted::AnswersWrongPongs, &["s5_5_2_a_ping_of_2_bytes_comes_back_as_a_pong"]),
    (Planted::DropsContinuations, &["s5_4_text_of_two_parts", "s5_4_binary_of_a_part_per_byte"]),
    (
        Planted::NeverEndsTcp,
        &["s7_1_1_the_server_ends_tcp_after_the_close_handshake", "s5_5_1_close_echoes_the_code_1000"],
    ),
    (Planted::TalksAfterClose, &["s5_5_1_a_text_message_after_a_close_is_ignored"]),
    (Planted::ClosesWithWrongCode, &["s5_1_unmasked_text_is_1002", "s7_4_code_1005_is_1002"]),
    (
        Planted::AgreesToEveryOffer,
        &["rfc7692_s7_1_an_unknown_parameter_declines_the_offer", "s9_1_an_unknown_extension_is_ignored"],
    ),
    (Planted::HasNoLimit, &["s10_4_a_header_of_one_byte_over_is_1009_before_the_payload"]),
    (Planted::Hangs, &["s5_2_a_text_message_of_1_bytes"]),
];

/// The largest frame that the server takes.
const MESSAGE_BYTES_MAX: u64 = 1 << 16;

/// Serves until the test process ends.
fn serve(planted: Planted) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // An error here is a client that went away.
            thread::spawn(move || Peer { stream, planted }.live());
        }
    });
    address
}

struct Peer {
    stream: TcpStream,
    planted: Planted,
}

impl Peer {
    fn live(mut self) -> io::Result<()> {
        if !self.shake_hands()? {
            return Ok(());
        }
        let (mut opcode, mut message) = (CONTINUATION, Vec::new());
        loop {
            let (first, payload) = match self.read_frame()? {
                Ok(frame) => frame,
                Err(code) => return self.close(&code.to_be_bytes()),
            };
            match first & 0x0F {
                CLOSE => return self.close(&checked_close(&payload)),
                PING if self.planted == Planted::AnswersWrongPongs => self.write(PONG, b"")?,
                PING => self.write(PONG, &payload)?,
                PONG => {}
                kind => {
                    if kind == CONTINUATION && self.planted == Planted::DropsContinuations {
                        continue;
                    }
                    opcode = if kind == CONTINUATION { opcode } else { kind };
                    message.extend(payload);
                    if first & 0x80 == 0 {
                        continue;
                    }
                    let is_bad = opcode == TEXT && std::str::from_utf8(&message).is_err();
                    if is_bad && self.planted != Planted::EchoesBadUtf8 {
                        return self.close(&1007_u16.to_be_bytes());
                    }
                    self.write(opcode, &std::mem::take(&mut message))?;
                }
            }
        }
    }

    fn shake_hands(&mut self) -> io::Result<bool> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.byte()?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if field("Sec-WebSocket-Version:") != Some("13") && self.planted != Planted::IgnoresVersion {
            self.stream.write_all(b"HTTP/1.1 426 No\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(false);
        }
        let key = field("Sec-WebSocket-Key:").unwrap_or_default();
        let accept = if self.planted == Planted::WrongAccept { key.to_owned() } else { accept_of(key) };
        let is_agreed =
            self.planted == Planted::AgreesToEveryOffer && field("Sec-WebSocket-Extensions:").is_some();
        let extensions = if is_agreed { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let answer = format!(
            "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{extensions}Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.stream.write_all(answer.as_bytes())?;
        Ok(true)
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// The first byte and the payload, or the code of a violation.
    fn read_frame(&mut self) -> io::Result<Result<(u8, Vec<u8>), u16>> {
        let (first, second) = (self.byte()?, self.byte()?);
        let is_masked = second & 0x80 != 0;
        if (!is_masked && self.planted != Planted::TakesUnmasked)
            || (first & 0x70 != 0 && self.planted != Planted::TakesReservedBits)
        {
            return Ok(Err(if self.planted == Planted::ClosesWithWrongCode { 1000 } else { 1002 }));
        }
        let mut length = u64::from(second & 0x7F);
        let extended = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if extended > 0 {
            length = 0;
        }
        for _ in 0..extended {
            length = length << 8 | u64::from(self.byte()?);
        }
        if length > MESSAGE_BYTES_MAX && self.planted != Planted::HasNoLimit {
            return Ok(Err(1009));
        }
        let mut key = [0; 4];
        if is_masked {
            self.stream.read_exact(&mut key)?;
        }
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload)?;
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        Ok(Ok((first, payload)))
    }

    fn write(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let frame = Frame::new(opcode, payload);
        let bytes = match self.planted {
            Planted::Hangs if opcode == TEXT => return Ok(()),
            Planted::MasksItsFrames => frame.encode(),
            Planted::WritesLongLengths => frame.unmasked().length16().encode(),
            _ => frame.unmasked().encode(),
        };
        self.stream.write_all(&bytes)
    }

    fn close(&mut self, payload: &[u8]) -> io::Result<()> {
        let payload = if self.planted == Planted::ClosesWithWrongCode { &[0x03, 0xE8] } else { payload };
        self.write(CLOSE, payload)?;
        if self.planted == Planted::TalksAfterClose {
            self.write(TEXT, b"one more thing")?;
        }
        if self.planted == Planted::NeverEndsTcp {
            thread::sleep(Duration::from_secs(2));
        }
        self.stream.shutdown(Shutdown::Write)?;
        // What the client still says is read, so that no reset overtakes the Close.
        io::copy(&mut self.stream, &mut io::sink()).map(|_| ())
    }
}

/// The answer to a Close: its code, or 1002 for a code that is never sent.
fn checked_close(payload: &[u8]) -> Vec<u8> {
    match payload {
        [high, low, ..] if matches!(u16::from_be_bytes([*high, *low]), 1000..=1003 | 1007..=1014 | 3000..=4999) =>
        {
            vec![*high, *low]
        }
        [] => Vec::new(),
        _ => 1002_u16.to_be_bytes().to_vec(),
    }
}

fn target(planted: Planted) -> Target {
    let bounds = Bounds {
        connection: Duration::from_millis(800),
        close: Duration::from_millis(400),
        fail_fast: Duration::from_millis(50),
    };
    let mut target = Target::new(&format!("ws://{}/", serve(planted)), bounds).expect("a URL");
    target.message_bytes_max = Some(MESSAGE_BYTES_MAX);
    target
}

fn named<'a>(cases: &'a [Case], name: &str) -> &'a Case {
    cases.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case is called {name}"))
}

#[test]
fn a_server_without_faults_passes_the_cases_that_find_them() {
    let (cases, target) = (super::all_cases(), target(Planted::Nothing));
    for name in FINDS.iter().flat_map(|(_, names)| *names) {
        assert_eq!(named(&cases, name).run(&target), Ok(()), "{name}");
    }
}

#[test]
fn each_planted_fault_is_found_by_the_cases_named_for_it() {
    let cases = super::all_cases();
    for (planted, names) in FINDS {
        let target = target(*planted);
        for name in *names {
            let outcome = named(&cases, name).run(&target);
            assert!(matches!(outcome, Err(Fault::Failed(_))), "{planted:?}: {name} gave {outcome:?}");
        }
    }
}

#[test]
fn a_server_without_deflate_has_its_cases_skipped_in_words() {
    let (cases, target) = (super::all_cases(), target(Planted::Nothing));
    let outcome = named(&cases, "rfc7692_s7_2_3_1_hello_in_one_block").run(&target);
    assert_eq!(outcome, Err(Fault::Skipped("the server does not negotiate permessage-deflate".to_owned())));
}

#[test]
fn an_unknown_limit_skips_the_cases_that_need_it() {
    let (cases, mut target) = (super::all_cases(), target(Planted::Nothing));
    target.message_bytes_max = None;
    let outcome = named(&cases, "s10_4_a_message_one_byte_over_the_limit_is_1009").run(&target);
    assert!(matches!(outcome, Err(Fault::Skipped(_))), "{outcome:?}");
}
