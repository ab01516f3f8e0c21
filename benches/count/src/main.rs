//! What `count.sh` counts the instructions of: `count CASE REPETITIONS` does a case so many times, and prints how
//! many units that were.
#![forbid(unsafe_code)]

#[path = "../../stage/mod.rs"]
mod stage;

use fanline::input::Input;
use fanline::spare::Spares;
use fanline::ws::deflate::Inflater;
use fanline::ws::message::Received;
use fanline::ws::session::{Incoming, Session, Workbench};
use stage::{ECHO, Stage, text_frames};

/// Does its case `repetitions` times and returns how many units that were.
type Case = fn(repetitions: usize) -> usize;

const CASES: &[(&str, Case)] = &[
    ("frame", |repetitions| parse_frames(repetitions, 32, 32)),
    ("echo", |repetitions| echo(repetitions, 32, 1, true)),
    ("echo-unmeasured", |repetitions| echo(repetitions, 32, 1, false)),
    ("echo-pipelined", |repetitions| echo(repetitions, 125, 32, true)),
    ("delivery", |repetitions| fan_out(repetitions, 1000, 64, 1, true)),
    ("delivery-unmeasured", |repetitions| fan_out(repetitions, 1000, 64, 1, false)),
    ("delivery-8-pending", |repetitions| fan_out(repetitions, 1000, 64, 8, true)),
    ("delivery-8-unmeasured", |repetitions| fan_out(repetitions, 1000, 64, 8, false)),
    ("handshake", handshake),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [asked, repetitions] = args.as_slice() else { panic!("count CASE REPETITIONS") };
    let (_, case) = CASES.iter().find(|(name, _)| name == asked).expect("the name of a case");
    println!("{}", case(repetitions.parse().expect("a number of repetitions")));
}

/// Frames of `len` bytes of text, so many in one read: header, mask, UTF-8.
fn parse_frames(repetitions: usize, len: usize, in_one_read: usize) -> usize {
    let sent = text_frames(len).0.repeat(in_one_read);
    let (mut session, mut inflater) = (Session::new(None), Inflater::default());
    let mut spares = Spares::default();
    let mut bench = Workbench {
        message_bytes_max: 1 << 20,
        inflater: &mut inflater,
        spares: &mut spares,
        frames: usize::MAX,
    };
    let (mut buffer, mut frames) = (sent.clone(), 0);
    for _ in 0..repetitions {
        buffer.copy_from_slice(&sent);
        let mut input = Input::new(&mut buffer);
        while let Some(incoming) = session.next(&mut input, &mut bench).expect("no violation") {
            assert!(matches!(&incoming, Incoming::Message(Received::Text(text)) if text.len() == len));
            frames += 1;
        }
    }
    assert_eq!(frames, repetitions * in_one_read);
    frames
}

/// Echoes of `len` bytes through the whole engine, so many of them sent at once.
fn echo(repetitions: usize, len: usize, in_flight: usize, ledger: bool) -> usize {
    let (sent, received) = text_frames(len);
    let (sent, received) = (sent.repeat(in_flight), received.repeat(in_flight));
    let mut stage = Stage::measured(ledger);
    let client = stage.open(ECHO);
    for _ in 0..repetitions {
        stage.send(&client, &sent);
        stage.turn();
        client.take(|bytes| assert_eq!(bytes, received));
    }
    repetitions * in_flight
}

/// Deliveries of `len` bytes to the members of a room, each of whom gets `pending` of them at once.
fn fan_out(repetitions: usize, members: usize, len: usize, pending: usize, ledger: bool) -> usize {
    let (sent, received) = text_frames(len);
    let (sent, received) = (sent.repeat(pending), received.repeat(pending));
    let mut stage = Stage::measured(ledger);
    let clients: Vec<_> = (0..members).map(|_| stage.open("/room")).collect();
    for _ in 0..repetitions {
        stage.send(&clients[0], &sent);
        stage.turn();
        for client in &clients {
            client.take(|bytes| assert_eq!(bytes, received));
        }
    }
    repetitions * members * pending
}

/// Connections from their first byte to their end.
fn handshake(repetitions: usize) -> usize {
    let mut stage = Stage::new();
    for _ in 0..repetitions {
        let client = stage.open(ECHO);
        stage.hang_up(&client);
    }
    assert_eq!(stage.connections(), 0);
    repetitions
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_does_what_it_counts() {
        for (name, case) in super::CASES {
            assert_eq!(case(2), 2 * case(1), "{name}");
        }
    }
}
