//! What a Close frame says, and the payload that says it, RFC 6455 §5.5.1.

pub use super::code::{CloseCode, InvalidClose};
use super::violation::Violation;

/// A code and a reason that fit a Close frame: encoding one cannot fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    code: CloseCode,
    text: Box<str>,
}

impl CloseReason {
    /// The longest text, in bytes: a control frame's 125 less the code.
    pub const TEXT_MAX: usize = 123;

    /// A code with a text for people.
    ///
    /// # Errors
    /// [`InvalidClose::ReasonTooLong`] above [`CloseReason::TEXT_MAX`] bytes.
    pub fn new(code: CloseCode, text: &str) -> Result<Self, InvalidClose> {
        match text.len() {
            0..=Self::TEXT_MAX => Ok(Self { code, text: text.into() }),
            len => Err(InvalidClose::ReasonTooLong(len)),
        }
    }

    /// The code alone.
    pub fn bare(code: CloseCode) -> Self {
        Self { code, text: "".into() }
    }

    /// A code with a text that stands in this crate, and so is known to fit.
    pub(crate) fn fixed(code: CloseCode, text: &'static str) -> Self {
        debug_assert!(text.len() <= Self::TEXT_MAX);
        Self { code, text: text.into() }
    }

    /// The code.
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// The text, perhaps empty.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads the payload of a Close frame; `None` where the peer gave no code (§5.5.1).
    ///
    /// # Errors
    /// The violation to fail the connection with.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, Violation> {
        match payload {
            [] => Ok(None),
            [_] => Err(Violation::CloseTooShort),
            [high, low, text @ ..] => {
                let code = CloseCode::new(u16::from_be_bytes([*high, *low]))
                    .map_err(|_| Violation::CloseCodeInvalid)?;
                let text = simdutf8::basic::from_utf8(text).map_err(|_| Violation::CloseReasonInvalid)?;
                Ok(Some(Self { code, text: text.into() }))
            }
        }
    }

    /// The payload of the Close frame that carries this.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = self.code.get().to_be_bytes().to_vec();
        payload.extend_from_slice(self.text.as_bytes());
        payload
    }
}

impl From<Violation> for CloseReason {
    fn from(violation: Violation) -> Self {
        Self::fixed(violation.close_code(), violation.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_5_1_payloads() {
        assert_eq!(CloseReason::decode(&[]), Ok(None));
        assert_eq!(CloseReason::decode(&[3]), Err(Violation::CloseTooShort));
        assert_eq!(CloseReason::decode(&[3, 237]), Err(Violation::CloseCodeInvalid));
        assert_eq!(CloseReason::decode(&[3, 232, 0xff]), Err(Violation::CloseReasonInvalid));
        let bye = CloseReason::new(CloseCode::NORMAL, "再见").unwrap();
        assert_eq!(CloseReason::decode(&bye.encode()), Ok(Some(bye)));
        assert!(CloseReason::new(CloseCode::NORMAL, &"x".repeat(123)).is_ok());
        let too_long = CloseReason::new(CloseCode::NORMAL, &"x".repeat(124));
        assert_eq!(too_long, Err(InvalidClose::ReasonTooLong(124)));
    }
}
