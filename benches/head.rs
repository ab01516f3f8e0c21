//! The handshake without a connection: a browser's head found, parsed, judged and answered, RFC 6455 §4.2.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use fanline::Limits;
use fanline::http::head::{HeadReader, Request};
use fanline::http::upgrade::{Granted, Upgrade, accept_key};
use fanline::input::Input;

const HEAD: &[u8] = b"GET /rooms/kitchen?last=50 HTTP/1.1\r\n\
Host: chat.example.org\r\n\
Connection: Upgrade\r\n\
Pragma: no-cache\r\n\
Cache-Control: no-cache\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\n\
Upgrade: websocket\r\n\
Origin: https://chat.example.org\r\n\
Sec-WebSocket-Version: 13\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
Cookie: session=7d1f6e2b9c; theme=dark\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
\r\n";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Bytes(HEAD.len() as u64));
    find(&mut group);
    parse(&mut group);
    answer(&mut group);
    group.finish();
    criterion.final_summary();
}

type Group<'c> = criterion::BenchmarkGroup<'c, criterion::measurement::WallTime>;

fn find(group: &mut Group<'_>) {
    let (limits, mut bytes) = (Limits::default(), HEAD.to_vec());
    group.bench_function("find", |b| {
        b.iter(|| {
            let mut input = Input::new(black_box(&mut bytes));
            let head = HeadReader::default().read(&mut input, &limits).expect("a head").expect("whole");
            assert_eq!(head.len(), HEAD.len());
        });
    });
}

fn parse(group: &mut Group<'_>) {
    let limits = Limits::default();
    group.bench_function("parse", |b| {
        b.iter(|| {
            let request = Request::parse(black_box(HEAD), &limits).expect("a request");
            assert_eq!(request.path(), "/rooms/kitchen");
        });
    });
}

fn answer(group: &mut Group<'_>) {
    let request = Request::parse(HEAD, &Limits::default()).expect("a request");
    let mut out = Vec::new();
    group.bench_function("upgrade", |b| {
        b.iter(|| {
            out.clear();
            let upgrade = Upgrade::from_request(black_box(&request)).expect("valid").expect("an upgrade");
            upgrade.write(&mut out, &Granted::default());
            assert!(out.starts_with(b"HTTP/1.1 101"));
        });
    });
    group.bench_function("accept key", |b| {
        b.iter(|| {
            assert_eq!(accept_key(black_box(b"dGhlIHNhbXBsZSBub25jZQ==")), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        });
    });
}
