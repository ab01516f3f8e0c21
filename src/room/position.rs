//! Where a publication stands, and where a reader starts.

use std::fmt;
use std::str::FromStr;

/// Where a publication stands: offsets count from 1 within an epoch and never repeat.
///
/// It is written `epoch:offset`.
///
/// ```
/// let position: fanline::Position = "1763719200123456:42".parse().unwrap();
/// assert_eq!(position.offset, 42);
/// assert_eq!(position.to_string(), "1763719200123456:42");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Names one life of the room's log.
    pub epoch: u64,
    /// The number of the publication in it.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

/// Text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPosition;

impl fmt::Display for InvalidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a position is written epoch:offset, two whole numbers")
    }
}

impl std::error::Error for InvalidPosition {}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (epoch, offset) = text.split_once(':').ok_or(InvalidPosition)?;
        // Digits alone: `+1` and the like are numbers to the standard library.
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().map_err(|_| InvalidPosition),
            false => Err(InvalidPosition),
        };
        Ok(Self { epoch: number(epoch)?, offset: number(offset)? })
    }
}

/// Where a reader of a room starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With what is published from now on.
    #[default]
    Now,
    /// With the latest so many publications, as far as they are kept.
    Last(usize),
    /// With all that came after a position; where some of that is gone, with the latest so many.
    Since {
        /// The position of the last publication that the reader has.
        position: Position,
        /// How many to begin with where it cannot be resumed there.
        or_last: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_what_is_none() {
        assert_eq!("3:4".parse(), Ok(Position { epoch: 3, offset: 4 }));
        for text in
            ["", ":", "3", "3:", ":4", "3:4:5", "+3:4", "3:-4", "3: 4", "99999999999999999999:1", "a:b"]
        {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
        }
    }
}
