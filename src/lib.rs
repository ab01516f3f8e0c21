//! Fanline is a WebSocket server on one thread: a room is a log, a connection is a cursor.
#![forbid(unsafe_code)]
