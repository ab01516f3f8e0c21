//! Incremental UTF-8 validation for text messages, RFC 6455 §8.1.

use simdutf8::compat::from_utf8;

/// The text is not UTF-8, known at the first byte that cannot belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

/// Validates text that arrives in pieces and may be cut inside a character.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8Stream {
    /// The beginning of a character whose end has not arrived.
    carry: [u8; 4],
    carried: u8,
}

impl Utf8Stream {
    /// Appends the next piece to `text`, as far as its characters are complete.
    ///
    /// # Errors
    /// [`InvalidUtf8`] as soon as no continuation could make the text valid (§8.1 with fail-fast).
    pub fn append(&mut self, mut piece: &[u8], text: &mut String) -> Result<(), InvalidUtf8> {
        while self.carried > 0 && !piece.is_empty() {
            self.carry_byte(piece[0], text)?;
            piece = &piece[1..];
        }
        match from_utf8(piece) {
            Ok(valid) => text.push_str(valid),
            Err(error) => {
                let (valid, rest) = piece.split_at(error.valid_up_to());
                // An error with a length is a byte that fits nowhere; without one, the piece just ends early.
                if error.error_len().is_some() || rest.len() > 3 {
                    return Err(InvalidUtf8);
                }
                text.push_str(from_utf8(valid).map_err(|_| InvalidUtf8)?);
                self.carry[..rest.len()].copy_from_slice(rest);
                self.carried = rest.len() as u8;
            }
        }
        Ok(())
    }

    /// Whether the text may end here, that is, not inside a character.
    pub fn is_complete(&self) -> bool {
        self.carried == 0
    }

    /// Bytes of a character whose end has not arrived: they are not in the text yet.
    pub fn carried(&self) -> usize {
        usize::from(self.carried)
    }

    fn carry_byte(&mut self, byte: u8, text: &mut String) -> Result<(), InvalidUtf8> {
        let len = usize::from(self.carried) + 1;
        self.carry[len - 1] = byte;
        self.carried = len as u8;
        match std::str::from_utf8(&self.carry[..len]) {
            Ok(character) => {
                text.push_str(character);
                self.carried = 0;
                Ok(())
            }
            Err(error) if error.error_len().is_none() => Ok(()),
            Err(_) => Err(InvalidUtf8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(pieces: &[&[u8]]) -> Result<Option<String>, InvalidUtf8> {
        let (mut utf8, mut text) = (Utf8Stream::default(), String::new());
        for piece in pieces {
            utf8.append(piece, &mut text)?;
        }
        Ok(utf8.is_complete().then_some(text))
    }

    #[test]
    fn s8_1_every_cut_of_every_width_is_the_same_text() {
        let text = "a\u{7f}\u{80}é\u{7ff}\u{800}房\u{ffff}\u{10000}🙂\u{10ffff}z";
        for cut in 0..=text.len() {
            for second in cut..=text.len() {
                let bytes = text.as_bytes();
                let got = stream(&[&bytes[..cut], &bytes[cut..second], &bytes[second..]]);
                assert_eq!(got, Ok(Some(text.to_owned())), "cut at {cut} and {second}");
            }
        }
    }

    #[test]
    fn s8_1_fails_at_the_first_impossible_byte() {
        // Each row: a prefix that is still possible, and the byte after which it no longer is.
        let rows: &[(&[u8], u8)] = &[
            (b"ok", 0x80),
            (b"ok", 0xc0),
            (b"ok", 0xc1),
            (b"ok", 0xf5),
            (b"ok", 0xff),
            (b"\xc3", b'x'),
            (b"\xe0", 0x9f),
            (b"\xed", 0xa0),
            (b"\xf0", 0x8f),
            (b"\xf4", 0x90),
            (b"\xf0\x90", b'x'),
            (b"\xf0\x90\x80", 0xc0),
        ];
        for (possible, impossible) in rows {
            assert!(stream(&[possible]).is_ok(), "{possible:x?}");
            assert_eq!(stream(&[possible, &[*impossible]]), Err(InvalidUtf8), "{possible:x?} {impossible:x}");
            let whole = [possible, &[*impossible][..]].concat();
            assert_eq!(stream(&[&whole]), Err(InvalidUtf8), "{whole:x?}");
            let each: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(stream(&each), Err(InvalidUtf8), "{whole:x?} byte by byte");
        }
    }

    #[test]
    fn s8_1_text_that_ends_inside_a_character_is_not_complete() {
        for unfinished in [&b"\xc3"[..], b"\xe6\x88", b"\xf0\x9f\x99"] {
            assert_eq!(stream(&[unfinished]), Ok(None));
        }
    }
}
