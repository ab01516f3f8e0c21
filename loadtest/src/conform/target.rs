//! The server under test: where it is, what is known of it, and how one opens a connection to it.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::agreed::{self, Agreed};
use super::case::{Fault, fail, skip};
use crate::client::head::{Response, accept_of};
use crate::client::request::Request;
use crate::client::socket::Socket;
use crate::client::wire::{Feed, Wire};

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// One connection of a case, from connect to its end.
    pub(crate) connection: Duration,
    /// From the server's Close to the end of its TCP connection.
    pub(crate) close: Duration,
    /// From a bad byte to the failure, where the message goes on.
    pub(crate) fail_fast: Duration,
}

/// A server at a URL whose path echoes text and binary messages.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    host: String,
    path: String,
    /// The waiting times.
    pub(crate) bounds: Bounds,
    /// Whether the answers that Fanline documents are demanded beyond the RFC.
    pub(crate) strict: bool,
    /// The largest message that the server takes, if known.
    pub(crate) message_bytes_max: Option<u64>,
    /// Whether it agreed to permessage-deflate when asked.
    pub(crate) deflates: bool,
}

impl Target {
    /// The target at `url`, which must be `ws://host[:port][/path]`.
    pub(crate) fn new(url: &str, bounds: Bounds) -> Result<Target, String> {
        let rest = url.strip_prefix("ws://").ok_or_else(|| format!("{url} is not a ws:// URL"))?;
        let (host, path) = match rest.find(['/', '?']) {
            Some(place) => (&rest[..place], rest[place..].to_owned()),
            None => (rest, "/".to_owned()),
        };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { host.to_owned() } else { format!("{host}:80") };
        let addresses: Vec<SocketAddr> =
            authority.to_socket_addrs().map_err(|error| format!("{host}: {error}"))?.collect();
        let address = answering(&addresses).ok_or_else(|| format!("{host} has no address"))?;
        Ok(Target {
            address,
            host: host.to_owned(),
            path,
            bounds,
            strict: false,
            message_bytes_max: None,
            deflates: false,
        })
    }

    /// Learns whether the server is there, echoes and compresses.
    pub(crate) fn probe(&mut self) -> Result<(), Fault> {
        self.open()?;
        let response = self.ask(&self.request().set("Sec-WebSocket-Extensions", "permessage-deflate"))?.1;
        self.deflates = agreed::is_agreed(&response);
        Ok(())
    }

    /// What is known of the server, in words.
    pub(crate) fn describe(&self) -> String {
        let deflate = if self.deflates { "with" } else { "without" };
        let limit = match self.message_bytes_max {
            Some(bytes) => format!("messages up to {bytes} bytes"),
            None => "limit unknown".to_owned(),
        };
        let manner = if self.strict { "strict" } else { "by the RFC alone" };
        format!("{deflate} permessage-deflate, {limit}, {manner}")
    }

    /// A correct upgrade request for this server.
    pub(crate) fn request(&self) -> Request {
        Request::upgrade(&self.host, &self.path)
    }

    /// A TCP connection with the case's deadline.
    pub(crate) fn wire(&self) -> Result<Wire, Fault> {
        Ok(Wire::connect(self.address, Instant::now() + self.bounds.connection)?)
    }

    /// Sends a request and reads the answer to it.
    pub(crate) fn ask(&self, request: &Request) -> Result<(Wire, Response), Fault> {
        let mut wire = self.wire()?;
        wire.send(&request.encode(), Feed::Whole)?;
        match Response::read(&mut wire)? {
            Some(response) => Ok((wire, response)),
            None => fail("closed without an answer"),
        }
    }

    /// An open connection without extensions.
    pub(crate) fn open(&self) -> Result<Socket, Fault> {
        let request = self.request();
        let (wire, response) = self.ask(&request)?;
        check_switch(&request, &response)?;
        Ok(Socket::new(wire, None))
    }

    /// An open connection on which this offer of permessage-deflate was accepted.
    pub(crate) fn open_deflate(&self, offer: &str) -> Result<(Socket, Agreed), Fault> {
        if !self.deflates {
            return skip("the server does not negotiate permessage-deflate");
        }
        let request = self.request().set("Sec-WebSocket-Extensions", offer);
        let (wire, response) = self.ask(&request)?;
        check_switch(&request, &response)?;
        match agreed::read(&response)? {
            Some(agreed) => Ok((Socket::new(wire, Some(agreed.inflater())), agreed)),
            None => skip(format!("the server declines {offer}")),
        }
    }
}

/// The first address where somebody listens: a name may stand for several.
fn answering(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let listens = |address: &&SocketAddr| TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok();
    match addresses {
        [] => None,
        [only] => Some(*only),
        [first, ..] => Some(*addresses.iter().find(listens).unwrap_or(first)),
    }
}

/// §4.2.2: what a 101 must and must not say.
pub(crate) fn check_switch(request: &Request, response: &Response) -> Result<(), Fault> {
    if response.status != 101 {
        return fail(format!("status {} instead of 101", response.status));
    }
    if !response.is_http_1_1 {
        return fail("the 101 is not HTTP/1.1");
    }
    let says =
        |name: &str, word: &str| response.tokens(name).iter().any(|token| token.eq_ignore_ascii_case(word));
    if !says("upgrade", "websocket") {
        return fail("the 101 lacks Upgrade: websocket");
    }
    if !says("connection", "upgrade") {
        return fail("the 101 lacks Connection: Upgrade");
    }
    match response.field("sec-websocket-accept") {
        Some(accept) if accept == accept_of(request.key()) => Ok(()),
        Some(accept) => fail(format!("Sec-WebSocket-Accept is {accept}, not {}", accept_of(request.key()))),
        None => fail("the 101 lacks Sec-WebSocket-Accept"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        connection: Duration::from_secs(1),
        close: Duration::from_secs(1),
        fail_fast: Duration::ZERO,
    };

    #[test]
    fn a_url_gives_host_and_path() {
        let target = Target::new("ws://127.0.0.1:9000/echo?a=1", BOUNDS).unwrap();
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:9000", "/echo?a=1"));
        assert_eq!(Target::new("ws://127.0.0.1", BOUNDS).unwrap().path, "/");
        assert_eq!(Target::new("ws://[::1]:81", BOUNDS).unwrap().address.port(), 81);
        assert!(Target::new("http://127.0.0.1", BOUNDS).is_err());
    }
}
