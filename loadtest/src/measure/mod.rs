//! What a load looks at: latencies, the order of messages, and what processes use.

mod holdings;
mod latency;
mod machine;
mod process;
mod receipts;
mod sequence;
mod usage;

pub(crate) use holdings::{Holdings, resident_roughly};
pub(crate) use latency::{Latency, latency_table, milliseconds};
pub(crate) use machine::{Cores, keep_to, raise_open_files, yield_to_others};
pub(crate) use process::{CpuClock, CpuShare, Memory};
pub(crate) use receipts::{Faults, Receipts};
pub(crate) use sequence::{Arrival, Sequence};
pub(crate) use usage::{Meter, Usage};
