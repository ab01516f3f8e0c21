//! The trusted header: a proxy in front has asked for the proof, and says who it is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::is_user;
use crate::http::head::Request;
use crate::http::response::{Refusal, is_header};

/// A header that names the user, where the request comes from one of these networks; anybody else's is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedHeader {
    name: String,
    from: Vec<IpNet>,
}

impl TrustedHeader {
    /// Trusts a header of this name from these networks or addresses, such as `10.0.0.0/8` or `::1`.
    ///
    /// # Errors
    /// The text that is no network, or the name that is none for a header.
    pub fn new(name: &str, from: &[String]) -> Result<Self, String> {
        if !is_header(name, "") {
            return Err(name.to_owned());
        }
        let network = |text: &String| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| text.parse::<IpNet>()).map_err(|_| text.clone())
        };
        Ok(Self { name: name.to_owned(), from: from.iter().map(network).collect::<Result<_, _>>()? })
    }

    /// The user whom a trusted peer names; `None` where it names none.
    pub(super) fn user(
        &self,
        request: &Request<'_>,
        peer: Option<SocketAddr>,
    ) -> Result<Option<Arc<str>>, Refusal> {
        // A socket for both protocols shows IPv4 peers as ::ffff:10.0.0.1.
        let is_trusted = |peer: SocketAddr| {
            let address = peer.ip().to_canonical();
            self.from.iter().any(|network| network.contains(&address))
        };
        if !peer.is_some_and(is_trusted) {
            return Ok(None);
        }
        let mut values = request.header_values(&self.name).filter(|value| !value.is_empty());
        let Some(value) = values.next() else { return Ok(None) };
        // Two of them: the proxy has added its own to what the client sent.
        let user = std::str::from_utf8(value).ok().filter(|user| is_user(user) && values.next().is_none());
        user.map(|user| Some(user.into())).ok_or(Refusal::Unauthorized("the proxy's header names no user"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn ask(header: &TrustedHeader, peer: &str, lines: &str) -> Result<Option<String>, u16> {
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        let limits = Limits::default();
        let request = Request::parse(head.as_bytes(), &limits).unwrap();
        let user = header.user(&request, peer.parse().ok());
        user.map(|user| user.map(|user| user.to_string())).map_err(Refusal::status)
    }

    #[test]
    fn row_46_the_header_counts_only_from_the_listed_networks() {
        let from = ["10.0.0.0/8".to_owned(), "192.0.2.7".to_owned(), "2001:db8::/32".to_owned()];
        let header = TrustedHeader::new("x-user", &from).unwrap();
        let mary = Ok(Some("mary".to_owned()));
        let rows = [
            ("10.0.0.0:1", mary.clone()),
            ("10.255.255.255:1", mary.clone()),
            ("[::ffff:10.1.2.3]:1", mary.clone()),
            ("192.0.2.7:1", mary.clone()),
            ("[2001:db8::1]:1", mary.clone()),
            ("192.0.2.8:1", Ok(None)),
            ("9.255.255.255:1", Ok(None)),
            ("11.0.0.0:1", Ok(None)),
            ("127.0.0.1:1", Ok(None)),
            ("[::1]:1", Ok(None)),
            ("[2001:db9::1]:1", Ok(None)),
            ("a transport without an address", Ok(None)),
        ];
        for (peer, want) in rows {
            assert_eq!(ask(&header, peer, "X-User: mary\r\n"), want, "{peer}");
        }
    }

    #[test]
    fn a_trusted_peer_names_one_user_or_none() {
        let header = TrustedHeader::new("x-user", &["10.0.0.0/8".to_owned()]).unwrap();
        let rows = [
            ("", Ok(None)),
            ("X-User:\r\n", Ok(None)),
            ("X-User: 小明\r\n", Ok(Some("小明".to_owned()))),
            ("X-User: mary\r\nX-User: mary\r\n", Err(401)),
            ("X-User: mary\r\nX-User:\r\n", Ok(Some("mary".to_owned()))),
            ("X-User: a\tb\r\n", Err(401)),
        ];
        for (lines, want) in rows {
            assert_eq!(ask(&header, "10.0.0.1:1", lines), want, "{lines}");
        }
        let long = format!("X-User: {}\r\n", "x".repeat(257));
        assert_eq!(ask(&header, "10.0.0.1:1", &long), Err(401));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in ["10.0.0.0/33", "10.0.0", "localhost", "", "::1/129"] {
            assert_eq!(TrustedHeader::new("x-user", &[text.to_owned()]), Err(text.to_owned()));
        }
        assert!(TrustedHeader::new("x user", &[]).is_err());
    }
}
