//! What a process uses, from `/proc`: memory and processor time.

use rustix::param::clock_ticks_per_second;
use std::fs;
use std::time::Instant;

/// Resident memory of a process, in bytes. What the kernel holds for its sockets is not in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Memory {
    /// All resident pages: `Rss`.
    pub(crate) resident: u64,
    /// Resident pages of its own making, neither file nor shared: `Anonymous`.
    pub(crate) anonymous: u64,
}

impl Memory {
    /// Reads `/proc/PID/smaps_rollup`, which counts pages, or where that is closed to us `/proc/PID/status`, which may lag
    /// behind by some pages.
    ///
    /// # Errors
    /// When neither can be read.
    pub(crate) fn of(pid: u32) -> Result<Self, String> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        if let Some(memory) = rollup.ok().and_then(|text| Self::parse(&text, "Rss:", "Anonymous:")) {
            return Ok(memory);
        }
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        Self::parse(&text, "VmRSS:", "RssAnon:").ok_or_else(|| format!("{path} tells no memory"))
    }

    fn parse(text: &str, resident: &str, anonymous: &str) -> Option<Self> {
        Some(Self { resident: kibibytes(text, resident)?, anonymous: kibibytes(text, anonymous)? })
    }
}

/// The bytes of a line like `Rss:   2412 kB`.
fn kibibytes(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Measures how much of a core a process uses from now on.
pub(crate) struct CpuClock {
    pid: u32,
    seconds: f64,
    waited: Option<u64>,
    since: Instant,
}

/// How a process fared with the cores, as shares of the time that went by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuShare {
    /// How much of one core it used: 1 is all of it.
    pub(crate) used: f64,
    /// How long its first thread was ready to run and did not get a core, where the kernel tells.
    pub(crate) waited: Option<f64>,
}

impl CpuShare {
    /// For other programs.
    pub(crate) fn as_json(self) -> serde_json::Value {
        serde_json::json!({ "used": self.used, "waited": self.waited })
    }
}

impl CpuClock {
    /// Begins, for a process or for this one.
    ///
    /// # Errors
    /// When the process is not there.
    pub(crate) fn start(pid: Option<u32>) -> Result<Self, String> {
        let pid = pid.unwrap_or_else(std::process::id);
        Ok(Self { pid, seconds: cpu_seconds(pid)?, waited: nanoseconds_waited(pid), since: Instant::now() })
    }

    /// What became of the time since the start.
    ///
    /// # Errors
    /// When the process has ended.
    pub(crate) fn share(&self) -> Result<CpuShare, String> {
        let elapsed = self.since.elapsed().as_secs_f64();
        let waited = nanoseconds_waited(self.pid).zip(self.waited);
        Ok(CpuShare {
            used: (cpu_seconds(self.pid)? - self.seconds) / elapsed,
            waited: waited.map(|(now, then)| now.saturating_sub(then) as f64 / 1e9 / elapsed),
        })
    }
}

/// The second field of `schedstat`: time spent ready, but not running.
pub(super) fn nanoseconds_waited(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

/// Time in user mode and in the kernel; the kernel counts it in ticks, mostly of 10 ms.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64, String> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let ticks = ticks(&text).ok_or_else(|| format!("{path} tells no processor time"))?;
    Ok(ticks as f64 / clock_ticks_per_second() as f64)
}

/// Fields 14 and 15; the second is a name in parentheses, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_either_file() {
        let rollup =
            "00400000-7fff ---p [rollup]\nRss:                2412 kB\nAnonymous:           100 kB\n";
        let memory = Memory::parse(rollup, "Rss:", "Anonymous:");
        assert_eq!(memory, Some(Memory { resident: 2_412 * 1_024, anonymous: 102_400 }));
        assert_eq!(Memory::parse("VmRSS: many kB", "VmRSS:", "RssAnon:"), None);
        assert!(
            Memory::of(std::process::id()).is_ok_and(|own| own.resident > own.anonymous && own.anonymous > 0)
        );
    }

    #[test]
    fn processor_time_is_read_behind_the_strangest_name() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0";
        assert_eq!(ticks(stat), Some(100));
        assert!(cpu_seconds(std::process::id()).is_ok());
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
