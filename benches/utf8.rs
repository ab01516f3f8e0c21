//! Validating text: whole messages and text in pieces beside what std does, RFC 6455 §8.1.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use fanline::ws::utf8::Utf8Stream;

/// Pieces as they come from a socket, here and there cut inside a character.
const PIECE: usize = 1021;

fn in_pieces(bytes: &[u8], text: &mut String) {
    text.clear();
    let mut utf8 = Utf8Stream::default();
    for piece in bytes.chunks(PIECE) {
        utf8.append(piece, text).expect("UTF-8");
    }
    assert!(utf8.is_complete());
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("utf8");
    for (kind, pattern) in [("ascii", "The quick brown fox. "), ("mixed", "Füße, 房间, 🙂 and so on. ")]
    {
        for len in [64, 125, 4 << 10] {
            let whole = pattern.repeat(len / pattern.len() + 1);
            let bytes = whole.as_bytes();
            let mut text = String::new();
            in_pieces(bytes, &mut text);
            assert_eq!(text, whole);
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_function(format!("std/{kind}/{len}"), |b| {
                b.iter(|| assert!(std::str::from_utf8(black_box(bytes)).is_ok()));
            });
            group.bench_function(format!("whole/{kind}/{len}"), |b| {
                b.iter(|| assert!(simdutf8::basic::from_utf8(black_box(bytes)).is_ok()));
            });
            group.bench_function(format!("pieces/{kind}/{len}"), |b| {
                b.iter(|| in_pieces(black_box(bytes), &mut text));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}
