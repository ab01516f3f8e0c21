//! The door: a listener without sockets, with a backlog, and descriptors that run out.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Instant;

use fanline::Limits;
use fanline::reactor::accept::{Accepted, Acceptor};

/// Who waits at the door, and how many may come in.
#[derive(Debug)]
pub struct Door {
    pub acceptor: Acceptor,
    /// Clients that have not been accepted.
    pub backlog: VecDeque<usize>,
    /// The poller will say that somebody has come, once.
    pub edge: bool,
    pub descriptors_max: usize,
    /// Since when there are descriptors.
    pub free_since: Option<Instant>,
    has_reserve: bool,
    /// Errors that accepting gives before anything else.
    pub errors: VecDeque<io::Error>,
}

impl Door {
    const EMFILE: i32 = 24;

    pub fn new(descriptors_max: usize) -> Self {
        Self {
            acceptor: Acceptor::default(),
            backlog: VecDeque::new(),
            edge: false,
            descriptors_max,
            free_since: None,
            has_reserve: true,
            errors: VecDeque::new(),
        }
    }

    pub fn come(&mut self, client: usize) {
        self.backlog.push_back(client);
        self.edge = true;
    }

    /// Whether another one would get a descriptor.
    pub fn is_open(&self, in_use: usize) -> bool {
        in_use < self.descriptors_max
    }

    fn ask(
        backlog: &mut VecDeque<usize>,
        errors: &mut VecDeque<io::Error>,
        has_descriptor: bool,
    ) -> io::Result<usize> {
        if let Some(error) = errors.pop_front() {
            return Err(error);
        }
        match has_descriptor {
            false => Err(io::Error::from_raw_os_error(Self::EMFILE)),
            true => backlog.pop_front().ok_or(ErrorKind::WouldBlock.into()),
        }
    }

    /// Accepts as the reactor does: who comes in, and who is turned away. `in_use` counts descriptors.
    pub fn accept(&mut self, now: Instant, limits: &Limits, mut in_use: usize) -> (Vec<usize>, Vec<usize>) {
        let (mut admitted, mut turned_away) = (Vec::new(), Vec::new());
        let Self { acceptor, backlog, errors, descriptors_max, .. } = self;
        for _ in 0..limits.accept_budget {
            let has_descriptor = in_use + usize::from(self.has_reserve) < *descriptors_max;
            match acceptor.accept(now, limits.accept_retry, || Self::ask(backlog, errors, has_descriptor)) {
                Accepted::Stream(client) => {
                    admitted.push(client);
                    in_use += 1;
                }
                Accepted::Failed => {}
                Accepted::NoDescriptor => {
                    self.has_reserve = false;
                    let has_descriptor = in_use < *descriptors_max;
                    let told = acceptor.turn_away(|| Self::ask(backlog, errors, has_descriptor));
                    self.has_reserve = in_use < *descriptors_max;
                    let Some(told) = told else { break };
                    turned_away.push(told);
                }
                Accepted::Nothing => break,
            }
        }
        (admitted, turned_away)
    }
}
