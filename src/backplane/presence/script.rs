//! What Redis does in one step about who is in a room. All keys of a room share a slot.
//!
//! A user's *seat* is that it has connections at a node. Who has a seat anywhere is in the room, and so is, for a grace
//! time, who has just lost the last one. A node holds a *lease* on its seats, which are gone when it has not renewed it.
//! The first seat and the loss of the last one are told in the room's log in the same step, by whichever node causes
//! or notices it.

use super::super::script::{append, look_up};

/// What both scripts know.
///
/// Keys: the room's state and its stream; the users by name; for each user a letter (`a` where the others were told of
/// it, `l` where it is only listed) and its seats, as ` node connections` each; the users by node, as `node user`; the
/// leases, by their ends; users without a seat, by the ends of their grace; and for each node its version, which grows
/// with each step of its own, and how many connections it has in the room.
/// Arguments: the channel, the node, whether what is over may be cleared away, how many the stream keeps (as for
/// `append`), for how many milliseconds the room is remembered, how many a stream keeps of which nobody has said, and how
/// many users may go in this step; and the reign.
macro_rules! presence {
    () => {
        concat!(
            append!(),
            "\
local node, time = ARGV[2], redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end
local function announce(what, user)
  local name = string.gsub(cjson.encode(user), '\\\\/', '/')
  append('n ' .. node .. ' - p', '{\"' .. what .. '\":' .. name .. '}', ARGV[4], ARGV[5], ARGV[6])
end
local function seats(held, but)
  local rest, count = '', 0
  for at, number in string.gmatch(held, ' (%x+) (%d+)') do
    if at ~= but then rest, count = rest .. ' ' .. at .. ' ' .. number, count + number end
  end
  return rest, count
end
local function of(at) return '[' .. at .. ' ', '(' .. at .. '!' end
local function forget(user)
  local held = redis.call('HGET', KEYS[4], user)
  redis.call('HDEL', KEYS[4], user)
  redis.call('ZREM', KEYS[3], user)
  redis.call('ZREM', KEYS[7], user)
  if held and string.sub(held, 1, 1) == 'a' then announce('leave', user) end
end
local function stand(user, at, grace)
  redis.call('ZREM', KEYS[5], at .. ' ' .. user)
  local held = redis.call('HGET', KEYS[4], user)
  local rest = held and seats(held, at)
  if not held or rest == string.sub(held, 2) then return end
  redis.call('HSET', KEYS[4], user, string.sub(held, 1, 1) .. rest)
  if rest == '' and grace > 0 then
    redis.call('ZADD', KEYS[7], whole(now + grace), user)
  elseif rest == '' then
    forget(user)
  end
end
local function clear()
  local left = tonumber(ARGV[7])
  for _, at in ipairs(redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', whole(now))) do
    if at ~= node and left > 0 then
      local from, to = of(at)
      local some = redis.call('ZRANGEBYLEX', KEYS[5], from, to, 'LIMIT', 0, left)
      redis.call('HDEL', KEYS[8], at)
      for _, entry in ipairs(some) do stand(string.sub(entry, #at + 2), at, 0) end
      left = left - #some
      if left > 0 then redis.call('ZREM', KEYS[6], at) end
    end
  end
  if left > 0 then
    for _, user in ipairs(redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', whole(now), 'LIMIT', 0, left)) do
      forget(user)
      left = left - 1
    end
  end
  return left
end
local function census()
  local members, nodes = 0, redis.call('HGETALL', KEYS[8])
  for i = 1, #nodes, 2 do
    if nodes[i] ~= node then members = members + string.match(nodes[i + 1], ' (%d+)') end
  end
  return whole(members), redis.call('ZCARD', KEYS[3]), #nodes / 2
end
"
        )
    };
}

/// Says which users have how many connections at a node, and renews its lease; clears away what is over.
///
/// A node whose version is not the one that it names has missed something, such as that its lease has been over: it is
/// told `lost`, its version, the epoch in which the room has lost something for the last time, and its seats, as
/// `node user`. Otherwise: `kept`, its version now, that epoch, in how many milliseconds something is over (or -1), how many users have no seat, the connections on other
/// nodes, the users, and the nodes.
///
/// Arguments, after those above: the node's version, its connections in the room, for how many milliseconds its lease and
/// the grace last; then for each user its name, its connections, and `a` where it is announced, `q` where it is and the
/// others know of it already, or `l`.
pub(super) const SEAT: &str = concat!(
    presence!(),
    "\
local stored = redis.call('HGET', KEYS[8], node)
local version = stored and string.match(stored, '^%d+') or '0'
local function root()
  local state = redis.call('HMGET', KEYS[1], 'root', 'epoch')
  return state[1] or state[2] or ''
end
local from, to = of(node)
if version ~= ARGV[9] then
  return {'lost', version, root(), redis.call('ZRANGEBYLEX', KEYS[5], from, to)}
end
for i = 13, #ARGV, 3 do
  local user, count, letter = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  if count > 0 then
    local held = redis.call('HGET', KEYS[4], user)
    local rest = held and string.sub(held, 1, 1) .. seats(held, node) or (letter == 'l' and 'l' or 'a')
    redis.call('HSET', KEYS[4], user, rest .. ' ' .. node .. ' ' .. ARGV[i + 1])
    redis.call('ZADD', KEYS[5], 0, node .. ' ' .. user)
    redis.call('ZREM', KEYS[7], user)
    if not held then
      redis.call('ZADD', KEYS[3], 0, user)
      if letter == 'a' then announce('join', user) end
    end
  else
    if letter == 'q' and redis.call('HSETNX', KEYS[4], user, 'a ' .. node .. ' 1') == 1 then
      redis.call('ZADD', KEYS[3], 0, user)
    end
    stand(user, node, tonumber(ARGV[12]))
  end
end
if #redis.call('ZRANGEBYLEX', KEYS[5], from, to, 'LIMIT', 0, 1) > 0 then
  version = whole(version + 1)
  redis.call('ZADD', KEYS[6], whole(now + ARGV[11]), node)
  redis.call('HSET', KEYS[8], node, version .. ' ' .. ARGV[10])
elseif stored then
  version = '0'
  redis.call('ZREM', KEYS[6], node)
  redis.call('HDEL', KEYS[8], node)
end
local left = 1
if ARGV[3] == '1' then left = clear() end
local due = -1
for _, key in ipairs({KEYS[6], KEYS[7]}) do
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if first and (due < 0 or first - now < due) then due = math.max(first - now, 0) end
end
if left == 0 then due = 0 end
local members, users, nodes = census()
if users > 0 then redis.call('HSET', KEYS[1], 'listed', 1) else redis.call('HDEL', KEYS[1], 'listed') end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[5]) end
return {'kept', version, root(), whole(due), redis.call('ZCARD', KEYS[7]), members, users, nodes}
"
);

/// A page of the users, in the order of their names; clears away what is over before. Returns whether the room is known,
/// the connections on other nodes, the users, the nodes, and the page, as names and connections, with one more user than
/// fits if there is one.
///
/// Arguments, after those above: the name after which the page begins, or nothing, and how many are on it.
pub(super) const LIST: &str = concat!(
    presence!(),
    "\
if ARGV[3] == '1' then clear() end
local members, users, nodes = census()
local found, from = {}, ARGV[9] == '' and '-' or '(' .. ARGV[9]
if ARGV[10] ~= '0' then
  for _, user in ipairs(redis.call('ZRANGEBYLEX', KEYS[3], from, '+', 'LIMIT', 0, ARGV[10] + 1)) do
    local _, count = seats(redis.call('HGET', KEYS[4], user) or '', '')
    found[#found + 1] = user
    found[#found + 1] = whole(count)
  end
end
return {redis.call('EXISTS', KEYS[1]), members, users, nodes, found}
"
);
