//! What a server says while it runs, on stderr.

use std::fmt;
use std::io::{self, Write};

use super::tls::TlsError;

/// Says a line on stderr. That whoever read it has gone is no reason to end, as it would be for `eprintln!`.
pub fn say(line: fmt::Arguments<'_>) {
    io::stderr().write_fmt(format_args!("{line}\n")).unwrap_or_default();
}

/// A pair that cannot be used changes nothing, but somebody has to be told.
pub(super) fn complain(reloaded: Result<(), TlsError>) {
    if let Err(error) = reloaded {
        say(format_args!("the certificate in use is kept: {error}"));
    }
}
