//! Responses and refusals, RFC 9112 §4 and RFC 9110 §15.

use std::borrow::Cow;
use std::fmt;

use bytes::BufMut;

/// Why a request is refused: whose fault it is, and the status that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the request breaks HTTP or the handshake, as the text says.
    Malformed(&'static str),
    /// 403: the page that opens the connection comes from another origin (RFC 6455 §10.2).
    OriginNotAllowed,
    /// 403: the handler does not let this client in, as the text says.
    Forbidden(&'static str),
    /// 401: the client has to say who it is, or has not proved it, as the text says.
    Unauthorized(&'static str),
    /// 404: nothing is at this path.
    NotFound,
    /// 405: what is at this path is not asked for like this; these methods are served.
    MethodNotAllowed(&'static str),
    /// 410: what came after the position is not kept any more.
    Gone,
    /// 413: the request's body is longer than `body_bytes_max`.
    BodyTooLarge,
    /// 426: this path speaks only WebSocket.
    UpgradeRequired,
    /// 426: the client asks for a version of the protocol other than 13 (RFC 6455 §4.4).
    VersionNotSupported,
    /// 431: the head is longer than `head_bytes_max`.
    HeadTooLarge,
    /// 431: the head has more fields than `headers_max`.
    TooManyHeaders,
    /// 429: more than this client may.
    TooMany(&'static str),
    /// 501: the body comes in a transfer coding other than chunks (RFC 9112 §6.1).
    CodingNotImplemented,
    /// 503: the server cannot take this connection now, as the text says.
    Unavailable(&'static str),
}

impl Refusal {
    /// The status code.
    pub fn status(self) -> u16 {
        match self {
            Refusal::Malformed(_) => 400,
            Refusal::Unauthorized(_) => 401,
            Refusal::OriginNotAllowed | Refusal::Forbidden(_) => 403,
            Refusal::NotFound => 404,
            Refusal::MethodNotAllowed(_) => 405,
            Refusal::Gone => 410,
            Refusal::BodyTooLarge => 413,
            Refusal::UpgradeRequired | Refusal::VersionNotSupported => 426,
            Refusal::TooMany(_) => 429,
            Refusal::HeadTooLarge | Refusal::TooManyHeaders => 431,
            Refusal::CodingNotImplemented => 501,
            Refusal::Unavailable(_) => 503,
        }
    }

    /// One line that says why.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::Malformed(why)
            | Refusal::Unauthorized(why)
            | Refusal::Forbidden(why)
            | Refusal::TooMany(why)
            | Refusal::Unavailable(why) => why,
            Refusal::OriginNotAllowed => "this origin may not connect here",
            Refusal::NotFound => "nothing is at this path",
            Refusal::MethodNotAllowed(_) => "this method is not served here",
            Refusal::Gone => "what came after this position is not kept any more",
            Refusal::BodyTooLarge => "the request's body is too long",
            Refusal::CodingNotImplemented => "bodies come with a length or in chunks",
            Refusal::UpgradeRequired => "this path speaks WebSocket",
            Refusal::VersionNotSupported => "only version 13 of the WebSocket protocol is spoken",
            Refusal::HeadTooLarge => "the request head is too long",
            Refusal::TooManyHeaders => "the request head has too many fields",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status(), self.reason())
    }
}

impl std::error::Error for Refusal {}

/// An answer to a plain HTTP request.
///
/// ```
/// use fanline::Response;
/// let page = Response::new(200).header("content-type", "text/html").body("<p>hello");
/// assert_eq!(page.status(), 200);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
}

impl Response {
    /// A response with this status and no body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Cow::Borrowed(b"") }
    }

    /// A response of one line of plain text.
    pub fn text(status: u16, line: &str) -> Self {
        Self::new(status)
            .header("content-type", "text/plain; charset=utf-8")
            .body(format!("{line}\n").into_bytes())
    }

    /// A response of one line of JSON.
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status).header("content-type", "application/json").body(format!("{value}\n").into_bytes())
    }

    /// A response that says in one line of JSON, `{"error":"…"}`, what is wrong.
    pub fn error(status: u16, reason: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": reason }))
    }

    /// Adds a header.
    ///
    /// # Panics
    /// Where the name is not a token or the value holds a control character (RFC 9110 §5): that would let a value
    /// written by somebody else end the head. Check first what comes from a peer.
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        let (name, value) = (name.into(), value.into());
        assert!(is_header(&name, &value), "not a header: {name:?}: {value:?}");
        self.headers.push((name, value));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl IntoBody) -> Self {
        self.body = body.into_body();
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Writes a head whose body ends with the connection (RFC 9112 §6.3).
    pub fn write_endless_head(&self, out: &mut Vec<u8>) {
        write_status(out, self.status);
        for (name, value) in &self.headers {
            write_header(out, name, value);
        }
        write_header(out, "connection", "close");
        out.put_slice(b"\r\n");
    }

    /// Writes the response; `bodiless` where it answers HEAD, `last` where the connection ends after it.
    pub fn write(&self, out: &mut Vec<u8>, bodiless: bool, last: bool) {
        write_status(out, self.status);
        for (name, value) in &self.headers {
            write_header(out, name, value);
        }
        // RFC 9110 §8.6: none in a 204, and in a 304 only that of the body which is not sent again.
        if !matches!(self.status, 204 | 304) {
            write_header(out, "content-length", &self.body.len().to_string());
        }
        if last {
            write_header(out, "connection", "close");
        }
        out.put_slice(b"\r\n");
        if !bodiless {
            out.put_slice(&self.body);
        }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        let response = Response::error(refusal.status(), refusal.reason());
        match refusal {
            // RFC 9110 §15.5.22 and §7.8, RFC 6455 §4.4: say what to upgrade to.
            Refusal::UpgradeRequired | Refusal::VersionNotSupported => response
                .header("upgrade", "websocket")
                .header("connection", "Upgrade")
                .header("sec-websocket-version", "13"),
            Refusal::MethodNotAllowed(methods) => response.header("allow", methods),
            Refusal::Unauthorized(_) => response.header("www-authenticate", "Bearer"),
            Refusal::TooMany(_) | Refusal::Unavailable(_) => response.header("retry-after", "1"),
            Refusal::Malformed(_)
            | Refusal::OriginNotAllowed
            | Refusal::Forbidden(_)
            | Refusal::NotFound
            | Refusal::Gone
            | Refusal::BodyTooLarge
            | Refusal::CodingNotImplemented
            | Refusal::HeadTooLarge
            | Refusal::TooManyHeaders => response,
        }
    }
}

/// What can be a response's body: text or bytes, static or owned.
pub trait IntoBody {
    /// The bytes.
    fn into_body(self) -> Cow<'static, [u8]>;
}

impl IntoBody for &'static str {
    fn into_body(self) -> Cow<'static, [u8]> {
        Cow::Borrowed(self.as_bytes())
    }
}

impl IntoBody for Vec<u8> {
    fn into_body(self) -> Cow<'static, [u8]> {
        Cow::Owned(self)
    }
}

impl IntoBody for String {
    fn into_body(self) -> Cow<'static, [u8]> {
        Cow::Owned(self.into_bytes())
    }
}

/// Whether a name and a value may stand in a head (RFC 9110 §5.1 and §5.5).
pub fn is_header(name: &str, value: &str) -> bool {
    let is_name = !name.is_empty() && name.bytes().all(crate::ws::extension::is_token_byte);
    is_name && value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

pub(super) fn write_status(out: &mut Vec<u8>, status: u16) {
    for part in ["HTTP/1.1 ", &status.to_string(), " ", phrase(status), "\r\n"] {
        out.put_slice(part.as_bytes());
    }
}

pub(super) fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.put_slice(part.as_bytes());
    }
}

/// RFC 9110 §15; a status without a phrase here is sent without one, which RFC 9112 §4 allows.
fn phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "",
    }
}
