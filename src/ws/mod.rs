//! The WebSocket protocol as a server speaks it, RFC 6455 and RFC 7692, without I/O.

pub mod close;
pub mod code;
pub mod deflate;
pub mod extension;
pub mod frame;
pub mod mask;
pub mod message;
pub mod session;
pub mod utf8;
pub mod violation;
