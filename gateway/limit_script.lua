-- One step of the limits that a fleet shares: all buckets of a call give, or none does. GCRA, as in policy/gcra.h: a
-- bucket is its debt, which falls by `count` units each microsecond; a token costs `period` units (the period of the rate,
-- in microseconds), and the debt never exceeds burst * period. Every figure is a whole number below 2^53 (`check` sees to
-- it), so nothing is rounded. Time is this server's own.
--
-- KEYS: a bucket each. ARGV: count, period, burst, how many tokens the call costs and how many are wanted, for each.
-- Wanting none asks for the cost alone, and it may be refused: it is given if it is there, and stops nothing if it is not.
-- Answers {1, and for each tokens given, tokens left, microseconds until it is full}, or {0, number of the bucket to wait for longest, microseconds}.
--
-- A bucket is kept as "full_at rest count period burst": at full_at + rest / count microseconds nothing is owed, and then
-- the key ends by itself. One that was kept by other numbers goes on with as many tokens.

local function whole(a, b)  -- a / b, down
	return (a - math.fmod(a, b)) / b
end

local function owed(kept, now, count, period, burst)
	local full_at, rest, kept_count, kept_period, kept_burst = string.match(kept, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
	if not full_at then
		return 0
	end
	full_at, rest, kept_count = tonumber(full_at), tonumber(rest), tonumber(kept_count)
	kept_period, kept_burst = tonumber(kept_period), tonumber(kept_burst)
	local depth = kept_burst * kept_period
	-- A clock that was set back lets nobody owe more than everything.
	local debt = math.min(math.max((full_at - now) * kept_count + rest, 0), depth)
	if kept_count == count and kept_period == period and kept_burst == burst then
		return debt
	end
	local left = depth - debt
	if kept_period ~= period then
		-- What is left of a token beyond whole ones is rounded, down: by a unit too far at most.
		local part = math.fmod(left, kept_period) / kept_period * period
		left = whole(left, kept_period) * period + math.max(math.ceil(part) - 1, 0)
	end
	return math.max(burst * period - left, 0)
end

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local buckets = {}
local longest, number = -1, 0

for i = 1, #KEYS do
	local count, period, burst = tonumber(ARGV[5 * i - 4]), tonumber(ARGV[5 * i - 3]), tonumber(ARGV[5 * i - 2])
	local cost, wanted = tonumber(ARGV[5 * i - 1]), tonumber(ARGV[5 * i])
	local kept = redis.call('GET', KEYS[i])
	local debt = kept and owed(kept, now, count, period, burst) or 0
	local free = whole(burst * period - debt, period)
	if free < cost and wanted > 0 then
		local wait = whole(debt - (burst - cost) * period - 1, count) + 1  -- up: at least a unit is missing
		if wait > longest then
			longest, number = wait, i
		end
	end
	local tokens = free < cost and 0 or math.min(math.max(wanted, cost), free)
	buckets[i] = {debt + tokens * period, count, period, burst, tokens}
end

if number > 0 then
	return {0, number, longest}
end

local given = {1}
for i = 1, #KEYS do
	local debt, count, period, burst, tokens = unpack(buckets[i])
	local lasts = whole(debt, count)
	redis.call('SET', KEYS[i],
		string.format('%.0f %.0f %.0f %.0f %.0f', now + lasts, math.fmod(debt, count), count, period, burst),
		'PX', string.format('%.0f', whole(lasts, 1000) + 1))
	given[3 * i - 1], given[3 * i] = tokens, whole(burst * period - debt, period)
	given[3 * i + 1] = lasts
end
return given
