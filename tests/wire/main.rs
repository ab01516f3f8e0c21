//! The wire rules of RFC 6455, RFC 7692 and RFC 9112, a file per section, proved on the core without sockets.
//!
//! Each row of a table is bytes from a client, what they are to be understood as, and what is to be answered;
//! `feed` feeds it whole, byte by byte, cut at every offset, and glued to the row after it.

#![forbid(unsafe_code)]

mod deflate;
mod feed;
mod frames;
mod http;
mod inflate;
mod properties;
mod requirements;
mod rfc7692_s6_deflate;
mod rfc7692_s7_negotiation;
mod rfc9112_connection;
mod rfc9112_head;
mod s10_2_origin;
mod s10_limits;

mod s4_2_subprotocol;
mod s4_handshake;
mod s5_2_framing;
mod s5_3_mask;
mod s5_4_fragmentation;
mod s5_5_control;
mod s6_messages;
mod s7_close;
mod s7_engine;
mod s8_1_utf8;
mod wire_transport;
