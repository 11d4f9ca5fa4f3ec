-- wrk: method, file of paths, file with the body or "". Every request is made before the clock starts; a client of another kind
-- would spend the machine's CPU on making them.
local made, next_one = {}, 0

function init(arguments)
  local method, file, body = arguments[1], arguments[2], nil
  if arguments[3] then
    local opened = assert(io.open(arguments[3], "rb"))
    body = opened:read("*a")
    opened:close()
  end
  for path in io.lines(file) do
    made[#made + 1] = wrk.format(method, path, nil, body)
  end
end

function request()
  next_one = next_one % #made + 1
  return made[next_one]
end

function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    'BENCH {"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
