//! The signals that ask a process to stop, or to read its configuration anew.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tracing::warn;

use super::Reactor;
use super::words::complain;
use crate::engine::handler::Handler;
use crate::record::Input;

/// Signals as a source of events: none until one is asked for.
pub(super) struct Signals {
    source: signal_hook_mio::v1_0::Signals,
    /// Set before the source can be read.
    came: Arc<AtomicBool>,
}

/// What came since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) stop: bool,
    pub(super) drain: bool,
    pub(super) reload: bool,
}

impl Signals {
    pub(super) fn register(registry: &Registry, token: Token) -> io::Result<Self> {
        let mut source = signal_hook_mio::v1_0::Signals::new([0; 0])?;
        registry.register(&mut source, token, Interest::READABLE)?;
        Ok(Self { source, came: Arc::default() })
    }

    /// Also listens to SIGINT and SIGTERM.
    pub(super) fn add_stop(&self) -> io::Result<()> {
        self.add(SIGINT)?;
        self.add(SIGTERM)
    }

    /// Also listens to SIGHUP.
    pub(super) fn add_reload(&self) -> io::Result<()> {
        self.add(SIGHUP)
    }

    fn add(&self, signal: i32) -> io::Result<()> {
        signal_hook::flag::register(signal, self.came.clone())?;
        self.source.add_signal(signal)
    }

    /// Whether one has come since this was asked last. A poller that was woken by something else may say so of a signal
    /// only the next time, though that came before it returned.
    pub(super) fn have_come(&self) -> bool {
        self.came.load(Ordering::Relaxed) && self.came.swap(false, Ordering::AcqRel)
    }

    pub(super) fn take(&mut self) -> Asked {
        let mut asked = Asked::default();
        for signal in self.source.pending() {
            match signal {
                SIGHUP => asked.reload = true,
                SIGTERM => asked.drain = true,
                _ => asked.stop = true,
            }
        }
        asked
    }
}

impl<H: Handler> Reactor<H> {
    /// Does what a signal asks for that came before its event.
    pub(super) fn obey_early_signals(&mut self) {
        if self.signals.as_ref().is_some_and(Signals::have_come) {
            self.obey_signals();
        }
    }

    pub(super) fn obey_signals(&mut self) {
        let asked = self.signals.as_mut().map(Signals::take).unwrap_or_default();
        if (asked.stop || asked.drain) && self.is_ending {
            self.note(Input::DropAll);
            warn!(connections = self.engine.len(), "stop: asked again, so every connection is dropped");
            self.engine.drop_all();
            self.inbox.stop();
        } else if asked.stop {
            self.inbox.stop();
        } else if asked.drain {
            self.inbox.begin_drain();
        }
        self.is_ending |= asked.stop || asked.drain;
        if let Some(identity) = self.identity.as_mut().filter(|_| asked.reload) {
            complain(identity.reload());
        }
        if let Some(reload) = self.reload.as_mut().filter(|_| asked.reload) {
            if let Some(tape) = &self.tape {
                tape.input(Input::Reload);
            }
            self.engine.reload(reload);
            self.limits = self.engine.limits().clone();
        }
    }
}
