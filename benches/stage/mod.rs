//! An engine whose clients live in memory: what the benches about whole turns drive.
#![allow(dead_code, reason = "each bench uses its own part of this")]

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanline::engine::{Engine, Rules, Transport};
use fanline::{Closed, ConnId, Context, Exchange, Handler, Message, Metrics, Opening, Reply, Response};

/// Who connects to this path is echoed to; any other path names a room.
pub const ECHO: &str = "/echo";

/// An engine and its clients.
pub struct Stage {
    engine: Engine<Host, Wire>,
    now: Instant,
}

/// A client's end of a connection.
pub struct Client {
    id: ConnId,
    pipe: Rc<RefCell<Pipe>>,
}

impl Stage {
    /// An engine without connections.
    pub fn new() -> Self {
        Self::measured(true)
    }

    /// An engine without connections, whose ledger is on or off.
    pub fn measured(ledger: bool) -> Self {
        let (now, rules) = (Instant::now(), Rules { ledger, ..Rules::default() });
        let mut engine =
            Engine::new(Host, rules, Arc::new(Metrics::default()), now, Duration::from_micros(1));
        engine.set_clock(Instant::now);
        Self { engine, now }
    }

    /// Connects, and opens a WebSocket there.
    pub fn open(&mut self, path: &str) -> Client {
        let pipe = Rc::new(RefCell::new(Pipe::default()));
        let id = self.engine.connect(Wire(pipe.clone()), self.now).expect("a slot");
        let client = Client { id, pipe };
        self.send(&client, handshake(path).as_bytes());
        self.turn();
        client.take(|answer| assert!(answer.starts_with(b"HTTP/1.1 101") && answer.ends_with(b"\r\n\r\n")));
        client
    }

    /// The client sends bytes, and the poller says so.
    pub fn send(&mut self, client: &Client, bytes: &[u8]) {
        client.pipe.borrow_mut().to_engine.extend_from_slice(bytes);
        self.engine.ready(client.id, true, false, false);
    }

    /// The client is gone.
    pub fn hang_up(&mut self, client: &Client) {
        client.pipe.borrow_mut().ended = true;
        self.engine.ready(client.id, true, false, true);
        self.turn();
    }

    /// Turns until there is nothing left to do.
    pub fn turn(&mut self) {
        while {
            self.now = Instant::now();
            self.engine.begin_turn(self.now);
            self.engine.turn(self.now);
            assert!(self.engine.end_turn().is_none_or(|overrun| !overrun.turn.took.is_zero()));
            self.engine.has_work()
        } {}
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.engine.len()
    }
}

impl Client {
    /// Shows what the client has received since it last looked.
    pub fn take(&self, look: impl FnOnce(&[u8])) {
        let received = &mut self.pipe.borrow_mut().to_client;
        look(received);
        received.clear();
    }
}

/// What every client sends first, short as by a program.
fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A text frame of so many bytes as a client sends it, and as the server does.
pub fn text_frames(len: usize) -> (Vec<u8>, Vec<u8>) {
    let (key, text) = ([1, 2, 3, 4], vec![b'x'; len]);
    let (mut sent, mut received) = (vec![0x81], vec![0x81]);
    match len {
        0..126 => {
            sent.push(0x80 | len as u8);
            received.push(len as u8);
        }
        _ => {
            sent.push(0x80 | 126);
            received.push(126);
            let len = u16::try_from(len).expect("no bench sends more than 65,535 bytes").to_be_bytes();
            sent.extend(len);
            received.extend(len);
        }
    }
    sent.extend(key);
    sent.extend(text.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    received.extend(text);
    (sent, received)
}

/// Echoes, or publishes to the room that the path names.
struct Host;

enum Guest {
    Echo,
    Member(String),
}

impl Handler for Host {
    type State = Guest;

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        Response::text(200, exchange.request().path()).into()
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<Guest, Response> {
        let path = opening.request().path();
        if path == ECHO {
            return Ok(Guest::Echo);
        }
        let room = path.to_owned();
        opening.join(&room).map_err(|error| Response::text(503, &error.to_string()))?;
        Ok(Guest::Member(room))
    }

    fn message(&mut self, guest: &mut Guest, ctx: &mut Context<'_>, message: Message<'_>) {
        match guest {
            Guest::Echo => ctx.send(message).expect("room for a reply"),
            Guest::Member(room) => drop(ctx.publish(room, message)),
        }
    }

    fn close(&mut self, _guest: Guest, _ctx: &mut Context<'_>, _closed: &Closed) {}
}

/// What lies between the engine and a client. The client takes whatever it is sent.
#[derive(Default)]
struct Pipe {
    to_engine: Vec<u8>,
    to_client: Vec<u8>,
    ended: bool,
}

/// The engine's end.
struct Wire(Rc<RefCell<Pipe>>);

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pipe = &mut *self.0.borrow_mut();
        let len = buffer.len().min(pipe.to_engine.len());
        if len == 0 {
            return if pipe.ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        buffer[..len].copy_from_slice(&pipe.to_engine[..len]);
        pipe.to_engine.drain(..len);
        Ok(len)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().to_client.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Wire {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }
}
