//! The machine that a run is on: its cores and the files that a process may open.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, nice, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs;

/// Descriptors that are no connections: the poller, standard streams, a pipe or two.
const OTHER_FILES: u64 = 32;

/// How much a thread that works hard steps back behind one that measures.
const NICENESS: i32 = 5;

/// A core for the server and one for the load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cores {
    /// Where the server runs.
    pub(crate) server: usize,
    /// Where the load runs.
    pub(crate) load: usize,
}

impl Cores {
    /// The first two cores that this process may use, if there are two.
    pub(crate) fn two() -> Option<Self> {
        let set = sched_getaffinity(None).ok()?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core));
        Some(Self { server: allowed.next()?, load: allowed.next()? })
    }

    /// The load's core as asked for, and another for the server, if there is another.
    pub(crate) fn with_load_on(load: usize) -> Option<Self> {
        let set = sched_getaffinity(None).ok()?;
        let server = (0..CpuSet::MAX_CPU).find(|&core| set.is_set(core) && core != load)?;
        (load < CpuSet::MAX_CPU && set.is_set(load)).then_some(Self { server, load })
    }

    /// Keeps a server that we started to its core, with all its threads, and then this thread to the other.
    ///
    /// # Errors
    /// When the process has ended already.
    pub(crate) fn part(self, server: u32) -> Result<(), String> {
        let tasks = fs::read_dir(format!("/proc/{server}/task"))
            .map_err(|error| format!("process {server}: {error}"))?;
        for task in tasks.filter_map(Result::ok) {
            let id = task.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            pin(Some(id.ok_or("a thread without a number")?), self.server)?;
        }
        pin(None, self.load)
    }
}

/// Keeps this thread to one core.
///
/// # Errors
/// When there is no such core, or it is not ours to use.
pub(crate) fn keep_to(core: usize) -> Result<(), String> {
    if core >= CpuSet::MAX_CPU {
        return Err(format!("there is no core {core}"));
    }
    pin(None, core)
}

/// Keeps a thread (this one without a number) to one core.
fn pin(thread: Option<Pid>, core: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(thread, &set).map_err(|error| format!("cannot keep to core {core}: {error}"))
}

/// Lets other threads, also of this process, go before this one.
///
/// # Errors
/// When the kernel refuses, which it has no reason to.
pub(crate) fn yield_to_others() -> Result<(), String> {
    nice(NICENESS).map(drop).map_err(|error| format!("cannot be nice: {error}"))
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
    fn two_cores_are_two() {
        assert!(Cores::two().is_none_or(|cores| cores.server != cores.load));
        for cores in Cores::two().into_iter() {
            assert_eq!(Cores::with_load_on(cores.load), Some(cores));
            assert_eq!(Cores::with_load_on(CpuSet::MAX_CPU), None);
        }
        let nobody = Cores { server: 0, load: 0 }.part(u32::MAX);
        assert!(nobody.is_err(), "there is no such process");
    }

    #[test]
    fn more_open_files_than_the_hard_limit_are_refused_in_words() {
        if let Some(most) = getrlimit(Resource::Nofile).maximum {
            let refused = raise_open_files(usize::try_from(most).expect("a limit"));
            assert!(refused.is_err_and(|words| words.contains("ulimit")));
        }
        assert_eq!(raise_open_files(1), Ok(()));
    }
}
