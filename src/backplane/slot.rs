//! Which of a cluster's slots a room is in: Redis counts them by a checksum of what stands in a key's first braces.

use crc::{CRC_16_XMODEM, Crc};

/// How many slots there are.
pub(super) const SLOTS: usize = 16_384;

static CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// What stands in the first braces of the keys of a room: they end with the first brace that closes.
///
/// None for a name of which nothing would stand there: Redis would then take the whole of each key, and put them into
/// different slots.
fn tag(room: &str) -> Option<&str> {
    room.split('}').next().filter(|tag| !tag.is_empty())
}

/// What stands behind a key's kind: the room in braces, or behind braces of its own.
pub(super) fn braced(room: &str) -> String {
    match tag(room) {
        Some(_) => format!("{{{room}}}"),
        None => format!("-{{-}}{room}"),
    }
}

/// The room in what [`braced`] has made of it.
pub(super) fn unbraced(text: &str) -> Option<&str> {
    match text.strip_prefix("-{-}") {
        Some(room) => Some(room),
        None => text.strip_prefix('{')?.strip_suffix('}'),
    }
}

/// The slot of a room, where keys begin with a prefix without braces.
pub(super) fn of_room(room: &str) -> u16 {
    CRC.checksum(tag(room).unwrap_or("-").as_bytes()) % SLOTS as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the specification of Redis Cluster has it, for any key.
    fn of_key(key: &str) -> u16 {
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
        let crc = hashed.bytes().fold(0_u16, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            })
        });
        crc % 16_384
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(CRC.checksum(b"123456789"), 0x31C3);
        // As `CLUSTER KEYSLOT` answers.
        for (key, slot) in [("foo", 12_182), ("bar", 5_061), ("hello", 866), ("user1000", 3_443)] {
            assert_eq!((of_room(key), of_key(key)), (slot, slot), "{key}");
        }
    }

    #[test]
    fn all_keys_of_a_room_are_in_its_slot_whatever_its_name() {
        for room in ["lobby", "房间", "", "}", "}x", "{x", "a}b", "{}", "{a}b", "-", "-{-}", "x}{y}"] {
            for what in ["state", "log", "news"] {
                let key = format!("p:{what}{}", braced(room));
                assert_eq!(of_key(&key), of_room(room), "{key}");
            }
            assert_eq!(unbraced(&braced(room)), Some(room));
        }
        assert_ne!(braced("}x"), braced("-{-}}x"));
    }
}
