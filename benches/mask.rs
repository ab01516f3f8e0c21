//! Unmasking: words of eight bytes beside the definition, RFC 6455 §5.3, byte by byte.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use fanline::ws::mask::Mask;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The plain twin.
fn mask_bytewise(key: [u8; 4], bytes: &mut [u8]) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte ^= key[i % 4];
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("mask");
    for len in [32, 125, 4 << 10, 64 << 10] {
        let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let (mut masked, mut bytewise) = (plain.clone(), plain.clone());
        Mask::new(KEY).apply(&mut masked);
        mask_bytewise(KEY, &mut bytewise);
        assert_eq!(masked, bytewise, "{len} bytes");
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("words/{len}"), |b| {
            b.iter(|| Mask::new(black_box(KEY)).apply(black_box(&mut masked)));
        });
        group.bench_function(format!("bytewise/{len}"), |b| {
            b.iter(|| mask_bytewise(black_box(KEY), black_box(&mut bytewise)));
        });
    }
    group.finish();
    criterion.final_summary();
}
