//! What the load's thread and the server's process used between two moments, in nanoseconds where the kernel tells.

use super::process::{CpuShare, Memory, cpu_seconds, nanoseconds_waited};
use std::fs;
use std::time::Instant;

/// What the ticks of `stat` may say more than the nanoseconds of the threads that still live.
const TICKS_ROUNDED: f64 = 0.04;

/// The beginning of a measured span.
pub(crate) struct Meter {
    since: Instant,
    load: Option<Schedule>,
    server: Option<(u32, Spent)>,
}

/// A measured span, when it is over.
pub(crate) struct Usage {
    /// How long it was.
    pub(crate) seconds: f64,
    /// How the load's thread fared.
    pub(crate) load: CpuShare,
    /// What the server used, if its process is known.
    pub(crate) server: Option<ServerUsage>,
}

/// What the server's process used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerUsage {
    /// The process.
    pub(crate) pid: u32,
    /// Processor time of all its threads.
    pub(crate) cpu_seconds: f64,
    /// The share of the time in which its first thread was ready to run and had no core, where the kernel tells.
    pub(crate) waited: Option<f64>,
    /// Resident bytes at the end of the span.
    pub(crate) resident: u64,
}

impl Meter {
    /// Begins for this thread, and for the server.
    ///
    /// # Errors
    /// When the server is not there.
    pub(crate) fn start(server: Option<u32>) -> Result<Self, String> {
        let server = server.map(|pid| Ok::<_, String>((pid, Spent::of(pid)?))).transpose()?;
        Ok(Self { since: Instant::now(), load: Schedule::of_this_thread(), server })
    }

    /// Ends.
    ///
    /// # Errors
    /// When the server has ended meanwhile.
    pub(crate) fn stop(&self) -> Result<Usage, String> {
        let seconds = self.since.elapsed().as_secs_f64();
        let load = Schedule::of_this_thread().zip(self.load).map(|(now, then)| now.since(then));
        let share = |nanoseconds: u64| nanoseconds as f64 / 1e9 / seconds;
        Ok(Usage {
            seconds,
            load: CpuShare {
                used: load.map_or(0.0, |load| share(load.ran)),
                waited: load.map(|load| share(load.waited)),
            },
            server: self.server.map(|(pid, then)| Self::server(pid, then, share)).transpose()?,
        })
    }

    fn server(pid: u32, then: Spent, share: impl Fn(u64) -> f64) -> Result<ServerUsage, String> {
        let now = Spent::of(pid)?;
        let waited = now.waited.zip(then.waited).map(|(now, then)| share(now.saturating_sub(then)));
        let resident = Memory::of(pid)?.resident;
        Ok(ServerUsage { pid, cpu_seconds: now.since(then), waited, resident })
    }
}

/// The first two fields of `schedstat`, in nanoseconds.
#[derive(Clone, Copy)]
struct Schedule {
    ran: u64,
    waited: u64,
}

impl Schedule {
    fn of_this_thread() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/thread-self/schedstat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_whitespace().map(str::parse);
        Some(Self { ran: fields.next()?.ok()?, waited: fields.next()?.ok()? })
    }

    fn since(self, then: Self) -> Self {
        Self { ran: self.ran.saturating_sub(then.ran), waited: self.waited.saturating_sub(then.waited) }
    }
}

/// The processor time of a process so far, counted in two ways.
#[derive(Clone, Copy)]
struct Spent {
    /// In ticks of 10 ms, with the threads that have ended.
    ticks: f64,
    /// In nanoseconds, of the threads that live.
    threads: f64,
    /// Nanoseconds for which the first thread waited for a core.
    waited: Option<u64>,
}

impl Spent {
    fn of(pid: u32) -> Result<Self, String> {
        Ok(Self { ticks: cpu_seconds(pid)?, threads: threads_seconds(pid), waited: nanoseconds_waited(pid) })
    }

    /// Nanoseconds, unless threads have ended meanwhile and taken theirs along.
    fn since(self, then: Self) -> f64 {
        let (ticks, threads) = (self.ticks - then.ticks, self.threads - then.threads);
        if ticks > threads + TICKS_ROUNDED { ticks } else { threads }
    }
}

fn threads_seconds(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    let schedules = tasks.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    schedules.filter_map(|text| Schedule::parse(&text)).map(|schedule| schedule.ran as f64 / 1e9).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_busy_thread_is_told_from_a_sleeping_one() {
        let meter = Meter::start(Some(std::process::id())).expect("we are there");
        thread::sleep(Duration::from_millis(60));
        let asleep = meter.stop().expect("still there");
        assert!(asleep.load.used < 0.5, "{:?}", asleep.load);

        let meter = Meter::start(Some(std::process::id())).expect("we are there");
        while meter.since.elapsed() < Duration::from_millis(60) {}
        let busy = meter.stop().expect("still there");
        let all = busy.load.used + busy.load.waited.unwrap_or(0.0);
        assert!(all > 0.8, "{:?}", busy.load);
        let server = busy.server.expect("asked for");
        assert!(server.cpu_seconds >= busy.load.used * busy.seconds * 0.9 && server.resident > 0);
    }

    #[test]
    fn threads_that_have_ended_are_in_the_ticks() {
        let spent = |ticks, threads| Spent { ticks, threads, waited: None };
        assert_eq!(spent(1.52, 1.5).since(spent(1.0, 1.0)), 0.5);
        assert_eq!(spent(3.0, 1.5).since(spent(1.0, 1.0)), 2.0);
    }
}
