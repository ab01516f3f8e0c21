//! The load and conformance harness of Fanline, usable against any WebSocket server.
#![forbid(unsafe_code)]

fn main() {}
