//! What a handler can do for a connection that is about to open.

use std::ops::{Deref, DerefMut};

use super::context::Context;
use crate::http::head::Request;
use crate::http::response::is_header;
use crate::http::upgrade::Granted;

/// A connection about to open: its request, and what the answer is to say besides.
pub struct Opening<'a> {
    pub(super) ctx: Context<'a>,
    pub(super) request: &'a Request<'a>,
    pub(super) is_admin: bool,
    pub(super) granted: Granted,
}

impl<'a> Opening<'a> {
    /// The request: path, headers, cookies.
    pub fn request(&self) -> &'a Request<'a> {
        self.request
    }

    /// Whether the client came through a listener for those who run the server.
    pub fn is_admin(&self) -> bool {
        self.is_admin
    }

    /// Chooses the first of `preferred` that the client offers and says so in the answer (RFC 6455 §4.2.2).
    ///
    /// Without a choice the answer names none, and a browser that offered some gives up the connection.
    pub fn choose_subprotocol<'p>(&mut self, preferred: &[&'p str]) -> Option<&'p str> {
        let chosen =
            preferred.iter().find(|name| self.request.subprotocols().any(|offered| offered == **name));
        self.granted.subprotocol = chosen.map(|name| (*name).to_owned());
        chosen.copied()
    }

    /// The subprotocol chosen.
    pub fn subprotocol(&self) -> Option<&str> {
        self.granted.subprotocol.as_deref()
    }

    /// Adds a header to the answer, such as `Set-Cookie`; says whether it may stand there.
    ///
    /// The headers of the handshake itself are not to be changed.
    pub fn add_header(&mut self, name: &str, value: &str) -> bool {
        let is_own = ["upgrade", "connection", "content-length", "transfer-encoding"]
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own))
            || name.get(..14).is_some_and(|prefix| prefix.eq_ignore_ascii_case("sec-websocket-"));
        let may = !is_own && is_header(name, value);
        if may {
            self.granted.headers.push((name.to_owned(), value.to_owned()));
        }
        may
    }
}

impl<'a> Deref for Opening<'a> {
    type Target = Context<'a>;

    fn deref(&self) -> &Context<'a> {
        &self.ctx
    }
}

impl<'a> DerefMut for Opening<'a> {
    fn deref_mut(&mut self) -> &mut Context<'a> {
        &mut self.ctx
    }
}
