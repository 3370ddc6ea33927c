"""The steps of a generation as Lua scripts: each one atomic, each one repeatable.

Keys of a generation, all in one hash slot:

- `{prefix:key}:log`, a stream. `0-1` is the start (token, meta, keep), `n-0` holds the events
  up to position n, `n-1` or `0-2` the ending. Ids are ours, so that adding twice adds once.
- `{prefix:key}:own`, a hash whose TTL is the lease: token `o`, tail `n`, stop `c`, whether
  somebody has followed `v`, and the log's time to live `t` while the lease lasts.

- `{prefix:label}:label`, a string: the generation that a label names.

Pushes go to the channel that is called like the log, and its subscribers are the followers.
Arguments never build key names. A script touches one generation, so that a cluster runs it.
"""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and its digest, and the same with sharded pub/sub."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False)
        object.__setattr__(self, "sha", digest.hexdigest())

    def sharded(self) -> "Script":
        """Return the script for a cluster: its pushes stay at the node that has the keys."""
        text = self.text.replace("'PUBLISH'", "'SPUBLISH'").replace("'NUMSUB'", "'SHARDNUMSUB'")
        return self if text == self.text else Script(text)


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

# KEYS log own; ARGV token meta keep ttl lease
CREATE = Script("""
local first = redis.call('XRANGE', KEYS[1], '0-1', '0-1')[1]
if first then return first[2][2] == ARGV[1] and 1 or 0 end
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('XADD', KEYS[1], '0-1', 't', ARGV[1], 'm', ARGV[2], 'k', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'o', ARGV[1], 'n', '0', 't', ARGV[4])
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

# KEYS log own; ARGV header events. Twice the tail, plus one for a stop; -1 if unknown.
APPEND = Script(
    _STORE
    + """
local tail, stop = store(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
return tail and ack(tail, stop) or -1
"""
)

# KEYS log own; ARGV header events outcome detail. Replies as APPEND.
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
  redis.call('DEL', KEYS[2])
end
return ack(reached, stop)
"""
)

# KEYS log own; ARGV token meta keep ttl lease
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
redis.call('HSET', KEYS[2], 'o', ARGV[1], 'n', last, 't', ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return tonumber(last)
"""
)

# KEYS log own; ARGV token lease
# Nothing if unknown, or the tail, whether to stop, how many processes follow, whether any has.
BEAT = Script("""
local own = redis.call('HMGET', KEYS[2], 'o', 'n', 'c', 't', 'v')
if own[1] ~= ARGV[1] then return {} end
if redis.call('PEXPIRE', KEYS[1], own[4]) == 0 then
  redis.call('DEL', KEYS[2])
  return {}
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local followers = redis.call('PUBSUB', 'NUMSUB', KEYS[1])[2]
return {tonumber(own[2]), own[3] and 1 or 0, followers, own[5] and 1 or 0}
""")

# KEYS log own. 0: nothing runs, 1: noted for its producer, 2: its producer is missing
STOP = Script(
    _TAIL
    + """
local last, ending = tail(KEYS[1])
if ending or redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('EXISTS', KEYS[2]) == 0 then return 2 end
redis.call('HSET', KEYS[2], 'c', '1')
return 1
"""
)

# KEYS log own; ARGV after bytes bury presence
# Without a log nothing, or 1 if somebody holds its lease. Else token, meta, last, owned, ending
# or '', its detail, entries, and 1 if this call has ended it. That somebody follows is not worth
# an error of a full server.
READ = Script(
    _TAIL
    + """
local owned = redis.call('EXISTS', KEYS[2])
local first = redis.call('XRANGE', KEYS[1], '0-1', '0-1')[1]
if not first then return owned == 1 and {1} or {} end
local last, ending = tail(KEYS[1])
local buried = 0
if not ending and owned == 0 and ARGV[3] == '1' then
  buried = 1
  finish(KEYS[1], last, 'interrupted', '', '', first[2][6], first[2][2])
  last, ending = tail(KEYS[1])
end
if owned == 1 and ARGV[4] == '1' and not redis.call('HGET', KEYS[2], 'v') then
  redis.pcall('HSET', KEYS[2], 'v', '1')
end
local entries, left = {}, tonumber(ARGV[2])
local from, step = '(' .. ARGV[1] .. '-0', 4
while left > 0 do
  local found = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', step)
  for _, entry in ipairs(found) do
    local size = entry[2][1] == 'd' and #entry[2][2] or 0
    if #entries > 0 and size > left then left = 0 end
    if left <= 0 then break end
    entries[#entries + 1] = entry
    left = left - size - 64
  end
  if #found < step then break end
  from = '(' .. entries[#entries][1]
  step = math.max(1, math.min(128, math.floor(left * #entries / (ARGV[2] - left + 1))))
end
return {first[2][2], first[2][4], tonumber(last), owned, ending and ending[2] or '',
  ending and ending[6] or '', entries, buried}
"""
)

# KEYS born. Milliseconds for which this server has had its data, as far as anybody has asked:
# it begins anew where the key is gone, or was written by another run of a server.
AGE = Script("""
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or 'unknown'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local born = redis.call('GET', KEYS[1])
local by, since = string.match(born or '', '^(%S+) (%d+)$')
if by == run then return now - since end
redis.pcall('SET', KEYS[1], run .. ' ' .. string.format('%.0f', now))
return 0
""")

# KEYS label; ARGV key keep
LABEL = Script("return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])")

# KEYS label. The generation's key, or nothing.
LABELLED = Script("return redis.call('GET', KEYS[1])")
