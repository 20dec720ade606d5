-- wrk: POSTs, each with a target of its own, and a count of the statuses that came back.

local threads = {}

function setup(thread)
  thread:set("thread_id", #threads)
  table.insert(threads, thread)
end

function init()
  posts, ok, bad_gateway, other = 0, 0, 0, 0
end

function request()
  posts = posts + 1
  return wrk.format("POST", "/" .. thread_id .. "-" .. posts, nil, "a body that must not arrive twice")
end

function response(status)
  if status == 200 then
    ok = ok + 1
  elseif status == 502 then
    bad_gateway = bad_gateway + 1
  else
    other = other + 1
  end
end

function done()
  local sum = { ok = 0, bad_gateway = 0, other = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(sum) do
      sum[name] = sum[name] + thread:get(name)
    end
  end
  io.write(string.format("answers: ok=%d bad_gateway=%d other=%d\n", sum.ok, sum.bad_gateway, sum.other))
end
