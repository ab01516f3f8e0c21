//! When a listener is asked for connections, and when again after an error: all that is decided without a socket.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use crate::planted::{Fault, is_planted};

/// Whether somebody may be waiting at a listener.
#[derive(Debug)]
pub struct Acceptor {
    /// An edge has announced connections, and no accept has found the end of them.
    ready: bool,
    /// When to try again after an error that passes with time.
    retry_at: Option<Instant>,
}

/// What one accept gave.
#[derive(Debug)]
pub enum Accepted<S> {
    /// A connection.
    Stream(S),
    /// That one is lost; the next may do better.
    Failed,
    /// There is no descriptor for it; it still waits.
    NoDescriptor,
    /// Nobody waits, or it is not time to ask again.
    Nothing,
}

impl Default for Acceptor {
    fn default() -> Self {
        Self { ready: true, retry_at: None }
    }
}

impl Acceptor {
    /// errno(3): the process, or the system, has as many open files as it may have.
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;

    /// An edge has announced connections.
    pub fn mark_ready(&mut self) {
        self.ready = true;
    }

    /// Whether it takes in nobody for a while, after an error.
    pub fn is_pausing(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Whether accepting is worth a try without another event.
    pub fn is_ready(&self) -> bool {
        self.ready && self.retry_at.is_none()
    }

    /// How long until the next try after an error.
    pub fn sleep(&self, now: Instant) -> Option<Duration> {
        self.retry_at.map(|at| at.saturating_duration_since(now))
    }

    /// Takes the next connection by `accept`, if it is time to; after an error that passes with time, not before `pause`.
    pub fn accept<S>(
        &mut self,
        now: Instant,
        pause: Duration,
        accept: impl FnOnce() -> io::Result<S>,
    ) -> Accepted<S> {
        if self.retry_at.is_some_and(|at| at > now) || !self.ready {
            return Accepted::Nothing;
        }
        self.retry_at = None;
        match accept() {
            Ok(stream) => Accepted::Stream(stream),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    self.ready = false;
                    Accepted::Nothing
                }
                // Errors of the one connection, which accept(2) passes on; the others are waiting behind it.
                ErrorKind::Interrupted
                | ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionReset
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::TimedOut => Accepted::Failed,
                // The listener stays ready, and no edge will say so again.
                _ => {
                    self.retry_at = Some(now + pause);
                    if is_planted(Fault::NoRetryAfterEmfile) {
                        (self.ready, self.retry_at) = (false, None);
                    }
                    match error.raw_os_error() {
                        Some(Self::EMFILE | Self::ENFILE) => Accepted::NoDescriptor,
                        Some(_) | None => Accepted::Failed,
                    }
                }
            },
        }
    }

    /// Takes the one that waits longest, with a descriptor that has just been freed for it, to be told that it cannot
    /// be served.
    pub fn turn_away<S>(&mut self, accept: impl FnOnce() -> io::Result<S>) -> Option<S> {
        let stream = accept().ok()?;
        self.retry_at = None;
        Some(stream)
    }
}
