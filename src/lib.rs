//! Fanline is a WebSocket server on one thread: a room is a log, a connection is a cursor.
#![forbid(unsafe_code)]

pub mod conn;
pub mod http;
pub mod id;
pub mod input;
pub mod limits;
pub mod outbound;
pub mod room;
pub mod ws;

pub use http::response::Response;
pub use id::ConnId;
pub use limits::Limits;
pub use ws::close::CloseCode;
