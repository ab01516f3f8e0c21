//! Several `fanline` processes that share their rooms through a real Redis, and what becomes of them when it fails.
#![forbid(unsafe_code)]

mod cluster;
mod failover;
mod faults;
mod losses;
mod node;
mod one_port;
mod presence;
mod redis;
mod shared;
mod simulated;
mod tls;
mod why;
