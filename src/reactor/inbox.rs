//! Requests from other threads, waiting for the loop.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::handler::Handler;
use crate::engine::{Command, Engine, Transport};
use crate::limits::Limits;

/// A bounded queue between many threads and one loop.
pub struct Inbox {
    queue: Mutex<Queue>,
    /// Whether the queue holds anything, to be asked without taking the lock.
    waiting: AtomicBool,
    stopped: AtomicBool,
    draining: AtomicBool,
    messages_max: usize,
    bytes_max: usize,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// The loop has ended.
    Stopped,
    /// Too much is waiting already.
    Full,
    /// Nothing is published for now: another process may be about to take the rooms over.
    Held,
}

/// Whether publications are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    #[default]
    Open,
    /// It is not known yet which process publishes them.
    Frozen,
    /// Another process does.
    Gone,
}

#[derive(Default)]
struct Queue {
    commands: VecDeque<Command>,
    bytes: usize,
    closed: bool,
    hold: Hold,
}

impl Inbox {
    /// An empty inbox.
    pub fn new(limits: &Limits) -> Self {
        Self {
            queue: Mutex::default(),
            waiting: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            messages_max: limits.inbox_messages_max,
            bytes_max: limits.inbox_bytes_max,
        }
    }

    /// Queues a request; says whether the loop has to be woken for it.
    ///
    /// # Errors
    /// [`PushError::Stopped`] once the loop has ended, [`PushError::Full`] past either bound; for a publication also
    /// [`PushError::Held`] while the rooms are frozen, and [`PushError::Stopped`] once another process has them.
    pub fn push(&self, command: Command) -> Result<bool, PushError> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(PushError::Stopped);
        }
        match (&command, queue.hold) {
            (Command::Publish(..), Hold::Frozen) => return Err(PushError::Held),
            (Command::Publish(..), Hold::Gone) => return Err(PushError::Stopped),
            _ => {}
        }
        let bytes = queue.bytes + payload_len(&command);
        if queue.commands.len() >= self.messages_max || bytes > self.bytes_max {
            return Err(PushError::Full);
        }
        queue.bytes = bytes;
        queue.commands.push_back(command);
        // Whoever finds it empty wakes the loop; the others ride along.
        Ok(!self.waiting.swap(true, Ordering::AcqRel))
    }

    /// Hands what is waiting to the engine, up to a publication whose room is behind: that, and all after it, waits.
    pub fn drain<H: Handler, T: Transport>(&self, engine: &mut Engine<H, T>) {
        if !self.has_waiting() {
            return;
        }
        // Never more than what was there to begin with, so that a busy thread cannot keep the loop in here.
        let count = self.lock().commands.len();
        for _ in 0..count {
            let Some(command) = self.pop(engine) else { return };
            engine.apply(command);
        }
        let queue = self.lock();
        if queue.commands.is_empty() {
            self.waiting.store(false, Ordering::Release);
        }
    }

    fn pop<H: Handler, T: Transport>(&self, engine: &Engine<H, T>) -> Option<Command> {
        let mut queue = self.lock();
        if let Some(Command::Publish(room, _)) = queue.commands.front()
            && engine.is_crowded(room)
        {
            return None;
        }
        let command = queue.commands.pop_front()?;
        queue.bytes -= payload_len(&command);
        Some(command)
    }

    /// Whether anything is waiting.
    pub fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Takes no publication from now on, so that what is here is all there will be.
    pub fn freeze(&self) {
        self.lock().hold = Hold::Frozen;
    }

    /// Takes publications again.
    pub fn thaw(&self) {
        self.lock().hold = Hold::Open;
    }

    /// Another process publishes from now on.
    pub fn give_up(&self) {
        self.lock().hold = Hold::Gone;
    }

    /// Asks the loop to stop.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Whether the loop has been asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Asks the loop to drain.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the loop has been asked to drain.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// The loop has ended: nobody will take anything out of here.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.commands.clear();
    }

    /// The queue is whole between any two of its changes, so a thread that died with the lock does no harm.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn payload_len(command: &Command) -> usize {
    match command {
        Command::Publish(_, message) | Command::Send(_, message) => message.as_message().len(),
        Command::Keep(..) | Command::Close(..) | Command::Admit(_) | Command::Refuse(..) | Command::Drain => {
            0
        }
    }
}
