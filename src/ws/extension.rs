//! The `Sec-WebSocket-Extensions` header and the negotiation of permessage-deflate, RFC 6455 §9.1 and RFC 7692 §7.1.

use std::fmt;

/// What was agreed for permessage-deflate on one connection.
///
/// Neither side keeps a window from one message to the next, whatever was offered: the server says
/// `server_no_context_takeover` and asks for `client_no_context_takeover` (RFC 7692 §7.1.1), and so one compressor
/// and one decompressor serve all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateParams {
    /// The largest window the client can inflate with, as a power of two: 9 to 15.
    pub server_max_window_bits: u8,
    named: bool,
}

impl DeflateParams {
    /// What a frame for several connections is compressed under: the window of 32 KiB, which is what clients have that
    /// do not ask for less.
    pub const SHARED: Self = Self { server_max_window_bits: 15, named: false };

    /// Whether the client can inflate a frame that was compressed under [`DeflateParams::SHARED`].
    ///
    /// That the frame was not made for this connection makes no difference: it refers to nothing before it, so it leaves
    /// a client that clears its window after each message (RFC 7692 §7.1.1.1) as it is, and one that keeps it, too.
    pub fn can_share(&self) -> bool {
        self.server_max_window_bits >= Self::SHARED.server_max_window_bits
    }
}

impl fmt::Display for DeflateParams {
    /// The value of the response header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permessage-deflate; server_no_context_takeover; client_no_context_takeover")?;
        match self.named {
            true => write!(f, "; server_max_window_bits={}", self.server_max_window_bits),
            false => Ok(()),
        }
    }
}

/// The header does not follow the grammar of RFC 6455 §9.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedExtensions;

/// Chooses the first offer of permessage-deflate that can be served; an offer that cannot is declined by itself.
///
/// # Errors
/// [`MalformedExtensions`] where a header is not a list of extensions at all.
pub fn negotiate_deflate<'a>(
    headers: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<DeflateParams>, MalformedExtensions> {
    let mut chosen = None;
    for header in headers {
        let mut reader = Reader { rest: header };
        for offer in reader.offers()? {
            chosen = chosen.or_else(|| accept(&offer));
        }
    }
    Ok(chosen)
}

struct Offer<'a> {
    name: &'a [u8],
    params: Vec<(&'a [u8], Option<Vec<u8>>)>,
}

/// RFC 7692 §7: an offer with an unknown, a repeated or an invalid parameter is declined.
fn accept(offer: &Offer<'_>) -> Option<DeflateParams> {
    if !offer.name.eq_ignore_ascii_case(b"permessage-deflate") {
        return None;
    }
    let mut agreed = DeflateParams { server_max_window_bits: 15, named: false };
    for (i, (name, value)) in offer.params.iter().enumerate() {
        if offer.params[..i].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
            return None;
        }
        match (name.to_ascii_lowercase().as_slice(), value) {
            (b"server_no_context_takeover" | b"client_no_context_takeover", None) => {}
            (b"client_max_window_bits", None) => {}
            (b"client_max_window_bits", Some(bits)) => {
                window_bits(bits)?;
            }
            // A raw deflate window of 2^8 cannot be written, so an offer that demands it is declined.
            (b"server_max_window_bits", Some(bits)) => {
                let bits = window_bits(bits).filter(|bits| *bits > 8)?;
                agreed = DeflateParams { server_max_window_bits: bits, named: true };
            }
            _ => return None,
        }
    }
    Some(agreed)
}

/// RFC 7692 §7.1.2: decimal, 8 to 15, without leading zeros.
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// RFC 6455 §9.1: `extension-list = 1#extension`, with the white space of RFC 9110 §5.6.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn offers(&mut self) -> Result<Vec<Offer<'a>>, MalformedExtensions> {
        let mut offers = Vec::new();
        loop {
            self.skip_space();
            // RFC 9110 §5.6.1: a recipient accepts empty list elements.
            if !self.rest.is_empty() && self.rest[0] != b',' {
                offers.push(self.offer()?);
            }
            match self.rest.split_first() {
                None => return Ok(offers),
                Some((b',', rest)) => self.rest = rest,
                Some(_) => return Err(MalformedExtensions),
            }
        }
    }

    fn offer(&mut self) -> Result<Offer<'a>, MalformedExtensions> {
        let mut offer = Offer { name: self.token()?, params: Vec::new() };
        while self.eat(b';') {
            let name = self.token()?;
            let value = if self.eat(b'=') { Some(self.value()?) } else { None };
            offer.params.push((name, value));
        }
        self.skip_space();
        Ok(offer)
    }

    /// §9.1: a quoted value, unquoted, has to be a token too.
    fn value(&mut self) -> Result<Vec<u8>, MalformedExtensions> {
        if !self.eat(b'"') {
            return self.token().map(<[u8]>::to_vec);
        }
        let mut value = Vec::new();
        loop {
            let (byte, rest) = self.rest.split_first().ok_or(MalformedExtensions)?;
            self.rest = rest;
            match byte {
                b'"' if value.is_empty() => return Err(MalformedExtensions),
                b'"' => return Ok(value),
                b'\\' => {
                    let (quoted, rest) = self.rest.split_first().ok_or(MalformedExtensions)?;
                    self.rest = rest;
                    value.push(*quoted);
                }
                byte => value.push(*byte),
            }
            if !value.last().is_some_and(|byte| is_token_byte(*byte)) {
                return Err(MalformedExtensions);
            }
        }
    }

    fn token(&mut self) -> Result<&'a [u8], MalformedExtensions> {
        self.skip_space();
        let len = self.rest.iter().take_while(|byte| is_token_byte(**byte)).count();
        let (token, rest) = self.rest.split_at(len);
        self.rest = rest;
        if token.is_empty() { Err(MalformedExtensions) } else { Ok(token) }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(offers: &str) -> Result<Option<String>, MalformedExtensions> {
        negotiate_deflate([offers.as_bytes()].into_iter())
            .map(|agreed| agreed.map(|params| params.to_string()))
    }

    const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn rfc7692_s7_1_offers_and_answers() {
        let bits = |bits: u8| format!("{PLAIN}; server_max_window_bits={bits}");
        let rows: &[(&str, Option<String>)] = &[
            ("permessage-deflate", Some(PLAIN.into())),
            ("Permessage-Deflate", Some(PLAIN.into())),
            ("permessage-deflate; client_max_window_bits", Some(PLAIN.into())),
            ("permessage-deflate; client_max_window_bits=8", Some(PLAIN.into())),
            ("permessage-deflate; client_max_window_bits=\"10\"", Some(PLAIN.into())),
            (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                Some(PLAIN.into()),
            ),
            ("permessage-deflate; server_max_window_bits=9", Some(bits(9))),
            ("permessage-deflate;server_max_window_bits=\"15\"", Some(bits(15))),
            ("permessage-deflate; server_max_window_bits=8", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=09", None),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; client_max_window_bits=7", None),
            ("permessage-deflate; client_max_window_bits=16", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            ("permessage-deflate; unknown", None),
            ("x-webkit-deflate-frame", None),
            ("permessage-deflate; unknown, permessage-deflate; server_max_window_bits=10", Some(bits(10))),
            ("permessage-deflate; server_max_window_bits=12, permessage-deflate", Some(bits(12))),
            (", ,permessage-deflate ,", Some(PLAIN.into())),
            ("", None),
        ];
        for (offers, want) in rows {
            assert_eq!(answer(offers), Ok(want.clone()), "{offers}");
        }
    }

    #[test]
    fn s9_1_headers_that_are_no_list_of_extensions() {
        for malformed in [
            "permessage-deflate;",
            "permessage-deflate; =1",
            "permessage-deflate; a=",
            "permessage-deflate; a=\"",
            "permessage-deflate; a=\"\"",
            "permessage-deflate; a=\"b c\"",
            "permessage-deflate; a=\"b\\",
            "permessage deflate",
            "(",
        ] {
            assert_eq!(answer(malformed), Err(MalformedExtensions), "{malformed}");
        }
    }
}
