//! The server on real sockets: as a library in a thread, and as the binary in a process.
#![forbid(unsafe_code)]

mod admin;
mod auth;
mod binary;
mod client;
mod commands;
mod drain;
mod examples;
mod files;
mod ledger;
mod library;
mod logs;
mod memory;
mod newcomers;
mod proxy;
mod push;
mod record;
mod reload;
mod routes;
mod sockets;
mod takeover;
mod tls;
mod why;
