//! A small server for the tests of the harness: right by default, or wrong in one known way.

use crate::reactor::accept_for;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What the server does wrong, in the room or with echoes. Each happens to the eighth message that it is asked to carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mischief {
    /// Nothing.
    None,
    /// One member is left out.
    Lose,
    /// One member gets it twice.
    Double,
    /// One member gets it after the next.
    Swap,
    /// One member gets another byte.
    Alter,
    /// The whole server stands still for so many milliseconds.
    Stall(u64),
    /// One member is closed with 1008.
    Close,
    /// Handshakes are answered with 503.
    Refuse,
}

const EIGHTH: u64 = 7;

struct Room {
    members: Vec<TcpStream>,
    carried: u64,
    kept_back: Option<Vec<u8>>,
}

/// Starts the server on a free port, to run until the test process ends, and returns its `ws://` origin.
pub(crate) fn start(mischief: Mischief) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let origin = format!("ws://{}", listener.local_addr()?);
    let room = Arc::new(Mutex::new(Room { members: Vec::new(), carried: 0, kept_back: None }));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let room = Arc::clone(&room);
            // A connection that the harness ends is no concern of ours.
            thread::spawn(move || serve(stream, &room, mischief));
        }
    });
    Ok(origin)
}

fn serve(mut stream: TcpStream, room: &Mutex<Room>, mischief: Mischief) -> io::Result<()> {
    let head = read_head(&mut stream)?;
    if mischief == Mischief::Refuse {
        return stream.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
    }
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
    let accept = accept_for(key);
    write!(stream, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")?;
    let is_member = head.starts_with("GET /chat/");
    if is_member {
        lock(room).members.push(stream.try_clone()?);
    }
    loop {
        let (first, payload) = read_frame(&mut stream)?;
        let mut frame = vec![first, u8::try_from(payload.len()).unwrap_or(0)];
        frame.extend_from_slice(&payload);
        match (first & 0x0f, is_member) {
            (8, _) => return stream.write_all(&frame),
            (9, _) => {
                frame[0] = 0x8a;
                stream.write_all(&frame)?;
            }
            (_, true) => carry(&mut lock(room), &frame, mischief)?,
            (_, false) => {
                let standing_still = lock(room);
                stream.write_all(&frame)?;
                drop(standing_still);
            }
        }
    }
}

fn lock(room: &Mutex<Room>) -> std::sync::MutexGuard<'_, Room> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a message to everybody, but for the mischief, which meets the second member.
fn carry(room: &mut Room, frame: &[u8], mischief: Mischief) -> io::Result<()> {
    let now = room.carried == EIGHTH;
    room.carried += 1;
    let kept_back = room.kept_back.take();
    if let (true, Mischief::Stall(milliseconds)) = (now, mischief) {
        thread::sleep(Duration::from_millis(milliseconds));
    }
    for (place, member) in room.members.iter_mut().enumerate() {
        let mut bytes = frame.to_vec();
        match mischief {
            Mischief::Lose if now && place == 1 => continue,
            Mischief::Double if now && place == 1 => bytes.extend_from_slice(frame),
            Mischief::Alter if now && place == 1 => bytes[20] ^= 1,
            Mischief::Close if now && place == 1 => bytes = vec![0x88, 2, 3, 240],
            Mischief::Swap if now && place == 1 => {
                room.kept_back = Some(bytes);
                continue;
            }
            _ => {}
        }
        if let Some(late) = kept_back.as_ref().filter(|_| place == 1) {
            bytes.extend_from_slice(late);
        }
        member.write_all(&bytes)?;
    }
    Ok(())
}

fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    String::from_utf8(head).map_err(io::Error::other)
}

/// A short masked frame: its first byte and its payload.
fn read_frame(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 6];
    stream.read_exact(&mut header)?;
    let mut payload = vec![0; usize::from(header[1] & 0x7f)];
    stream.read_exact(&mut payload)?;
    payload.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= header[2 + at % 4]);
    Ok((header[0], payload))
}
