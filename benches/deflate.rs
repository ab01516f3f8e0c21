//! Compression of whole messages, RFC 7692: what a message costs to deflate and to inflate.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use fanline::ws::deflate::{Deflater, Inflater};
use fanline::ws::extension::negotiate_deflate;

/// Messages like those of a chat, one after the other until there are `len` bytes.
fn json(len: usize) -> Vec<u8> {
    let message =
        |i: usize| format!(r#"{{"id":{},"from":"user-{}","text":"message {i}"}},"#, i * 7919, i % 13);
    (0..).flat_map(|i| message(i).into_bytes()).take(len).collect()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let offer = [&b"permessage-deflate"[..]];
    let params = negotiate_deflate(offer.into_iter()).expect("a list").expect("an agreement");
    let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
    let mut group = criterion.benchmark_group("deflate");
    for len in [256, 4 << 10, 64 << 10] {
        let plain = json(len);
        let compressed = deflater.deflate(params, &plain).expect("a shorter message").to_vec();
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("deflate/{len}"), |b| {
            b.iter(|| assert_eq!(deflater.deflate(params, black_box(&plain)), Some(&*compressed)));
        });
        group.bench_function(format!("inflate/{len}"), |b| {
            b.iter(|| assert_eq!(inflater.inflate(black_box(&compressed), len).as_ref(), Ok(&plain)));
        });
    }
    group.finish();
    criterion.final_summary();
}
