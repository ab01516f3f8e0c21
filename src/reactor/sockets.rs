//! Which sockets a server listens on: its own, those it was passed, and those of the process before it.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use super::address::{Address, Listen};
use super::listener::{Listener, Origin};
use crate::limits::Limits;

/// Where to listen, and on which sockets that listen already.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// The addresses; one on which a passed socket listens is not bound again.
    pub listens: Vec<Listen>,
    /// The permissions of the files of Unix sockets.
    pub unix_mode: u32,
    /// Sockets that were passed by whoever started the process.
    pub passed: Vec<Passed>,
    /// Sockets of the process before this one; those on whose address this one is to listen, too, are taken over.
    pub inherited: Vec<Arc<TcpListener>>,
    /// Whether other sockets, of this process or another, may listen on the same ports.
    pub reuse_port: bool,
}

/// A socket that listens already.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The socket.
    pub socket: Arc<TcpListener>,
    /// Whether its connections speak TLS.
    pub is_tls: bool,
}

impl Sockets {
    pub(super) fn has_tls(&self) -> bool {
        self.listens.iter().any(|listen| listen.is_tls) || self.passed.iter().any(|passed| passed.is_tls)
    }

    /// An address that is listed more than once: where the port is shared, the kernel would choose between the two.
    fn named_twice(&self) -> Option<&Address> {
        let is_chosen = |address: &Address| matches!(address, Address::Tcp(addr) if addr.port() == 0);
        let mut addresses = self.listens.iter().map(|listen| &listen.address).enumerate();
        addresses.find_map(|(count, address)| {
            let mut earlier = self.listens[..count].iter();
            (!is_chosen(address) && earlier.any(|other| other.address == *address)).then_some(address)
        })
    }

    /// All listeners, those that were passed first.
    pub(super) fn open(&self, limits: &Limits) -> io::Result<Vec<Listener>> {
        let mut listeners = Vec::new();
        if let Some(address) = self.named_twice() {
            let why = format!("cannot listen on {address}: {address} is named twice");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let at = |socket: &TcpListener| socket.local_addr().map(Address::Tcp);
        for passed in &self.passed {
            let address = at(&passed.socket)?;
            // What is said of the address says more than the name of the socket does.
            let said = self.listens.iter().find(|listen| listen.address == address).cloned();
            let listen = said.unwrap_or(Listen { is_tls: passed.is_tls, ..Listen::plain(address) });
            listeners.push(Listener::adopt(&passed.socket, listen, Origin::Passed, limits)?);
        }
        let mut passed = self.passed.iter().map(|passed| at(&passed.socket));
        let passed: Vec<Address> = passed.by_ref().collect::<io::Result<_>>()?;
        for listen in self.listens.iter().filter(|listen| !passed.contains(&listen.address)) {
            let is_there =
                |socket: &&Arc<TcpListener>| at(socket).is_ok_and(|address| address == listen.address);
            listeners.push(match self.inherited.iter().find(is_there) {
                Some(socket) => Listener::adopt(socket, listen.clone(), Origin::Inherited, limits)?,
                None => Listener::bind(listen.clone(), self.unix_mode, limits, self.reuse_port)?,
            });
        }
        Ok(listeners)
    }
}
