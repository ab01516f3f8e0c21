//! Who comes in through the listeners: wrapped, registered, and handed to the engine.

use std::fs::File;
use std::time::Instant;

use mio::Interest;
use tracing::warn;

use super::Reactor;
use super::accept::Accepted;
use super::address::Listen;
use super::proxied::Proxied;
use super::socket::{Socket, Stream};
use super::tls::Identity;
use super::token::Source;
use super::words::complain;
use crate::engine::handler::Handler;
use crate::log::Kind;
use crate::proxy::networks::Networks;

impl<H: Handler> Reactor<H> {
    /// Accepts up to `budget` connections of each listener.
    pub(super) fn accept(&mut self, now: Instant, budget: usize) {
        if self.engine.is_held() {
            // It is not known yet which process serves who comes now.
            return;
        }
        if self.reserve.is_none() {
            self.reserve = reserve();
        }
        for at in 0..self.listeners.len() {
            for _ in 0..budget {
                let Some(listener) = self.listeners.get_mut(at) else { break };
                match listener.accept(now, self.limits.accept_retry) {
                    Accepted::Stream(socket) => {
                        let Listen { is_tls, is_proxied, is_admin, .. } = *listener.listen();
                        self.take_in(socket, (is_tls, is_proxied, is_admin), now);
                    }
                    Accepted::Failed => {
                        self.metrics.accept_errors.add(1);
                        if self.engine.admits(Kind::Accept) {
                            warn!(listener = %listener.listen().address, "a connection could not be accepted");
                        }
                    }
                    Accepted::NoDescriptor => {
                        self.metrics.accept_errors.add(1);
                        if self.engine.admits(Kind::Accept) {
                            let listener = &listener.listen().address;
                            warn!(%listener, "there is no descriptor for a connection: EMFILE or ENFILE");
                        }
                        self.reserve = None;
                        let is_told = listener.turn_away();
                        self.reserve = reserve();
                        if !is_told {
                            break;
                        }
                        self.metrics.refused(503);
                    }
                    Accepted::Nothing => break,
                }
            }
        }
    }

    fn take_in(&mut self, socket: Socket, (is_tls, is_proxied, is_admin): (bool, bool, bool), now: Instant) {
        if is_proxied && !is_proxy(&socket, self.engine.trusted_proxies()) {
            return self.metrics.proxies_refused.add(1);
        }
        let Some(stream) = wrap(socket, is_tls, &mut self.identity, now) else {
            return self.metrics.accept_errors.add(1);
        };
        let mut stream = match is_proxied {
            true => Stream::Proxied(Box::new(Proxied::new(stream, self.limits.proxy_header_bytes_max))),
            false => stream,
        };
        let token = Source::Conn(self.engine.next_id()).into();
        match self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE) {
            // Where there is no place for it, it is told so, or dropped.
            Ok(()) if is_admin => drop(self.engine.connect_admin(stream, now)),
            Ok(()) => {
                let stream = self.recorded(stream);
                self.engine.connect(stream, now);
            }
            Err(_) => self.metrics.accept_errors.add(1),
        }
    }
}

/// Whether PROXY headers are taken from this peer: where no proxies are named, the listener itself says that those who
/// reach it are proxies.
fn is_proxy(socket: &Socket, trusted: &Networks) -> bool {
    trusted.is_empty() || trusted.contains(socket.hop())
}

/// What the engine reads from and writes to; `None` where there can be no TLS session.
fn wrap(socket: Socket, is_tls: bool, identity: &mut Option<Identity>, now: Instant) -> Option<Stream> {
    match identity {
        Some(identity) if is_tls => {
            if let Some(reloaded) = identity.reload_if_changed(now) {
                complain(reloaded);
            }
            identity.wrap(socket).map(|tls| Stream::Tls(Box::new(tls))).ok()
        }
        Some(_) | None => Some(Stream::Plain(socket)),
    }
}

/// A descriptor to give up when there are no others.
pub(super) fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}
