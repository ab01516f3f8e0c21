//! What a recording begins with: what made it, and what the engine began with.

use serde::{Deserialize, Serialize};

/// The beginning of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of Fanline that made it.
    pub version: String,
    /// When the engine began, in nanoseconds since 1970.
    pub start_ns: u64,
    /// The memory that the machine said it has.
    pub memory: Option<u64>,
    /// Whether what people said is kept as it came.
    pub has_bodies: bool,
    /// Whether there was a gate, whose decisions are in the recording.
    pub has_gate: bool,
    /// The configuration as a file would say it, without any secret.
    pub settings: String,
}

impl Header {
    /// The line that every recording begins with; the number is that of the format.
    pub const MAGIC: &'static [u8] = b"fanline recording 1\n";
}
