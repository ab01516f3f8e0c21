//! A small server for the tests of the harness: right by default, or wrong in one known way.

use crate::reactor::accept_for;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What the server does wrong, in the room or with echoes. Each but a delay happens to the eighth message that it is asked to
/// carry there.
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
    /// Every echo is so many milliseconds late.
    Delay(u64),
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

/// What all connections share.
struct Shared {
    room: Mutex<Room>,
    /// Wrong in the room.
    mischief: Mischief,
    /// Wrong with echoes.
    echo_mischief: Mischief,
    echoed: AtomicU64,
}

/// Starts a server that is right or wrong in its room.
pub(crate) fn start(mischief: Mischief) -> io::Result<String> {
    start_with(mischief, Mischief::None)
}

/// Starts a server that is right or wrong with echoes.
pub(crate) fn start_echo(mischief: Mischief) -> io::Result<String> {
    start_with(Mischief::None, mischief)
}

/// Starts the server on a free port, to run until the test process ends, and returns its `ws://` origin.
fn start_with(mischief: Mischief, echo_mischief: Mischief) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let origin = format!("ws://{}", listener.local_addr()?);
    let room = Mutex::new(Room { members: Vec::new(), carried: 0, kept_back: None });
    let shared = Arc::new(Shared { room, mischief, echo_mischief, echoed: AtomicU64::new(0) });
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let shared = Arc::clone(&shared);
            // A connection that the harness ends is no concern of ours.
            thread::spawn(move || serve(stream, &shared));
        }
    });
    Ok(origin)
}

fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let head = read_head(&mut stream)?;
    if shared.mischief == Mischief::Refuse {
        return stream.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
    }
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
    let accept = accept_for(key);
    // Who reads the answer is a member: nobody publishes between the two.
    let mut joining = lock(&shared.room);
    write!(stream, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")?;
    let is_member = head.starts_with("GET /chat/");
    // Takes messages for the room, and gives out none.
    let publishes = head.starts_with("GET /publish");
    if is_member {
        joining.members.push(stream.try_clone()?);
    }
    drop(joining);
    let mut kept_back = Vec::new();
    loop {
        let (first, payload) = read_frame(&mut stream)?;
        let mut frame = vec![first, u8::try_from(payload.len()).unwrap_or(0)];
        frame.extend_from_slice(&payload);
        match (first & 0x0f, is_member || publishes) {
            (8, _) => return stream.write_all(&frame),
            (9, _) => {
                frame[0] = 0x8a;
                stream.write_all(&frame)?;
            }
            (_, true) => carry(&mut lock(&shared.room), &frame, shared.mischief)?,
            (_, false) => echo(&mut stream, frame, &mut kept_back, shared)?,
        }
    }
}

fn lock(room: &Mutex<Room>) -> std::sync::MutexGuard<'_, Room> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a message back, but for the mischief.
fn echo(
    stream: &mut TcpStream,
    mut frame: Vec<u8>,
    kept_back: &mut Vec<u8>,
    shared: &Shared,
) -> io::Result<()> {
    let came = Instant::now();
    let now = shared.echoed.fetch_add(1, Ordering::Relaxed) == EIGHTH;
    let standing_still = lock(&shared.room);
    frame.append(kept_back);
    match shared.echo_mischief {
        Mischief::Lose if now => return Ok(()),
        Mischief::Swap if now => {
            *kept_back = frame;
            return Ok(());
        }
        Mischief::Double if now => frame.extend_from_within(..),
        Mischief::Alter if now => frame[20] ^= 1,
        Mischief::Close if now => frame = vec![0x88, 2, 3, 240],
        Mischief::Stall(milliseconds) if now => thread::sleep(Duration::from_millis(milliseconds)),
        Mischief::Delay(milliseconds) => {
            drop(standing_still);
            wait_until(came + Duration::from_millis(milliseconds));
            return stream.write_all(&frame);
        }
        _ => {}
    }
    stream.write_all(&frame)
}

/// The last of it is spent looking at the clock: a sleep ends when the kernel likes.
fn wait_until(due: Instant) {
    let spare = due.saturating_duration_since(Instant::now());
    thread::sleep(spare.saturating_sub(Duration::from_micros(300)));
    while Instant::now() < due {
        std::hint::spin_loop();
    }
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
