//! Sending and receiving messages, RFC 6455 §6.

use fanline::OwnedMessage;

use crate::frames::{self, BINARY, CLOSE, CONTINUATION, Got, TEXT, frame};
use crate::http::{ask, read_answer};
use crate::wire_transport::{Call, Reaction, Recorder, Served};

/// A server with a client that has come in.
fn open(handler: Recorder) -> Served<Recorder> {
    let mut served = Served::new(handler, Default::default());
    served.send(&ask().bytes());
    assert_eq!(read_answer(&served.received()).0.status, 101);
    served
}

#[test]
fn row_22_s5_2_own_lengths_are_minimal_and_own_frames_final_and_unmasked() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
        let payload = vec![b'x'; len];
        let mut served = open(Recorder::default());
        served.send(&frame(TEXT).payload(&payload).bytes());
        // The reader insists on no mask and on minimal lengths.
        let want = Got { bits: 0x80, opcode: TEXT, payload };
        assert!(frames::read_server(&served.received()) == [want], "{len} bytes");
    }
}

#[test]
fn row_21_s6_1_text_stays_text_and_binary_stays_binary() {
    let mut served = open(Recorder::default());
    served.send(&[frames::text("房"), frames::binary("房"), frames::binary([0xff, 0])].concat());
    let opcodes: Vec<u8> = frames::read_server(&served.received()).iter().map(|frame| frame.opcode).collect();
    assert_eq!(opcodes, [TEXT, BINARY, BINARY]);
    let messages = [
        OwnedMessage::Text("房".into()),
        OwnedMessage::Binary("房".into()),
        OwnedMessage::Binary(vec![0xff, 0]),
    ];
    assert_eq!(served.calls()[1..], messages.map(Call::Message));
}

#[test]
fn row_21_s6_1_several_mebibytes_go_in_and_come_out_unchanged() {
    let payload: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut served = open(Recorder::default());
    let bytes = frames::binary(&payload);
    bytes.chunks(100_000).for_each(|piece| served.send(piece));
    assert!(frames::read_server(&served.received()) == [Got { bits: 0x80, opcode: BINARY, payload }]);
}

#[test]
fn s6_2_a_fragmented_message_reaches_the_handler_once_and_whole() {
    let mut served = open(Recorder::default());
    let pieces = [
        frame(TEXT).fin(false).payload("a"),
        frame(CONTINUATION).fin(false).payload("b"),
        frame(CONTINUATION).payload("c"),
    ];
    pieces.iter().for_each(|piece| served.send(&piece.bytes()));
    assert_eq!(served.calls()[1..], [Call::Message(OwnedMessage::Text("abc".into()))]);
}

#[test]
fn s6_1_no_message_leaves_after_the_close() {
    let mut served =
        open(Recorder { reaction: Reaction::Close(4000, "enough".into()), ..Recorder::default() });
    served.send(&[frames::text("one"), frames::text("two"), frames::ping("p")].concat());
    let frames = frames::read_server(&served.received());
    assert_eq!(frames.iter().map(|frame| frame.opcode).collect::<Vec<_>>(), [CLOSE]);
    let messages = served.calls().iter().filter(|call| matches!(call, Call::Message(_))).count();
    assert_eq!(messages, 1, "what crosses our Close is passed over");
}
