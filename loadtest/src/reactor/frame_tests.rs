//! Frames cut anywhere, and what no server may send.

use super::*;

fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        medium @ 126..65_536 => {
            frame.push(126);
            frame.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

fn read(pieces: &[&[u8]]) -> Result<Vec<String>, Fault> {
    let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
    for piece in pieces {
        reader.feed(piece, |message| {
            seen.push(match message {
                Message::Text(text) => format!("text {} {:?}", text.len(), text.first()),
                other => format!("{other:?}"),
            });
        })?;
    }
    assert!(reader.partial.is_empty(), "a frame was left unfinished");
    Ok(seen)
}

#[test]
fn frames_say_the_same_however_they_are_cut() {
    let mut stream = Vec::new();
    for size in [0, 1, 125, 126, 300] {
        stream.extend(server_frame(0x81, &vec![b'a'; size]));
    }
    stream.extend(server_frame(0x02, b"be"));
    stream.extend(server_frame(0x89, b"?"));
    stream.extend(server_frame(0x80, b"gun"));
    stream.extend(server_frame(0x88, &[3, 232]));
    let whole = read(&[&stream]).expect("right");
    assert_eq!(whole.len(), 8);
    assert_eq!(whole[6], format!("{:?}", Message::Binary(b"begun")));
    for cut in 0..=stream.len() {
        assert_eq!(read(&[&stream[..cut], &stream[cut..]]), Ok(whole.clone()), "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read(&bytes), Ok(whole));
}

#[test]
fn long_frames_are_read_in_pieces() {
    let frame = server_frame(0x81, &vec![b'z'; 70_000]);
    let pieces: Vec<&[u8]> = frame.chunks(1_000).collect();
    assert_eq!(read(&pieces), Ok(vec!["text 70000 Some(122)".to_owned()]));
}

#[test]
fn what_no_server_may_send_is_named() {
    let table: [(&[u8], Fault); 7] = [
        (&[0xc1, 0], "a reserved bit"),
        (&[0x81, 0x80], "a masked frame"),
        (&[0x83, 0], "a reserved opcode"),
        (&[0x80, 0], "a continuation of nothing"),
        (&[0x01, 0, 0x81, 0], "a message inside a message"),
        (&[0x09, 0], "a control frame in pieces"),
        (&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255], "a length of 64 bits"),
    ];
    for (bytes, fault) in table {
        assert_eq!(read(&[bytes]), Err(fault), "{bytes:?}");
    }
}

#[test]
fn a_frame_is_masked_once_and_stamped_in_place() {
    for size in [5, 126, 70_000] {
        let mut frame = Premasked::new(Opcode::Binary, &vec![7; size]);
        frame.stamp(3, &[1, 2]);
        let bytes = frame.as_bytes();
        let header = bytes.len() - size;
        let key = &bytes[header - 4..header];
        let plain: Vec<u8> =
            bytes[header..].iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
        assert_eq!(plain[..5], [7, 7, 7, 1, 2]);
        assert!(plain[5..].iter().all(|&byte| byte == 7));
        assert_eq!(bytes[1] & 0x80, 0x80, "a client masks");
    }
}
