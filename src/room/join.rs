//! How somebody becomes a member of a room, and why not.

use std::fmt;

use super::encoding::{Encoding, Wire};
use super::position::{Position, Start};
use super::presence::Presence;
use crate::ws::extension::DeflateParams;

/// How somebody becomes a member.
#[derive(Clone, Debug, Default)]
pub struct Join {
    /// Where it starts.
    pub start: Start,
    /// How it gets publications.
    pub encoding: Encoding,
    /// Whether it is not sent what it publishes itself.
    pub is_quiet: bool,
    /// Whether it is sent compressed frames, if permessage-deflate was agreed with it, under a window that is not smaller
    /// than the usual one. Each publication is compressed once, for all such members.
    pub is_compressed: bool,
    /// Whether it is listed.
    pub presence: Presence,
}

impl Join {
    /// Which lane the member reads, with what was agreed with it on compression.
    pub(super) fn wire(&self, deflate: Option<DeflateParams>) -> Wire {
        let has_frames = self.encoding != Encoding::Events;
        // The lane's window is the largest: a member that asks for a smaller one reads uncompressed frames, and makes
        // nothing worse for the others.
        let can_share = deflate.is_some_and(|params| params.can_share());
        Wire { encoding: self.encoding, is_compressed: self.is_compressed && has_frames && can_share }
    }
}

/// Where a new member starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The position of the last publication before it.
    pub position: Position,
    /// Whether nothing is missing of what it asked for.
    pub recovered: bool,
    /// Whether there is something to be sent at once.
    pub is_behind: bool,
}

impl Joined {
    /// What a reader of events is told before the first of them (HTML §9.2.6): when to come back, where it stands, and
    /// whether something is missing.
    pub fn first_event(&self) -> String {
        let position = self.position;
        let reset = match self.recovered {
            true => String::new(),
            false => format!("event: reset\ndata: {{\"position\":\"{position}\",\"recovered\":false}}\n"),
        };
        format!("retry: 2000\nid: {position}\n{reset}\n")
    }
}

/// One connection's place in one room; it is valid until that connection leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    pub(super) room: u32,
    pub(super) slot: u32,
}

/// Why a room cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The name is empty or longer than `room_name_bytes_max`.
    Name,
    /// There are `rooms_max` rooms already.
    TooManyRooms,
    /// This connection is in `rooms_per_connection_max` rooms already.
    TooManyMemberships,
    /// The connection is closing.
    Closed,
    /// The room is being opened, which takes the backplane's answer. Whoever asks is asked again when it is open.
    Opening,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JoinError::Name => "the room's name is empty or too long",
            JoinError::TooManyRooms => "there are too many rooms",
            JoinError::TooManyMemberships => "the connection is in too many rooms",
            JoinError::Closed => "the connection is closing",
            JoinError::Opening => "the room could not be opened in time",
        })
    }
}

impl std::error::Error for JoinError {}
