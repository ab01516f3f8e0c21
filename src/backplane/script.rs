//! What Redis does in one step: publish, and read what is there. All keys of a room share a slot.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha1::{Digest as _, Sha1};

/// A script, and the name under which it is called.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) text: Cow<'static, str>,
    pub(super) sha: String,
}

impl Script {
    /// A script for one Redis; in a cluster, what it announces goes to those who listen at the slot's own shard.
    pub(super) fn new(text: &'static str, is_cluster: bool) -> Self {
        let text: Cow<'static, str> = match is_cluster {
            true => text.replace("'PUBLISH'", "'SPUBLISH'").into(),
            false => text.into(),
        };
        let sha = Sha1::digest(text.as_bytes()).iter().fold(String::new(), |mut sha, byte| {
            write!(sha, "{byte:02x}").unwrap_or_default();
            sha
        });
        Self { text, sha }
    }
}

/// Numbers a message, keeps it, and says so to all nodes: a function that other scripts call. Returns epoch and offset.
///
/// Keys: the room's state, its stream.
/// Arguments: the channel; and of the function, what the message is and whose, its payload, how many the stream keeps (as
/// many as before, where that is empty), for how many milliseconds the room is remembered, and how many a stream keeps of
/// which nobody has said.
macro_rules! append {
    () => {
        "\
local function append(what, payload, kept, age, least)
  local time = redis.call('TIME')
  local epoch = redis.call('HGET', KEYS[1], 'epoch')
  if not epoch then
    epoch = time[1] .. string.format('%06d', time[2])
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', 0)
    redis.call('DEL', KEYS[2])
  end
  local offset = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'offset', 1))
  local stamp = time[1] .. string.format('%03d', math.floor(time[2] / 1000)) .. ' ' .. what
  if kept == '' then kept = redis.call('HGET', KEYS[1], 'keep') or least else redis.call('HSET', KEYS[1], 'keep', kept) end
  redis.call('XADD', KEYS[2], 'MAXLEN', kept, offset .. '-0', 's', stamp, 'p', payload)
  redis.call('PEXPIRE', KEYS[1], age)
  redis.call('PEXPIRE', KEYS[2], age)
  redis.call('PUBLISH', ARGV[1], epoch .. ' ' .. offset .. ' ' .. stamp .. '\\n' .. payload)
  return epoch, offset
end
"
    };
}
pub(super) use append;

/// Publishes once; what came with the same key before is only told where it stands. Returns the position, and whether it
/// had been there; or 2, and nothing is done, where the publication that is to stand before it has not come yet.
///
/// Keys: the room's state, its stream, the publication's idempotency key, and that of the one before, if there is one
/// on its way.
/// Arguments: the channel, what the message is and whose, its payload, how many the stream keeps, for how many
/// milliseconds the room and the idempotency key are remembered, and how many a stream keeps of which nobody has said.
pub(super) const PUBLISH: &str = concat!(
    append!(),
    "\
local known = redis.call('GET', KEYS[3])
if known then return {known, 1} end
if KEYS[4] and redis.call('EXISTS', KEYS[4]) == 0 then return {'', 2} end
local epoch, offset = append(ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[7])
redis.call('SET', KEYS[3], epoch .. ':' .. offset, 'PX', ARGV[6])
return {epoch .. ':' .. offset, 0}
"
);

/// Reads a page of what came after a publication, or of the latest ones where that is not known here. Returns the
/// epoch, the offset of the latest, offset, stamp and payload of each, and whether users are listed in the room.
///
/// A room that is not there gets its epoch. One that has another publication than the reader has at the reader's
/// place, or none yet, has lost some and gets a new epoch: the offsets that follow stand for something else. Where what
/// the reader has is not kept any more, nobody can tell whether the next one follows upon it: that one is left out, so
/// that the reader sees a gap.
///
/// Keys: the room's state, its stream.
/// Arguments: epoch, offset and stamp of the reader's last; how many there are to be where those are not known; how many
/// publications and bytes make a page; for how many milliseconds the room is remembered.
pub(super) const READ: &str = "\
local state = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'listed')
local epoch, offset, head = state[1], tonumber(state[2] or 0), tonumber(ARGV[2])
local from = head + 1
local function renew()
  local time = redis.call('TIME')
  epoch = time[1] .. string.format('%06d', time[2])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', string.format('%.0f', offset))
end
if not epoch then
  offset = 0
  renew()
  redis.call('DEL', KEYS[2])
elseif epoch == ARGV[1] then
  local last = redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', ARGV[2] .. '-0')[1]
  if offset < head or (last and ARGV[3] ~= '' and last[2][2] ~= ARGV[3]) then renew()
  elseif not last and ARGV[3] ~= '' and head < offset then from = head + 2 end
end
if epoch ~= ARGV[1] then from = math.max(offset - tonumber(ARGV[4]), 0) + 1 end
local found, bytes, count = {}, 0, 0
while count < tonumber(ARGV[5]) and bytes < tonumber(ARGV[6]) do
  local some = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', from), '+', 'COUNT', 16)
  if #some == 0 then break end
  for _, entry in ipairs(some) do
    local at = string.match(entry[1], '^%d+')
    found[#found + 1] = at
    found[#found + 1] = entry[2][2]
    found[#found + 1] = entry[2][4]
    from, bytes, count = tonumber(at) + 1, bytes + #entry[2][4], count + 1
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
return {epoch, string.format('%.0f', offset), found, state[3] and 1 or 0}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_called_by_its_sha1() {
        assert_eq!(Script::new("return 1", false).sha, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert!(Script::new(PUBLISH, true).text.contains("redis.call('SPUBLISH', ARGV[1]"));
    }
}
