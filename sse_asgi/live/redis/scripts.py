"""The steps of a generation as Lua scripts: each one atomic, each one repeatable.

Keys of a generation, all in one hash slot:

- `{prefix:key}:log`, a stream. `0-1` is the start (token, meta, keep), `n-0` holds the events
  up to position n, `n-1` or `0-2` the ending. Ids are ours, so that adding twice adds once.
- `{prefix:key}:own`, a hash whose TTL is the lease: token `o`, tail `n`, stop `c`, the channel
  `p` of the producer's process, and the log's time to live `t` while the lease lasts.
- `{prefix:key}:see`, a sorted set of the processes that follow, by the time they expire.

Pushes go to the channel that is called like the log. Arguments never build key names.
"""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and its digest."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False)
        object.__setattr__(self, "sha", digest.hexdigest())


# The last position of a log, as a string, and whether its last entry is an ending.
_TAIL = """
local function tail(log)
  local entry = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  if not entry then return '0', nil end
  local dash = string.find(entry[1], '-', 1, true)
  local last = string.sub(entry[1], 1, dash - 1)
  if entry[2][1] == 'e' then return last, entry[2] end
  return last, nil
end
local function finish(log, last, outcome, token, detail, keep, owner)
  local minor = last == '0' and '-2' or '-1'
  redis.call('XADD', log, last .. minor, 'e', outcome, 't', token, 'x', detail)
  redis.call('PEXPIRE', log, keep)
  redis.call('PUBLISH', log, owner .. ' end ' .. last)
end
"""

# KEYS log own; ARGV token meta keep ttl lease process
CREATE = Script("""
local first = redis.call('XRANGE', KEYS[1], '0-1', '0-1')[1]
if first then return first[2][2] == ARGV[1] and 1 or 0 end
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('XADD', KEYS[1], '0-1', 't', ARGV[1], 'm', ARGV[2], 'k', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'o', ARGV[1], 'n', '0', 'p', ARGV[6], 't', ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
""")

# What append and finish share: store, unless the producer is unknown or a gap lies before.
# A stream that is gone while its owner is not was evicted: the producer begins it anew.
# A header is "token prev last", as it is pushed, so that few arguments have to be encoded.
_STORE = """
local function store(log, owner, header, events)
  local token, prev, last = string.match(header, '^(%S+) (%d+) (%d+)$')
  local own = redis.call('HMGET', owner, 'o', 'n', 'c')
  if own[1] ~= token then return nil, nil end
  local tail = tonumber(own[2])
  if tail < tonumber(prev) or tail >= tonumber(last) then return own[2], own[3] end
  if not redis.call('XADD', log, 'NOMKSTREAM', last .. '-0', 'd', events) then
    redis.call('DEL', owner)
    return nil, nil
  end
  redis.call('HSET', owner, 'n', last)
  redis.call('PUBLISH', log, header .. '\\n' .. events)
  return last, own[3]
end
local function ack(tail, stop)
  return tonumber(tail) * 2 + (stop and 1 or 0)
end
"""

# KEYS log own, for each generation; ARGV header events, for each.
# Replies to each: twice the tail, plus one for a stop; -1 if unknown; a text if it failed.
APPEND = Script(
    _STORE
    + """
local replies = {}
for i = 1, #KEYS, 2 do
  local done, tail, stop = pcall(store, KEYS[i], KEYS[i + 1], ARGV[i], ARGV[i + 1])
  if not done then
    replies[#replies + 1] = type(tail) == 'table' and tail.err or tostring(tail)
  else
    replies[#replies + 1] = tail and ack(tail, stop) or -1
  end
end
return replies
"""
)

# KEYS log own see; ARGV header events outcome detail. Replies as APPEND to one.
FINISH = Script(
    _TAIL
    + _STORE
    + """
local reached, stop = store(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
local token, prev = string.match(ARGV[1], '^(%S+) (%d+) %d+$')
if not reached then
  local at, ending = tail(KEYS[1])
  if ending and ending[4] == token then return ack(at, nil) end
  return -1
end
if tonumber(reached) >= tonumber(prev) then
  local first = redis.call('XRANGE', KEYS[1], '0-1', '0-1')[1]
  if not first then
    redis.call('DEL', KEYS[2])
    return -1
  end
  finish(KEYS[1], reached, ARGV[3], token, ARGV[4], first[2][6], token)
  redis.call('DEL', KEYS[2], KEYS[3])
end
return ack(reached, stop)
"""
)

# KEYS log own; ARGV token meta keep ttl lease process
ATTACH = Script(
    _TAIL
    + """
local owner = redis.call('HGET', KEYS[2], 'o')
if owner and owner ~= ARGV[1] then return -1 end
local first = redis.call('XRANGE', KEYS[1], '0-1', '0-1')[1]
if first and first[2][2] ~= ARGV[1] then return -1 end
if not first then
  redis.call('DEL', KEYS[1])
  redis.call('XADD', KEYS[1], '0-1', 't', ARGV[1], 'm', ARGV[2], 'k', ARGV[3])
end
local last, ending = tail(KEYS[1])
if ending then return -1 end
redis.call('HSET', KEYS[2], 'o', ARGV[1], 'n', last, 'p', ARGV[6], 't', ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return tonumber(last)
"""
)

# KEYS log own see, for each generation; ARGV lease, and the token of each.
# Replies to each: nothing if unknown, or the tail, whether to stop, and how many follow.
BEAT = Script("""
local now = redis.call('TIME')[1]
local function beat(log, owner, followers, token)
  local own = redis.call('HMGET', owner, 'o', 'n', 'c', 't', 'v')
  if own[1] ~= token then return {} end
  if redis.call('PEXPIRE', log, own[4]) == 0 then
    redis.call('DEL', owner)
    return {}
  end
  redis.call('PEXPIRE', owner, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', followers, '-inf', now)
  return {tonumber(own[2]), own[3] and 1 or 0, redis.call('ZCARD', followers), own[5] and 1 or 0}
end
local replies = {}
for i = 1, #KEYS, 3 do
  local done, reply = pcall(beat, KEYS[i], KEYS[i + 1], KEYS[i + 2], ARGV[(i + 2) / 3 + 1])
  replies[#replies + 1] = done and reply or {}
end
return replies
""")

# KEYS log own; ARGV key. 0: nothing runs, 1: told its producer, 2: its producer is missing
STOP = Script(
    _TAIL
    + """
local last, ending = tail(KEYS[1])
if ending or redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local process = redis.call('HGET', KEYS[2], 'p')
if not process then return 2 end
redis.call('HSET', KEYS[2], 'c', '1')
return 1
"""
)

# KEYS log own see; ARGV after count bury process presence
# Replies nothing, or token, meta, last, owned, ending or '', its detail, entries.
READ = Script(
    _TAIL
    + """
local first = redis.call('XRANGE', KEYS[1], '0-1', '0-1')[1]
if not first then return {} end
local last, ending = tail(KEYS[1])
local owned = redis.call('EXISTS', KEYS[2])
if not ending and owned == 0 and ARGV[3] == '1' then
  finish(KEYS[1], last, 'interrupted', '', '', first[2][6], first[2][2])
  last, ending = tail(KEYS[1])
end
if not ending and ARGV[5] ~= '0' then
  local now = tonumber(redis.call('TIME')[1])
  redis.call('ZADD', KEYS[3], now + tonumber(ARGV[5]), ARGV[4])
  redis.call('EXPIRE', KEYS[3], ARGV[5])
  if owned == 1 then redis.call('HSET', KEYS[2], 'v', '1') end
end
local entries = {}
if ARGV[2] ~= '0' then
  entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])
end
return {first[2][2], first[2][4], tonumber(last), owned, ending and ending[2] or '',
  ending and ending[6] or '', entries}
"""
)

# KEYS own see; ARGV key process
LEAVE = Script("""
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', redis.call('TIME')[1])
return 1
""")
