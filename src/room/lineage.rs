//! What the epochs of a room have in common: where another server gives the numbers from now on, it goes on from a place.

use super::position::Position;

/// Earlier epochs that the present one goes on from: of each the last position that both of them have.
///
/// Up to that one a position says the same in either epoch. What an earlier epoch had behind it is lost, and the present
/// one has something else there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage(Box<[Position]>);

impl Lineage {
    /// Reads positions with a space between each two; what is none is left out, and so are the positions behind it.
    pub fn read(text: &str) -> Self {
        Self(text.split_ascii_whitespace().filter_map(|last| last.parse().ok()).collect())
    }

    /// Whether a position of an earlier epoch says the same in the present one.
    pub fn has(&self, position: Position) -> bool {
        self.0.iter().any(|last| last.epoch == position.epoch && position.offset <= last.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_up_to_where_an_epoch_ends_are_had_and_none_behind_it() {
        let lineage = Lineage::read(" 3:10 5:12");
        let rows =
            [("3:10", true), ("3:1", true), ("3:11", false), ("5:11", true), ("5:13", false), ("4:1", false)];
        for (position, want) in rows {
            assert_eq!(lineage.has(position.parse().unwrap()), want, "{position}");
        }
        assert_eq!(Lineage::read(""), Lineage::default());
        assert!(
            !Lineage::read("3:x").has(Position { epoch: 3, offset: 0 }),
            "what is not understood is not had"
        );
    }
}
