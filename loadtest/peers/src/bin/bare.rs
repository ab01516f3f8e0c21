//! The practical limit: an edge-triggered epoll loop that does no WebSocket work past the handshake but what the bytes demand.
//!
//! It checks nothing. For an echo it does one `recv` and one `send` for each readable event, cutting through: what has
//! arrived of a frame is unmasked and sent on before the rest is there. All that are ready are read before the first is
//! answered, which the kernel's code in the processor's caches likes better than taking turns. In a room each frame costs one `send` per member:
//! there is no log, nothing is joined, and the frame of a member whose socket is full waits in a buffer of its own.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::ops::Range;

use fanline_peers::{HEADER_MAX, Header, announce, listen_address, room_of, unmask_onto, upgrade};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
const BUFFER: usize = 64 * 1024;
const ECHO: u32 = u32::MAX;

/// Where a connection stands.
enum Place {
    /// Its request head is not whole.
    Head,
    /// Its first bytes are a header; so many of it came with the last read.
    Header(u8, [u8; HEADER_MAX]),
    /// So many bytes of payload are to come, and the mask stands there.
    Payload { left: usize, key: [u8; 4], phase: u8 },
}

struct Connection {
    stream: TcpStream,
    place: Place,
    room: u32,
    closing: bool,
    /// What the socket did not take, or the part of a head.
    kept: Vec<u8>,
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    connections: Slab<Connection>,
    names: HashMap<String, u32>,
    rooms: Vec<Vec<usize>>,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Where in the output begins what the connection being read gets.
    start: usize,
    /// Who gets which part of the output.
    owed: Vec<(usize, Range<usize>)>,
    /// Frames for a room of which only a part has come.
    halves: HashMap<usize, Vec<u8>>,
}

fn main() -> io::Result<()> {
    let mut listener = TcpListener::bind(listen_address()?)?;
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    announce(listener.local_addr()?)?;
    let mut server = Server {
        poll,
        listener,
        connections: Slab::new(),
        names: HashMap::new(),
        rooms: Vec::new(),
        input: vec![0; BUFFER],
        output: Vec::with_capacity(2 * BUFFER),
        start: 0,
        owed: Vec::new(),
        halves: HashMap::new(),
    };
    let mut events = Events::with_capacity(1024);
    loop {
        if let Err(error) = server.poll.poll(&mut events, None)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &events {
            match event.token() {
                LISTENER => server.accept()?,
                Token(id) => server.visit(id, event),
            }
        }
        server.pay();
    }
}

impl Server {
    fn accept(&mut self) -> io::Result<()> {
        while let Ok((mut stream, _)) = self.listener.accept() {
            stream.set_nodelay(true)?;
            let entry = self.connections.vacant_entry();
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(entry.key()), both)?;
            entry.insert(Connection {
                stream,
                place: Place::Head,
                room: ECHO,
                closing: false,
                kept: Vec::new(),
            });
        }
        Ok(())
    }

    fn visit(&mut self, id: usize, event: &Event) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let waited = connection.is_blocked();
        if waited && event.is_writable() {
            connection.flush();
        }
        // An echo that is not taken stops the reading; the edge that ends the waiting brings it back.
        let stopped = connection.is_blocked() && connection.room == ECHO;
        let is_due = event.is_readable() || waited;
        if is_due && !stopped && !self.read(id, event.is_read_closed()) {
            self.drop(id);
        }
    }

    /// Reads until a short read, or to the end when the event has announced it; `false` when the connection has ended.
    fn read(&mut self, id: usize, to_the_end: bool) -> bool {
        loop {
            if self.output.len() >= BUFFER {
                self.pay();
            }
            self.start = self.output.len();
            let connection = &mut self.connections[id];
            let size = match connection.stream.read(&mut self.input) {
                Ok(0) => return false,
                Ok(size) => size,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            };
            let from = match connection.place {
                Place::Head => match self.shake_hands(id, size) {
                    Some(from) => from,
                    None => return false,
                },
                _ => 0,
            };
            if self.connections[id].room != ECHO
                && let Some(half) = self.halves.remove(&id)
            {
                self.output.extend_from_slice(&half);
            }
            self.frames(id, from, size);
            self.answer(id);
            let connection = &self.connections[id];
            if connection.closing {
                return false;
            }
            if connection.is_blocked() || (size < self.input.len() && !to_the_end) {
                return true;
            }
        }
    }

    /// Notes what one read left in the output; half a frame of a room waits for its other half.
    fn answer(&mut self, id: usize) {
        if self.output.len() == self.start {
            return;
        }
        if self.connections[id].room == ECHO {
            self.owed.push((id, self.start..self.output.len()));
        } else {
            self.halves.insert(id, self.output.split_off(self.start));
        }
    }

    /// Sends everybody what is noted.
    fn pay(&mut self) {
        for (id, range) in self.owed.drain(..) {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.send(&self.output[range]);
            }
        }
        self.output.clear();
        self.start = 0;
    }

    /// Answers the head once it is whole, and says where the frames begin; `None` when it is no handshake.
    fn shake_hands(&mut self, id: usize, size: usize) -> Option<usize> {
        let connection = &mut self.connections[id];
        let before = connection.kept.len();
        connection.kept.extend_from_slice(&self.input[..size]);
        let Some(end) = connection.kept.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Some(size);
        };
        let head = std::mem::take(&mut connection.kept);
        let (path, answer) = upgrade(std::str::from_utf8(&head[..end + 4]).ok()?)?;
        connection.send(answer.as_bytes());
        connection.place = Place::Header(0, [0; HEADER_MAX]);
        if let Some(name) = room_of(path) {
            let room = *self.names.entry(name.to_owned()).or_insert_with(|| {
                self.rooms.push(Vec::new());
                (self.rooms.len() - 1) as u32
            });
            connection.room = room;
            self.rooms[room as usize].push(id);
        }
        Some(end + 4 - before)
    }

    /// Goes through the frames in the input; what answers this connection is appended to the output.
    fn frames(&mut self, id: usize, mut from: usize, size: usize) {
        while from < size {
            let connection = &mut self.connections[id];
            let bytes = &self.input[from..size];
            match connection.place {
                Place::Head => return,
                Place::Payload { left, key, phase } => {
                    let here = left.min(bytes.len());
                    unmask_onto(&mut self.output, &bytes[..here], key, usize::from(phase));
                    from += here;
                    connection.place = Place::after(left - here, key, (usize::from(phase) + here) % 4);
                    if left == here && connection.room != ECHO {
                        self.broadcast(id);
                    }
                }
                Place::Header(have, mut part) => {
                    let kept = usize::from(have);
                    let take = bytes.len().min(HEADER_MAX - kept);
                    part[kept..kept + take].copy_from_slice(&bytes[..take]);
                    let Some(header) = Header::parse(&part[..kept + take]) else {
                        connection.place = Place::Header((kept + take) as u8, part);
                        return;
                    };
                    from += header.size - kept;
                    header.answer(header.answering(), &mut self.output);
                    connection.closing |= header.first == 0x88;
                    connection.place = Place::after(header.length, header.key, 0);
                    if header.length == 0 && connection.room != ECHO {
                        self.broadcast(id);
                    }
                }
            }
        }
    }

    /// Sends the one frame in the output to all members, unless it is a control frame, which goes to its sender alone.
    fn broadcast(&mut self, id: usize) {
        let own = &mut self.connections[id];
        let frame = &self.output[self.start..];
        if frame[0] & 0x08 != 0 {
            own.send(frame);
        } else {
            for &member in &self.rooms[own.room as usize] {
                self.connections[member].send(frame);
            }
        }
        self.output.truncate(self.start);
    }

    fn drop(&mut self, id: usize) {
        self.pay();
        let connection = self.connections.remove(id);
        self.halves.remove(&id);
        if connection.room != ECHO {
            self.rooms[connection.room as usize].retain(|&member| member != id);
        }
    }
}

impl Place {
    fn after(left: usize, key: [u8; 4], phase: usize) -> Self {
        if left == 0 {
            Self::Header(0, [0; HEADER_MAX])
        } else {
            Self::Payload { left, key, phase: phase as u8 }
        }
    }
}

impl Connection {
    /// Whether the socket has not taken all there was for it.
    fn is_blocked(&self) -> bool {
        !self.kept.is_empty() && !matches!(self.place, Place::Head)
    }

    /// Sends, and keeps what the socket does not take.
    fn send(&mut self, bytes: &[u8]) {
        let sent = if self.kept.is_empty() { self.stream.write(bytes).unwrap_or(0) } else { 0 };
        self.kept.extend_from_slice(&bytes[sent..]);
    }

    fn flush(&mut self) {
        while !self.kept.is_empty() {
            match self.stream.write(&self.kept) {
                Ok(sent) => drop(self.kept.drain(..sent)),
                Err(_) => return,
            }
        }
        self.kept = Vec::new();
    }
}
