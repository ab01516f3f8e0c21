//! What Redis does in one step on a Channels layer: send to a group, send to a channel, take what is there.
//!
//! What is old is removed last: a script that has removed something is not stopped any more where memory is short.

/// Sends a message to all channels of a group: what they have in common up to the exclamation mark is a queue, and each queue
/// gets the message once, with the list of its channels in it. A queue that is full is passed over.
///
/// Returns how many queues there are, how many of them are full, and what has become of the sender's own: 0 where it is
/// none of them, 1 where it has got the message, 2 where it is full.
///
/// Keys: the group.
/// Arguments: what keys begin with, the sender's own queue, what makes the message unique, the message as a map that
/// lacks its last entry, the time, the time before which members have left, the time before which messages are too old, how
/// many messages a queue takes, and for how many seconds it is remembered.
pub(super) const GROUP: &str = "\
local queues, lists = {}, {}
for _, channel in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[6], '+inf')) do
  local at = string.find(channel, '!', 1, true)
  local queue = at and string.sub(channel, 1, at) or channel
  if not lists[queue] then
    lists[queue] = {}
    queues[#queues + 1] = queue
  end
  table.insert(lists[queue], channel)
end
local full, own = 0, 0
for _, queue in ipairs(queues) do
  local key, outcome = ARGV[1] .. queue, 1
  if redis.call('ZCOUNT', key, '(' .. ARGV[7], '+inf') < tonumber(ARGV[8]) then
    local list = '\\176__asgi_channel__' .. cmsgpack.pack(lists[queue])
    redis.call('ZADD', key, ARGV[5], ARGV[3] .. ARGV[4] .. list)
    redis.call('EXPIRE', key, ARGV[9])
    redis.call('ZREMRANGEBYSCORE', key, '-inf', ARGV[7])
  else
    full, outcome = full + 1, 2
  end
  if queue == ARGV[2] then own = outcome end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[6])
return {#queues, full, own}
";

/// Sends a message to one channel, unless it is full. Returns whether it has been sent.
///
/// Keys: the channel.
/// Arguments: the message, the time, the time before which messages are too old, how many messages a channel takes, and for
/// how many seconds it is remembered.
pub(super) const CHANNEL: &str = "\
if redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[3], '+inf') >= tonumber(ARGV[4]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
return 1
";

/// Takes the oldest messages of a queue, and keeps them in flight until the next are taken. What is in flight and may not
/// have been heard is returned before anything else. Messages that are too long are gone, and an empty one
/// is returned for each. A line that has been given up for
/// another, and does not know it, takes nothing any more.
///
/// Keys: the queue, what is in flight, the number of the line that takes.
/// Arguments: 1 where what is in flight has been heard, how many messages are taken, how many bytes, how long a message may
/// be, for how many seconds the other two keys are remembered, and the number of the line.
pub(super) const TAKE: &str = "\
local line = redis.call('GET', KEYS[3])
if line and tonumber(line) > tonumber(ARGV[6]) then return {} end
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('SET', KEYS[3], ARGV[6], 'EX', ARGV[5])
if ARGV[1] == '0' then
  local again = redis.call('ZRANGE', KEYS[2], 0, -1)
  if #again > 0 then return again end
end
redis.call('DEL', KEYS[2])
local taken, bytes = {}, 0
while #taken < tonumber(ARGV[2]) and bytes < tonumber(ARGV[3]) do
  local first = redis.call('ZPOPMIN', KEYS[1])
  if #first == 0 then break end
  if #first[1] <= tonumber(ARGV[4]) then
    redis.call('ZADD', KEYS[2], first[2], first[1])
    taken[#taken + 1] = first[1]
    bytes = bytes + #first[1]
  else
    taken[#taken + 1] = ''
  end
end
if #taken > 0 then redis.call('EXPIRE', KEYS[2], ARGV[5]) end
return taken
";
