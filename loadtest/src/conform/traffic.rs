//! Mixed traffic out of a seed: messages, fragments, pings and compression, cut anywhere, RFC 6455 §5 and RFC 7692 §6.

use fastrand::Rng;

use super::agreed::Agreed;
use super::case::{Case, Outcome, fail};
use super::deflate::OFFER;
use super::script::{same, still_lives, words};
use super::target::Target;
use crate::client::deflate::Deflater;
use crate::client::frame::{BINARY, Frame, RSV1, TEXT};
use crate::client::socket::{Heard, Socket};
use crate::client::wire::Feed;

const SEEDS: u64 = 12;

const MESSAGES: usize = 60;

/// Sizes worth meeting; each is varied a little.
const SIZES: [usize; 10] = [0, 1, 20, 125, 126, 300, 4090, 16_380, 65_535, 70_000];

/// What is sent, and what must come back: the messages in their order, and the Pongs in theirs.
#[derive(Default)]
struct Traffic {
    bytes: Vec<u8>,
    messages: Vec<(u8, Vec<u8>)>,
    pings: Vec<Vec<u8>>,
}

/// The cases of mixed traffic.
pub(super) fn cases() -> Vec<Case> {
    let cases = (1..=SEEDS).flat_map(|seed| {
        [
            Case::new(format!("s5_4_mixed_traffic_of_seed_{seed}"), move |target| {
                exchange(target, &mut target.open()?, seed, None)
            }),
            Case::new(format!("rfc7692_s6_mixed_traffic_of_seed_{seed}"), move |target| {
                let (mut socket, agreed) = target.open_deflate(OFFER)?;
                exchange(target, &mut socket, seed, Some(&agreed))
            }),
        ]
    });
    cases.collect()
}

fn exchange(target: &Target, socket: &mut Socket, seed: u64, agreed: Option<&Agreed>) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let traffic = generate(&mut random, agreed.map(Agreed::deflater));
    // Small pieces, which take their time, for the first half of the seeds.
    let most = if seed <= SEEDS / 2 { 4000 } else { 200_000 };
    socket.send_aside(traffic.bytes, Feed::Chunks(random.usize(500..most)))?;
    let (mut messages, mut pings) = (traffic.messages.iter(), traffic.pings.as_slice());
    let mut next = messages.next();
    while next.is_some() || !pings.is_empty() {
        match (socket.hear()?, next) {
            (Heard::Message(message), Some((opcode, payload))) => {
                same(&message, *opcode, payload)?;
                next = messages.next();
            }
            (Heard::Pong(payload), _) => pings = answered(target, pings, &payload)?,
            (other, _) => return fail(format!("heard {} in the midst of traffic", words(&other))),
        }
    }
    still_lives(socket)
}

/// §5.5.3: one Pong may answer several Pings, the latest among them.
fn answered<'a>(
    target: &Target,
    pings: &'a [Vec<u8>],
    pong: &[u8],
) -> Result<&'a [Vec<u8>], super::case::Fault> {
    match pings.iter().position(|ping| ping == pong) {
        Some(0) => Ok(&pings[1..]),
        Some(place) if !target.strict => Ok(&pings[place + 1..]),
        Some(place) => fail(format!("{place} Pings were passed over")),
        None => fail("a Pong for no Ping"),
    }
}

fn generate(random: &mut Rng, mut deflater: Option<Deflater>) -> Traffic {
    let mut traffic = Traffic::default();
    for _ in 0..MESSAGES {
        let size = SIZES[random.usize(..SIZES.len())] + random.usize(..5);
        let (opcode, payload) =
            if random.bool() { (TEXT, text(random, size)) } else { (BINARY, bytes(random, size)) };
        match &mut deflater {
            Some(deflater) if random.bool() => {
                traffic.frames(random, opcode, &deflater.message(&payload), RSV1)
            }
            _ => traffic.frames(random, opcode, &payload, 0),
        }
        traffic.messages.push((opcode, payload));
    }
    traffic
}

/// Characters of one to four bytes.
fn text(random: &mut Rng, size: usize) -> Vec<u8> {
    let characters = ['a', 'z', ' ', '\u{e9}', '\u{6b22}', '\u{1f600}'];
    let mut text = String::new();
    while text.len() < size {
        text.push(characters[random.usize(..characters.len())]);
    }
    text.into_bytes()
}

/// Bytes that shrink a little.
fn bytes(random: &mut Rng, size: usize) -> Vec<u8> {
    (0..size).map(|_| random.u8(..) & 0x8F).collect()
}

impl Traffic {
    fn frames(&mut self, random: &mut Rng, opcode: u8, payload: &[u8], rsv: u8) {
        let mut rest = payload;
        let (mut opcode, mut rsv) = (opcode, rsv);
        while random.u8(..3) == 0 {
            let (part, after) = rest.split_at(random.usize(..=rest.len()));
            self.bytes.extend(Frame::new(opcode, part).rsv(rsv).more().encode());
            self.maybe_control(random);
            (opcode, rsv, rest) = (0, 0, after);
        }
        self.bytes.extend(Frame::new(opcode, rest).rsv(rsv).encode());
        self.maybe_control(random);
    }

    fn maybe_control(&mut self, random: &mut Rng) {
        match random.u8(..8) {
            0 => {
                let ping = format!("ping {}", self.pings.len()).into_bytes();
                self.bytes.extend(Frame::ping(ping.clone()).encode());
                self.pings.push(ping);
            }
            1 => self.bytes.extend(Frame::pong("unasked").encode()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_messages_again() {
        let first = generate(&mut Rng::with_seed(3), None);
        let again = generate(&mut Rng::with_seed(3), None);
        assert_eq!((first.messages, first.pings), (again.messages, again.pings));
    }
}
