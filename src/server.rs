//! The library's face: build a server, run it, and talk to it from other threads.

mod error;
mod handle;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

pub use error::HandleError;
pub use handle::Handle;

use crate::backplane::Target;
use crate::engine::Rules;
use crate::engine::handler::Handler;
use crate::http::origin::OriginPolicy;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::proxy::networks::Networks;
use crate::reactor::inbox::Inbox;
use crate::reactor::takeover::Inheritance;
use crate::reactor::tls::TlsFiles;
use crate::reactor::{Address, Listen, Passed, Reactor, Sockets};
use crate::record::Tape;

/// A server that has its listeners and waits to be run.
pub struct Server<H: Handler> {
    reactor: Reactor<H>,
    handle: Handle,
}

impl Server<()> {
    /// Describes a server.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl<H: Handler> Server<H> {
    /// The addresses listened on, with the ports that were chosen where 0 was asked for; Unix sockets have none.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.reactor.local_addrs()
    }

    /// Where is listened, and for what: addresses and Unix sockets.
    pub fn listeners(&self) -> &[Listen] {
        self.reactor.listeners()
    }

    /// The port of the first listener; 0 without one.
    pub fn port(&self) -> u16 {
        self.local_addrs().first().map_or(0, SocketAddr::port)
    }

    /// The memory that the server keeps within, in bytes: `memory_budget`, or half of what there is;
    /// `usize::MAX` where nobody says how much that is.
    pub fn memory_budget(&self) -> usize {
        self.reactor.memory_budget()
    }

    /// A handle for other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Calls `reload` whenever SIGHUP comes, which would end the process otherwise: it may change the handler, and the
    /// rules but for [`Limits::FIXED`], under the connections that are open.
    ///
    /// It runs between two turns of the loop, so nobody is served meanwhile.
    ///
    /// # Errors
    /// Where the signal cannot be had.
    pub fn on_hangup(mut self, reload: impl FnMut(&mut H, &mut Rules) + Send + 'static) -> io::Result<Self> {
        self.reactor.on_hangup(reload)?;
        Ok(self)
    }

    /// Calls `farewell` when the server begins to end, be it to drain or to stop, so that whoever watches over it can be
    /// told; not when another process takes its place.
    pub fn on_ending(mut self, farewell: impl FnOnce() + Send + 'static) -> Self {
        self.reactor.on_ending(farewell);
        self
    }

    /// Serves until it is shut down; then every connection has been closed and its handler told.
    ///
    /// # Errors
    /// What the poller says. Errors of single connections, and of `accept`, never end a server.
    pub fn run(self) -> io::Result<()> {
        self.reactor.run()
    }
}

/// What a server is to be.
///
/// ```
/// # use fanline::{Context, Handler, Message, Opening, Response};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn open(&mut self, _: &mut Opening<'_>) -> Result<(), Response> { Ok(()) }
/// #     fn message(&mut self, _: &mut (), ctx: &mut Context<'_>, m: Message<'_>) { ctx.send(m).ok(); }
/// # }
/// use fanline::{Limits, Server};
///
/// let limits = Limits { message_bytes_max: 64 * 1024, ..Limits::default() };
/// let server = Server::builder().listen("127.0.0.1:0")?.limits(limits).bind(Echo)?;
/// let handle = server.handle();
/// let thread = std::thread::spawn(move || server.run());
/// handle.shutdown();
/// thread.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    sockets: Sockets,
    takeover: Option<PathBuf>,
    tls: Option<TlsFiles>,
    rules: Rules,
    backplane: Option<Target>,
    tape: Option<Tape>,
    stops_on_signals: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            sockets: Sockets { unix_mode: Self::UNIX_MODE, ..Sockets::default() },
            takeover: None,
            tls: None,
            rules: Rules::default(),
            backplane: None,
            tape: None,
            stops_on_signals: false,
        }
    }
}

impl Builder {
    /// The permissions of a Unix socket's file, unless told otherwise: its owner and its group may connect.
    pub const UNIX_MODE: u32 = 0o660;

    /// Listens on an address, such as `127.0.0.1:8080`, `[::1]:0` or `unix:/run/fanline.sock`; may be said more than once.
    ///
    /// # Errors
    /// Where the address cannot be resolved.
    pub fn listen(self, address: impl TryInto<Address, Error = io::Error>) -> io::Result<Self> {
        Ok(self.listen_on(Listen::plain(address.try_into()?)))
    }

    /// Listens for `wss` on an address, with the certificate that [`Builder::tls`] names; may be said more than once.
    ///
    /// # Errors
    /// Where the address cannot be resolved.
    pub fn listen_tls(self, address: impl TryInto<Address, Error = io::Error>) -> io::Result<Self> {
        Ok(self.listen_on(Listen { is_tls: true, ..Listen::plain(address.try_into()?) }))
    }

    /// Listens on an address for those who run the server, whose connections have places of their own; what is to be had there
    /// is the handler's to say, such as [`Administered`](crate::app::Administered).
    ///
    /// # Errors
    /// Where the address cannot be resolved.
    pub fn listen_admin(self, address: impl TryInto<Address, Error = io::Error>) -> io::Result<Self> {
        Ok(self.listen_on(Listen { is_admin: true, ..Listen::plain(address.try_into()?) }))
    }

    /// Listens on an address that only proxies reach: every connection begins with a PROXY header, of either version,
    /// which names the client. One that does not is dropped, and so is one from elsewhere than
    /// [`Builder::trusted_proxies`] where those are set.
    ///
    /// # Errors
    /// Where the address cannot be resolved.
    pub fn listen_proxied(self, address: impl TryInto<Address, Error = io::Error>) -> io::Result<Self> {
        Ok(self.listen_on(Listen { is_proxied: true, ..Listen::plain(address.try_into()?) }))
    }

    /// As [`Builder::listen_proxied`], for `wss`: the PROXY header comes before TLS.
    ///
    /// # Errors
    /// Where the address cannot be resolved.
    pub fn listen_tls_proxied(self, address: impl TryInto<Address, Error = io::Error>) -> io::Result<Self> {
        Ok(self.listen_on(Listen { is_tls: true, is_proxied: true, ..Listen::plain(address.try_into()?) }))
    }

    /// Listens as this says, such as for those who run the server.
    pub fn listen_on(mut self, listen: Listen) -> Self {
        self.sockets.listens.push(listen);
        self
    }

    /// Sets the permissions of the files of Unix sockets; [`Builder::UNIX_MODE`] unless told otherwise.
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.sockets.unix_mode = mode;
        self
    }

    /// Names the proxies in front of this server, whose `X-Forwarded-For` is believed; nobody's is unless told otherwise.
    pub fn trusted_proxies(mut self, trusted: Networks) -> Self {
        self.rules.trusted_proxies = trusted;
        self
    }

    /// Names the files of the certificate and the key, as PEM. When they change, new connections use the new ones; a
    /// pair that cannot be used changes nothing.
    pub fn tls(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls = Some(TlsFiles { cert: cert.into(), key: key.into() });
        self
    }

    /// Shares the rooms with other nodes through a Redis; none unless told otherwise.
    pub fn backplane(mut self, target: Option<Target>) -> Self {
        self.backplane = target;
        self
    }

    /// Records what the engine is told; not what other threads ask for through a [`Handle`], which ends the recording,
    /// nor anything of a backplane or a takeover.
    pub fn record(mut self, tape: Option<Tape>) -> Self {
        self.tape = tape;
        self
    }

    /// Sets every bound.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.rules.limits = limits;
        self
    }

    /// Says whose pages may connect; those of the same origin unless told otherwise.
    pub fn origins(mut self, origins: OriginPolicy) -> Self {
        self.rules.origins = origins;
        self
    }

    /// Listens on a socket that listens already, as systemd passes them, beside the addresses that are named; one of
    /// these on which it listens is not bound again. `is_tls` says whether its connections speak TLS.
    /// It is closed as soon as the server takes in nobody any more: who waits at it then is left to whoever passed it.
    pub fn adopt(mut self, socket: TcpListener, is_tls: bool) -> Self {
        self.sockets.passed.push(Passed { socket: Arc::new(socket), is_tls });
        self
    }

    /// Lets other sockets listen on the same ports (`SO_REUSEPORT`), such as those of a process that is to take the
    /// place of this one; off unless told otherwise.
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.sockets.reuse_port = reuse_port;
        self
    }

    /// Takes the place of the process that listens on this Unix socket, if there is one: its listening sockets where they
    /// are on the same addresses, its rooms with their positions and history, and the keys of what was published. The
    /// other one drains. Then listens there itself, for the next one.
    pub fn takeover(mut self, path: impl Into<PathBuf>) -> Self {
        self.takeover = Some(path.into());
        self
    }

    /// Agrees to permessage-deflate where a client offers it; off unless told otherwise.
    pub fn deflate(mut self, deflate: bool) -> Self {
        self.rules.deflate = deflate;
        self
    }

    /// Says whether the times of deliveries and of the loop are taken, which costs one to three hundredths of the processor's
    /// time; they are unless told otherwise.
    pub fn ledger(mut self, ledger: bool) -> Self {
        self.rules.ledger = ledger;
        self
    }

    /// Shuts the server down on SIGINT, drains it on SIGTERM, and ends it at once on a second of either.
    pub fn stop_on_signals(mut self) -> Self {
        self.stops_on_signals = true;
        self
    }

    /// Binds the listeners and takes the application.
    ///
    /// # Errors
    /// Where a limit contradicts another, the certificate cannot be used, an address cannot be listened on, or the process
    /// whose place it is to take does not let go.
    pub fn bind<H: Handler>(mut self, handler: H) -> io::Result<Server<H>> {
        let contradictions = self.rules.limits.contradictions();
        if !contradictions.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, contradictions.join("; ")));
        }
        let inbox = Arc::new(Inbox::new(&self.rules.limits));
        let metrics = Arc::new(Metrics::default());
        let asked = self.takeover.as_deref().map(|path| Inheritance::ask(path, &self.rules.limits));
        let inheritance = asked.transpose()?.flatten();
        if let Some(inheritance) = &inheritance {
            self.sockets.inherited = inheritance.sockets().to_vec();
        }
        let (theirs, rules) = ((inbox.clone(), metrics.clone(), self.tape), self.rules);
        let mut reactor = Reactor::new(handler, rules, &self.sockets, self.tls, theirs)?;
        if let Some(target) = self.backplane {
            reactor.share(target)?;
        }
        if self.stops_on_signals {
            reactor.stop_on_signals()?;
        }
        // Last of all: once the other process has let go, nothing may keep this one from serving.
        if let Some(path) = self.takeover {
            reactor.take_over(inheritance, &path)?;
        }
        let handle = Handle { inbox, waker: reactor.waker(), metrics };
        Ok(Server { reactor, handle })
    }
}
