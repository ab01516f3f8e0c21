//! Fanline is a WebSocket server on one thread: a room is a log, a connection is a cursor.
#![forbid(unsafe_code)]

pub mod app;
pub mod conn;
pub mod engine;
pub mod http;
pub mod id;
pub mod input;
pub mod limits;
pub mod metrics;
pub mod outbound;
pub mod reactor;
pub mod room;
pub mod server;
pub mod settings;
pub mod timer;
pub mod ws;

pub use conn::{Closed, ClosedBy};
pub use engine::handler::{Admission, Handler, OwnedMessage};
pub use engine::{Context, Opening, SendError};
pub use http::head::Request;
pub use http::origin::OriginPolicy;
pub use http::response::{Refusal, Response};
pub use id::ConnId;
pub use limits::Limits;
pub use metrics::Metrics;
pub use room::log::Position;
pub use room::rooms::JoinError;
pub use server::{Builder, Handle, HandleError, Server};
pub use ws::close::{CloseCode, CloseReason, InvalidClose};
pub use ws::message::Message;
