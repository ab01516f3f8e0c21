//! Frames: a header read, a message taken out of the input, a frame written, RFC 6455 §5.2.
#![forbid(unsafe_code)]

mod stage;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use fanline::input::Input;
use fanline::spare::Spares;
use fanline::ws::deflate::Inflater;
use fanline::ws::frame::{FrameHeader, Opcode, write_frame};
use fanline::ws::message::Received;
use fanline::ws::session::{Incoming, Session, Workbench};
use stage::text_frames;

/// One length for each of the short headers, and one that takes a while to unmask.
const LENS: [usize; 3] = [32, 1000, 60_000];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for len in LENS {
        let (sent, received) = text_frames(len);
        read_header(&mut criterion, len, &sent);
        read_message(&mut criterion, len, &sent);
        write(&mut criterion, len, &received);
    }
    criterion.final_summary();
}

fn read_header(criterion: &mut Criterion, len: usize, sent: &[u8]) {
    criterion.bench_function(&format!("frame/header/{len}"), |b| {
        b.iter(|| {
            let (header, header_len) = FrameHeader::parse(black_box(sent)).expect("valid").expect("whole");
            assert_eq!((header.len as usize, header_len + len), (len, sent.len()));
        });
    });
}

fn read_message(criterion: &mut Criterion, len: usize, sent: &[u8]) {
    let (mut session, mut inflater) = (Session::new(None), Inflater::default());
    let mut spares = Spares::default();
    let mut bench = Workbench {
        message_bytes_max: len,
        inflater: &mut inflater,
        spares: &mut spares,
        frames: usize::MAX,
    };
    let mut buffer = sent.to_vec();
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Bytes(len as u64));
    group.bench_function(format!("message/{len}"), |b| {
        b.iter(|| {
            buffer.copy_from_slice(sent);
            let mut input = Input::new(&mut buffer);
            let incoming = session.next(&mut input, &mut bench).expect("valid");
            assert!(matches!(incoming, Some(Incoming::Message(Received::Text(text))) if text.len() == len));
        });
    });
    group.finish();
}

fn write(criterion: &mut Criterion, len: usize, received: &[u8]) {
    let (payload, mut out) = (vec![b'x'; len], Vec::new());
    criterion.bench_function(&format!("frame/write/{len}"), |b| {
        b.iter(|| {
            out.clear();
            write_frame(&mut out, Opcode::Text, false, black_box(&payload));
            assert_eq!(out.len(), received.len());
        });
    });
    assert_eq!(out, received);
}
