//! What the application asks that the engine cannot tell it, such as who a visitor is, or a random number.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::{Entry, Other};
use super::tape::Tape;

/// Where the answers are while a recording is played: asked for the next one, gives its bytes.
type Answers = Arc<Mutex<dyn FnMut() -> Option<Vec<u8>> + Send>>;

/// Answers what the application asks: from outside, from outside and into a recording, or out of one.
#[derive(Clone, Default)]
pub struct Oracle(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    Outside,
    Recorded(Tape),
    Replayed(Answers),
}

impl Oracle {
    /// One whose answers are recorded.
    pub fn recorded(tape: Tape) -> Self {
        Self(Source::Recorded(tape))
    }

    /// One whose answers come out of a recording; where there are no more, they are the outside's again.
    pub fn replayed(next: impl FnMut() -> Option<Vec<u8>> + Send + 'static) -> Self {
        Self(Source::Replayed(Arc::new(Mutex::new(next))))
    }

    /// Asks.
    pub fn ask<T: Serialize + DeserializeOwned>(&self, outside: impl FnOnce() -> T) -> T {
        match &self.0 {
            Source::Outside => outside(),
            Source::Recorded(tape) => {
                let answer = outside();
                // What cannot be written is missed when it is asked for, and that is said then.
                let bytes = serde_json::to_vec(&answer).unwrap_or_default();
                tape.note(&Entry::Other(Other::Answer(bytes.into())));
                answer
            }
            Source::Replayed(next) => {
                let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                let kept = next().and_then(|bytes| serde_json::from_slice(&bytes).ok());
                kept.unwrap_or_else(outside)
            }
        }
    }
}

/// A reason that was recorded, as a text that stays; of more than a server can have, the rest are all one.
pub fn known(reason: String) -> &'static str {
    const REASONS_MAX: usize = 64;
    static KNOWN: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(reason) = known.iter().find(|known| **known == reason) {
        return reason;
    }
    if known.len() >= REASONS_MAX {
        return "refused";
    }
    known.push(reason.leak());
    known.last().copied().unwrap_or_default()
}
