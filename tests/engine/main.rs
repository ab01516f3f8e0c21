//! The engine as it is, over transports in memory: what handlers are told, and what peers get.
#![forbid(unsafe_code)]

mod deadlines;
mod handlers;
mod history;
mod http;
mod memory;
mod pipe;
mod reload;
mod rooms;
mod storms;
mod world;
