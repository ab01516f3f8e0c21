//! Fanline is a WebSocket server on one thread: **a room is a log, a connection is a cursor.**
//!
//! Every message published to a room is appended once, as a ready-to-send frame, to the room's log. A member holds a
//! cursor into it, and that is all the server keeps of a delivery. What waits for a member lies side by side in the
//! log and leaves in one `send`; a slow reader is a cursor that lags, and costs nothing until the log has moved past
//! it.
//!
//! # A chat
//!
//! An application is a [`Handler`]. This one is whole:
//!
//! ```no_run
//! use fanline::{Context, Handler, Message, Opening, Response, Server};
//!
//! struct Chat;
//!
//! impl Handler for Chat {
//!     type State = String; // what is kept of a connection: its room
//!
//!     fn open(&mut self, opening: &mut Opening<'_>) -> Result<String, Response> {
//!         let room = opening.request().path().to_owned();
//!         opening.join(&room).map_err(|error| Response::text(503, &error.to_string()))?;
//!         Ok(room)
//!     }
//!
//!     fn message(&mut self, room: &mut String, ctx: &mut Context<'_>, message: Message<'_>) {
//!         ctx.publish(room, message);
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     Server::builder().listen("127.0.0.1:8080")?.stop_on_signals().bind(Chat)?.run()
//! }
//! ```
//!
//! The server runs on the thread that calls [`Server::run`]. Other threads have a [`Handle`], as here, where a client
//! (of the crate `tungstenite`) is sent what somebody else publishes in its room:
//!
//! ```
//! # use fanline::{Context, Handler, Message, Opening, Response, Server};
//! # struct Chat;
//! # impl Handler for Chat {
//! #     type State = String;
//! #     fn open(&mut self, opening: &mut Opening<'_>) -> Result<String, Response> {
//! #         let room = opening.request().path().to_owned();
//! #         opening.join(&room).map_err(|error| Response::text(503, &error.to_string()))?;
//! #         Ok(room)
//! #     }
//! #     fn message(&mut self, room: &mut String, ctx: &mut Context<'_>, message: Message<'_>) {
//! #         ctx.publish(room, message);
//! #     }
//! # }
//! let server = Server::builder().listen("127.0.0.1:0")?.bind(Chat)?; // port 0: any that is free
//! let (handle, port) = (server.handle(), server.port());
//! let thread = std::thread::spawn(move || server.run());
//!
//! let (mut client, _) = tungstenite::connect(format!("ws://127.0.0.1:{port}/lobby"))?;
//! handle.publish("/lobby", "tea is ready")?;
//! assert_eq!(client.read()?.to_text()?, "tea is ready");
//!
//! handle.shutdown();
//! thread.join().expect("the server does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What to know first
//!
//! * [`Server::builder`] says what a server is to be: where it listens, its [`Limits`], whose pages may connect
//!   ([`OriginPolicy`]), TLS, a backplane.
//! * [`Opening`] and [`Context`] are what a [`Handler`] can do while it is asked or told: join a room from where one left it
//!   ([`Context::join_as`], [`Start`], [`Position`]), say what a room keeps ([`Keep`]) and what becomes of slow members
//!   ([`Lag`]), publish, send, close.
//! * [`Exchange`] is a plain HTTP request, which [`Handler::http`] answers with a [`Reply`].
//! * [`Handle`] does from other threads what may be done from there. [`Metrics`] and [`Snapshot`] are what is measured.
//! * [`app::App`] is the binary's own handler, and [`auth::Gate`] decides who may do what there: they can be had, too.
//!
//! A handler is never called again from inside itself: publishing only appends, and everything is sent after it has
//! returned. What a handler does, everybody waits for.
//!
//! # Reading the code
//!
//! ```text
//!   bytes, now        events         publication            bytes
//! socket ─► conn (http, ws) ─► handler ─► room log ─► walk / outbound ─► socket
//! reactor   └──────────────────── engine ────────────────────────┘      reactor
//! ```
//!
//! From the bytes inwards: [`ws`] (frames, messages, close, compression), [`http`] (heads, the upgrade, responses),
//! [`proxy`] (whose client it is), [`conn`] (one connection's life), [`room`] (log, lane, cursors, the order of the walk),
//! [`engine`] (handler and turn), [`reactor`] (the only I/O). Imports point down only; `tests/tidy.rs` holds the table.
//! Everything above the reactor takes bytes and time as arguments. Every bound stands in [`limits`]; what is measured is
//! counted in [`ledger`] and [`metrics`], and [`exposition`] shows it.
#![forbid(unsafe_code)]

pub mod app;
pub mod auth;
pub mod backplane;
pub mod cli;
pub mod conn;
pub mod engine;
pub mod exposition;
pub mod http;
pub mod id;
pub mod input;
pub mod ledger;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod outbound;
#[doc(hidden)]
pub mod planted;
pub mod proxy;
pub mod reactor;
pub mod record;
pub mod replay;
pub mod room;
pub mod server;
pub mod settings;
pub mod spare;
pub mod timer;
pub mod ws;

pub use auth::{Gate, Right, Visitor};
pub use conn::{Closed, ClosedBy};
pub use engine::handler::{Admission, Handler};
pub use engine::{Context, Exchange, Opening, Reply, Rules, SendError};
pub use http::head::Request;
pub use http::origin::OriginPolicy;
pub use http::response::{Refusal, Response};
pub use id::{ConnId, Identity};
pub use ledger::snapshot::Snapshot;
pub use limits::Limits;
pub use metrics::Metrics;
pub use proxy::networks::{Hop, Networks};
pub use reactor::{Address, Listen};
#[doc(hidden)]
pub use reactor::{LogLines, say};
pub use room::encoding::{Encoding, Publication};
pub use room::join::{Join, JoinError, Joined};
pub use room::log::{Keep, Lag};
pub use room::position::{Position, Start};
pub use room::presence::{Census, Presence, Roster};
pub use room::publish::{NotPublished, Published, Ticket};
pub use server::{Builder, Handle, HandleError, Server};
pub use ws::close::{CloseCode, CloseReason, InvalidClose};
pub use ws::message::{Message, OwnedMessage};

/// The guide's programs, so that they are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/embed.md")]
struct Guide;
