//! The machine that a run is on: its cores and the files that a process may open.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Descriptors that are no connections: the poller, standard streams, a pipe or two.
const OTHER_FILES: u64 = 32;

/// How many cores there are for us.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Keeps a process (this one without a number) to one core.
///
/// # Errors
/// When the process or the core is not there, or not ours.
pub(crate) fn pin(process: Option<u32>, core: usize) -> Result<(), String> {
    let pid = process.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(pid, &set).map_err(|error| format!("cannot keep to core {core}: {error}"))
}

/// Makes sure that this process may have so many connections, as far as it may decide that itself.
///
/// # Errors
/// In words, when the limit cannot be raised so far. A server has such a limit too, and must raise its own.
pub(crate) fn raise_open_files(connections: usize) -> Result<(), String> {
    let wanted = connections as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    let (now, most) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    if now >= wanted {
        return Ok(());
    }
    if most < wanted {
        return Err(format!(
            "{connections} connections need {wanted} open files; this process may have {most} (ulimit -Hn)"
        ));
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| format!("cannot have {wanted} open files: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_open_files_than_the_hard_limit_are_refused_in_words() {
        if let Some(most) = getrlimit(Resource::Nofile).maximum {
            let refused = raise_open_files(usize::try_from(most).expect("a limit"));
            assert!(refused.is_err_and(|words| words.contains("ulimit")));
        }
        assert_eq!(raise_open_files(1), Ok(()));
    }
}
