//! Masking, RFC 6455 §5.3.

use crate::feed::{Rig, Row, Start, binary, row};
use crate::frames::{self, BINARY, CONTINUATION, frame};

#[test]
fn row_16_s5_3_the_mask_keeps_its_phase_across_reads_of_any_size() {
    let payload: Vec<u8> = (0..1009u32).map(|i| (i * 7 % 256) as u8).collect();
    let bytes = frame(BINARY).masked([0x01, 0x22, 0x43, 0x84]).payload(&payload).bytes();
    for size in 1..=67 {
        let mut rig = Rig::new(&Start::open());
        bytes.chunks(size).for_each(|piece| rig.feed(piece));
        assert_eq!(rig.seen, [binary(&payload)], "in reads of {size} bytes");
    }
}

#[test]
fn row_16_s5_3_a_payload_is_unmasked_at_any_alignment() {
    let rows: Vec<Row> = (0..40)
        .map(|len| {
            // Frames before it move the payload by one byte each time.
            let before = frames::binary(vec![0xaa; len % 8]);
            let payload: Vec<u8> = (0..len).map(|i| i as u8 ^ 0x5a).collect();
            let bytes = frame(BINARY).masked([0xde, 0xad, 0xbe, 0xef]).payload(&payload).bytes();
            row(&format!("{len} bytes"), [before, bytes].concat())
                .gives(binary(vec![0xaa; len % 8]))
                .gives(binary(&payload))
        })
        .collect();
    Start::open().check(&rows);
}

#[test]
fn s5_3_every_frame_has_its_own_key_and_begins_at_its_first_octet() {
    let keys = [[0, 0, 0, 0], [0xff, 0xff, 0xff, 0xff], [1, 2, 3, 4], [0x80, 0, 0, 1], [9, 9, 9, 8]];
    let message: Vec<u8> = keys
        .iter()
        .enumerate()
        .flat_map(|(i, key)| {
            let opcode = if i == 0 { BINARY } else { CONTINUATION };
            frame(opcode).fin(i == 4).masked(*key).payload([i as u8; 7]).bytes()
        })
        .collect();
    let want: Vec<u8> = (0..5).flat_map(|i| [i; 7]).collect();
    Start::open().check(&[row("five fragments of seven bytes", message).gives(binary(want))]);
}

#[test]
fn s5_3_the_length_is_that_of_the_payload_without_the_key() {
    let bytes = [frames::binary("four"), frames::binary("")].concat();
    let rows = [row("four, none", bytes).gives(binary("four")).gives(binary(""))];
    Start::open().check(&rows);
}
