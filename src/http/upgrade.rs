//! The opening handshake on the server's side, RFC 6455 §4.2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BufMut;
use sha1::{Digest, Sha1};

use super::head::Request;
use super::response::{Refusal, write_header, write_status};
use crate::ws::extension::{DeflateParams, is_token_byte, negotiate_deflate};

/// What every server appends to the key (§1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request to open a WebSocket that can be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    accept: String,
    /// What compression the client and this server can agree on.
    pub deflate: Option<DeflateParams>,
}

impl Upgrade {
    /// Bytes that a response seldom exceeds.
    const RESPONSE_BYTES: usize = 256;

    /// Reads the handshake from a request; `None` where the request does not ask for WebSocket.
    ///
    /// # Errors
    /// What is wrong with the handshake: 400, 405 or 426.
    pub fn from_request(request: &Request<'_>) -> Result<Option<Self>, Refusal> {
        if !request.has_token("upgrade", "websocket") {
            return Ok(None);
        }
        if request.method() != "GET" {
            return Err(Refusal::MethodNotAllowed("GET"));
        }
        if !request.is_http_1_1() {
            return Err(Refusal::Malformed("the handshake needs HTTP/1.1"));
        }
        if !request.has_token("connection", "upgrade") {
            return Err(Refusal::Malformed("Connection does not name Upgrade"));
        }
        if request.has_body() {
            return Err(Refusal::Malformed("the handshake has a body"));
        }
        check_version(request)?;
        if !request.subprotocols().all(|name| name.bytes().all(is_token_byte)) {
            return Err(Refusal::Malformed("Sec-WebSocket-Protocol is not a list of tokens"));
        }
        let deflate = negotiate_deflate(request.header_values("sec-websocket-extensions"))
            .map_err(|_| Refusal::Malformed("Sec-WebSocket-Extensions is not a list of extensions"))?;
        Ok(Some(Self { accept: accept_key(check_key(request)?), deflate }))
    }

    /// Writes the response that opens the connection.
    pub fn write(&self, out: &mut Vec<u8>, granted: &Granted) {
        out.reserve(Self::RESPONSE_BYTES);
        write_status(out, 101);
        write_header(out, "upgrade", "websocket");
        write_header(out, "connection", "Upgrade");
        write_header(out, "sec-websocket-accept", &self.accept);
        if let Some(name) = &granted.subprotocol {
            write_header(out, "sec-websocket-protocol", name);
        }
        if let Some(params) = &granted.deflate {
            write_header(out, "sec-websocket-extensions", &params.to_string());
        }
        for (name, value) in &granted.headers {
            write_header(out, name, value);
        }
        out.put_slice(b"\r\n");
    }
}

/// What the response grants beyond the upgrade itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// One of the subprotocols that were offered, or none.
    pub subprotocol: Option<String>,
    /// The agreement on compression, or none.
    pub deflate: Option<DeflateParams>,
    /// Further headers, such as `Set-Cookie`; each has passed [`super::response::is_header`].
    pub headers: Vec<(String, String)>,
}

/// §4.2.1 (6) and §4.4.
fn check_version(request: &Request<'_>) -> Result<(), Refusal> {
    let mut versions = request.header_values("sec-websocket-version");
    match (versions.next(), versions.next()) {
        (Some(b"13"), None) => Ok(()),
        _ => Err(Refusal::VersionNotSupported),
    }
}

/// §4.2.1 (5): one key, the base64 of 16 bytes.
fn check_key<'h>(request: &Request<'h>) -> Result<&'h [u8], Refusal> {
    let mut keys = request.header_values("sec-websocket-key");
    let key = match (keys.next(), keys.next()) {
        (Some(key), None) => key,
        (None, _) => return Err(Refusal::Malformed("Sec-WebSocket-Key is missing")),
        (Some(_), Some(_)) => return Err(Refusal::Malformed("Sec-WebSocket-Key stands twice")),
    };
    let mut nonce = [0; 18];
    match STANDARD.decode_slice(key, &mut nonce) {
        Ok(16) => Ok(key),
        Ok(_) | Err(_) => Err(Refusal::Malformed("Sec-WebSocket-Key is not the base64 of 16 bytes")),
    }
}

/// §4.2.2 (5): the base64 of the SHA-1 of the key and the GUID.
pub fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
mod tests {
    #[test]
    fn s1_3_the_accept_key_of_the_rfc() {
        assert_eq!(super::accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
