//! What is said on stderr without a log, and what the log is told of certificates.

use std::fmt;
use std::io::{self, Write};

use tracing::{info, warn};

use super::tls::TlsError;

/// Says a line on stderr. That whoever read it has gone is no reason to end, as it would be for `eprintln!`.
pub fn say(line: fmt::Arguments<'_>) {
    io::stderr().write_fmt(format_args!("{line}\n")).unwrap_or_default();
}

/// A pair that cannot be used changes nothing, but somebody has to be told.
pub(super) fn complain(reloaded: Result<(), TlsError>) {
    match reloaded {
        Ok(()) => info!("the certificate was read anew"),
        Err(error) => warn!("the certificate in use is kept: {error}"),
    }
}
