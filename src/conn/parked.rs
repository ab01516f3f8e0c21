//! A request that waits, and for what.

use crate::timer::Tick;

/// A request that waits for something to answer it with.
#[derive(Debug)]
pub struct Parked {
    /// Its head.
    pub head: Box<[u8]>,
    /// The room it waits for.
    pub room: String,
    /// How long it waits.
    pub until: Tick,
    /// What it waits for.
    pub why: Why,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A publication in its room.
    News,
    /// Its room, which is being opened.
    Opening,
    /// The answer to what it has published.
    Answer,
    /// What a look through the server finds.
    Survey,
}
