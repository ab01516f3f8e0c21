//! What is said on stderr without a log, and what the log is told of certificates and of slow turns.

use std::fmt;
use std::io::{self, Write};

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
