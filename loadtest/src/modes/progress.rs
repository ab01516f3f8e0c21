//! A bar for long runs, where somebody is looking.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// A shorter run has no bar.
const LONG: Duration = Duration::from_secs(2);

/// Drawing takes the load's own time, so it is rare.
const PERIOD: Duration = Duration::from_millis(250);

/// How far a run is.
pub(super) struct Progress {
    bar: ProgressBar,
    start: Instant,
    next: Instant,
}

impl Progress {
    /// For a run of this length, from now on.
    pub(super) fn new(length: Duration) -> Self {
        let bar = ProgressBar::new(length.as_millis() as u64);
        let is_seen = length >= LONG && stderr().is_terminal();
        // Drawn only when we say so: no other thread, and nothing between two periods.
        bar.set_draw_target(if is_seen {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        });
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent} % of the run") {
            bar.set_style(style);
        }
        let start = Instant::now();
        Self { bar, start, next: start }
    }

    /// Draws, if it is time to.
    pub(super) fn tick(&mut self, now: Instant) {
        if now >= self.next {
            self.next = now + PERIOD;
            self.bar.set_position(now.saturating_duration_since(self.start).as_millis() as u64);
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
