//! Networks whose peers are trusted.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Who is directly at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// A peer with an address.
    Ip(IpAddr),
    /// A process on this machine, through a Unix socket.
    Unix,
    /// Somebody of whom nothing is known.
    Unknown,
}

impl Hop {
    /// The address, where it has one; that of an IPv4 peer as such, also where a socket for both protocols shows it as
    /// `::ffff:10.0.0.1`.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Hop::Ip(ip) => Some(ip.to_canonical()),
            Hop::Unix | Hop::Unknown => None,
        }
    }
}

impl From<Option<SocketAddr>> for Hop {
    fn from(addr: Option<SocketAddr>) -> Self {
        addr.map_or(Hop::Unknown, |addr| Hop::Ip(addr.ip()))
    }
}

/// A list of networks and addresses; empty, it holds nobody.
///
/// ```
/// use fanline::proxy::networks::Networks;
/// let networks = Networks::parse(&["10.0.0.0/8", "::1", "unix"]).unwrap();
/// assert_eq!(networks.to_string(), "10.0.0.0/8, ::1, unix");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    networks: Vec<IpNet>,
    has_unix: bool,
}

impl Networks {
    /// Reads networks such as `10.0.0.0/8`, addresses such as `::1`, and `unix` for whoever connects to a Unix socket.
    ///
    /// # Errors
    /// The first text that is none of these.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self, String> {
        let mut list = Self::default();
        for text in texts.iter().map(AsRef::as_ref) {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            match text.parse::<IpNet>().or_else(|_| address()) {
                Ok(network) => list.networks.push(network),
                Err(_) if text == "unix" => list.has_unix = true,
                Err(_) => return Err(text.to_owned()),
            }
        }
        Ok(list)
    }

    /// Whether the list holds nobody.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.has_unix
    }

    /// Whether this peer is one of them.
    pub fn contains(&self, hop: Hop) -> bool {
        match hop {
            Hop::Ip(ip) => {
                let ip = ip.to_canonical();
                self.networks.iter().any(|network| network.contains(&ip))
            }
            Hop::Unix => self.has_unix,
            Hop::Unknown => false,
        }
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            self.networks.iter().map(|network| match network.prefix_len() == network.max_prefix_len() {
                true => network.addr().to_string(),
                false => network.to_string(),
            });
        let unix = self.has_unix.then(|| "unix".to_owned());
        f.write_str(&shown.chain(unix).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_14_of_part_2_networks_hold_what_stands_in_them_and_nobody_else() {
        let networks = Networks::parse(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]).unwrap();
        let rows = [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.7", true),
            ("2001:db8::1", true),
            ("192.0.2.8", false),
            ("9.255.255.255", false),
            ("11.0.0.0", false),
            ("::10.0.0.1", false),
            ("2001:db9::1", false),
        ];
        for (ip, want) in rows {
            assert_eq!(networks.contains(Hop::Ip(ip.parse().unwrap())), want, "{ip}");
        }
        assert!(!networks.contains(Hop::Unix) && !networks.contains(Hop::Unknown));
        let unix = Networks::parse(&["unix"]).unwrap();
        assert!(unix.contains(Hop::Unix) && !unix.contains(Hop::Unknown) && !unix.is_empty());
        assert!(!unix.contains(Hop::Ip([127, 0, 0, 1].into())));
        assert!(Networks::default().is_empty() && !Networks::default().contains(Hop::Unix));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in ["10.0.0.0/33", "10.0.0", "localhost", "", "::1/129", "Unix", "unix:/run/x", "*"] {
            assert_eq!(Networks::parse(&["::1", text]), Err(text.to_owned()));
        }
    }
}
