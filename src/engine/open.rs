//! From a request head to an answer: a page, a refusal, or an open WebSocket.

use super::context::Opening;
use super::handler::{Admission, Handler};
use super::read::{context, leave_all};
use super::{Engine, Transport, get};
use crate::http::head::Request;
use crate::http::response::{Refusal, Response};
use crate::http::upgrade::{Granted, Upgrade};
use crate::id::ConnId;
use crate::outbound::Outbound;

impl<H: Handler, T: Transport> Engine<H, T> {
    /// A request head is complete.
    pub(super) fn on_head(&mut self, id: ConnId, head: &[u8]) {
        self.answer(id, head, false);
    }

    /// Answers a request; unless it `is_admitted` already, the handler may ask for time to decide.
    fn answer(&mut self, id: ConnId, head: &[u8], is_admitted: bool) {
        let limits = self.shared.rules.limits.clone();
        let request = match Request::parse(head, &limits) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(id, &refusal.into()),
        };
        match self.check_upgrade(&request) {
            Err(refusal) => {
                self.shared.metrics.refused(refusal.status());
                // RFC 9110 §9.3.2: a HEAD that is refused gets no body either.
                self.send_response(id, &refusal.into(), request.method() == "HEAD", true);
            }
            Ok(None) => self.respond(id, &request),
            Ok(Some(upgrade)) if is_admitted => self.open(id, &request, &upgrade),
            Ok(Some(upgrade)) => match self.handler.admit(id, &request) {
                Admission::Now => self.open(id, &request, &upgrade),
                Admission::Later => self.defer(id, head),
            },
        }
    }

    fn check_upgrade(&self, request: &Request<'_>) -> Result<Option<Upgrade>, Refusal> {
        let upgrade = Upgrade::from_request(request)?;
        if upgrade.is_some() {
            self.shared.rules.origins.check(request)?;
        }
        Ok(upgrade)
    }

    /// Answers a request that is just HTTP.
    fn respond(&mut self, id: ConnId, request: &Request<'_>) {
        self.shared.metrics.requests.add(1);
        let response = self.handler.http(request);
        // A body that follows is not read, so nothing can be read behind it.
        let is_last = !request.keeps_alive() || request.has_body();
        if response.status() >= 400 {
            self.shared.metrics.refused(response.status());
        }
        self.send_response(id, &response, request.method() == "HEAD", is_last);
    }

    /// Answers with a response and ends the connection after it.
    pub(super) fn refuse(&mut self, id: ConnId, response: &Response) {
        self.shared.metrics.refused(response.status());
        self.send_response(id, response, false, true);
    }

    fn send_response(&mut self, id: ConnId, response: &Response, bodiless: bool, is_last: bool) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.outbound.push_http(|out| response.write(out, bodiless, is_last));
        if is_last {
            peer.conn.hang_up(&mut peer.outbound);
        }
        peer.queue_flush(&mut self.owing);
        self.enter_phase(id);
    }

    fn defer(&mut self, id: ConnId, head: &[u8]) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.conn.defer(head);
        self.enter_phase(id);
    }

    /// The handler has decided about a deferred client: it may come in, or is told why not.
    pub(super) fn decide(&mut self, id: ConnId, refusal: Option<Response>) {
        let Some(head) = get(&mut self.peers, id).and_then(|peer| peer.conn.take_deferred()) else { return };
        match refusal {
            Some(response) => self.refuse(id, &response),
            None => self.answer(id, &head, true),
        }
        if let Some(peer) = get(&mut self.peers, id) {
            // What came behind the handshake has waited for this.
            peer.queue_read(&mut self.readable);
        }
    }

    /// Asks the handler, and answers 101 with whatever it sent right behind, or its refusal.
    fn open(&mut self, id: ConnId, request: &Request<'_>, upgrade: &Upgrade) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        let deflate = upgrade.deflate.filter(|_| self.shared.rules.deflate);
        let mut greeting = Outbound::default();
        let mut ctx = context(peer, &mut self.shared).0;
        ctx.outbound = &mut greeting;
        ctx.deflate = deflate;
        ctx.open = true;
        let mut opening = Opening { ctx, request, granted: Granted { deflate, ..Granted::default() } };
        let opened = self.handler.open(&mut opening);
        let granted = std::mem::take(&mut opening.granted);
        let aftermath = opening.ctx.aftermath();
        match opened {
            Ok(state) => {
                peer.outbound.push_http(|out| upgrade.write(out, &granted));
                peer.outbound.append(greeting);
                peer.conn.open(deflate);
                peer.state = Some(state);
                peer.queue_flush(&mut self.owing);
                self.shared.metrics.opened.add(1);
                self.enter_phase(id);
                self.settle(id, aftermath);
            }
            Err(response) => {
                leave_all(peer, &mut self.shared);
                self.refuse(id, &response);
            }
        }
    }

    /// Ends a connection that has nothing to be told.
    pub(super) fn hang_up(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.conn.hang_up(&mut peer.outbound);
        peer.queue_flush(&mut self.owing);
        self.enter_phase(id);
    }
}
