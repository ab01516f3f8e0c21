//! Proxies in front of the server: who is one, and what it says of the client behind it.
//!
//! Nobody is believed unless the operator says so: in `trusted_proxies`, or by a listener that expects PROXY headers.

pub mod forwarded;
pub mod header;
pub mod networks;
