//! The log's way to stderr: lines that nobody takes are left out, and the loop never waits for whoever is to read them.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::warn;

/// Lines that have been left out of which nothing has been said.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Whether the line before this one lacks its end.
static IS_TORN: AtomicBool = AtomicBool::new(false);

/// Writes lines to stderr while somebody takes them. One that is not taken is counted, and the next that is says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLines;

impl LogLines {
    /// What a pipe takes at once if it takes anything, `PIPE_BUF`.
    const PIECE: usize = 4096;
}

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        for (at, piece) in line.chunks(Self::PIECE).enumerate() {
            if !takes_more(&stderr) {
                LEFT_OUT.fetch_add(1, Ordering::Relaxed);
                IS_TORN.fetch_or(at > 0, Ordering::Relaxed);
                return Ok(line.len());
            }
            if IS_TORN.swap(false, Ordering::Relaxed) {
                stderr.write_all(b"\n")?;
            }
            stderr.write_all(piece)?;
        }
        drop(stderr);
        let count = LEFT_OUT.swap(0, Ordering::Relaxed);
        if count > 0 {
            warn!(count, "lines before this one were left out, since nobody took them from stderr");
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Whether a write would not wait. Where that cannot be known, and where it would fail, it is tried.
fn takes_more(stderr: &io::StderrLock<'_>) -> bool {
    let mut asked = [PollFd::new(stderr, PollFlags::OUT)];
    poll(&mut asked, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
}
