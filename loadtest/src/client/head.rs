//! Responses and the accept key, RFC 6455 §4.2.2 on RFC 9112.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::wire::Wire;
use super::{Broken, excerpt};

/// §1.3: what a server appends to the key before hashing.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A head larger than this from a server is a fault.
const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// The `Sec-WebSocket-Accept` that answers `key`, §4.2.2.
pub(crate) fn accept_of(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

/// A key of 16 random bytes, §4.1.
pub(crate) fn random_key() -> String {
    STANDARD.encode(fastrand::u128(..).to_be_bytes())
}

/// A server's answer to a request.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// Whether the status line said HTTP/1.1.
    pub(crate) is_http_1_1: bool,
    fields: Vec<(String, String)>,
}

impl Response {
    /// Reads one response, its body included; `None` means closed without a word.
    pub(crate) fn read(wire: &mut Wire) -> Result<Option<Response>, Broken> {
        let end = loop {
            if let Some(end) = find(wire.unread(), b"\r\n\r\n") {
                break end + 4;
            }
            if wire.unread().len() > RESPONSE_HEAD_BYTES_MAX {
                return Err(Broken::new("the response's head does not end"));
            }
            if !wire.fill("response")? {
                let unread = wire.unread();
                return if unread.is_empty() {
                    Ok(None)
                } else {
                    Err(Broken(format!("half a head: {}", excerpt(unread))))
                };
            }
        };
        let response = Response::parse(&wire.take(end))?;
        response.skip_body(wire)?;
        Ok(Some(response))
    }

    /// Reads a whole head, up to its empty line.
    pub(crate) fn parse(head: &[u8]) -> Result<Response, Broken> {
        let text = std::str::from_utf8(head).map_err(|_| Broken(format!("a head of {}", excerpt(head))))?;
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default();
        let mut words = line.splitn(3, ' ');
        let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let status = match status.parse() {
            Ok(status) if version.starts_with("HTTP/") && (100..600).contains(&status) => status,
            _ => return Err(Broken(format!("a status line of {}", excerpt(line.as_bytes())))),
        };
        let fields = lines.map(parse_field).collect::<Result<_, _>>()?;
        Ok(Response { status, is_http_1_1: version == "HTTP/1.1", fields })
    }

    fn skip_body(&self, wire: &mut Wire) -> Result<(), Broken> {
        if matches!(self.status, 100..=199 | 204 | 304) {
            return Ok(());
        }
        if self.tokens("transfer-encoding").iter().any(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return read_until(wire, |bytes| find(bytes, b"0\r\n\r\n").map(|place| place + 5));
        }
        match self.field("content-length").map(str::parse::<usize>) {
            Some(Ok(length)) => read_until(wire, |bytes| (bytes.len() >= length).then_some(length)),
            Some(Err(_)) => Err(Broken::new("a Content-Length that is no number")),
            None => {
                while wire.fill("end of the response's body")? {}
                Ok(())
            }
        }
    }

    /// The first field of this lower-case name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// How many fields have this lower-case name.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(field, _)| field == name).count()
    }

    /// The members of all lists of this lower-case name.
    pub(crate) fn tokens(&self, name: &str) -> Vec<&str> {
        let values = self.fields.iter().filter(|(field, _)| field == name);
        values
            .flat_map(|(_, value)| value.split(','))
            .map(str::trim)
            .filter(|token| !token.is_empty())
            .collect()
    }
}

fn parse_field(line: &str) -> Result<(String, String), Broken> {
    match line.split_once(':') {
        Some((name, value)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        }
        _ => Err(Broken(format!("a response line of {}", excerpt(line.as_bytes())))),
    }
}

fn read_until(wire: &mut Wire, end: impl Fn(&[u8]) -> Option<usize>) -> Result<(), Broken> {
    loop {
        if let Some(length) = end(wire.unread()) {
            wire.take(length);
            return Ok(());
        }
        if !wire.fill("response's body")? {
            return Err(Broken::new("the response's body is cut short"));
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_3_the_accept_of_the_rfc() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_response_is_read_with_its_lists() {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive , Upgrade\r\nA: b:c\r\n\r\n";
        let response = Response::parse(head).unwrap();
        assert_eq!((response.status, response.is_http_1_1), (101, true));
        assert_eq!(response.tokens("connection"), ["keep-alive", "Upgrade"]);
        assert_eq!((response.field("a"), response.count("b")), (Some("b:c"), 0));
    }

    #[test]
    fn a_response_that_is_none_is_refused() {
        for head in ["HTP/1.1 101 x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 101 x\r\nA : b\r\n\r\n"] {
            assert!(Response::parse(head.as_bytes()).is_err(), "{head:?}");
        }
    }
}
