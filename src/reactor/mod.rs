//! The only I/O: sleep until a socket is ready, say so to the engine, let it take a turn.

pub mod accept;
mod address;
mod arrivals;
mod backlog;
pub mod inbox;
mod link;
mod listener;
mod machine;
pub mod proxied;
mod recorded;
mod signals;
pub mod socket;
mod sockets;
pub mod takeover;
pub mod tls;
mod token;
mod trust;
mod unix;
mod words;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Poll};

use crate::engine::handler::Handler;
use crate::engine::{Engine, Rules};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::record::{Input, Tape};
pub use address::{Address, Listen};
use backlog::Backlog;
use inbox::Inbox;
use link::Link;
use listener::Listener;
pub use recorded::any_instant;
use signals::Signals;
use socket::Stream;
pub use sockets::{Passed, Sockets};
use takeover::Door;
use tls::{Identity, TlsFiles};
use token::Source;
use words::say_overrun;
pub use words::{LogLines, say};

/// A poller, its listeners, and the engine they drive.
pub struct Reactor<H: Handler> {
    poll: Poll,
    engine: Engine<H, Stream>,
    listeners: Vec<Listener>,
    /// A descriptor to give up when there are no others, so that who comes then can be told.
    reserve: Option<File>,
    /// The certificate of the listeners that speak TLS.
    identity: Option<Identity>,
    /// Where is listened; it outlives the listeners, which are closed when the server stops.
    listens: Vec<Listen>,
    addrs: Vec<SocketAddr>,
    /// Whether other sockets may listen on the same ports.
    reuse_port: bool,
    /// When the listeners close that take in nothing but what had begun.
    closes_at: Option<Instant>,
    inbox: Arc<Inbox>,
    waker: Waker,
    signals: Option<Signals>,
    reload: Option<Reload<H>>,
    /// Where the next process asks for what this one has.
    door: Option<Door>,
    /// What is called when the server begins to end.
    farewell: Option<Box<dyn FnOnce() + Send>>,
    /// The sockets of the backplane, where there is one.
    link: Option<Link>,
    /// What is told to the engine, where that is recorded.
    tape: Option<Tape>,
    metrics: Arc<Metrics>,
    limits: Limits,
    /// Whether a signal has asked for the end already.
    is_ending: bool,
    /// How many wait at the listeners.
    backlog: Backlog,
}

/// What is called on SIGHUP.
type Reload<H> = Box<dyn FnMut(&mut H, &mut Rules) + Send>;

/// Ends the sleep of a reactor from another thread.
#[derive(Clone)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Wakes it. A reactor that has ended cannot be woken, and need not be.
    pub fn wake(&self) {
        self.0.wake().unwrap_or_default();
    }
}

impl<H: Handler> Reactor<H> {
    /// Binds the listeners; nothing is accepted before [`Reactor::run`].
    ///
    /// # Errors
    /// Where there can be no poller, or an address cannot be listened on.
    pub fn new(
        handler: H,
        rules: Rules,
        sockets: &Sockets,
        tls: Option<TlsFiles>,
        (inbox, metrics, tape): (Arc<Inbox>, Arc<Metrics>, Option<Tape>),
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), Source::Waker.into())?));
        let limits = rules.limits.clone();
        let mut listeners = Vec::new();
        let identity = tls.map(|files| Identity::load(files, Instant::now())).transpose()?;
        if identity.is_none() && sockets.has_tls() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS needs a certificate and a key"));
        }
        for (i, mut listener) in sockets.open(&limits)?.into_iter().enumerate() {
            listener.register(poll.registry(), Source::Listener(i).into())?;
            listeners.push(listener);
        }
        let listens: Vec<Listen> = listeners.iter().map(|listener| listener.listen().clone()).collect();
        let tcp = |listen: &Listen| match &listen.address {
            Address::Tcp(addr) => Some(*addr),
            Address::Unix(_) => None,
        };
        let addrs = listens.iter().filter_map(tcp).collect();
        let (start, unix, memory) = (Instant::now(), since_1970(), machine::memory(Path::new("/")));
        let mut engine = Engine::new(handler, rules, metrics.clone(), start, unix);
        engine.set_machine_memory(memory);
        if let Some(tape) = &tape {
            tape.begin(start, unix, memory);
        }
        engine.set_listening(!listeners.is_empty());
        engine.set_clock(Instant::now);
        let (signals, reload, farewell, is_ending) = (None, None, None, false);
        Ok(Self {
            poll,
            engine,
            listeners,
            reserve: arrivals::reserve(),
            identity,
            listens,
            addrs,
            reuse_port: sockets.reuse_port,
            closes_at: None,
            inbox,
            waker,
            signals,
            reload,
            door: None,
            farewell,
            link: None,
            tape,
            metrics,
            limits,
            is_ending,
            backlog: Backlog::default(),
        })
    }

    /// Stops on SIGINT, and drains on SIGTERM.
    ///
    /// # Errors
    /// Where the signals cannot be had.
    pub fn stop_on_signals(&mut self) -> io::Result<()> {
        self.signals()?.add_stop()
    }

    /// Calls this on SIGHUP.
    ///
    /// # Errors
    /// Where the signal cannot be had.
    pub fn on_hangup(&mut self, reload: impl FnMut(&mut H, &mut Rules) + Send + 'static) -> io::Result<()> {
        self.reload = Some(Box::new(reload));
        self.signals()?.add_reload()
    }

    /// Calls this when the server begins to end.
    pub fn on_ending(&mut self, farewell: impl FnOnce() + Send + 'static) {
        self.farewell = Some(Box::new(farewell));
    }

    fn signals(&mut self) -> io::Result<&mut Signals> {
        let signals = match self.signals.take() {
            Some(signals) => signals,
            None => Signals::register(self.poll.registry(), Source::Signals.into())?,
        };
        Ok(self.signals.insert(signals))
    }

    /// Where is listened, and for what.
    pub fn listeners(&self) -> &[Listen] {
        &self.listens
    }

    /// The addresses listened on; Unix sockets have none.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The memory that the server keeps within, in bytes.
    pub fn memory_budget(&self) -> usize {
        self.engine.memory_budget()
    }

    /// Ends the sleep of this reactor.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Turns until it is told to stop and every connection has gone.
    ///
    /// # Errors
    /// What the poller says.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(self.limits.events_max);
        let mut now = Instant::now();
        loop {
            let sleep = self.sleep(now);
            match self.poll.poll(&mut events, sleep) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) => events.clear(),
                Ok(()) => {}
            }
            now = Instant::now();
            self.note_wake(now);
            self.engine.begin_turn(now);
            self.mark(&events);
            self.inbox.drain(&mut self.engine);
            if self.inbox.is_stopped() {
                self.note(Input::Stop);
                self.engine.stop(now);
            } else if self.inbox.is_draining() {
                self.note(Input::Drain);
                self.engine.drain(now);
            }
            self.attend(now);
            if self.engine.is_draining()
                && let Some(farewell) = self.farewell.take()
                // Where another process has taken over, it is not the service that ends.
                && !self.engine.is_held()
            {
                farewell();
            }
            self.listen_to_others(now);
            self.note(Input::Turn);
            self.engine.turn(now);
            self.tell_others(now);
            // Those who have gone make room first: who comes back at once is not counted beside what it has left.
            if self.engine.accepts() {
                self.accept(now, self.limits.accept_budget);
            } else if self.close_listeners(now) {
                self.note(Input::DropAll);
                self.engine.drop_all();
                self.end_recording();
                self.leave(&mut events);
                self.engine.fall_silent();
                return Ok(());
            }
            self.look_at_door(now);
            if let Some(overrun) = self.engine.end_turn() {
                say_overrun(&overrun);
            }
            self.keep_recording();
        }
    }

    fn sleep(&self, now: Instant) -> Option<Duration> {
        let has_work = self.inbox.has_waiting() || self.listeners.iter().any(Listener::is_ready);
        if self.link.as_ref().is_some_and(Link::has_work) {
            return Some(Duration::ZERO);
        }
        // While it is not known which process goes on, all of that waits.
        let is_held = self.engine.is_held();
        if has_work && !is_held {
            return Some(Duration::ZERO);
        }
        let retries = self.listeners.iter().filter(|_| !is_held).filter_map(|listener| listener.sleep(now));
        let closes_in =
            self.closes_at.filter(|_| !self.listeners.is_empty()).map(|at| at.saturating_duration_since(now));
        let is_late_in = self.door.as_ref().and_then(|door| door.sleep(now));
        retries.chain(self.engine.sleep(now)).chain(closes_in).chain(is_late_in).min()
    }

    fn mark(&mut self, events: &Events) {
        // Who is told to end takes in nobody who came meanwhile.
        self.obey_early_signals();
        for event in events {
            match Source::from(event.token()) {
                // That it is awake is all there is to it; the next process is looked at in each turn while it is there.
                Source::Waker | Source::Guest => {}
                Source::Door => self.door.iter_mut().for_each(Door::mark_ready),
                Source::Signals => self.obey_signals(),
                Source::Listener(i) => {
                    if let Some(listener) = self.listeners.get_mut(i) {
                        listener.mark_ready();
                    }
                }
                Source::Link(line) => {
                    if let Some(link) = &mut self.link {
                        link.mark(line, event);
                    }
                }
                Source::Conn(id) => self.tell_ready(id, event),
            }
        }
    }

    /// Ends accepting; says whether the server has ended, too.
    fn close_listeners(&mut self, now: Instant) -> bool {
        if self.door.take().is_some() {
            self.thaw();
        }
        if !self.listeners.is_empty() {
            let closes_at = match self.closes_at {
                Some(at) => at,
                None => self.begin_to_close(now),
            };
            let is_stopping = self.engine.is_stopping();
            let is_over = is_stopping || self.engine.is_overdue() || closes_at <= now;
            if !is_stopping {
                // The kernel resets who is closed upon before it has been accepted. All are asked, since those that
                // were let go have moved the others from the places under which they are announced.
                self.listeners.iter_mut().for_each(Listener::mark_ready);
                self.accept(
                    now,
                    if is_over { self.limits.accept_backlog } else { self.limits.accept_budget },
                );
            }
            if is_over {
                self.let_listeners_go();
            }
        }
        self.listeners.is_empty() && (self.engine.is_empty() || self.engine.is_overdue())
    }

    /// Lets new visitors go elsewhere as far as that can be done; says when the listeners are to be closed.
    fn begin_to_close(&mut self, now: Instant) -> Instant {
        // Who waits at a passed socket is left to wait for the next process.
        let registry = self.poll.registry();
        self.listeners
            .extract_if(.., |listener| listener.is_passed())
            .for_each(|mut passed| passed.deregister(registry));
        let linger = if self.reuse_port { self.limits.listener_linger } else { Duration::ZERO };
        if self.reuse_port {
            // Where it cannot be had, who is on the way here may be reset.
            self.listeners.iter().for_each(|listener| listener.divert().unwrap_or_default());
        }
        *self.closes_at.insert(now + linger)
    }

    /// Closes the listeners here, whoever else has them.
    fn let_listeners_go(&mut self) {
        for mut listener in self.listeners.drain(..) {
            listener.deregister(self.poll.registry());
        }
        self.note(Input::Deaf);
        self.engine.set_listening(false);
    }
}

impl<H: Handler> Drop for Reactor<H> {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

/// The time of day; the loop's own clock goes on from there, whatever is done to the other one.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
