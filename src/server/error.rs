//! Why a server does not take what another thread asks of it.

use std::fmt;

use crate::reactor::inbox::PushError;
use crate::ws::close::InvalidClose;

/// Why a server did not take a request from another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleError {
    /// The server has stopped, or another process has taken its rooms over and is where to publish.
    Stopped,
    /// `inbox_messages_max` or `inbox_bytes_max` are waiting already, or it is not known yet whether another process
    /// takes over: try again later.
    Full,
    /// The close code or reason does not do.
    InvalidClose(InvalidClose),
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandleError::Stopped => f.write_str("the server has stopped"),
            HandleError::Full => f.write_str("the server's inbox is full"),
            HandleError::InvalidClose(invalid) => invalid.fmt(f),
        }
    }
}

impl std::error::Error for HandleError {}

impl From<InvalidClose> for HandleError {
    fn from(invalid: InvalidClose) -> Self {
        HandleError::InvalidClose(invalid)
    }
}

impl From<PushError> for HandleError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Stopped => HandleError::Stopped,
            PushError::Full | PushError::Held => HandleError::Full,
        }
    }
}
