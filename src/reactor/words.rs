//! What is said on stderr without a log, what the log is told of certificates and of slow turns, and its way to stderr, where
//! the loop never waits for whoever is to read it.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{info, warn};

use super::tls::TlsError;
use crate::ledger::slow::Overrun;

/// Says a line on stderr. That whoever read it has gone is no reason to end, as it would be for `eprintln!`.
pub fn say(line: fmt::Arguments<'_>) {
    io::stderr().write_fmt(format_args!("{line}\n")).unwrap_or_default();
}

/// A turn was too long; where that was one connection's input, whose.
#[cold]
pub(super) fn say_overrun(overrun: &Overrun) {
    let (cause, whose) = (overrun.turn.cause.name(), &overrun.turn.whose);
    match overrun.turn.culprit().map(|handling| handling.conn.short()) {
        Some(conn) => {
            let (address, route) = (whose.address.as_deref(), whose.route.as_deref());
            warn!(cause, conn, address, route, "{overrun}");
        }
        None => warn!(cause, "{overrun}"),
    }
}

/// A pair that cannot be used changes nothing, but somebody has to be told.
pub(super) fn complain(reloaded: Result<(), TlsError>) {
    match reloaded {
        Ok(()) => info!("the certificate was read anew"),
        Err(error) => warn!("the certificate in use is kept: {error}"),
    }
}

/// Lines that have been left out of which nothing has been said.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Whether the line before this one lacks its end.
static IS_TORN: AtomicBool = AtomicBool::new(false);

/// Writes lines to stderr while somebody takes them. One that is not taken is counted, and the next that is says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLines;

impl LogLines {
    /// What a pipe takes at once if it takes anything, `PIPE_BUF`.
    const PIECE: usize = 4096;
}

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        for (at, piece) in line.chunks(Self::PIECE).enumerate() {
            if !takes_more(&stderr) {
                LEFT_OUT.fetch_add(1, Ordering::Relaxed);
                IS_TORN.fetch_or(at > 0, Ordering::Relaxed);
                return Ok(line.len());
            }
            if IS_TORN.swap(false, Ordering::Relaxed) {
                stderr.write_all(b"\n")?;
            }
            stderr.write_all(piece)?;
        }
        drop(stderr);
        let count = LEFT_OUT.swap(0, Ordering::Relaxed);
        if count > 0 {
            warn!(count, "lines before this one were left out, since nobody took them from stderr");
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Whether a write would not wait. Where that cannot be known, and where it would fail, it is tried.
fn takes_more(stderr: &io::StderrLock<'_>) -> bool {
    let mut asked = [PollFd::new(stderr, PollFlags::OUT)];
    poll(&mut asked, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
}
