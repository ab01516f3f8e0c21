//! The head of a request: found in the bytes, parsed, and checked, RFC 9112 §2 to §6.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use httparse::Header;
use percent_encoding::percent_decode_str;

use super::response::Refusal;
use crate::input::Input;
use crate::limits::Limits;

/// Collects the bytes of a head until its empty line; holds nothing before the first byte.
#[derive(Debug, Default)]
pub struct HeadReader {
    kept: Vec<u8>,
}

impl HeadReader {
    /// Takes a whole head from the front of `input`, or keeps what there is of it.
    ///
    /// # Errors
    /// [`Refusal::HeadTooLarge`] past `head_bytes_max`, [`Refusal::Malformed`] for a line that ends without CR.
    pub fn read<'i>(
        &mut self,
        input: &mut Input<'i>,
        limits: &Limits,
    ) -> Result<Option<Cow<'i, [u8]>>, Refusal> {
        if self.kept == b"\r" && input.peek().starts_with(b"\n") {
            // An empty line that was cut inside is passed over like a whole one.
            input.take(1);
            self.kept = Vec::new();
        }
        if self.kept.is_empty() {
            skip_empty_lines(input);
            // What lies past the bound is not looked at, however much of it came in one piece.
            let within_reach = input.len().min(limits.head_bytes_max + 1);
            if let Some(len) = find_end(&input.peek()[..within_reach], 0)? {
                return within(len, limits).map(|()| Some(Cow::Borrowed(&*input.take(len))));
            }
        }
        let scanned = self.kept.len();
        let room = limits.head_bytes_max + 1 - scanned.min(limits.head_bytes_max);
        let more = room.min(input.len());
        self.kept.extend_from_slice(&input.peek()[..more]);
        match find_end(&self.kept, scanned)? {
            Some(len) => {
                within(len, limits)?;
                input.take(len - scanned);
                self.kept.truncate(len);
                Ok(Some(Cow::Owned(std::mem::take(&mut self.kept))))
            }
            None => {
                input.take(more);
                within(self.kept.len(), limits).map(|()| None)
            }
        }
    }

    /// Bytes of memory taken up by that.
    pub fn held(&self) -> usize {
        self.kept.capacity()
    }

    /// Bytes kept of a head that is not complete.
    pub fn buffered(&self) -> usize {
        self.kept.len()
    }
}

fn within(len: usize, limits: &Limits) -> Result<(), Refusal> {
    if len > limits.head_bytes_max { Err(Refusal::HeadTooLarge) } else { Ok(()) }
}

/// RFC 9112 §2.2: empty lines before the request line are passed over.
fn skip_empty_lines(input: &mut Input<'_>) {
    while input.peek().starts_with(b"\r\n") {
        input.take(2);
    }
}

/// Where the head ends, looking at lines that end at `from` or later.
fn find_end(bytes: &[u8], from: usize) -> Result<Option<usize>, Refusal> {
    for newline in memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at) {
        // RFC 9112 §2.2 lets a recipient take a bare LF for a line's end; two readers who differ on it can be played
        // against each other, so it is refused.
        if newline == 0 || bytes[newline - 1] != b'\r' {
            return Err(Refusal::Malformed("a line ends without CR"));
        }
        if bytes[..newline].ends_with(b"\r\n\r") {
            return Ok(Some(newline + 1));
        }
    }
    Ok(None)
}

/// A request head, parsed and checked; everything in it is borrowed from the bytes that came.
#[derive(Debug)]
pub struct Request<'h> {
    method: &'h str,
    path: Cow<'h, str>,
    query: Option<&'h str>,
    host: Option<&'h str>,
    is_http_1_1: bool,
    headers: Vec<Header<'h>>,
}

impl<'h> Request<'h> {
    /// Parses a head that [`HeadReader::read`] returned.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] with what is wrong, or [`Refusal::TooManyHeaders`].
    pub fn parse(head: &'h [u8], limits: &Limits) -> Result<Self, Refusal> {
        let mut headers = vec![httparse::EMPTY_HEADER; limits.headers_max];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(Refusal::Malformed("the head is cut short")),
            Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooManyHeaders),
            Err(_) => return Err(Refusal::Malformed("the head is not HTTP/1.1")),
        }
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Refusal::Malformed("the request line is incomplete"));
        };
        let count = parsed.headers.len();
        headers.truncate(count);
        let (authority, path, query) = split_target(target)?;
        let mut request =
            Self { method, path: decode_path(path)?, query, host: None, is_http_1_1: minor == 1, headers };
        request.host = request.check_host(authority)?;
        request.check_framing()?;
        Ok(request)
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> &str {
        self.method
    }

    /// The path, percent-decoded; it begins with `/` and has no `.` or `..` segments.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What stands after the `?`, still encoded.
    pub fn query(&self) -> Option<&str> {
        self.query
    }

    /// The value of the first parameter of this name in the query, decoded.
    pub fn query_value(&self, name: &str) -> Option<Cow<'h, str>> {
        let mut pairs = form_urlencoded::parse(self.query?.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The host and port the client asked for, from the `Host` header or an absolute target.
    pub fn host(&self) -> Option<&str> {
        self.host
    }

    /// Whether the request is HTTP/1.1, not 1.0.
    pub fn is_http_1_1(&self) -> bool {
        self.is_http_1_1
    }

    /// The value of the first header with this name, in any case; `None` also where it is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_values(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of every header with this name, in order.
    pub fn header_values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'h [u8]> + 's {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// The elements of a comma-separated header over all its lines, trimmed, without the empty ones (RFC 9110 §5.6.1).
    pub fn header_list<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'h str> + 's {
        self.header_values(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(|element| element.trim_matches([' ', '\t']))
            .filter(|element| !element.is_empty())
    }

    /// Whether a comma-separated header names this token, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.header_list(name).any(|element| element.eq_ignore_ascii_case(token))
    }

    /// The names and values of the `Cookie` header, in order (RFC 6265 §4.2).
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.header_values("cookie")
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
    }

    /// The value of the first cookie with this name.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies().find(|(cookie, _)| *cookie == name).map(|(_, value)| value)
    }

    /// The subprotocols the client offers, in its order of preference (RFC 6455 §4.1).
    pub fn subprotocols(&self) -> impl Iterator<Item = &'h str> {
        self.header_list("sec-websocket-protocol")
    }

    /// Whether a body follows the head.
    pub fn has_body(&self) -> bool {
        self.header_values("transfer-encoding").next().is_some()
            || self.header("content-length").is_some_and(|len| len.trim() != "0")
    }

    /// Whether the client wants to send another request on this connection (RFC 9112 §9.3).
    pub fn keeps_alive(&self) -> bool {
        self.is_http_1_1 && !self.has_token("connection", "close")
    }

    /// RFC 9112 §3.2: one Host, always in HTTP/1.1; an absolute target overrides it.
    fn check_host(&self, authority: Option<&'h str>) -> Result<Option<&'h str>, Refusal> {
        let mut hosts = self.header_values("host");
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => {
                std::str::from_utf8(host).map_err(|_| Refusal::Malformed("Host is not ASCII"))?
            }
            (None, _) if self.is_http_1_1 => return Err(Refusal::Malformed("Host is missing")),
            (None, _) => return Ok(authority),
            (Some(_), Some(_)) => return Err(Refusal::Malformed("Host stands twice")),
        };
        match is_authority(host) && authority.is_none_or(is_authority) {
            true => Ok(authority.or(Some(host))),
            false => Err(Refusal::Malformed("Host is not a host")),
        }
    }

    /// RFC 9112 §6.3: a length must be one number, and must not stand beside a transfer coding.
    fn check_framing(&self) -> Result<(), Refusal> {
        let mut lengths = self.header_values("content-length");
        match (lengths.next(), lengths.next()) {
            (None, _) => Ok(()),
            (Some(len), None)
                if !len.is_empty()
                    && len.iter().all(u8::is_ascii_digit)
                    && self.header_values("transfer-encoding").next().is_none() =>
            {
                Ok(())
            }
            (Some(_), _) => Err(Refusal::Malformed("Content-Length is ambiguous")),
        }
    }
}

/// RFC 3986 §3.2.2 and §3.2.3: a name or an address, and perhaps a port; never a user.
fn is_authority(text: &str) -> bool {
    let (host, port) = split_port(text);
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => host.bytes().all(is_name_byte),
    };
    is_host && port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `[::1]:80` is a host with a port too, `[::1]` one without.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

type Target<'h> = (Option<&'h str>, &'h str, Option<&'h str>);

/// RFC 9112 §3.2: origin-form, or absolute-form, which every server has to accept.
fn split_target(target: &str) -> Result<Target<'_>, Refusal> {
    let absolute = ["http://", "https://", "ws://", "wss://"].iter().find_map(|scheme| {
        let prefix = target.get(..scheme.len())?;
        prefix.eq_ignore_ascii_case(scheme).then(|| &target[scheme.len()..])
    });
    let (authority, rest) = match absolute {
        Some(rest) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            (Some(&rest[..at]), &rest[at..])
        }
        None => (None, target),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    match path {
        "" if authority.is_some() => Ok((authority, "/", query)),
        path if path.starts_with('/') && !path.contains('#') => Ok((authority, path, query)),
        _ => Err(Refusal::Malformed("the target is not a path")),
    }
}

/// Decodes a path once, so that nobody after this has to; what two readers could read differently is refused.
fn decode_path(path: &str) -> Result<Cow<'_, str>, Refusal> {
    let malformed = |what| Err(Refusal::Malformed(what));
    let hex = |at: usize| path.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    if path.match_indices('%').any(|(at, _)| !hex(at + 1) || !hex(at + 2)) {
        return malformed("a percent sign in the path is not followed by two digits");
    }
    let Ok(decoded) = percent_decode_str(path).decode_utf8() else {
        return malformed("the path is not UTF-8");
    };
    if decoded.matches('/').count() != path.matches('/').count() {
        return malformed("the path has an encoded slash");
    }
    if decoded.chars().any(|character| character.is_control() || character == '\\') {
        return malformed("the path has a control character or a backslash");
    }
    if decoded.split('/').any(|segment| segment == "." || segment == "..") {
        return malformed("the path has a dot segment");
    }
    Ok(decoded)
}
