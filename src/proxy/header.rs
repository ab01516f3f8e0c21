//! The PROXY protocol, versions 1 and 2: what a proxy says of a connection before anything of the client's.
//!
//! Where a header ends, and whether it can still become one, is found here, so that the answer is the same however the
//! bytes are cut; what stands in it is read by `proxy-header`.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};

/// How version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, and four bytes up to the length of the rest.
const FIXED: usize = SIGNATURE.len() + 4;

/// Version 2, and a connection that the proxy opens for itself, such as to see whether the server lives.
const LOCAL: u8 = 0x20;

/// How version 1 begins.
const TEXT: &[u8] = b"PROXY ";

/// The longest line of version 1, its end included.
const TEXT_MAX: usize = 107;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// The beginning of a header; more has to come.
    Partial,
    /// A header of this length, and the client that it names; none where the proxy speaks for itself, or cannot tell.
    Header {
        /// Bytes of it; what follows is the client's.
        len: usize,
        /// Where the client connects from.
        client: Option<SocketAddr>,
    },
    /// Something else, or a header longer than it may be.
    Invalid,
}

impl Preface {
    /// Looks at what has come so far. A header of version 2 may have `bytes_max` bytes, with all that a proxy adds.
    pub fn parse(bytes: &[u8], bytes_max: usize) -> Self {
        match find_end(bytes, bytes_max) {
            Ok(None) => Preface::Partial,
            Ok(Some(len)) => read(&bytes[..len]).unwrap_or(Preface::Invalid),
            Err(NotProxy) => Preface::Invalid,
        }
    }
}

struct NotProxy;

/// How long the header is, once that can be said and all of it is there.
fn find_end(bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, NotProxy> {
    if begins_like(bytes, SIGNATURE) {
        let [_, _, high, low] = match bytes.get(SIGNATURE.len()..FIXED) {
            Some(&[version, family, high, low]) => [version, family, high, low],
            _ => return Ok(None),
        };
        let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
        return if len > bytes_max { Err(NotProxy) } else { Ok((bytes.len() >= len).then_some(len)) };
    }
    if !begins_like(bytes, TEXT) {
        return Err(NotProxy);
    }
    let line = &bytes[..bytes.len().min(TEXT_MAX)];
    match line.iter().position(|byte| !(b' '..=b'~').contains(byte)) {
        Some(at) if line[at] == b'\r' => match line.get(at + 1) {
            Some(b'\n') => Ok(Some(at + 2)),
            None if line.len() < TEXT_MAX => Ok(None),
            Some(_) | None => Err(NotProxy),
        },
        Some(_) => Err(NotProxy),
        None if line.len() < TEXT_MAX => Ok(None),
        None => Err(NotProxy),
    }
}

/// Whether bytes are the beginning of `begin`, or begin with it.
fn begins_like(bytes: &[u8], begin: &[u8]) -> bool {
    let len = bytes.len().min(begin.len());
    bytes[..len] == begin[..len]
}

/// Reads a header that is whole.
fn read(header: &[u8]) -> Option<Preface> {
    let len = header.len();
    if let Some(line) = header.strip_prefix(TEXT) {
        // Of a connection that the proxy cannot describe it may say anything, and none of it counts.
        if let Some(rest) = line.strip_prefix(b"UNKNOWN") {
            let is_word = rest.starts_with(b" ") || rest == b"\r\n";
            return is_word.then_some(Preface::Header { len, client: None });
        }
        // The library reads numbers as Rust writes them, which may have a sign and leading zeros.
        let fields = line.split(|byte| matches!(byte, b' ' | b'\r'));
        let is_port =
            |field: &[u8]| field == b"0" || (field[0] != b'0' && field.iter().all(u8::is_ascii_digit));
        if !fields.skip(3).take(2).all(|field| !field.is_empty() && is_port(field)) {
            return None;
        }
    }
    // What LOCAL says besides is to be ignored, also where it makes no sense.
    if header.get(SIGNATURE.len()) == Some(&LOCAL) {
        return Some(Preface::Header { len, client: None });
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, used) = ProxyHeader::parse(header, config).ok()?;
    if used != len {
        return None;
    }
    let client = parsed.proxied_address().filter(|address| address.protocol == Protocol::Stream);
    Some(Preface::Header { len, client: client.map(|address| address.source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1024;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &len, rest].concat()
    }

    fn rows() -> Vec<(Vec<u8>, Option<Option<&'static str>>)> {
        let text = |line: &str| line.as_bytes().to_vec();
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let mut v6 = [0u8; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        (v6[15], v6[32], v6[33]) = (7, 1, 1);
        let with_tlv = [&v4[..], &[0x04, 0, 2, 0, 0, 0xee, 0, 1, b'x']].concat();
        vec![
            (text("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n"), Some(Some("192.0.2.1:4660"))),
            (
                text("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
                Some(Some("255.255.255.255:65535")),
            ),
            (text("PROXY TCP4 192.0.2.1 10.0.0.1 0 0\r\n"), Some(Some("192.0.2.1:0"))),
            (text("PROXY TCP6 2001:db8::7 ::1 257 80\r\n"), Some(Some("[2001:db8::7]:257"))),
            (
                text(
                    "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                ),
                Some(Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
            ),
            (text("PROXY UNKNOWN\r\n"), Some(None)),
            (text("PROXY UNKNOWN whatever it likes\r\n"), Some(None)),
            (v2(1, 0x11, &v4), Some(Some("192.0.2.1:4660"))),
            (v2(1, 0x11, &with_tlv), Some(Some("192.0.2.1:4660"))),
            (v2(1, 0x21, &v6), Some(Some("[2001:db8::7]:257"))),
            // A datagram's address is no connection's; Unix sockets have none; LOCAL is the proxy's own.
            (v2(1, 0x12, &v4), Some(None)),
            (v2(1, 0x31, &[b'/'; 216]), Some(None)),
            (v2(1, 0x00, &[]), Some(None)),
            (v2(0, 0x00, &[]), Some(None)),
            (v2(0, 0x11, &v4), Some(None)),
            (v2(0, 0x00, &[1, 2, 3]), Some(None)),
            (v2(0, 0xff, &[1, 2, 3]), Some(None)),
            (text("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\n"), None),
            (text("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\r\n"), None),
            (text("PROXY TCP4 192.0.2.1 10.0.0.1 4660\r\n"), None),
            (text("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80 \r\n"), None),
            (text("PROXY TCP4  192.0.2.1 10.0.0.1 4660 80\r\n"), None),
            (text("PROXY TCP4 192.0.2.1 10.0.0.1 +4660 80\r\n"), None),
            (text("PROXY TCP4 192.0.2.1 10.0.0.1 4660 080\r\n"), None),
            (text("PROXY TCP4 192.0.2.1 10.0.0.1 65536 80\r\n"), None),
            (text("PROXY TCP4 192.0.2.256 10.0.0.1 4660 80\r\n"), None),
            (text("PROXY TCP4 2001:db8::7 ::1 4660 80\r\n"), None),
            (text("PROXY TCP6 192.0.2.1 10.0.0.1 4660 80\r\n"), None),
            (text("PROXY TCP5 192.0.2.1 10.0.0.1 4660 80\r\n"), None),
            (text("PROXY TCP4 192.0.2.1\0 10.0.0.1 4660 80\r\n"), None),
            (text("PROXY UNKNOWNS\r\n"), None),
            (text("PROXY \r\n"), None),
            (text("PROXYTCP4 192.0.2.1 10.0.0.1 4660 80\r\n"), None),
            (text("proxy TCP4 192.0.2.1 10.0.0.1 4660 80\r\n"), None),
            (text("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), None),
            (text("\r\n\r\nGET / HTTP/1.1\r\n"), None),
            (format!("PROXY UNKNOWN {}\r\n", "x".repeat(TEXT_MAX - 15)).into_bytes(), None),
            ([&[0x16, 3, 1][..], &[0; 40]].concat(), None),
            (v2(2, 0x11, &v4), None),
            (v2(1, 0x41, &v4), None),
            (v2(1, 0x13, &v4), None),
            (v2(1, 0x11, &v4[..11]), None),
            (v2(1, 0x21, &v6[..35]), None),
            (v2(1, 0x31, &[b'/'; 215]), None),
            (v2(1, 0x11, &[0; MAX - FIXED + 1]), None),
            ([&SIGNATURE[..], &[0x11, 0x11, 0, 0]].concat(), None),
        ]
    }

    #[test]
    fn row_14_of_part_2_good_and_bad_headers_cut_at_every_offset_and_glued_to_what_follows() {
        for (bytes, want) in rows() {
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let len = bytes.len();
            let want = want.map_or(Preface::Invalid, |client| {
                let client = client.map(|addr| addr.parse().unwrap());
                Preface::Header { len, client }
            });
            assert_eq!(Preface::parse(&bytes, MAX), want, "{shown:?}");
            for behind in [&b"GET / HTTP/1.1\r\n"[..], b"\r\n", b"\n", SIGNATURE, &[0; 300]] {
                let glued = [&bytes[..], behind].concat();
                assert_eq!(Preface::parse(&glued, MAX), want, "{shown:?} and {behind:?}");
            }
            let mut was_invalid = false;
            for cut in 0..len {
                let got = Preface::parse(&bytes[..cut], MAX);
                match want {
                    Preface::Invalid => {
                        assert!(!matches!(got, Preface::Header { .. }), "{shown:?} cut at {cut}")
                    }
                    _ => assert_eq!(got, Preface::Partial, "{shown:?} cut at {cut}"),
                }
                // What cannot become a header never can again.
                assert!(!was_invalid || got == Preface::Invalid, "{shown:?} cut at {cut}");
                was_invalid = got == Preface::Invalid;
            }
        }
    }

    #[test]
    fn what_is_no_header_is_known_at_the_first_byte_that_does_not_belong() {
        let rows: &[(&[u8], usize)] = &[
            (b"GET / HTTP/1.1", 1),
            (b"\x16\x03\x01", 1),
            (b"PROXX TCP4", 5),
            (b"\r\n\r\nGET", 5),
            (b"PROXY TCP4\n", 11),
        ];
        for (bytes, known) in rows {
            for cut in 0..=bytes.len() {
                let is_invalid = Preface::parse(&bytes[..cut], MAX) == Preface::Invalid;
                assert_eq!(is_invalid, cut >= *known, "{cut} of {bytes:?}");
            }
        }
        // A length past the bound is not waited for.
        let long = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
        assert_eq!(Preface::parse(&long, MAX), Preface::Invalid);
        assert_eq!(Preface::parse(&[b'x'; 0], MAX), Preface::Partial);
    }
}
