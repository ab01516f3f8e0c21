//! The recording in the making: what is noted in a turn goes to a thread that writes it, and the loop never waits for it.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::bytes::put_bytes;
use super::entry::{Entry, Input, Other};
use super::filler::Filler;
use super::header::Header;
use crate::limits::Limits;

/// A recording that goes on; all clones are the same one.
#[derive(Clone)]
pub struct Tape(Arc<Shared>);

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape").field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}

struct Shared {
    is_on: AtomicBool,
    has_bodies: bool,
    filler: Filler,
    notes: Mutex<Notes>,
    queue: Arc<Queue>,
}

/// What the loop alone touches.
struct Notes {
    header: Header,
    /// Of this turn.
    bytes: Vec<u8>,
    entry: Vec<u8>,
    /// When it was woken last.
    woken: Option<Instant>,
    conns: u64,
    written: u64,
    bytes_max: u64,
    queue_max: usize,
    /// Why it ends, until that is said.
    ends: Option<String>,
}

/// What lies between the loop and the thread.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// Nothing more will come.
    is_last: bool,
    /// The thread has ended, and why, if not because all was written.
    ended: Option<Result<(), String>>,
}

impl Tape {
    /// Bytes for which the thread is woken; fewer wait for [`Self::PAUSE`].
    const PIECE: usize = 64 << 10;

    /// How long bytes lie at most until they are written.
    const PAUSE: Duration = Duration::from_millis(100);

    /// How long the end waits for a slow disk.
    const LAST_WAIT: Duration = Duration::from_secs(5);

    /// Begins a recording in a new file, which nobody else may read.
    ///
    /// # Errors
    /// Where there is such a file already, or there can be none.
    pub fn create(path: &Path, header: Header, filler: Filler, limits: &Limits) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        Self::write_to(file, header, filler, limits)
    }

    /// Begins a recording.
    ///
    /// # Errors
    /// Where there can be no thread for it.
    pub fn write_to(
        file: impl Write + Send + 'static,
        header: Header,
        filler: Filler,
        limits: &Limits,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let theirs = queue.clone();
        thread::Builder::new().name("record".to_owned()).spawn(move || theirs.write(file))?;
        let has_bodies = header.has_bodies;
        let notes = Notes {
            header,
            bytes: Vec::new(),
            entry: Vec::new(),
            woken: None,
            conns: 0,
            written: 0,
            bytes_max: limits.record_bytes_max as u64,
            queue_max: limits.record_queue_bytes_max,
            ends: None,
        };
        let is_on = AtomicBool::new(true);
        Ok(Self(Arc::new(Shared { is_on, has_bodies, filler, notes: Mutex::new(notes), queue })))
    }

    /// The engine begins now.
    pub fn begin(&self, start: Instant, unix: Duration, memory: Option<usize>) {
        let notes = &mut *self.notes();
        notes.woken = Some(start);
        notes.header.start_ns = unix.as_nanos() as u64;
        notes.header.memory = memory.map(|bytes| bytes as u64);
        // It is in the file even where the first turn is more than it may hold, so that one can read why it ended.
        let mut begun = Header::MAGIC.to_vec();
        put_bytes(&mut begun, &serde_json::to_vec(&notes.header).unwrap_or_default());
        notes.written = begun.len() as u64;
        self.0.queue.lock().bytes = begun;
    }

    /// Whether it still goes on.
    pub fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Relaxed)
    }

    /// Whether what people say is kept as it comes.
    pub fn has_bodies(&self) -> bool {
        self.0.has_bodies
    }

    /// What makes the fillers.
    pub fn filler(&self) -> &Filler {
        &self.0.filler
    }

    /// Notes something.
    pub fn note(&self, entry: &Entry<'_>) {
        if self.is_on() {
            self.notes().push(entry);
        }
    }

    /// Notes something whoever drives the engine does.
    pub fn input(&self, input: Input) {
        self.note(&Entry::Input(input));
    }

    /// Notes that the loop has woken up.
    pub fn wake(&self, now: Instant) {
        if !self.is_on() {
            return;
        }
        let mut notes = self.notes();
        let before = notes.woken.replace(now).unwrap_or(now);
        let ns = now.saturating_duration_since(before).as_nanos() as u64;
        notes.push(&Entry::Input(Input::Wake(ns)));
    }

    /// The number of the next connection, from 1.
    pub fn next_conn(&self) -> u64 {
        let mut notes = self.notes();
        notes.conns += 1;
        notes.conns
    }

    /// Hands over what was noted in this turn. Returns why the recording has ended, once, if it has.
    pub fn end_turn(&self) -> Option<String> {
        if !self.is_on() {
            return None;
        }
        let mut notes = self.notes();
        let left = notes.bytes_max.saturating_sub(notes.written);
        if notes.bytes.len() as u64 > left {
            notes.ends = Some("it is as long as record_bytes_max says".to_owned());
        }
        let mut state = self.0.queue.lock();
        if let Some(Err(why)) = &state.ended {
            notes.ends = Some(why.clone());
        } else if state.bytes.len() + notes.bytes.len() > notes.queue_max {
            notes.ends = Some("the disk is too slow, record_queue_bytes_max wait for it".to_owned());
        }
        let ends = notes.ends.take();
        if let Some(why) = &ends {
            // This turn is not in it, so that what is there is whole.
            notes.bytes = Vec::new();
            notes.push(&Entry::Other(Other::End(why.as_str().into())));
            self.0.is_on.store(false, Ordering::Relaxed);
            state.is_last = true;
        }
        notes.written += notes.bytes.len() as u64;
        match state.bytes.is_empty() {
            true => mem::swap(&mut state.bytes, &mut notes.bytes),
            false => state.bytes.append(&mut notes.bytes),
        }
        if state.is_last || state.bytes.len() >= Self::PIECE {
            self.0.queue.changed.notify_all();
        }
        ends
    }

    /// Ends the recording after this turn, for a reason.
    pub fn end(&self, why: &str) {
        self.notes().ends.get_or_insert(why.to_owned());
    }

    /// Ends the recording with the server, and waits until it is written, unless that takes too long.
    pub fn finish(&self) -> Option<String> {
        if self.is_on() {
            self.note(&Entry::Other(Other::End("the server has ended".into())));
        }
        let ends = self.end_turn();
        let queue = &self.0.queue;
        let mut state = queue.lock();
        state.is_last = true;
        queue.changed.notify_all();
        let waited = queue.changed.wait_timeout_while(state, Self::LAST_WAIT, |state| state.ended.is_none());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let failed = match &state.ended {
            Some(Ok(())) => None,
            Some(Err(why)) => Some(why.clone()),
            None => Some("the disk is too slow for its end".to_owned()),
        };
        ends.or(failed.filter(|_| self.is_on()))
    }

    /// The notes are whole between any two of their changes.
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn push(&mut self, entry: &Entry<'_>) {
        self.entry.clear();
        entry.write(&mut self.entry);
        put_bytes(&mut self.bytes, &self.entry);
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread does: writes until nothing more comes, or until it cannot.
    fn write(&self, mut file: impl Write) {
        let mut bytes = Vec::new();
        loop {
            let waits = |state: &mut State| state.bytes.len() < Tape::PIECE && !state.is_last;
            let woken = self.changed.wait_timeout_while(self.lock(), Tape::PAUSE, waits);
            let (mut state, _) = woken.unwrap_or_else(PoisonError::into_inner);
            mem::swap(&mut state.bytes, &mut bytes);
            let is_last = state.is_last;
            drop(state);
            let written = file.write_all(&bytes).and_then(|()| if is_last { file.flush() } else { Ok(()) });
            bytes.clear();
            if is_last || written.is_err() {
                self.lock().ended = Some(written.map_err(|error| format!("it cannot be written: {error}")));
                self.changed.notify_all();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let (version, settings) = (String::new(), String::new());
        Header { version, start_ns: 0, memory: None, has_bodies: true, has_gate: false, settings }
    }

    /// A disk that takes nothing, or takes for ever.
    enum Disk {
        Full,
        Slow(Arc<AtomicBool>),
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self {
                Disk::Full => Err(io::ErrorKind::StorageFull.into()),
                Disk::Slow(is_over) => {
                    while !is_over.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(1));
                    }
                    Ok(bytes.len())
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_recording_that_may_hold_nothing_says_why_it_holds_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let limits = Limits { record_bytes_max: 1, ..Limits::default() };
        let tape = Tape::write_to(file.reopen().unwrap(), header(), Filler::default(), &limits).unwrap();
        tape.begin(Instant::now(), Duration::ZERO, None);
        tape.note(&Entry::Input(Input::Turn));
        assert!(tape.end_turn().is_some() && tape.finish().is_none());
        let (_, mut reader) = super::super::Reader::open(io::BufReader::new(file)).unwrap();
        let end = reader.read_entry().unwrap();
        assert!(
            matches!(&end, Some(Entry::Other(Other::End(why))) if why.contains("record_bytes_max")),
            "{end:?}"
        );
    }

    /// Takes turns that note a thousand bytes each, until the recording ends; why it did, and after how many turns.
    fn end_on(disk: Disk, queue_max: usize) -> (String, usize) {
        let limits = Limits { record_queue_bytes_max: queue_max, ..Limits::default() };
        let tape = Tape::write_to(disk, header(), Filler::default(), &limits).unwrap();
        tape.begin(Instant::now(), Duration::ZERO, None);
        for turn in 0..1_000_000 {
            tape.note(&Entry::Other(Other::Answer(vec![0; 1000].into())));
            if let Some(why) = tape.end_turn() {
                assert!(!tape.is_on());
                assert_eq!(tape.end_turn(), None, "it is said once");
                return (why, turn);
            }
            if queue_max > 1 << 30 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn a_full_disk_ends_the_recording_and_says_so() {
        let (why, _) = end_on(Disk::Full, 2 << 30);
        assert!(why.starts_with("it cannot be written: "), "{why}");
    }

    #[test]
    fn a_slow_disk_ends_the_recording_when_so_much_waits_for_it_and_nobody_else_does() {
        let is_over = Arc::new(AtomicBool::new(false));
        let (why, turns) = end_on(Disk::Slow(is_over.clone()), 100_000);
        assert!(why.contains("record_queue_bytes_max"), "{why}");
        // What the disk has begun with is not in the queue any more.
        assert!((90..300).contains(&turns), "{turns}");
        is_over.store(true, Ordering::Relaxed);
    }
}
