//! A word that stays in a recording for as long as it may be one of those that everybody knows.

/// The beginning of a word, byte by byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Word {
    bytes: [u8; Self::LEN_MAX],
    len: usize,
    /// It is none of them any more.
    is_other: bool,
}

impl Word {
    /// The longest word that is known.
    const LEN_MAX: usize = 12;

    /// Takes the next byte; says whether one of `known` begins like this.
    pub(super) fn goes_on(&mut self, byte: u8, known: &[&[u8]]) -> bool {
        if let Some(place) = self.bytes.get_mut(self.len).filter(|_| !self.is_other) {
            *place = byte;
            self.len += 1;
            let begun = &self.bytes[..self.len];
            self.is_other = !known.iter().any(|word| word.starts_with(begun));
        } else {
            self.is_other = true;
        }
        !self.is_other
    }

    /// Whether it is this one, as far as it has come.
    pub(super) fn is(&self, word: &[u8]) -> bool {
        !self.is_other && &self.bytes[..self.len] == word
    }

    /// Whether it is one of these.
    pub(super) fn is_one_of(&self, words: &[&[u8]]) -> bool {
        words.iter().any(|word| self.is(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_while_it_may_be_known_and_is_known_when_it_is_whole() {
        let known: &[&[u8]] = &[b"GET", b"OPTIONS"];
        let stays = |text: &str| {
            let mut word = Word::default();
            let kept = text.bytes().filter(|byte| word.goes_on(*byte, known)).count();
            (kept, word.is_one_of(known))
        };
        assert_eq!(stays("GET"), (3, true));
        assert_eq!(stays("GE"), (2, false));
        assert_eq!(stays("GETOPTIONS"), (3, false), "what comes after it begins no other");
        assert_eq!(stays("SECRET"), (0, false));
        assert_eq!(stays(""), (0, false));
    }
}
