//! What is the same for all connections of an engine.

use crate::http::origin::OriginPolicy;
use crate::limits::Limits;
use crate::proxy::networks::Networks;

/// What is the same for all connections of an engine.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Every bound.
    pub limits: Limits,
    /// Whose pages may connect.
    pub origins: OriginPolicy,
    /// Whether permessage-deflate is agreed to when a client offers it.
    pub deflate: bool,
    /// Whose word counts on which client is behind them; nobody's by default.
    pub trusted_proxies: Networks,
    /// Whether the times of deliveries and of the loop are taken; a reload does not change it.
    pub ledger: bool,
}

impl Default for Rules {
    fn default() -> Self {
        let (limits, origins, deflate) = (Limits::default(), OriginPolicy::default(), false);
        Self { limits, origins, deflate, trusted_proxies: Networks::default(), ledger: true }
    }
}
