//! Fan-out: what is published to a room of a thousand reaches every member, alone and eight at a time.
#![forbid(unsafe_code)]

mod stage;

use criterion::{Criterion, Throughput};
use stage::{Stage, text_frames};

const MEMBERS: usize = 1000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for pending in [1, 8] {
        deliver(&mut criterion, 64, pending);
    }
    criterion.final_summary();
}

/// A member publishes `pending` messages of `len` bytes at once; each member gets them in one write.
fn deliver(criterion: &mut Criterion, len: usize, pending: usize) {
    let (sent, received) = text_frames(len);
    let (sent, received) = (sent.repeat(pending), received.repeat(pending));
    let mut stage = Stage::new();
    let clients: Vec<_> = (0..MEMBERS).map(|_| stage.open("/room")).collect();
    let mut group = criterion.benchmark_group("fanout");
    group.throughput(Throughput::Elements((MEMBERS * pending) as u64));
    group.bench_function(format!("{MEMBERS} members/{pending} pending"), |b| {
        b.iter(|| {
            stage.send(&clients[0], &sent);
            stage.turn();
            for client in &clients {
                client.take(|bytes| assert_eq!(bytes, received));
            }
        });
    });
    group.finish();
}
