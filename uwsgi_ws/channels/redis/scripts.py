"""What Redis does when a message is kept, and when what is kept is read; ``docs/channel-history.md`` tells others.

What a channel keeps is a stream, named as the channel, so that both are in one slot. An entry has an epoch, ``e``, and
what was published, ``d``; one without ``d`` only begins an epoch. Its id is a time in milliseconds, which never goes
back, and a number that counts the channel's messages. So messages are trimmed by age and by number, and the newest
entry tells all there is to know of the channel.

An epoch begins with eight digits of the server's replication id. That changes whenever a server becomes master or
starts again, and so may have lost what another one had taken: then the next call begins a new epoch.
"""

from __future__ import annotations

import os
from hashlib import sha1

from uwsgi_ws.channels.positions import Keep

__all__ = ["PUBLISH", "READ", "Script"]

#: Seconds for which a stream outlives what it keeps. Then the channel begins anew, and its subscribers take that for a
#: gap.
_AFTERLIFE = 86_400

#: Bytes of messages that are read at once; what is older counts as not kept any more. The answer comes on a connection
#: that is subscribed, and Redis ends one to which too much waits: by default 32 MiB, or 8 MiB for a minute.
_LONGEST_ANSWER = 2 << 20

#: ARGV: messages, 0 where nobody knows; seconds; eight random hexadecimal digits.
_BEGIN = f"""
local key, messages, seconds = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local life = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x%x%x%x%x%x%x%x)')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
local ms, n, epoch = now, 0, ''
if last then
  ms, n = string.match(last[1], '(%d+)-(%d+)')
  ms, n, epoch = math.max(now, tonumber(ms)), tonumber(n), last[2][2]
end
local function add(...)
  redis.call('XADD', key, string.format('%.0f-%.0f', ms, n), 'e', epoch, ...)
  if seconds > 0 then redis.call('PEXPIRE', key, (seconds + {_AFTERLIFE}) * 1000) end
end
if string.sub(epoch, 1, 8) ~= life and (last or messages > 0) then
  if last then n = n + 1 end
  epoch = life .. ARGV[3]
  add()
end
"""


class Script:
    """One of them.

    Attributes:
        text: In Lua.
        sha: What the server knows it by, once it has been loaded.
    """

    def __init__(self, text: str) -> None:
        self.text = (_BEGIN + text).strip().encode()
        self.sha = sha1(self.text, usedforsecurity=False).hexdigest().encode()

    def arguments(self, name: bytes, keep: Keep, *others: bytes) -> tuple[bytes, ...]:
        """Return what follows EVAL and the text, or EVALSHA and the sha.

        Args:
            name: The channel's in Redis, and the stream's.
            keep: How much is kept; zeros where nobody knows.
            others: What this script takes beside that.
        """
        nonce = os.urandom(4).hex().encode()
        return (b"1", name, b"%d" % keep.messages, b"%d" % keep.seconds, nonce, *others)


#: ARGV, further: what is published; PUBLISH or SPUBLISH.
PUBLISH = Script("""
n = n + 1
add('d', ARGV[4])
redis.call('XTRIM', key, 'MAXLEN', '=', messages)
redis.call('XTRIM', key, 'MINID', '=', string.format('%.0f', now - seconds * 1000))
return redis.call(ARGV[5], key, '\\0wsk' .. epoch .. '-' .. string.format('%.0f', n) .. ' ' .. ARGV[4])
""")

#: Returns the epoch, the newest id, and the entries, the oldest first; of these no more than the answer may be long.
READ = Script(f"""
local first = '-'
if seconds > 0 then first = string.format('%.0f', now - seconds * 1000) end
local newest, size, from, part = {{}}, 0, '+', nil
repeat
  part = redis.call('XREVRANGE', key, from, first, 'COUNT', 100)
  for _, entry in ipairs(part) do
    size = size + #(entry[2][4] or '')
    if size > {_LONGEST_ANSWER} and #newest > 0 then
      part = {{}}
      break
    end
    newest[#newest + 1] = entry
    from = '(' .. entry[1]
  end
until #part < 100
local entries = {{}}
for i = #newest, 1, -1 do entries[#entries + 1] = newest[i] end
return {{epoch, n, entries}}
""")
