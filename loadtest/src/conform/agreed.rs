//! What a server agreed to in `Sec-WebSocket-Extensions`, RFC 7692 §7.1.

use super::case::{Fault, fail};
use crate::client::deflate::{Deflater, Inflater};
use crate::client::head::Response;

const FIELD: &str = "sec-websocket-extensions";
const NAME: &str = "permessage-deflate";

/// The parameters of the server's answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// Whether `server_no_context_takeover` was answered.
    pub(crate) server_no_context_takeover: bool,
    /// Whether `client_no_context_takeover` was answered.
    pub(crate) client_no_context_takeover: bool,
    /// The value of `server_max_window_bits`.
    pub(crate) server_max_window_bits: Option<u8>,
    /// The value of `client_max_window_bits`.
    pub(crate) client_max_window_bits: Option<u8>,
}

impl Agreed {
    /// A compressor that keeps to what was agreed.
    pub(crate) fn deflater(&self) -> Deflater {
        self.deflater_at(6)
    }

    /// The same at another level.
    pub(crate) fn deflater_at(&self, level: i32) -> Deflater {
        // zlib has no raw window of 8 bits: stored blocks refer to nothing and keep to any window.
        let (level, bits) = match self.client_max_window_bits {
            Some(8) => (0, 9),
            bits => (level, bits.unwrap_or(15)),
        };
        let deflater = Deflater::new(level, bits);
        if self.client_no_context_takeover { deflater.without_takeover() } else { deflater }
    }

    /// A decompressor that holds the server to what was agreed.
    pub(crate) fn inflater(&self) -> Inflater {
        Inflater::new(self.server_max_window_bits.unwrap_or(15), self.server_no_context_takeover)
    }
}

/// Whether the answer names permessage-deflate at all.
pub(crate) fn is_agreed(response: &Response) -> bool {
    response.tokens(FIELD).iter().any(|extension| name_of(extension) == NAME)
}

/// Whether the answer names any extension.
pub(crate) fn names_any(response: &Response) -> bool {
    !response.tokens(FIELD).is_empty()
}

/// Reads the answer; `None` is a connection without the extension.
pub(crate) fn read(response: &Response) -> Result<Option<Agreed>, Fault> {
    match response.tokens(FIELD).as_slice() {
        [] => Ok(None),
        [one] if name_of(one) == NAME => parse(one).map(Some),
        [one] => fail(format!("the server agreed to {one}, which was not offered")),
        several => fail(format!("the server agreed to {} extensions for one offer", several.len())),
    }
}

fn name_of(extension: &str) -> &str {
    extension.split(';').next().unwrap_or_default().trim()
}

fn parse(extension: &str) -> Result<Agreed, Fault> {
    let mut agreed = Agreed::default();
    for parameter in extension.split(';').skip(1).map(str::trim) {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (parameter, None),
        };
        let is_new = match (name, value) {
            ("server_no_context_takeover", None) => {
                !std::mem::replace(&mut agreed.server_no_context_takeover, true)
            }
            ("client_no_context_takeover", None) => {
                !std::mem::replace(&mut agreed.client_no_context_takeover, true)
            }
            ("server_max_window_bits", Some(value)) => {
                agreed.server_max_window_bits.replace(bits(value)?).is_none()
            }
            ("client_max_window_bits", Some(value)) => {
                agreed.client_max_window_bits.replace(bits(value)?).is_none()
            }
            _ => return fail(format!("the server answered the parameter {parameter}")),
        };
        if !is_new {
            return fail(format!("the server answered {name} twice"));
        }
    }
    Ok(agreed)
}

/// §7.1.2: a number from 8 to 15 without leading zeros.
fn bits(value: &str) -> Result<u8, Fault> {
    match value.parse() {
        Ok(bits @ 8..=15) if !value.starts_with(['0', '+']) => Ok(bits),
        _ => fail(format!("the server answered window bits of {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_parameters() {
        let agreed =
            parse("permessage-deflate; server_no_context_takeover; client_max_window_bits=12").unwrap();
        assert!(agreed.server_no_context_takeover && !agreed.client_no_context_takeover);
        assert_eq!((agreed.server_max_window_bits, agreed.client_max_window_bits), (None, Some(12)));
    }

    #[test]
    fn an_answer_with_a_bad_parameter_is_a_fault() {
        for parameters in
            ["x", "server_max_window_bits", "server_max_window_bits=7", "client_max_window_bits=012"]
        {
            assert!(parse(&format!("permessage-deflate; {parameters}")).is_err(), "{parameters}");
        }
        assert!(parse("permessage-deflate; server_no_context_takeover; server_no_context_takeover").is_err());
    }
}
