//! Where a server listens: an address, or a file.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket, by its file.
    Unix(PathBuf),
}

impl Address {
    /// What an address in writing begins with that is a file.
    pub const UNIX: &'static str = "unix:";
}

impl TryFrom<&str> for Address {
    type Error = io::Error;

    /// Reads `unix:/run/fanline.sock`, or resolves `127.0.0.1:8080`, `[::1]:0` or a name with a port.
    fn try_from(text: &str) -> io::Result<Self> {
        if let Some(path) = text.strip_prefix(Self::UNIX) {
            let is_file = !path.is_empty() && !path.ends_with('/');
            let wrong =
                || io::Error::new(io::ErrorKind::InvalidInput, "`unix:` is followed by a file's path");
            return is_file.then(|| Address::Unix(path.into())).ok_or_else(wrong);
        }
        let nothing = || io::Error::new(io::ErrorKind::AddrNotAvailable, "the address resolves to nothing");
        text.to_socket_addrs()?.next().map(Address::Tcp).ok_or_else(nothing)
    }
}

impl TryFrom<&String> for Address {
    type Error = io::Error;

    fn try_from(text: &String) -> io::Result<Self> {
        text.as_str().try_into()
    }
}

impl TryFrom<SocketAddr> for Address {
    type Error = io::Error;

    fn try_from(addr: SocketAddr) -> io::Result<Self> {
        Ok(Address::Tcp(addr))
    }
}

impl TryFrom<&Path> for Address {
    type Error = io::Error;

    fn try_from(path: &Path) -> io::Result<Self> {
        Ok(Address::Unix(path.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(addr) => addr.fmt(f),
            Address::Unix(path) => write!(f, "{}{}", Self::UNIX, path.display()),
        }
    }
}

/// Where to listen, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address, or the file.
    pub address: Address,
    /// Whether its connections speak TLS.
    pub is_tls: bool,
    /// Whether its connections begin with a PROXY header; without one they are dropped.
    pub is_proxied: bool,
    /// Whether it is for those who run the server: what comes in there has places of its own.
    pub is_admin: bool,
}

impl Listen {
    /// Listens on an address for plain HTTP and WebSocket.
    pub fn plain(address: Address) -> Self {
        Self { address, is_tls: false, is_proxied: false, is_admin: false }
    }
}

impl fmt::Display for Listen {
    /// As a server says where it listens: `http://127.0.0.1:8080`, or `https://127.0.0.1:8443 behind PROXY headers`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        let behind = if self.is_proxied { " behind PROXY headers" } else { "" };
        let whom = if self.is_admin { " for admins" } else { "" };
        write!(f, "{scheme}://{}{behind}{whom}", self.address)
    }
}
