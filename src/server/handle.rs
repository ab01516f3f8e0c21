//! What other threads ask a running server for.

use std::sync::Arc;

use super::error::HandleError;
use crate::engine::Command;
use crate::http::response::Response;
use crate::id::ConnId;
use crate::metrics::Metrics;
use crate::reactor::Waker;
use crate::reactor::inbox::Inbox;
use crate::room::log::Keep;
use crate::ws::close::{CloseCode, CloseReason};
use crate::ws::message::OwnedMessage;

/// Reaches a running server from any thread.
#[derive(Clone)]
pub struct Handle {
    pub(super) inbox: Arc<Inbox>,
    pub(super) waker: Waker,
    pub(super) metrics: Arc<Metrics>,
}

impl Handle {
    /// Sends to every member of a room, in one order with everything else published to it; without effect where the room
    /// has no members and [keeps](Handle::keep) no history for later ones.
    ///
    /// # Errors
    /// [`HandleError::Stopped`] or [`HandleError::Full`].
    pub fn publish(&self, room: &str, message: impl Into<OwnedMessage>) -> Result<(), HandleError> {
        self.push(Command::Publish(room.to_owned(), message.into()))
    }

    /// Says how much history a room keeps from now on, also before anybody has come: what is published after this is
    /// there for who comes later. A room that nobody is in and nothing is left of is forgotten with it after `keep.age`.
    ///
    /// It is without effect for a name that does not do, and where there are `rooms_max` rooms.
    ///
    /// # Errors
    /// [`HandleError::Stopped`] or [`HandleError::Full`].
    pub fn keep(&self, room: &str, keep: Keep) -> Result<(), HandleError> {
        self.push(Command::Keep(room.to_owned(), keep))
    }

    /// Sends to one connection; without effect if it has ended by then.
    ///
    /// # Errors
    /// [`HandleError::Stopped`] or [`HandleError::Full`].
    pub fn send(&self, id: ConnId, message: impl Into<OwnedMessage>) -> Result<(), HandleError> {
        self.push(Command::Send(id, message.into()))
    }

    /// Closes one connection.
    ///
    /// # Errors
    /// [`HandleError::InvalidClose`], [`HandleError::Stopped`] or [`HandleError::Full`].
    pub fn close(&self, id: ConnId, code: u16, reason: &str) -> Result<(), HandleError> {
        let reason = CloseReason::new(CloseCode::new(code)?, reason)?;
        self.push(Command::Close(id, reason))
    }

    /// Lets in a client whose admission was deferred: its `open` is called now.
    ///
    /// # Errors
    /// [`HandleError::Stopped`] or [`HandleError::Full`].
    pub fn admit(&self, id: ConnId) -> Result<(), HandleError> {
        self.push(Command::Admit(id))
    }

    /// Turns away a client whose admission was deferred.
    ///
    /// # Errors
    /// [`HandleError::Stopped`] or [`HandleError::Full`].
    pub fn refuse(&self, id: ConnId, response: Response) -> Result<(), HandleError> {
        self.push(Command::Refuse(id, response))
    }

    /// Ends [`Server::run`](crate::Server::run) gently: for `drain_delay` all goes on while new visitors are told elsewhere that the server is
    /// not ready, then connections are closed with 1001 over `drain_duration`, each with a hint when to come back.
    ///
    /// All of it takes `shutdown_deadline` at most.
    pub fn drain(&self) {
        self.inbox.begin_drain();
        self.waker.wake();
    }

    /// Closes every connection with 1001 and ends [`Server::run`](crate::Server::run), at the latest after `shutdown_deadline`.
    pub fn shutdown(&self) {
        self.inbox.stop();
        self.waker.wake();
    }

    /// What the server has counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn push(&self, command: Command) -> Result<(), HandleError> {
        if self.inbox.push(command)? {
            self.waker.wake();
        }
        Ok(())
    }
}
