-- With an argument N the requests go to N services in turn, not to the URL's path.
init = function(args)
    local services = tonumber(args[1])
    if not services then return end
    local requests, last = {}, 0
    for service = 1, services do
        requests[service] = wrk.format(nil, string.format('/service-%04d/small', service - 1))
    end
    request = function()
        last = last % services + 1
        return requests[last]
    end
end

-- What wrk prints rounds its sums; this gives them whole, as one line of JSON.
done = function(summary, _latency, _requests)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.timeout
    print(string.format(
        '{"micros": %d, "requests": %d, "bytes": %d, "failed": %d, "refused": %d}',
        summary.duration, summary.requests, summary.bytes, failed, errors.status))
end
