//! Close codes, RFC 6455 §7.4.

use std::fmt;

/// A close code that may travel in a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000, the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001, an endpoint goes away: a server stops, a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002, the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003, a kind of data that cannot be accepted, such as binary where text is spoken.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007, data that does not fit its message's type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008, the peer broke a rule of the application.
    pub const POLICY: Self = Self(1008);
    /// 1009, a message too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011, the server met a condition it did not expect.
    pub const INTERNAL: Self = Self(1011);
    /// 1013, try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// What a connection proved to come in is not good any longer; in the range for private use (§7.4.2).
    pub const EXPIRED: Self = Self(4401);

    /// The code, if it may be sent: 1000 to 1003, 1007 to 1014, and 3000 to 4999 (§7.4, and IANA's registry for 1012 to 1014).
    ///
    /// # Errors
    /// [`InvalidClose::Code`] for every other number.
    ///
    /// ```
    /// use fanline::CloseCode;
    /// assert!(CloseCode::new(4000).is_ok());
    /// assert!(CloseCode::new(1006).is_err()); // only reported, never sent
    /// ```
    pub const fn new(code: u16) -> Result<Self, InvalidClose> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Self(code)),
            _ => Err(InvalidClose::Code(code)),
        }
    }

    /// The number on the wire.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A close code or reason that cannot be put into a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidClose {
    /// The code is reserved, or only reported and never sent.
    Code(u16),
    /// The reason is longer than 123 bytes of UTF-8.
    ReasonTooLong(usize),
}

impl fmt::Display for InvalidClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidClose::Code(code) => write!(f, "close code {code} may not be sent"),
            InvalidClose::ReasonTooLong(len) => write!(f, "close reason of {len} bytes is over 123"),
        }
    }
}

impl std::error::Error for InvalidClose {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_4_codes_that_may_be_sent() {
        let allowed = |code: &u16| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        for code in 0..=u16::MAX {
            assert_eq!(CloseCode::new(code).is_ok(), allowed(&code), "{code}");
        }
    }
}
