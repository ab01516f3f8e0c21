//! The name of a connection, a slot and the generation that tells its tenants apart; and whose connection it is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Names one connection for as long as the server runs.
///
/// A slot is used again after its connection has ended, a generation is not, so an id that outlives its
/// connection finds nothing instead of a stranger.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    slot: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) fn new(slot: usize, generation: u32) -> Self {
        // Slots are bounded by `connections_max`, far below 2^32: a process has fewer descriptors.
        Self { slot: slot as u32, generation }
    }

    pub(crate) fn slot(self) -> usize {
        self.slot as usize
    }

    /// The id in one word, as a poller's token carries it.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The slot and the generation in short, such as `17.4`.
    pub fn short(self) -> String {
        format!("{}.{}", self.slot, self.generation)
    }

    /// The id that [`ConnId::to_bits`] was made from.
    pub fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}.{}", self.slot, self.generation)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for ConnId {
    type Err = InvalidId;

    /// Reads `17.4`: the slot and the generation, as an id is shown.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let number = |text: &str| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_number).ok_or(InvalidId)
        };
        let (slot, generation) = text.split_once('.').ok_or(InvalidId)?;
        Ok(Self { slot: number(slot)?, generation: number(generation)? })
    }
}

/// A text that names no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a connection's id, such as 17.4")
    }
}

impl std::error::Error for InvalidId {}

/// Whose connection it is, as far as the application knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub user: Option<Arc<str>>,
    /// By what the token is known that it has shown.
    pub token: Option<Arc<str>>,
}

impl Identity {
    /// Whether nothing is known.
    pub fn is_nobody(&self) -> bool {
        self.user.is_none() && self.token.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_shown_in_short() {
        let id = ConnId::new(17, 4);
        assert_eq!(id.short(), "17.4");
        assert_eq!(id.short().parse(), Ok(id));
        for text in ["", "17", "17.", ".4", "17.4.1", "+17.4", "17.x", "99999999999.1"] {
            assert_eq!(text.parse::<ConnId>(), Err(InvalidId), "{text}");
        }
    }
}
