//! JSON whose values are replaced and whose structure stays, byte by byte: the objects of `fanline.v1`.

use std::ops::RangeInclusive;

use super::filler::{Chain, Filler};
use super::word::Word;

/// The names that mean something there; they stay.
const NAMES: &[&[u8]] = &[b"text", b"base64", b"id", b"token"];

/// A place in a JSON text.
#[derive(Clone, Debug)]
pub(super) struct Json {
    chain: Chain,
    place: Place,
    /// Whether each table around this place is an object, the innermost last; past 64 of them they are forgotten.
    tables: u64,
    depth: u32,
    /// Whether the next string names a value.
    is_name_next: bool,
    /// The name read last.
    name: Word,
    /// The literal that is being read: of all that is written without quotes, only `null` means anything.
    literal: Word,
    /// What an escape has said so far.
    unit: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    Name,
    Value,
    /// After a backslash in a value, or in a name.
    Escape(bool),
    /// In `\u`, so many digits to come.
    Unicode(u8, bool),
}

impl Json {
    pub(super) fn new(filler: &Filler) -> Self {
        Self {
            chain: filler.begin(),
            place: Place::Outside,
            tables: 0,
            depth: 0,
            is_name_next: false,
            name: Word::default(),
            literal: Word::default(),
            unit: 0,
        }
    }

    /// Replaces a byte; `next` is the one after it, where it is known.
    pub(super) fn replace(&mut self, byte: u8, next: Option<u8>, filler: &Filler) -> u8 {
        match self.place {
            Place::Outside => self.outside(byte, filler),
            Place::Name | Place::Value if byte == b'"' => {
                self.place = Place::Outside;
                byte
            }
            Place::Name | Place::Value if byte == b'\\' => {
                self.place = Place::Escape(self.place == Place::Value);
                byte
            }
            Place::Name => self.in_name(byte),
            // The last characters of base64 are not free: some of their bits have to be zero.
            Place::Value
                if self.name.is(b"base64") && next.is_none_or(|next| matches!(next, b'=' | b'"')) =>
            {
                self.chain.text(byte);
                byte
            }
            Place::Value => self.chain.text(byte),
            Place::Escape(is_value) => {
                let inside = if is_value { Place::Value } else { Place::Name };
                self.place = if byte == b'u' { Place::Unicode(4, is_value) } else { inside };
                self.unit = 0;
                byte
            }
            Place::Unicode(left, is_value) => {
                let inside = if is_value { Place::Value } else { Place::Name };
                self.place = if left > 1 { Place::Unicode(left - 1, is_value) } else { inside };
                self.digit(byte, 4 - left)
            }
        }
    }

    /// Replaces a digit of an escape so that it stands for a character of the same kind and length.
    fn digit(&mut self, byte: u8, at: u8) -> u8 {
        let Some(digit) = (byte as char).to_digit(16) else { return self.chain.text(byte) };
        let digit = digit as u8;
        let range = like(self.unit, at, digit);
        self.unit = self.unit << 4 | u16::from(digit);
        self.chain.hex(byte, digit, range)
    }

    fn outside(&mut self, byte: u8, filler: &Filler) -> u8 {
        let is_literal = byte.is_ascii_alphabetic() && self.literal.goes_on(byte, &[b"null"]);
        if !byte.is_ascii_alphabetic() {
            self.literal = Word::default();
        }
        match byte {
            b'{' | b'[' => {
                self.tables = self.tables << 1 | u64::from(byte == b'{');
                self.depth += 1;
                self.is_name_next = byte == b'{';
            }
            b'}' | b']' => {
                self.tables >>= 1;
                self.depth = self.depth.saturating_sub(1);
                self.is_name_next = false;
            }
            b',' => self.is_name_next = self.tables & 1 == 1,
            b':' => self.is_name_next = false,
            b'"' => {
                self.place = if self.is_name_next { Place::Name } else { Place::Value };
                self.chain = filler.begin();
                if self.is_name_next {
                    self.name = Word::default();
                }
            }
            _ if is_literal && self.depth > 0 => {}
            // What is no JSON at all is somebody's text, and numbers say something, too.
            _ => return self.chain.text(byte),
        }
        byte
    }

    fn in_name(&mut self, byte: u8) -> u8 {
        let filled = self.chain.text(byte);
        if self.name.goes_on(byte, NAMES) { byte } else { filled }
    }
}

/// What may stand in place of a digit of an escape, after those before it: characters of one, two or three bytes in UTF-8
/// stay so, halves of a pair stay halves, and of ASCII letters stay letters, digits digits, and the rest as it is.
fn like(before: u16, at: u8, digit: u8) -> RangeInclusive<u8> {
    match (at, before, digit) {
        (0, _, _) => digit..=digit,
        (1, 0xd, 0..=7) => 0..=7,
        (1, 0xd, 8..=0xb) => 8..=0xb,
        (1, 0xd, _) => 0xc..=0xf,
        (1, 0, 0) => 0..=0,
        (1, 0, 1..=7) => 1..=7,
        (1, 0, _) => 8..=0xf,
        (2, 0, 0..=7) => digit..=digit,
        (2, 0, _) => 8..=0xf,
        (3, 3, 0..=9) => 0..=9,
        (3, 4 | 6, 1..) => 1..=0xf,
        (3, 5 | 7, 0..=0xa) => 0..=0xa,
        (3, 0..=7, _) => digit..=digit,
        (_, _, _) => 0..=0xf,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        let filler = Filler::default();
        let mut json = Json::new(&filler);
        let bytes = text.as_bytes();
        let all = (0..bytes.len()).map(|at| json.replace(bytes[at], bytes.get(at + 1).copied(), &filler));
        String::from_utf8(all.collect()).unwrap()
    }

    #[test]
    fn names_structure_and_escapes_stay_and_values_do_not() {
        let text = r#"{"text":"a secret \"word\" é \u00e9\n", "id":"42", "base64":"aGVsbG8gd29ybGQ=", "token":null}"#;
        let got = filled(text);
        let value: serde_json::Value = serde_json::from_str(&got).unwrap();
        assert_eq!(got.len(), text.len());
        assert!(!got.contains("secret") && !got.contains("word") && !got.contains("aGVsbG8"), "{got}");
        assert_eq!(
            value["text"].as_str().unwrap().chars().count(),
            r#"a secret "word" é é."#.chars().count()
        );
        assert_eq!(value["id"].as_str().unwrap().len(), 2);
        assert!(value["token"].is_null());
        assert!(value["base64"].as_str().unwrap().ends_with('='), "{got}");
    }

    #[test]
    fn characters_written_as_escapes_are_replaced_by_others_of_the_same_length() {
        let text =
            r#"{"text":"\u79d8\u5bc6 \u041f\u0440 \u00E9 \ud83c\udf89 \u0053\u0065\u0031 \u000a\u0022"}"#;
        let plain: serde_json::Value = serde_json::from_str(text).unwrap();
        let got = filled(text);
        let value: serde_json::Value = serde_json::from_str(&got).unwrap();
        let (plain, value) = (plain["text"].as_str().unwrap(), value["text"].as_str().unwrap());
        assert_eq!(value.chars().count(), plain.chars().count(), "{got}");
        let mut changed = 0;
        for (was, is) in plain.chars().zip(value.chars()) {
            assert_eq!(was.len_utf8(), is.len_utf8(), "{got}");
            assert_eq!(was.is_ascii_alphabetic(), is.is_ascii_alphabetic(), "{got}");
            assert_eq!(was.is_ascii_digit(), is.is_ascii_digit(), "{got}");
            assert!(was.is_ascii_alphanumeric() || !was.is_ascii() || was == is, "{got}");
            changed += usize::from(was != is);
        }
        // One or the other may be its own filler.
        assert!(changed > 4, "{got}");
        for broken in [r#"{"text":"\u12"}"#, r#"{"text":"\uzzzz"}"#, r#"{"text":"\ud83c"}"#] {
            let is_broken = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_err();
            assert!(is_broken(broken) && is_broken(&filled(broken)), "{}", filled(broken));
        }
    }

    #[test]
    fn numbers_and_what_looks_like_a_literal_are_replaced_and_null_is_not() {
        let got = filled(r#"{"text":null,"x":8675309867530986753098675309,"y":true}"#);
        assert!(
            got.starts_with(r#"{"text":null,""#) && !got.contains("8675309867530986753098675309"),
            "{got}"
        );
        let got = filled("{tell us after a tear, the nurse left}");
        let words = ["tell", "after", "tear", "nurse", "left"];
        assert!(words.iter().all(|word| !got.contains(word)), "{got}");
    }

    #[test]
    fn what_is_no_json_and_names_nobody_knows_are_replaced_too() {
        for text in ["hidden words", r#"{"hidden":1}"#, r#"["hidden",{"x":"hidden"}]"#, r#"{hidden"#] {
            assert!(!filled(text).contains("hidden"), "{}", filled(text));
            assert_eq!(filled(text).len(), text.len());
        }
    }
}
