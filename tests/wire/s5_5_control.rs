//! Ping and Pong, and what holds of every control frame, RFC 6455 §5.5.

use crate::feed::{Rig, Row, Start, row, text};
use crate::frames::{self, CLOSE, PING, PONG, frame, server};

#[test]
fn s5_5_2_a_ping_is_answered_with_a_pong_of_the_same_payload() {
    let rows: Vec<Row> = [0, 1, 4, 124, 125]
        .into_iter()
        .map(|len| {
            let payload: Vec<u8> = (0..len).map(|i| i as u8 ^ 0xc3).collect();
            row(&format!("{len} bytes"), frames::ping(&payload)).answers(server(PONG, &payload))
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn s5_5_2_each_of_several_pings_is_answered_in_order() {
    let pings: Vec<u8> = (0..10u8).flat_map(|i| frames::ping([i])).collect();
    let pongs: Vec<u8> = (0..10u8).flat_map(|i| server(PONG, [i])).collect();
    Start::open().check(&[row("ten pings", pings).answers(pongs)]);
}

#[test]
fn s5_5_3_of_more_pings_than_may_wait_the_latest_is_answered() {
    let mut rig = Rig::new(&Start::open());
    let pings: Vec<u8> = (0..100u8).flat_map(|i| frames::ping([i; 125])).collect();
    rig.feed(&pings);
    let pongs = frames::read_server(&rig.sent);
    assert_eq!(pongs.last().map(|pong| pong.payload.clone()), Some(vec![99; 125]));
    assert!(pongs.iter().all(|pong| pong.opcode == PONG), "{pongs:?}");
    assert!(rig.sent.len() <= Start::open().limits.control_bytes_max);
}

#[test]
fn s5_5_3_a_pong_that_nobody_asked_for_is_not_answered() {
    let bytes = [frames::pong(""), frames::pong("unasked"), frames::text("t")].concat();
    Start::open().check(&[row("pongs", bytes).gives(text("t"))]);
}

#[test]
fn s5_5_a_control_frame_above_125_bytes_is_1002() {
    let rows: Vec<Row> = [CLOSE, PING, PONG]
        .into_iter()
        .flat_map(|opcode| {
            [frame(opcode).payload([0; 126]), frame(opcode).claims_64(65_536), frame(opcode).claims_16(5)]
        })
        .enumerate()
        .map(|(at, frame)| {
            row(&format!("row {at}"), frame.bytes()).fails(1002, "control frame above 125 bytes")
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn s5_5_a_fragmented_control_frame_is_1002() {
    let rows = [CLOSE, PING, PONG].map(|opcode| {
        let bytes = frame(opcode).fin(false).payload("ab").bytes();
        row(&format!("opcode {opcode}"), bytes).fails(1002, "fragmented control frame")
    });
    Start::open().check(&rows);
}

#[test]
fn s5_5_2_a_ping_of_another_kind_of_payload_is_no_text() {
    // A Ping's payload is application data of no type: bytes that are not UTF-8 come back as they are.
    let payload = [0xff, 0xc0, 0x80, 0xed];
    Start::open().check(&[row("not UTF-8", frames::ping(payload)).answers(server(PONG, payload))]);
}
