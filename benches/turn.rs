//! Turns of the engine: an echo from the transport through the handler and back, and a connection's whole life.
#![forbid(unsafe_code)]

mod stage;

use criterion::{Criterion, Throughput};
use stage::{ECHO, Stage, text_frames};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (len, in_flight) in [(32, 1), (125, 32), (16 << 10, 1)] {
        echo(&mut criterion, len, in_flight);
    }
    connect(&mut criterion);
    criterion.final_summary();
}

/// `in_flight` messages of `len` bytes come in one read; their echoes leave in one write.
fn echo(criterion: &mut Criterion, len: usize, in_flight: usize) {
    let (sent, received) = text_frames(len);
    let (sent, received) = (sent.repeat(in_flight), received.repeat(in_flight));
    let mut stage = Stage::new();
    let client = stage.open(ECHO);
    let mut group = criterion.benchmark_group("turn");
    group.throughput(Throughput::Elements(in_flight as u64));
    group.bench_function(format!("echo/{len} x {in_flight}"), |b| {
        b.iter(|| {
            stage.send(&client, &sent);
            stage.turn();
            client.take(|bytes| assert_eq!(bytes, received));
        });
    });
    group.finish();
}

fn connect(criterion: &mut Criterion) {
    let mut stage = Stage::new();
    criterion.bench_function("turn/handshake", |b| {
        b.iter(|| {
            let client = stage.open(ECHO);
            stage.hang_up(&client);
            assert_eq!(stage.connections(), 0);
        });
    });
}
