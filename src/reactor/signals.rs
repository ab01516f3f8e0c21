//! The signals that ask a process to stop.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};

/// SIGINT and SIGTERM, as a source of events.
pub(super) struct Signals(signal_hook_mio::v1_0::Signals);

impl Signals {
    pub(super) fn register(registry: &Registry, token: Token) -> io::Result<Self> {
        let mut signals = signal_hook_mio::v1_0::Signals::new([SIGINT, SIGTERM])?;
        registry.register(&mut signals, token, Interest::READABLE)?;
        Ok(Self(signals))
    }

    pub(super) fn asks_to_stop(&mut self) -> bool {
        self.0.pending().count() > 0
    }
}
