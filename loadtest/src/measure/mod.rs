//! What a load looks at: latencies, the order of messages, and what processes use.

mod latency;
mod machine;
mod process;
mod receipts;

pub(crate) use latency::{Latency, latency_table};
pub(crate) use machine::{Cores, raise_open_files};
pub(crate) use process::{CpuClock, CpuShare, Memory};
pub(crate) use receipts::{Faults, Receipts};
