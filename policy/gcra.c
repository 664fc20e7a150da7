#include "policy/gcra.h"

#include "base/clock.h"

// The farthest a moment may lie ahead is 2^62, the farthest behind 2^61: together below 2^63, where
// differences would change their sign.
static const uint64_t depth_max = UINT64_C(1) << 62;
static const uint64_t age_max = UINT64_C(1) << 61;
static const uint64_t borrowed_max = UINT64_C(1) << 61;  // beside a depth of as much
enum { FLAG_VALUES = 4, SCALE_MAX = 1000000000 };

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

bool bucket_rate_valid(struct bucket_rate rate)
{
	if (rate.count == 0 || rate.period_ns <= 0 || rate.burst == 0)
		return false;
	uint64_t divisor = common_divisor(rate.count, (uint64_t)rate.period_ns);
	uint64_t period = (uint64_t)rate.period_ns / divisor;
	return rate.count / divisor <= SCALE_MAX && period <= depth_max / FLAG_VALUES / rate.burst;
}

struct gcra gcra_of(struct bucket_rate rate)
{
	CHECK(bucket_rate_valid(rate));
	uint64_t divisor = common_divisor(rate.count, (uint64_t)rate.period_ns);
	uint64_t scale = rate.count / divisor * FLAG_VALUES;
	uint64_t step = (uint64_t)rate.period_ns / divisor * FLAG_VALUES;
	return (struct gcra){scale, step, rate.burst * step, (int64_t)(age_max / scale)};
}

static uint64_t price(const struct gcra *gcra, uint64_t tokens)
{
	uint64_t units;
	if (tokens <= 1)
		return gcra->step;
	bool huge = __builtin_mul_overflow(tokens, gcra->step, &units);
	return huge || units > gcra->depth ? gcra->depth : units;
}

int64_t gcra_take(const struct gcra *gcra, uint64_t *full_at, uint64_t tokens, int64_t now_ns)
{
	uint64_t after = gcra_debt(gcra, *full_at, now_ns) + price(gcra, tokens);
	if (after > gcra->depth)
		return (int64_t)((after - gcra->depth + gcra->scale - 1) / gcra->scale);
	*full_at = gcra_moment(gcra, now_ns) + after;
	return 0;
}

int64_t gcra_borrow(const struct gcra *gcra, uint64_t *full_at, uint64_t tokens, int64_t longest_ns,
        int64_t now_ns)
{
	uint64_t after = gcra_debt(gcra, *full_at, now_ns) + price(gcra, tokens);
	uint64_t missing = after > gcra->depth ? after - gcra->depth : 0;
	int64_t wait_ns = (int64_t)((missing + gcra->scale - 1) / gcra->scale);
	if (missing > borrowed_max || wait_ns > longest_ns)
		return -wait_ns;
	*full_at = gcra_moment(gcra, now_ns) + after;
	return wait_ns;
}

uint64_t gcra_sweep(const struct gcra *gcra, uint64_t full_at, int64_t swept_ns, int64_t now_ns)
{
	// At the last sweep nothing lay behind it, so this difference is the true one.
	__int128 since_sweep = full_at - gcra_moment(gcra, swept_ns);
	__int128 elapsed = ((__int128)now_ns - swept_ns) * gcra->scale;
	return since_sweep > elapsed ? full_at : gcra_moment(gcra, now_ns);
}

static uint64_t units_left(const struct gcra *gcra, uint64_t full_at, int64_t now_ns)
{
	uint64_t debt = gcra_debt(gcra, full_at, now_ns);
	return debt < gcra->depth ? gcra->depth - debt : 0;
}

// What a debt beyond the whole bucket is under other numbers, rounded up.
static uint64_t units_owed(const struct gcra *from, uint64_t debt, const struct gcra *to)
{
	if (debt <= from->depth)
		return 0;
	// Nobody could have borrowed for longer under these numbers.
	const unsigned __int128 longest = (unsigned __int128)BUCKET_BORROW_S * NS_PER_S * to->scale;
	const uint64_t most = depth_max - to->depth;
	const uint64_t room = longest < most ? (uint64_t)longest : most;
	unsigned __int128 owed = (unsigned __int128)(debt - from->depth) * to->step / from->step;
	owed = (owed / FLAG_VALUES + 1) * FLAG_VALUES;
	return owed < room ? (uint64_t)owed : room;
}

uint64_t gcra_convert(
        const struct gcra *from, uint64_t full_at, const struct gcra *to, int64_t now_ns)
{
	unsigned __int128 left = (unsigned __int128)units_left(from, full_at, now_ns) * to->step /
	                         from->step;
	uint64_t kept = left < to->depth ? (uint64_t)left / FLAG_VALUES * FLAG_VALUES : to->depth;
	return gcra_moment(to, now_ns) + to->depth - kept +
	       units_owed(from, gcra_debt(from, full_at, now_ns), to);
}

double gcra_tokens(const struct gcra *gcra, uint64_t full_at, int64_t now_ns)
{
	return (double)units_left(gcra, full_at, now_ns) / (double)gcra->step;
}
