//! The trusted header: a proxy in front has asked for the proof, and says who it is.

use std::sync::Arc;

use super::is_user;
use crate::http::head::Request;
use crate::http::response::{Refusal, is_header};
use crate::proxy::networks::{Hop, Networks};

/// A header that names the user, where the request comes from one of these networks; anybody else's is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedHeader {
    name: String,
    from: Networks,
}

impl TrustedHeader {
    /// Trusts a header of this name from these networks or addresses, such as `10.0.0.0/8` or `::1`, or `unix`.
    ///
    /// # Errors
    /// The text that is no network, or the name that is none for a header.
    pub fn new(name: &str, from: &[String]) -> Result<Self, String> {
        if !is_header(name, "") {
            return Err(name.to_owned());
        }
        Ok(Self { name: name.to_owned(), from: Networks::parse(from)? })
    }

    /// The user whom a trusted peer names; `None` where it names none.
    pub(super) fn user(&self, request: &Request<'_>, peer: Hop) -> Result<Option<Arc<str>>, Refusal> {
        if !self.from.contains(peer) {
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
        let user = header.user(&request, peer.parse().ok().into());
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
        let unix = TrustedHeader::new("x-user", &["unix".to_owned()]).unwrap();
        let head = b"GET / HTTP/1.1\r\nHost: x\r\nX-User: mary\r\n\r\n";
        let limits = Limits::default();
        let request = Request::parse(head, &limits).unwrap();
        assert_eq!(unix.user(&request, Hop::Unix), Ok(Some("mary".into())));
        assert_eq!(unix.user(&request, Hop::Unknown), Ok(None));
        assert_eq!(header.user(&request, Hop::Unix), Ok(None));
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
