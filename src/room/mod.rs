//! Rooms: a log of publications, and a cursor for each member.

pub mod encoding;
pub mod join;
pub(crate) mod keys;
pub mod lane;
pub mod lineage;
pub mod log;
pub mod long;
mod members;
pub mod position;
pub mod presence;
pub mod press;
pub mod publish;
#[expect(clippy::module_inception, reason = "the one room among the files about all of them")]
pub mod room;
pub mod rooms;
pub mod snapshot;
