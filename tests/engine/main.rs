//! The engine as it is, over transports in memory: what handlers are told, and what peers get.
#![forbid(unsafe_code)]

mod clients;
mod deadlines;
mod deflate;
mod drain;
mod handlers;
mod history;
mod http;
#[path = "../wire/inflate.rs"]
mod inflate;
mod ledger;
mod memory;
mod pipe;
mod reload;
mod rooms;
mod storms;
mod survey;
mod world;
