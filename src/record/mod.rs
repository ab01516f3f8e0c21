//! Recordings: everything that the engine is told from outside, and a check of everything that it sent, in one file.
//!
//! The engine does the same again when it is told the same again: turns with their times, who came, who was ready, what
//! each read gave, how much each write took, and the few answers that the application takes from elsewhere. A recording
//! holds these in the order in which they happened. What was sent is there as lengths and checksums.
//!
//! A file is a line that names the format, a [`Header`], then [`Entry`]s, each after its length. It is only ever
//! appended to, so one that was cut short is good up to there.

mod bytes;
mod entry;
mod filler;
mod frames;
mod header;
mod hidden;
mod json;
mod oracle;
mod reader;
mod shape;
mod sum;
mod tape;
mod word;

pub use entry::{Call, Entry, Failure, Input, Other};
pub use filler::Filler;
pub use header::Header;
pub use hidden::Hidden;
pub use oracle::{Oracle, known};
pub use reader::{Reader, RecordingError};
pub use shape::Shape;
pub use sum::Sum;
pub use tape::Tape;
