//! How a connection ended, RFC 6455 §7.1.4 to §7.1.6.

use crate::ws::close::CloseReason;

/// How a WebSocket connection ended, as RFC 6455 §7.1.4 to §7.1.6 put it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The close code: what the one who began said, 1005 where it gave none, 1006 where the connection was lost.
    pub code: u16,
    /// The reason that came with the code.
    pub reason: String,
    /// Whether Close frames went in both directions.
    pub clean: bool,
    /// Who ended it.
    pub by: ClosedBy,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The peer sent a Close.
    Peer,
    /// The server sent a Close: the handler asked for it, the peer broke the protocol, or the server stops.
    Server,
    /// Neither: the transport failed, or the peer fell silent.
    Loss,
}

impl Closed {
    pub(super) fn by_server(sent: &CloseReason, clean: bool) -> Self {
        let (code, reason) = (sent.code().get(), sent.text().to_owned());
        Self { code, reason, clean, by: ClosedBy::Server }
    }

    pub(super) fn by_peer(reason: Option<&CloseReason>) -> Self {
        // §7.1.5: a Close without a code is reported as 1005.
        let (code, reason) = reason.map_or((1005, String::new()), |r| (r.code().get(), r.text().to_owned()));
        Self { code, reason, clean: true, by: ClosedBy::Peer }
    }

    pub(super) fn lost() -> Self {
        Self { code: 1006, reason: String::new(), clean: false, by: ClosedBy::Loss }
    }
}
