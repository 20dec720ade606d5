-- Adds what a process took from some buckets to what is missing from each, and answers what is missing
-- from each now. All times are in microseconds; a bucket is full when nothing is missing.
--
-- KEYS: the buckets. ARGV, three for each bucket: what was taken, what the process knows to be
-- missing besides, and the most that can be missing.
-- A bucket is kept as "AT MISSING": what was missing at a time of this server.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answers = {}
for i, key in ipairs(KEYS) do
  local used = tonumber(ARGV[3 * i - 2])
  -- What the process knows counts where this server has lost its data.
  local missing = tonumber(ARGV[3 * i - 1])
  local most = tonumber(ARGV[3 * i])
  local kept = redis.call('GET', key)
  if kept then
    local at, was = string.match(kept, '^(%d+) (%d+%.%d+)$')
    if at then
      -- A clock that went back brings no tokens.
      missing = math.max(0, tonumber(was) - math.max(0, now - tonumber(at)))
    end
  end
  missing = math.min(missing + used, most)
  local expiry = string.format('%.0f', math.ceil(missing / 1000) + 1000)
  redis.call('SET', key, string.format('%.0f %.3f', now, missing), 'PX', expiry)
  answers[i] = string.format('%.3f', missing)
end
return answers
