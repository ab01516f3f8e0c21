//! Which client a connection counts for: what its proxies say, as far as they are trusted.
//!
//! Of the headers that proxies write only `X-Forwarded-For` is read, and only from trusted ones. `Forwarded` (RFC 7239)
//! is not: a proxy that writes one of the two passes the other on as its client wrote it, so reading both would let
//! clients choose. `X-Forwarded-Proto` and `X-Forwarded-Host` decide nothing here: the origin check compares hosts, not
//! schemes.

use std::net::{IpAddr, SocketAddr};

use super::networks::{Hop, Networks};

/// What the PROXY header of a connection says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announced {
    /// None is expected: the socket's own address stands, and a request may say more.
    #[default]
    Nothing,
    /// It names nobody: the socket's own address stands, and what a request says is its client's word alone, since the
    /// proxy does not look into it.
    Nobody,
    /// It has not come yet.
    Awaited,
    /// It comes from this client.
    Client(SocketAddr),
}

/// Which address a connection counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// It is not known yet: a proxy is in between that has still to name it, in its PROXY header or in a request.
    Awaited,
    /// This one.
    Known(IpAddr),
    /// Nobody has named it, and the socket has no address, as a Unix socket has none.
    Nameless,
}

impl Client {
    /// The address, where it is known.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Client::Known(ip) => Some(ip),
            Client::Awaited | Client::Nameless => None,
        }
    }
}

/// Who is nearest as far as can be said without a request: the client of the PROXY header, or else the direct peer.
pub fn nearest(direct: Hop, announced: Announced) -> Hop {
    match announced {
        Announced::Client(addr) => Hop::Ip(addr.ip()),
        Announced::Nothing | Announced::Nobody | Announced::Awaited => direct,
    }
}

/// The client that a request's `X-Forwarded-For` lines name, read from the right as long as those who wrote them are
/// trusted: the first address that is not trusted itself.
///
/// What is no address ends the search, and the last address before it counts; so does the leftmost one where all are
/// trusted. `None` where nobody is named and the nearest hop has no address.
pub fn client<'h>(nearest: Hop, trusted: &Networks, lines: impl Iterator<Item = &'h [u8]>) -> Option<IpAddr> {
    let mut found = nearest;
    if !trusted.contains(nearest) {
        return found.ip();
    }
    let lines: Vec<&[u8]> = lines.collect();
    for element in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        match address(element) {
            Some(ip) => found = Hop::Ip(ip),
            None => break,
        }
        if !trusted.contains(found) {
            break;
        }
    }
    found.ip()
}

/// An address as proxies write it: alone, with a port behind it, or in brackets.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?.trim_matches([' ', '\t']);
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let ip = text.parse().ok().or_else(bare).or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(direct: Hop, trusted: &[&str], lines: &[&str]) -> String {
        let trusted = Networks::parse(trusted).unwrap();
        let found = client(direct, &trusted, lines.iter().map(|line| line.as_bytes()));
        found.map_or("-".to_owned(), |ip| ip.to_string())
    }

    #[test]
    fn row_14_of_part_2_x_forwarded_for_is_read_from_the_right_and_only_from_who_is_trusted() {
        let ours = &["10.0.0.0/8", "2001:db8::/32"][..];
        let rows: &[(&[&str], &[&str], &str)] = &[
            // Nothing is trusted by default.
            (&[], &["1.1.1.1"], "10.0.0.1"),
            (&["127.0.0.1"], &["1.1.1.1"], "10.0.0.1"),
            (ours, &[], "10.0.0.1"),
            (ours, &["1.1.1.1"], "1.1.1.1"),
            // What the client wrote itself stands to the left of what our proxy saw.
            (ours, &["9.9.9.9, 1.1.1.1"], "1.1.1.1"),
            (ours, &["9.9.9.9", "1.1.1.1"], "1.1.1.1"),
            (ours, &["127.0.0.1,10.0.0.9,1.1.1.1"], "1.1.1.1"),
            // Two of our own proxies, one behind the other.
            (ours, &["9.9.9.9, 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            (ours, &["9.9.9.9, 1.1.1.1", "10.0.0.2, 2001:db8::7"], "1.1.1.1"),
            // All of it ours: the request began there.
            (ours, &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // Ports, brackets, and addresses of the other protocol.
            (ours, &["1.1.1.1:4711"], "1.1.1.1"),
            (ours, &["[2001:db9::1]"], "2001:db9::1"),
            (ours, &["[2001:db9::1]:4711"], "2001:db9::1"),
            (ours, &["2001:db9::1"], "2001:db9::1"),
            (ours, &["::ffff:1.1.1.1"], "1.1.1.1"),
            (ours, &["1.1.1.1,::ffff:10.0.0.2"], "1.1.1.1"),
            // What is no address ends the search; the last good one counts.
            (ours, &["unknown"], "10.0.0.1"),
            (ours, &["1.1.1.1, unknown"], "10.0.0.1"),
            (ours, &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
            (ours, &["1.1.1.1, , 10.0.0.2"], "10.0.0.2"),
            (ours, &["1.1.1.1", "", "10.0.0.2"], "10.0.0.2"),
            (ours, &["1.1.1.1, 10.0.0.2,"], "10.0.0.1"),
            (ours, &["1.1.1.1 10.0.0.2"], "10.0.0.1"),
            (ours, &["\"1.1.1.1\""], "10.0.0.1"),
            (ours, &["1.1.1.1:99999"], "10.0.0.1"),
            (ours, &["[1.1.1.1]"], "10.0.0.1"),
            (ours, &["01.1.1.1"], "10.0.0.1"),
        ];
        let direct = Hop::Ip([10, 0, 0, 1].into());
        for (trusted, lines, want) in rows {
            assert_eq!(found(direct, trusted, lines), *want, "{trusted:?} {lines:?}");
        }
    }

    #[test]
    fn a_peer_without_an_address_is_believed_only_where_the_list_says_unix() {
        let rows: &[(Hop, &[&str], &str)] = &[
            (Hop::Unix, &[], "-"),
            (Hop::Unix, &["0.0.0.0/0", "::/0"], "-"),
            (Hop::Unix, &["unix"], "1.1.1.1"),
            (Hop::Unix, &["unix", "1.0.0.0/8"], "9.9.9.9"),
            (Hop::Unknown, &["unix", "0.0.0.0/0"], "-"),
        ];
        for (hop, trusted, want) in rows {
            assert_eq!(found(*hop, trusted, &["9.9.9.9, 1.1.1.1"]), *want, "{hop:?} {trusted:?}");
        }
        assert_eq!(found(Hop::Unix, &["unix"], &["nobody"]), "-");
        let invalid =
            client(Hop::Unix, &Networks::parse(&["unix"]).unwrap(), [&b"1.1.1.1,\xff"[..]].into_iter());
        assert_eq!(invalid, None);
    }

    #[test]
    fn the_client_of_a_proxy_header_stands_in_the_direct_peers_place() {
        let direct = Hop::Ip([127, 0, 0, 1].into());
        let addr = "[::ffff:192.0.2.1]:5".parse().unwrap();
        assert_eq!(nearest(direct, Announced::Client(addr)).ip(), Some([192, 0, 2, 1].into()));
        assert_eq!(nearest(direct, Announced::Nothing), direct);
        assert_eq!(nearest(direct, Announced::Nobody), direct);
        assert_eq!(nearest(Hop::Unix, Announced::Awaited), Hop::Unix);
    }
}
