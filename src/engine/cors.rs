//! What pages of other origins are let send and read over HTTP, in an engine: nothing of what is for those who run it.

use super::handler::Handler;
use super::{Engine, Transport};
use crate::http::head::Request;
use crate::http::origin::OriginPolicy;
use crate::http::response::Response;
use crate::id::ConnId;

impl<H: Handler, T: Transport> Engine<H, T> {
    /// The answer as a page of another origin may read it; `None` where it goes out as it is.
    pub(super) fn expose(&self, id: ConnId, request: &Request<'_>, response: &Response) -> Option<Response> {
        let origins = self.cors(id, request)?;
        Some(origins.expose(request, response.clone()))
    }

    /// The answer to a browser that asks what a page of another origin may send.
    pub(super) fn preflight(&self, id: ConnId, request: &Request<'_>) -> Option<Response> {
        self.cors(id, request)?.preflight(request)
    }

    /// Whose pages may, where one of them asks.
    fn cors(&self, id: ConnId, request: &Request<'_>) -> Option<&OriginPolicy> {
        let is_admin = self.peers.get(id.slot()).is_none_or(|peer| peer.is_admin);
        let origins = &self.shared.rules.origins;
        (!is_admin && *origins != OriginPolicy::Same && request.header("origin").is_some()).then_some(origins)
    }
}
