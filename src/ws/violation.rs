//! What a peer can do wrong on an open connection, and the close code that answers it, RFC 6455 §7.4.1.

use std::fmt;

use super::code::CloseCode;

/// A breach of the protocol by the peer; the connection is failed with [`Violation::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A client's frame without a mask (§5.1).
    UnmaskedFrame,
    /// A reserved bit without an extension that gives it a meaning (§5.2).
    ReservedBits,
    /// An opcode that RFC 6455 reserves (§5.2).
    ReservedOpcode,
    /// A length in more octets than it needs (§5.2).
    LengthNotMinimal,
    /// A 64-bit length with its highest bit set (§5.2).
    LengthTooLarge,
    /// A control frame with more than 125 octets of payload (§5.5).
    ControlTooLong,
    /// A control frame in fragments (§5.5).
    ControlFragmented,
    /// A continuation without a message to continue (§5.4).
    ContinuationWithoutStart,
    /// A new message inside a fragmented one (§5.4).
    MessageInsideMessage,
    /// Text that is not UTF-8 (§8.1).
    InvalidUtf8,
    /// A Close payload of one octet (§5.5.1).
    CloseTooShort,
    /// A close code that may not be sent (§7.4).
    CloseCodeInvalid,
    /// A close reason that is not UTF-8 (§5.5.1).
    CloseReasonInvalid,
    /// A message longer than `message_bytes_max` (§10.4).
    MessageTooBig,
    /// A compressed message that does not inflate (RFC 7692 §6.2).
    DeflateCorrupt,
}

impl Violation {
    /// The code of the Close frame that tells the peer.
    pub fn close_code(self) -> CloseCode {
        match self {
            Violation::InvalidUtf8 | Violation::CloseReasonInvalid | Violation::DeflateCorrupt => {
                CloseCode::INVALID_PAYLOAD
            }
            Violation::MessageTooBig => CloseCode::TOO_BIG,
            Violation::UnmaskedFrame
            | Violation::ReservedBits
            | Violation::ReservedOpcode
            | Violation::LengthNotMinimal
            | Violation::LengthTooLarge
            | Violation::ControlTooLong
            | Violation::ControlFragmented
            | Violation::ContinuationWithoutStart
            | Violation::MessageInsideMessage
            | Violation::CloseTooShort
            | Violation::CloseCodeInvalid => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// What went wrong, in words that fit a Close frame's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Violation::UnmaskedFrame => "frame without a mask",
            Violation::ReservedBits => "reserved bit set",
            Violation::ReservedOpcode => "reserved opcode",
            Violation::LengthNotMinimal => "length not minimal",
            Violation::LengthTooLarge => "length above 2^63",
            Violation::ControlTooLong => "control frame above 125 bytes",
            Violation::ControlFragmented => "fragmented control frame",
            Violation::ContinuationWithoutStart => "continuation of nothing",
            Violation::MessageInsideMessage => "message inside a message",
            Violation::InvalidUtf8 => "text is not UTF-8",
            Violation::CloseTooShort => "close payload of one byte",
            Violation::CloseCodeInvalid => "close code not allowed",
            Violation::CloseReasonInvalid => "close reason is not UTF-8",
            Violation::MessageTooBig => "message too big",
            Violation::DeflateCorrupt => "corrupt compressed data",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Violation {}
