//! The signals that ask a process to stop, or to read its configuration anew.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Signals as a source of events: none until one is asked for.
pub(super) struct Signals {
    source: signal_hook_mio::v1_0::Signals,
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
        Ok(Self { source })
    }

    /// Also listens to SIGINT and SIGTERM.
    pub(super) fn add_stop(&self) -> io::Result<()> {
        self.source.add_signal(SIGINT)?;
        self.source.add_signal(SIGTERM)
    }

    /// Also listens to SIGHUP.
    pub(super) fn add_reload(&self) -> io::Result<()> {
        self.source.add_signal(SIGHUP)
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
