//! Answers over HTTP, and what of them pages of other origins may read: nothing of what is for those who run the server.

use super::handler::Handler;
use super::{Engine, Transport};
use crate::http::head::Request;
use crate::http::origin::OriginPolicy;
use crate::http::response::Response;
use crate::id::ConnId;

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Answers a request.
    pub(super) fn reply(&mut self, id: ConnId, request: &Request<'_>, response: &Response) {
        if response.status() >= 400 {
            self.note_refusal(id, Some(request), response.status());
        }
        let (is_head, is_last) = (request.method() == "HEAD", !request.keeps_alive());
        match self.expose(id, request, response) {
            Some(response) => self.send_response(id, &response, is_head, is_last),
            None => self.send_response(id, response, is_head, is_last),
        }
    }

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
