//! What a poller's token stands for.

use mio::Token;

use crate::backplane::Line;
use crate::id::ConnId;

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Conn(ConnId),
    Listener(usize),
    Waker,
    Signals,
    /// Where the next process asks.
    Door,
    /// The next process.
    Guest,
    Link(Line),
}

/// A connection's id has its highest bit clear, so tokens with that bit set are free for everything else.
const OTHER: usize = 1 << (usize::BITS - 1);

impl From<Source> for Token {
    fn from(source: Source) -> Token {
        match source {
            Source::Conn(id) => Token(id.to_bits() as usize),
            Source::Waker => Token(OTHER),
            Source::Signals => Token(OTHER + 1),
            Source::Door => Token(OTHER + 2),
            Source::Guest => Token(OTHER + 3),
            Source::Link(Line::Commands) => Token(OTHER + 4),
            Source::Link(Line::News) => Token(OTHER + 5),
            Source::Listener(i) => Token(OTHER + 6 + i),
        }
    }
}

impl From<Token> for Source {
    fn from(Token(bits): Token) -> Source {
        match bits.checked_sub(OTHER) {
            None => Source::Conn(ConnId::from_bits(bits as u64)),
            Some(0) => Source::Waker,
            Some(1) => Source::Signals,
            Some(2) => Source::Door,
            Some(3) => Source::Guest,
            Some(4) => Source::Link(Line::Commands),
            Some(5) => Source::Link(Line::News),
            Some(i) => Source::Listener(i - 6),
        }
    }
}
