//! The highest memory of a server while it is attacked, and its course.

use crate::measure::resident_roughly;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often it is looked at: a bomb that goes off is resident for longer.
const PERIOD: Duration = Duration::from_millis(10);

/// How often the course gets a point.
const POINT_PERIOD: Duration = Duration::from_secs(1);

/// Watches a process.
pub(crate) struct Gauge {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Course>,
}

/// What was seen of a process's memory.
#[derive(Clone, Default, Debug)]
pub(crate) struct Course {
    /// The most, in bytes.
    pub(crate) peak: u64,
    /// Seconds since the start, and bytes: the least of each second, since what comes and goes is no growth.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Gauge {
    /// Begins.
    pub(crate) fn start(pid: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        Self { is_over, thread: thread::spawn(move || watch(pid, &told)) }
    }

    /// Ends, and tells.
    pub(crate) fn stop(self) -> Course {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn watch(pid: u32, is_over: &AtomicBool) -> Course {
    let (start, mut course) = (Instant::now(), Course::default());
    let (mut least, mut next) = (u64::MAX, start + POINT_PERIOD);
    loop {
        // That the process is gone shows in the reading after the attack.
        let Ok(bytes) = resident_roughly(pid) else { return course };
        course.peak = course.peak.max(bytes);
        least = least.min(bytes);
        if Instant::now() >= next {
            course.points.push((start.elapsed().as_secs_f64(), least as f64));
            (least, next) = (u64::MAX, next + POINT_PERIOD);
        }
        if is_over.load(Ordering::Relaxed) {
            return course;
        }
        thread::sleep(PERIOD);
    }
}

/// The slope of the line that fits best, by least squares; nothing below three points.
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 3 {
        return None;
    }
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    let (x, y) = (x / count, y / count);
    let rise: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let run: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    (run > 0.0).then(|| rise / run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_through_points_on_a_line_is_that_line() {
        let points: Vec<(f64, f64)> = (0..20).map(|x| (f64::from(x), 7.0 + 3.0 * f64::from(x))).collect();
        assert!((slope(&points).expect("a slope") - 3.0).abs() < 1e-9);
        let zigzag: Vec<(f64, f64)> = (0..21).map(|x| (f64::from(x), f64::from(x % 2))).collect();
        assert!(slope(&zigzag).expect("a slope").abs() < 1e-9);
        assert_eq!(slope(&points[..2]), None);
    }

    #[test]
    fn a_process_is_watched_until_it_is_told_to_end_or_the_process_is_gone() {
        let gauge = Gauge::start(std::process::id());
        thread::sleep(Duration::from_millis(50));
        let course = gauge.stop();
        assert!(course.peak > 0);
        assert_eq!(Gauge::start(u32::MAX).stop().peak, 0);
    }
}
