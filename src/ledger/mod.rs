//! The delivery ledger: how long each delivery took, stage by stage, and what became of every one.

pub mod histogram;
pub mod snapshot;
