//! How rooms and their members stand, for whoever looks through them slot by slot.

use super::super::join::Membership;
use super::{RoomInfo, Rooms};
use crate::id::ConnId;

/// How far a member is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Publications that it is still to be sent: not its own, where it is quiet.
    pub publications: u64,
    /// Bytes of those, as they lie in the room's longest encoding.
    pub bytes: u64,
    /// For how long the first of them has waited, in milliseconds; at most since it came.
    pub waited_ms: u64,
}

impl Rooms {
    /// One past the highest slot that a room can be in.
    pub fn slots(&self) -> usize {
        self.rooms.capacity()
    }

    /// What is known of the room in a slot; `None` where there is none, or it is being opened.
    pub fn info_at(&self, slot: usize) -> Option<RoomInfo> {
        self.rooms.get(slot).filter(|room| !room.is_opening).map(|room| room.info())
    }

    /// One past the highest slot that a member of a room can be in; 0 where there is no room of this name.
    pub fn member_slots(&self, name: &str) -> usize {
        self.get(name).map_or(0, |room| room.members.capacity())
    }

    /// The member in a slot of a room.
    pub fn member_at(&self, name: &str, slot: usize) -> Option<ConnId> {
        self.get(name)?.members.get(slot).map(|member| member.conn)
    }

    /// How far a member is behind.
    pub fn standing(&self, membership: Membership) -> Standing {
        let Some(room) = self.rooms.get(membership.room as usize) else { return Standing::default() };
        let Some(member) = room.members.get(membership.slot as usize) else { return Standing::default() };
        let slot = membership.slot as usize;
        let publications = room.owed(slot);
        if publications == 0 {
            return Standing::default();
        }
        // What is gone it has waited for, too, and nobody knows since when.
        let (first, now_ns) = (room.log.times(member.cursor, 1).next(), self.ledger.now_ns());
        let since_ns = first.map_or(now_ns, |times| times.no_earlier_than(room.came_ns(slot)).appended_ns);
        Standing {
            publications,
            bytes: room.log.bytes_after(member.cursor),
            waited_ms: now_ns.saturating_sub(since_ns) / 1_000_000,
        }
    }
}
