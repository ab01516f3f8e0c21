//! Who a visitor is, and what it may do in which room.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::http::head::Request;
use crate::http::response::Refusal;

/// What one may do in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Join it, and read what is published in it.
    Join,
    /// Publish in it.
    Publish,
    /// See who is in it.
    Presence,
}

/// Tells who sends a request, and what that one may do.
#[derive(Clone, Debug, Default)]
pub struct Gate {}

/// Somebody who sends a request.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    user: Option<Arc<str>>,
    expires_ms: Option<u64>,
}

impl Gate {
    /// Who sends this request.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`] where a proof is needed and missing, or given and not good.
    pub fn visitor(
        &self,
        request: &Request<'_>,
        peer: Option<SocketAddr>,
        now_ms: u64,
    ) -> Result<Visitor, Refusal> {
        let (_, _, _) = (request, peer, now_ms);
        Ok(Visitor::default())
    }

    /// Who shows this token, on a connection that is open already.
    ///
    /// # Errors
    /// As [`Gate::visitor`].
    pub fn refresh(&self, token: &str, now_ms: u64) -> Result<Visitor, Refusal> {
        let (_, _) = (token, now_ms);
        Err(Refusal::Unauthorized("no tokens are known here"))
    }
}

impl Visitor {
    /// The user's name; `None` for an anonymous one.
    pub fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    /// Until when the proof is good, in milliseconds since 1970.
    pub fn expires_ms(&self) -> Option<u64> {
        self.expires_ms
    }

    /// Whether this one may do this in this room.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`] for an anonymous one whom a name could help, [`Refusal::Forbidden`] for a user.
    pub fn check(&self, right: Right, room: &str) -> Result<(), Refusal> {
        let (_, _) = (right, room);
        Ok(())
    }
}
