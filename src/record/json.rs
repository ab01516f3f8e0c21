//! JSON whose values are replaced and whose structure stays, byte by byte: the objects of `fanline.v1`.

use super::filler::{Chain, Filler};

/// The names that mean something there; they stay.
const NAMES: [&[u8]; 6] = [b"text", b"base64", b"id", b"token", b"type", b"position"];

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
    /// The name read last, as far as it can be one of those that stay.
    name: [u8; 8],
    name_len: usize,
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
        let (name, name_len, is_name_next) = ([0; 8], 0, false);
        Self {
            chain: filler.begin(),
            place: Place::Outside,
            tables: 0,
            depth: 0,
            is_name_next,
            name,
            name_len,
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
            Place::Value if self.is("base64") && next.is_none_or(|next| matches!(next, b'=' | b'"')) => {
                self.chain.text(byte);
                byte
            }
            Place::Value => self.chain.text(byte),
            Place::Escape(is_value) => {
                let inside = if is_value { Place::Value } else { Place::Name };
                self.place = if byte == b'u' { Place::Unicode(4, is_value) } else { inside };
                byte
            }
            Place::Unicode(left, is_value) => {
                let inside = if is_value { Place::Value } else { Place::Name };
                self.place = if left > 1 { Place::Unicode(left - 1, is_value) } else { inside };
                byte
            }
        }
    }

    fn outside(&mut self, byte: u8, filler: &Filler) -> u8 {
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
                    self.name_len = 0;
                }
            }
            // What is no JSON at all is somebody's text.
            _ if self.depth == 0 => return self.chain.text(byte),
            b'0'..=b'9' => {}
            _ if b"truefalsn".contains(&byte) => {}
            _ => return self.chain.text(byte),
        }
        byte
    }

    fn in_name(&mut self, byte: u8) -> u8 {
        let filled = self.chain.text(byte);
        let at = self.name_len;
        let stays = at < self.name.len() && {
            self.name[at] = byte;
            NAMES.iter().any(|name| name.starts_with(&self.name[..=at]))
        };
        // Once it is none of them, it is not taken for the beginning of one.
        self.name_len = if stays { at + 1 } else { usize::MAX };
        if stays { byte } else { filled }
    }

    fn is(&self, name: &str) -> bool {
        self.name.get(..self.name_len) == Some(name.as_bytes())
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
        let text = r#"{"text":"a secret \"word\" é \u00e9\n", "id":"42", "base64":"aGVsbG8gd29ybGQ=", "token":true}"#;
        let got = filled(text);
        let value: serde_json::Value = serde_json::from_str(&got).unwrap();
        assert_eq!(got.len(), text.len());
        assert!(!got.contains("secret") && !got.contains("word") && !got.contains("aGVsbG8"), "{got}");
        assert_eq!(
            value["text"].as_str().unwrap().chars().count(),
            r#"a secret "word" é é."#.chars().count()
        );
        assert_eq!(value["id"].as_str().unwrap().len(), 2);
        assert_eq!(value["token"], true);
        assert!(value["base64"].as_str().unwrap().ends_with('='), "{got}");
    }

    #[test]
    fn what_is_no_json_and_names_nobody_knows_are_replaced_too() {
        for text in ["hidden words", r#"{"hidden":1}"#, r#"["hidden",{"x":"hidden"}]"#, r#"{hidden"#] {
            assert!(!filled(text).contains("hidden"), "{}", filled(text));
            assert_eq!(filled(text).len(), text.len());
        }
    }
}
