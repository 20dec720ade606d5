-- What wrk prints rounds its sums; this gives them whole, as one line of JSON.
done = function(summary, _latency, _requests)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    print(string.format(
        '{"micros": %d, "requests": %d, "bytes": %d, "failed": %d}',
        summary.duration, summary.requests, summary.bytes, failed))
end
