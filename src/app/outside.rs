//! What the application takes from outside the engine, each time by way of the oracle, so that it can be recorded.

use crate::auth::{Gate, Pass, Visitor};
use crate::proxy::networks::Hop;
use crate::record::{Oracle, known};
use crate::{Exchange, Refusal, Request};

/// The gate, and where random numbers come from.
#[derive(Default)]
pub(super) struct Outside {
    pub(super) gate: Gate,
    pub(super) oracle: Oracle,
    /// Whether the gate's decisions are the oracle's to know; one that lets in everybody decides the same each time.
    pub(super) has_gate: bool,
}

impl Outside {
    /// As [`Gate::visitor`].
    pub(super) fn visitor(&self, request: &Request<'_>, peer: Hop, now_ms: u64) -> Result<Visitor, Refusal> {
        match self.has_gate {
            true => self.oracle.ask(|| Pass::of(&self.gate.visitor(request, peer, now_ms))).decide(),
            false => self.gate.visitor(request, peer, now_ms),
        }
    }

    /// As [`Gate::refresh`].
    pub(super) fn refresh(&self, token: &str, now_ms: u64) -> Result<Visitor, Refusal> {
        match self.has_gate {
            true => self.oracle.ask(|| Pass::of(&self.gate.refresh(token, now_ms))).decide(),
            false => self.gate.refresh(token, now_ms),
        }
    }

    /// As [`Exchange::unready`], which depends on how long the turns took.
    pub(super) fn unready(&self, exchange: &mut Exchange<'_>) -> Option<&'static str> {
        self.oracle.ask(|| exchange.unready().map(str::to_owned)).map(known)
    }

    /// An id that nobody has had before.
    pub(super) fn uid(&self) -> String {
        self.oracle.ask(|| uuid::Uuid::new_v4().to_string())
    }
}
