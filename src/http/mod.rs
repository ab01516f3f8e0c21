//! HTTP/1.1 as far as a WebSocket server speaks it: request heads, the upgrade, responses. RFC 9112, without I/O.

pub mod body;
pub mod cors;
pub mod head;
pub mod origin;
pub mod response;
pub mod upgrade;
