//! What a load looks at: latencies, the order of messages, and what processes use.

mod latency;
mod machine;
mod process;
mod receipts;
mod sequence;
mod usage;

pub(crate) use latency::{Latency, latency_table, milliseconds};
pub(crate) use machine::{Cores, keep_to, raise_open_files};
pub(crate) use process::{CpuClock, CpuShare, Memory};
pub(crate) use receipts::{Faults, Receipts};
pub(crate) use sequence::{Arrival, Sequence};
pub(crate) use usage::{Meter, Usage};
