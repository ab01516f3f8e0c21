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
            // There may be any number of these two, so they take turns.
            Source::Link(line) => Token(OTHER + 4 + 2 * line.number()),
            Source::Listener(i) => Token(OTHER + 5 + 2 * i),
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
            Some(i) if i.is_multiple_of(2) => Source::Link(Line::numbered((i - 4) / 2)),
            Some(i) => Source::Listener((i - 5) / 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_known_by_its_token() {
        let few = [Source::Waker, Source::Signals, Source::Door, Source::Guest];
        let many = (0..100).flat_map(|i| [Source::Listener(i), Source::Link(Line::numbered(i))]);
        for source in few.into_iter().chain(many).chain([Source::Conn(ConnId::from_bits(7))]) {
            assert_eq!(Source::from(Token::from(source)), source);
        }
    }
}
