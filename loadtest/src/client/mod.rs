//! A raw WebSocket client that can say anything, also what the RFC forbids, and hears strictly.

pub(crate) mod deflate;
pub(crate) mod frame;
pub(crate) mod head;
mod inflate;
pub(crate) mod request;
pub(crate) mod socket;
pub(crate) mod wire;

use std::fmt;

/// Why the client could not go on: the server's fault in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);

impl Broken {
    /// A fault in these words.
    pub(crate) fn new(words: impl Into<String>) -> Broken {
        Broken(words.into())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Bytes for a report: short ones in full, long ones by their beginning and length.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 48;
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string();
    if bytes.len() > SHOWN {
        format!("\"{shown}\"… ({} bytes)", bytes.len())
    } else {
        format!("\"{shown}\"")
    }
}
