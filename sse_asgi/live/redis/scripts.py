"""The steps of a generation as Lua scripts: each one atomic, each one repeatable.

Keys of a generation, all in one hash slot:

- `{prefix:key}:log`, a stream. `0-1` is the start (token, meta, keep), `n-0` holds the events
  up to position n, `n-1` or `0-2` the ending. Ids are ours, so that adding twice adds once.
- `{prefix:key}:own`, a hash whose TTL is the lease: token `o`, tail `n`, stop `c`, whether
  somebody has followed `v`, and the log's time to live `t` while the lease lasts. Without `o`
  nobody holds the lease.

Beside them, `{prefix:label}:label` is the key that a label names.

Pushes go to the channel that is called like the log, and its subscribers are the followers.
Arguments never build key names. A script touches one generation, so that a cluster runs it.
"""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from sse_asgi.live.log import Batch, Ending, Head

# What a generation's scripts begin with: its keys; what the first entry of a log tells; its
# last position, as a string, with the fields of its ending; and the writing of one.
_COMMON = """
local log, own = KEYS[1], KEYS[2]
local function start()
  local first = redis.call('XRANGE', log, '0-1', '0-1')[1]
  if first then return {token = first[2][2], meta = first[2][4], keep = first[2][6]} end
end
local function tail()
  local entry = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  if not entry then return '0', nil end
  return string.match(entry[1], '^%d+'), entry[2][1] == 'e' and entry[2] or nil
end
local function finish(first, last, outcome, token, detail)
  local minor = last == '0' and '-2' or '-1'
  redis.call('XADD', log, last .. minor, 'e', outcome, 't', token, 'x', detail)
  redis.call('PEXPIRE', log, first.keep)
  redis.call('PUBLISH', log, first.token .. ' end ' .. last)
end
"""


class Script:
    """A Lua script, its digest, and the keys that it takes: by default those of a generation."""

    def __init__(self, text: str, *kinds: str) -> None:
        self.kinds: tuple[str, ...] = kinds or ("log", "own")
        self.text: str = text if kinds else _COMMON + text
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False)
        self.sha: str = digest.hexdigest()

    @functools.cached_property
    def sharded(self) -> "Script":
        """The same for a cluster: its pushes stay at the node that has the keys."""
        text = self.text.replace("'PUBLISH'", "'SPUBLISH'").replace("'NUMSUB'", "'SHARDNUMSUB'")
        return Script(text, *self.kinds)


# KEYS log own; ARGV token meta keep ttl lease
# Begin a generation, or take it back: the tail; -1 if it has ended or has another producer.
HOLD = Script("""
local first, owner = start(), redis.call('HGET', own, 'o')
if owner and owner ~= ARGV[1] then return -1 end
if first and first.token ~= ARGV[1] then return -1 end
if not first then
  redis.call('DEL', log)
  redis.call('XADD', log, '0-1', 't', ARGV[1], 'm', ARGV[2], 'k', ARGV[3])
  if not owner then redis.call('DEL', own) end  -- a stop of what was here before
end
local last, ending = tail()
if ending then return -1 end
redis.call('HSET', own, 'o', ARGV[1], 'n', last, 't', ARGV[4])
redis.call('PEXPIRE', own, ARGV[5])
redis.call('PEXPIRE', log, ARGV[4])
return tonumber(last)
""")

# KEYS log own; ARGV header events [outcome detail]
# Store events, unless a gap lies before them, and the ending if there is one: twice the tail, plus
# one for a stop; -1 if the producer is unknown. A header is "token prev last", as it is pushed, so
# that few arguments have to be encoded. A stream that is gone while its owner is not was evicted:
# the producer begins it anew.
APPEND = Script("""
local token, prev, last = string.match(ARGV[1], '^(%S+) (%d+) (%d+)$')
local known = redis.call('HMGET', own, 'o', 'n', 'c')
if known[1] ~= token then
  local at, ending = tail()  -- a call before this one may have finished it
  return ARGV[3] and ending and ending[4] == token and at * 2 or -1
end
local at = tonumber(known[2])
if at >= tonumber(prev) and at < tonumber(last) then
  if not redis.call('XADD', log, 'NOMKSTREAM', last .. '-0', 'd', ARGV[2]) then
    redis.call('DEL', own)
    return -1
  end
  redis.call('HSET', own, 'n', last)
  redis.call('PUBLISH', log, ARGV[1] .. '\\n' .. ARGV[2])
  at = tonumber(last)
end
if ARGV[3] and at >= tonumber(prev) then
  local first = start()
  redis.call('DEL', own)
  if not first then return -1 end
  finish(first, string.format('%.0f', at), ARGV[3], token, ARGV[4])
end
return at * 2 + (known[3] and 1 or 0)
""")

# KEYS log own; ARGV token lease
# Nothing if unknown, or the tail, whether to stop, how many processes follow, whether any has.
BEAT = Script("""
local known = redis.call('HMGET', own, 'o', 'n', 'c', 't', 'v')
if known[1] ~= ARGV[1] then return {} end
if redis.call('PEXPIRE', log, known[4]) == 0 then
  redis.call('DEL', own)
  return {}
end
redis.call('PEXPIRE', own, ARGV[2])
local followers = redis.call('PUBSUB', 'NUMSUB', log)[2]
return {tonumber(known[2]), known[3] and 1 or 0, followers, known[5] and 1 or 0}
""")

# KEYS log own; ARGV lease. 1 if it is noted for the producer, also for one that is missing just
# now: it may come back within a lease.
STOP = Script("""
local last, ending = tail()
if ending or not start() then return 0 end
redis.call('HSET', own, 'c', '1')
if not redis.call('HGET', own, 'o') then redis.call('PEXPIRE', own, ARGV[1]) end
return 1
""")

# KEYS log own; ARGV after bytes bury present
# Without a log nothing, or 1 if somebody holds its lease. Else token, meta, last, owned, ending
# or '', its detail, entries (last position, packed events), and 1 if this call has ended it, as it
# may if `bury` is 1.
# That somebody follows (`present`) is not worth an error of a full server.
READ = Script("""
local owned, first = redis.call('HGET', own, 'o') and 1 or 0, start()
if not first then return owned == 1 and {1} or {} end
local last, ending = tail()
local buried = 0
if not ending and owned == 0 and ARGV[3] == '1' then
  buried = 1
  finish(first, last, 'interrupted', '', '')
  last, ending = tail()
end
if owned == 1 and ARGV[4] == '1' and not redis.call('HGET', own, 'v') then
  redis.pcall('HSET', own, 'v', '1')
end
local entries, left, from, step = {}, tonumber(ARGV[2]), '(' .. ARGV[1] .. '-0', 2
while left > 0 do
  local found = redis.call('XRANGE', log, from, '+', 'COUNT', step)
  for _, entry in ipairs(found) do
    local size = #entry[2][2] + 64
    if #entries > 0 and size > left then left = 0 end
    if left <= 0 then break end
    if entry[2][1] == 'd' then
      entries[#entries + 1] = {string.match(entry[1], '^%d+'), entry[2][2]}
    end
    left, from = left - size, '(' .. entry[1]
  end
  if #found < step then break end
  step = math.min(128, step * 2)
end
return {first.token, first.meta, tonumber(last), owned, ending and ending[2] or '',
  ending and ending[6] or '', entries, buried}
""")

# KEYS born. Milliseconds for which this server has had its data, as far as anybody has asked:
# it begins anew where the key is gone, or was written by another run of a server.
AGE = Script(
    """
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or 'unknown'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local by, since = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%d+)$')
if by == run then return now - since end
redis.pcall('SET', KEYS[1], run .. ' ' .. string.format('%.0f', now))
return 0
""",
    "born",
)

# KEYS label; ARGV key keep
LABEL = Script("return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])", "label")

# KEYS label. The generation's key, or nothing.
LABELLED = Script("return redis.call('GET', KEYS[1])", "label")


def pack(events: Sequence[bytes]) -> bytes:
    """Join events, behind one line with their lengths."""
    if len(events) == 1:
        return b"%d\n%b" % (len(events[0]), events[0])
    return b" ".join([b"%d" % len(event) for event in events]) + b"\n" + b"".join(events)


def unpack(packed: bytes) -> list[bytes]:
    """Undo `pack`."""
    head, _, rest = packed.partition(b"\n")
    if b" " not in head:
        return [rest]
    events: list[bytes] = []
    start = 0
    for length in map(int, head.split(b" ")):
        events.append(rest[start : start + length])
        start += length
    return events


def read_push(message: bytes) -> tuple[str, int, list[bytes]]:
    """Return a push's token, the position before its events, and these: none at an ending."""
    head, _, packed = message.partition(b"\n")
    token, prev, last = head.split(b" ")
    if prev == b"end":
        return token.decode(), int(last), []
    return token.decode(), int(prev), unpack(packed)


class Reading(NamedTuple):
    """What a log has after a position."""

    head: Head
    owned: bool  # whether somebody holds the lease
    batch: Batch


def read_reply(reply: list[Any], after: int) -> Reading:
    """Understand what `READ` replies of a log that is there."""
    token, meta, last, owned, outcome, detail, entries, _ = reply
    ending = Ending(outcome.decode(), detail.decode()) if outcome else None
    events: list[bytes] = []
    for position, packed in entries:
        stored = unpack(packed)
        skip = after + len(events) - (int(position) - len(stored))
        if skip < 0:
            break  # a hole
        events += stored[skip:]  # a repeated append may overlap the entry before it
    batch = Batch(after, events, ending if after + len(events) >= last else None)
    return Reading(Head(token.decode(), meta.decode(), last, ending), bool(owned), batch)
