//! What a server says while it runs, on stderr.

use std::fmt;
use std::io::{self, Write};

/// Says a line on stderr. That whoever read it has gone is no reason to end, as it would be for `eprintln!`.
pub fn say(line: fmt::Arguments<'_>) {
    io::stderr().write_fmt(format_args!("{line}\n")).unwrap_or_default();
}
