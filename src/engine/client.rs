//! Which client a connection counts for: the one place that says so.

use std::net::IpAddr;

use slab::Slab;

use super::handler::Handler;
use super::peer::Peer;
use super::{Engine, Transport, get};
use crate::conn::Stage;
use crate::http::head::Request;
use crate::http::response::Refusal;
use crate::id::ConnId;
use crate::proxy::forwarded::{self, Announced, Client, nearest};
use crate::proxy::networks::{Hop, Networks};

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Which client a connection counts for; `None` where there is no such connection.
    ///
    /// Known from the start where no proxy is in between. Behind one it is known with the PROXY header, and behind one
    /// that is trusted with the head of the first request; a later request on the same connection may come from another.
    pub fn client(&self, id: ConnId) -> Option<Client> {
        let peer = self.peers.get(id.slot()).filter(|peer| peer.id == id)?;
        Some(peer.client(&self.shared.rules.trusted_proxies))
    }

    /// The proxies that are trusted.
    pub fn trusted_proxies(&self) -> &Networks {
        &self.shared.rules.trusted_proxies
    }

    /// Notes whom a request comes from.
    ///
    /// # Errors
    /// [`Refusal::TooMany`], where that one has as many connections as it may have.
    pub(super) fn note_client(&mut self, id: ConnId, request: &Request<'_>) -> Result<(), Refusal> {
        note(&mut self.peers, &self.shared.rules.trusted_proxies, id, request);
        self.count_client(id)
    }

    /// Counts a connection for its client, as soon as that is known.
    ///
    /// # Errors
    /// [`Refusal::TooMany`], where that one has as many connections as it may have.
    pub(super) fn count_client(&mut self, id: ConnId) -> Result<(), Refusal> {
        let max = self.shared.rules.limits.connections_per_address_max;
        let Some(Client::Known(ip)) = (if max == 0 { None } else { self.client(id) }) else { return Ok(()) };
        // A proxy speaks for many, also where it does not say for whom.
        let is_proxy = self.shared.rules.trusted_proxies.contains(Hop::Ip(ip));
        let Some(peer) = get(&mut self.peers, id).filter(|_| !is_proxy) else { return Ok(()) };
        if peer.counted.as_ref().is_some_and(|counted| self.addresses.is_of(counted, ip)) {
            return Ok(());
        }
        if let Some(counted) = peer.counted.take() {
            self.addresses.leave(counted);
        }
        peer.counted = self.addresses.enter(ip, max);
        match peer.counted {
            Some(_) => Ok(()),
            None => Err(Refusal::TooMany("this address has as many connections as it may have")),
        }
    }

    /// More of a PROXY header has come: once it is whole, its client is counted, and does not wait for a request.
    #[cold]
    pub(super) fn heed_announcement(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.charge(&self.shared.metrics.memory);
        if peer.transport.announced() == Announced::Awaited {
            return;
        }
        peer.awaited = false;
        if let Err(refusal) = self.count_client(id) {
            self.turn_away(id, refusal, false);
        }
    }
}

fn note<T: Transport, S>(
    peers: &mut Slab<Peer<T, S>>,
    trusted: &Networks,
    id: ConnId,
    request: &Request<'_>,
) {
    let Some(peer) = get(peers, id) else { return };
    if trusted.is_empty() && peer.client.is_none() {
        return;
    }
    let announced = peer.transport.announced();
    if announced == Announced::Nobody {
        return;
    }
    let nearest = nearest(peer.transport.hop(), announced);
    let client = forwarded::client(nearest, trusted, request.header_values("x-forwarded-for"));
    // What the transport says anyway need not be kept.
    peer.client = client.filter(|ip| nearest.ip() != Some(*ip)).map(Box::new);
}

impl<T: Transport, S> Peer<T, S> {
    fn client(&self, trusted: &Networks) -> Client {
        let announced = self.transport.announced();
        if announced == Announced::Awaited {
            return Client::Awaited;
        }
        if let Some(ip) = self.client.as_deref() {
            return Client::Known(*ip);
        }
        let nearest = nearest(self.transport.hop(), announced);
        let may_say_more = self.conn.stage() == Stage::Head && announced != Announced::Nobody;
        if may_say_more && trusted.contains(nearest) {
            return Client::Awaited;
        }
        nearest.ip().map_or(Client::Nameless, Client::Known)
    }
}

/// The client's address, for a handler that is called for a request or later.
pub(super) fn addr(transport: &dyn Transport, noted: Option<&IpAddr>) -> Option<IpAddr> {
    noted.copied().or_else(|| nearest(transport.hop(), transport.announced()).ip())
}
