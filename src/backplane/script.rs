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

/// Looks up the server's *reign*: a name for the time for which it gives the numbers without a break, from when it was
/// started, or promoted. Nothing, where it may not be asked.
macro_rules! look_up {
    () => {
        "\
local function look_up()
  local reign = ''
  for _, part in ipairs({'server', 'replication'}) do
    local said = redis.pcall('INFO', part)
    if type(said) ~= 'string' then return '' end
    for _, name in ipairs({'run_id', 'master_replid'}) do
      local found = string.match(said, name .. ':(%x+)')
      if found then reign = reign .. string.sub(found, 1, 16) end
    end
  end
  return reign
end
"
    };
}
pub(super) use look_up;

/// Numbers a message, keeps it, and says so to all nodes: a function that other scripts call. Returns epoch and offset;
/// and the server's reign, where it was looked up.
///
/// What the server before this one had given last may have been lost, so a room's first publication in another reign
/// begins an epoch. That goes on from the one before, of which the place where it ends is noted: up to there a position
/// says the same in both.
///
/// Keys: the room's state, its stream.
/// Arguments: the channel, and as the eighth the reign as the node knows it (`?` where it does not, nothing where it is not
/// told); and of the function, what the message is and whose, its payload, how many the stream keeps (as many as before,
/// where that is empty), for how many milliseconds the room is remembered, and how many a stream keeps of which nobody has
/// said.
macro_rules! append {
    () => {
        concat!(
            look_up!(),
            "\
local function append(what, payload, kept, age, least)
  local time = redis.call('TIME')
  local state, told = redis.call('HMGET', KEYS[1], 'epoch', 'reign'), ARGV[8]
  local epoch, reign, found = state[1], state[2], nil
  if told == '?' or (reign and told ~= '' and told ~= reign) then found = look_up() end
  local right = found or told
  if not epoch or (right ~= '' and right ~= reign) then
    local was = ''
    if epoch then
      state = redis.call('HMGET', KEYS[1], 'was', 'offset')
      was = (state[1] or '') .. ' ' .. epoch .. ':' .. (state[2] or 0)
      while select(2, string.gsub(was, ' ', '')) > 16 do was = string.gsub(was, '^ %S+', '') end
    end
    local begun = time[1] .. string.format('%06d', time[2])
    redis.call('HSET', KEYS[1], 'epoch', begun, 'reign', right, 'was', was)
    if not epoch then
      redis.call('HSET', KEYS[1], 'root', begun, 'offset', 0)
      redis.call('DEL', KEYS[2])
    end
    epoch = begun
  end
  local offset = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'offset', 1))
  local stamp = time[1] .. string.format('%03d', math.floor(time[2] / 1000)) .. ' ' .. what
  if kept == '' then kept = redis.call('HGET', KEYS[1], 'keep') or least else redis.call('HSET', KEYS[1], 'keep', kept) end
  redis.call('XADD', KEYS[2], 'MAXLEN', kept, offset .. '-0', 's', stamp, 'p', payload)
  redis.call('PEXPIRE', KEYS[1], age)
  redis.call('PEXPIRE', KEYS[2], age)
  redis.call('PUBLISH', ARGV[1], epoch .. ' ' .. offset .. ' ' .. stamp .. '\\n' .. payload)
  return epoch, offset, found
end
"
        )
    };
}
pub(super) use append;

/// Publishes once; what came with the same key before is only told where it stands. Returns the position, and whether it
/// had been there; or 2, and nothing is done, where the publication that is to stand before it has not come yet. Where the
/// reign was looked up, it comes third.
///
/// Keys: the room's state, its stream, the publication's idempotency key, and that of the one before, if there is one
/// on its way.
/// Arguments: the channel, what the message is and whose, its payload, how many the stream keeps, for how many
/// milliseconds the room and the idempotency key are remembered, how many a stream keeps of which nobody has said, and the
/// reign.
pub(super) const PUBLISH: &str = concat!(
    append!(),
    "\
local known = redis.call('GET', KEYS[3])
if known then return {known, 1} end
if KEYS[4] and redis.call('EXISTS', KEYS[4]) == 0 then return {'', 2} end
local epoch, offset, reign = append(ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[7])
redis.call('SET', KEYS[3], epoch .. ':' .. offset, 'PX', ARGV[6])
return {epoch .. ':' .. offset, 0, reign}
"
);

/// Reads a page of what came after a publication, or of the latest ones where that is not known here. Returns the
/// epoch, the offset of the latest, offset, stamp and payload of each, whether users are listed in the room, and the
/// earlier epochs that this one goes on from, each with the last offset that both have.
///
/// A room that is not there gets its epoch. One that has none yet at the reader's place, in the reader's epoch, has lost
/// some and gets a new epoch: the offsets that follow stand for something else. It goes on from what there is, where that
/// is known to be of one reign. One that has another publication there gets an epoch that goes on from nothing. Who is in
/// an earlier epoch goes on in this one, unless it is behind the place where that ended. Where what the reader has is not
/// kept any more, nobody can tell whether the next one follows upon it: that one is left out, so that the reader sees a
/// gap.
///
/// Keys: the room's state, its stream.
/// Arguments: epoch, offset and stamp of the reader's last; how many there are to be where those are not known; how many
/// publications and bytes make a page; for how many milliseconds the room is remembered; and the reign, as for `append`.
pub(super) const READ: &str = concat!(
    look_up!(),
    "\
local state = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'listed', 'was', 'reign')
local told, reign = ARGV[8], state[5]
local epoch, offset, head = state[1], tonumber(state[2] or 0), tonumber(ARGV[2])
local was, shared = state[4] or '', -1
local from, follows = head + 1, false
local function renew(from)
  local time = redis.call('TIME')
  epoch, was = time[1] .. string.format('%06d', time[2]), from
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'root', epoch, 'offset', string.format('%.0f', offset), 'was', was)
  if told == '?' then told = look_up() end
  redis.call('HSET', KEYS[1], 'reign', told)
end
if epoch and epoch == ARGV[1] then shared = offset
elseif epoch then shared = tonumber(string.match(was, ' ' .. ARGV[1] .. ':(%d+)') or -1) end
if not epoch then
  offset = 0
  renew('')
  redis.call('DEL', KEYS[2])
elseif shared >= head then
  local last = redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', ARGV[2] .. '-0')[1]
  if last and ARGV[3] ~= '' and last[2][2] ~= ARGV[3] then renew('')
  else
    follows = true
    if not last and ARGV[3] ~= '' and head < offset then from = head + 2 end
  end
elseif epoch == ARGV[1] then
  renew(reign and reign ~= '' and was .. ' ' .. epoch .. ':' .. string.format('%.0f', offset) or '')
end
if not follows then from = math.max(offset - tonumber(ARGV[4]), 0) + 1 end
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
return {epoch, string.format('%.0f', offset), found, state[3] and 1 or 0, was}
"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_called_by_its_sha1() {
        assert_eq!(Script::new("return 1", false).sha, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert!(Script::new(PUBLISH, true).text.contains("redis.call('SPUBLISH', ARGV[1]"));
    }
}
