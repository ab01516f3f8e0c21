//! A whole server over bytes in memory: an engine, one connection, and a handler that writes down what it is told.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanline::engine::{Command, Engine, Rules, Transport};
use fanline::{
    Admission, Closed, ConnId, Context, Exchange, Handler, Message, Metrics, Opening, OwnedMessage, Reply,
    Request, Response,
};

/// Both directions of a connection, seen from the client.
#[derive(Default)]
pub struct Wire {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    client_ended: bool,
    server_ended: bool,
}

/// The server's end of a [`Wire`].
#[derive(Clone, Default)]
pub struct Pipe(Rc<RefCell<Wire>>);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        let len = buffer.len().min(wire.to_server.len());
        if len == 0 && !wire.client_ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        buffer[..len].copy_from_slice(&wire.to_server[..len]);
        wire.to_server.drain(..len);
        Ok(len)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        assert!(!wire.server_ended, "written to after the end");
        wire.to_client.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Pipe {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().server_ended = true;
        Ok(())
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }
}

/// What a handler was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Http(String),
    Open(String),
    Message(OwnedMessage),
    Close(Closed),
}

/// What [`Recorder`] does with a message.
#[derive(Clone, Default)]
pub enum Reaction {
    #[default]
    Echo,
    Close(u16, String),
}

/// A handler that writes down its calls.
#[derive(Default)]
pub struct Recorder {
    pub calls: Vec<Call>,
    pub cookies: Vec<(String, String)>,
    /// The subprotocols it speaks, the preferred first.
    pub subprotocols: Vec<&'static str>,
    pub subprotocol_required: bool,
    pub greeting: Option<&'static str>,
    pub reaction: Reaction,
    /// Whether it decides about clients later.
    pub defers: bool,
    /// What the last `Context::close` said.
    pub close_refused: bool,
}

impl Handler for Recorder {
    type State = ();

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        let request = exchange.request();
        self.calls.push(Call::Http(request.path().into()));
        match request.path() {
            "/page" => Response::text(200, "page").into(),
            _ => fanline::Refusal::UpgradeRequired.into(),
        }
    }

    fn admit(&mut self, _id: ConnId, _request: &Request<'_>) -> Admission {
        if self.defers { Admission::Later } else { Admission::Now }
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), Response> {
        self.calls.push(Call::Open(opening.request().path().into()));
        let cookies = opening.request().cookies();
        self.cookies.extend(cookies.map(|(name, value)| (name.to_owned(), value.to_owned())));
        if opening.choose_subprotocol(&self.subprotocols).is_none() && self.subprotocol_required {
            return Err(fanline::Refusal::Malformed("no subprotocol in common").into());
        }
        if let Some(greeting) = self.greeting {
            opening.send(greeting).unwrap();
        }
        Ok(())
    }

    fn message(&mut self, (): &mut (), ctx: &mut Context<'_>, message: Message<'_>) {
        self.calls.push(Call::Message(message.into()));
        match &self.reaction {
            Reaction::Echo => ctx.send(message).unwrap(),
            Reaction::Close(code, reason) => self.close_refused = ctx.close(*code, reason).is_err(),
        }
    }

    fn close(&mut self, (): (), _ctx: &mut Context<'_>, closed: &Closed) {
        self.calls.push(Call::Close(closed.clone()));
    }
}

/// An engine with one client.
pub struct Served<H: Handler> {
    pub engine: Engine<H, Pipe>,
    pub metrics: Arc<Metrics>,
    id: ConnId,
    pipe: Pipe,
    now: Instant,
}

impl<H: Handler> Served<H> {
    pub fn new(handler: H, rules: Rules) -> Self {
        let (now, pipe, metrics) = (Instant::now(), Pipe::default(), Arc::new(Metrics::default()));
        let mut engine = Engine::new(handler, rules, metrics.clone(), now, Duration::from_micros(1));
        let id = engine.connect(pipe.clone(), now).unwrap();
        Self { engine, metrics, id, pipe, now }
    }

    /// The client sends this, and the server takes as many turns as it needs.
    pub fn send(&mut self, bytes: &[u8]) {
        self.pipe.0.borrow_mut().to_server.extend_from_slice(bytes);
        self.turn(false);
    }

    /// The deferred client is let in.
    pub fn admit(&mut self) {
        self.engine.apply(Command::Admit(self.id));
        self.turn(false);
    }

    /// The client closes its side.
    pub fn end(&mut self) {
        self.pipe.0.borrow_mut().client_ended = true;
        self.turn(true);
    }

    fn turn(&mut self, hung_up: bool) {
        self.engine.ready(self.id, true, true, hung_up);
        for _ in 0..100 {
            self.engine.turn(self.now);
            self.engine.check_invariants();
            if !self.engine.has_work() {
                return;
            }
        }
        panic!("the engine never comes to rest");
    }

    /// What the client has received since it was asked last.
    pub fn received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pipe.0.borrow_mut().to_client)
    }

    /// Whether the server has closed its side.
    pub fn is_ended(&self) -> bool {
        self.pipe.0.borrow().server_ended
    }

    /// Whether the server has forgotten the connection.
    pub fn is_gone(&self) -> bool {
        self.engine.is_empty()
    }
}

impl Served<Recorder> {
    pub fn recorder() -> Self {
        Self::new(Recorder::default(), Rules::default())
    }

    pub fn calls(&self) -> &[Call] {
        &self.engine.handler().calls
    }
}

/// Feeds bytes to fresh servers whole, byte by byte and cut at every offset, and expects the same calls and bytes.
pub fn expect_served(
    make: impl Fn() -> Served<Recorder>,
    bytes: &[u8],
    calls: &[Call],
    check_sent: impl Fn(&[u8]),
) {
    let each: Vec<&[u8]> = bytes.chunks(1).collect();
    let cuts = (1..bytes.len()).map(|cut| vec![&bytes[..cut], &bytes[cut..]]);
    for pieces in [vec![bytes], each].into_iter().chain(cuts) {
        let mut served = make();
        pieces.iter().for_each(|piece| served.send(piece));
        assert_eq!(served.calls(), calls, "in {} pieces, the first of {}", pieces.len(), pieces[0].len());
        check_sent(&served.received());
    }
}
