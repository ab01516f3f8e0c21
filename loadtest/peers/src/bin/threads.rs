//! A thread per connection with blocking reads, and rooms that are lists of sockets behind a mutex: what Fanline replaces.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use fanline_peers::{Header, announce, listen_address, room_of, unmask_onto, upgrade};

type Member = Arc<Connection>;
type Rooms = Mutex<HashMap<String, Vec<Member>>>;

/// One socket, read by its own thread and written to by everybody's.
struct Connection {
    stream: TcpStream,
    writing: Mutex<()>,
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind(listen_address()?)?;
    announce(listener.local_addr()?)?;
    let rooms = Arc::new(Rooms::default());
    for stream in listener.incoming() {
        let (stream, rooms) = (stream?, Arc::clone(&rooms));
        // A connection that ends with an error has ended.
        thread::spawn(move || serve(stream, &rooms).unwrap_or_default());
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// Sends all of it, and nobody else's bytes in between.
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let _turn = lock(&self.writing);
        (&self.stream).write_all(bytes)
    }
}

fn serve(stream: TcpStream, rooms: &Rooms) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let own = Arc::new(Connection { stream, writing: Mutex::new(()) });
    let mut reader = BufReader::new(&own.stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let Some((path, answer)) = upgrade(&head) else {
        return own.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    };
    let room = room_of(path);
    own.send(answer.as_bytes())?;
    if let Some(room) = room {
        lock(rooms).entry(room.to_owned()).or_default().push(Arc::clone(&own));
    }
    let outcome = talk(&mut reader, &own, room, rooms);
    if let Some(members) = room.and_then(|room| lock(rooms).get_mut(room).map(std::mem::take)) {
        let others = members.into_iter().filter(|member| !Arc::ptr_eq(member, &own)).collect();
        lock(rooms).insert(room.unwrap_or_default().to_owned(), others);
    }
    outcome
}

/// Reads frame after frame until a Close.
fn talk(reader: &mut impl Read, own: &Member, room: Option<&str>, rooms: &Rooms) -> io::Result<()> {
    let (mut masked, mut frame) = (Vec::new(), Vec::new());
    loop {
        let header = read_header(reader)?;
        masked.resize(header.length, 0);
        reader.read_exact(&mut masked)?;
        frame.clear();
        header.answer(header.answering(), &mut frame);
        unmask_onto(&mut frame, &masked, header.key, 0);
        match (header.first & 0x0f, room) {
            (8, _) => return own.send(&frame),
            (1 | 2, Some(room)) => broadcast(&lock(rooms)[room], &frame),
            _ => own.send(&frame)?,
        }
    }
}

fn broadcast(members: &[Member], frame: &[u8]) {
    for member in members {
        // A member that is gone is taken out by its own thread.
        member.send(frame).unwrap_or_default();
    }
}

fn read_header(reader: &mut impl Read) -> io::Result<Header> {
    let mut bytes = [0; fanline_peers::HEADER_MAX];
    reader.read_exact(&mut bytes[..2])?;
    let size = match bytes[1] & 0x7f {
        126 => 8,
        127 => 14,
        _ => 6,
    };
    reader.read_exact(&mut bytes[2..size])?;
    Header::parse(&bytes[..size]).ok_or_else(|| io::Error::other("a frame without end"))
}
