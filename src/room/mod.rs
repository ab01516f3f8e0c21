//! Rooms: a room is a log, a member is a cursor into it.

pub mod lane;
pub mod log;
mod members;
pub mod rooms;
