#include "policy/bucket.h"

#include "base/clock.h"
#include "policy/limit.h"

static struct bucket_limit *successor_of(const struct bucket_limit *limit)
{
	return atomic_load_explicit(&limit->successor, memory_order_acquire);
}

static void tell(
        struct bucket_claim *claim, const struct gcra *gcra, uint64_t full_at, int64_t now_ns)
{
	claim->gcra = gcra;
	claim->debt = gcra_debt(gcra, full_at, now_ns);
}

// One bucket, one claim: the gate's word is the bucket and a compare-and-swap is the take.
static int64_t take_single(struct bucket_claim *claim, int64_t now_ns)
{
	struct bucket_limit *limit = claim->limit;
	unsigned turns = 0;
	for (;;) {
		limit_refresh(limit, now_ns);
		struct gate *gate = &limit->gate;
		uint64_t word = atomic_load_explicit(&gate->word, memory_order_acquire);
		if (word & GATE_MOVED) {
			limit = successor_of(limit);
			continue;
		}
		if (word & GATE_HELD) {
			gate_pause(&turns);
			continue;
		}
		// After the word: who took before has left the time it judged by.
		int64_t gate_ns = gate_now(gate, now_ns);
		uint64_t after = word;
		int64_t wait_ns = gcra_take(&limit->gcra, &after, claim->tokens, gate_ns);
		if (wait_ns) {
			gate_count(&gate->refused);
			tell(claim, &limit->gcra, word, gate_ns);
			return wait_ns + (gate_ns - now_ns);
		}
		if (atomic_compare_exchange_weak_explicit(&gate->word, &word, after,
		            memory_order_acq_rel, memory_order_relaxed)) {
			gate_count(&gate->granted);
			tell(claim, &limit->gcra, after, gate_ns);
			return 0;
		}
	}
}

struct held {
	struct gate *gate;
	uint64_t full_at;  // of a single or overflow bucket: what the gate is released with
	int64_t now_ns;
};

struct claimed {
	struct bucket_limit *limit;
	struct shard *shard;  // NULL when not keyed
	struct gate *gate;
	struct fingerprint print;
	size_t index;  // in the caller's array
	uint64_t tokens;
	uint64_t *bucket;         // where the token was taken; NULL: none was
	struct shard_slot *slot;  // that holds `bucket`, if one does
	uint64_t before;
};

struct taking {
	struct claimed claims[BUCKET_CLAIMS_MAX];
	size_t count;
	struct held held[2 * BUCKET_CLAIMS_MAX];  // each claim's gate, and its overflow gate
	size_t held_count;
	int64_t now_ns;
	bool keep;  // what is taken; otherwise it is put back
};

static void aim(struct claimed *claimed, struct bucket_limit *limit, struct str key)
{
	claimed->limit = limit;
	claimed->shard = NULL;
	claimed->gate = &limit->gate;
	if (limit->split) {
		claimed->print = fingerprint_of(key, limit->seed);
		claimed->shard = split_shard(limit->split, claimed->print);
		claimed->gate = &claimed->shard->gate;
	}
}

static bool goes_before(const struct claimed *a, const struct claimed *b)
{
	if (a->limit->order != b->limit->order)
		return a->limit->order < b->limit->order;
	return (uintptr_t)a->gate < (uintptr_t)b->gate;
}

static void sort(struct taking *taking)
{
	for (size_t i = 1; i < taking->count; i++) {
		struct claimed claimed = taking->claims[i];
		size_t at = i;
		for (; at && goes_before(&claimed, &taking->claims[at - 1]); at--)
			taking->claims[at] = taking->claims[at - 1];
		taking->claims[at] = claimed;
	}
}

static struct held *find_held(struct taking *taking, const struct gate *gate)
{
	for (size_t i = 0; i < taking->held_count; i++)
		if (taking->held[i].gate == gate)
			return &taking->held[i];
	return NULL;
}

// NULL when the gate was moved.
static struct held *hold(struct taking *taking, struct gate *gate)
{
	struct held *held = find_held(taking, gate);
	uint64_t full_at;
	if (held)
		return held;
	if (!gate_hold(gate, &full_at))
		return NULL;
	held = &taking->held[taking->held_count++];
	*held = (struct held){gate, full_at, gate_now(gate, taking->now_ns)};
	return held;
}

static void release_all(struct taking *taking)
{
	while (taking->held_count) {
		struct held *held = &taking->held[--taking->held_count];
		gate_release(held->gate, held->full_at);
	}
}

// Holds the gates of all claims, in order. One that was moved is looked for at the successor, and
// the order may then be another: start again with nothing held.
static void hold_all(struct taking *taking, const struct bucket_claim *claims)
{
	for (size_t i = 0; i < taking->count;) {
		if (i == 0) {
			sort(taking);
			for (size_t c = 0; c < taking->count; c++)
				limit_refresh(taking->claims[c].limit, taking->now_ns);
		}
		struct claimed *claimed = &taking->claims[i++];
		if (hold(taking, claimed->gate))
			continue;
		release_all(taking);
		aim(claimed, successor_of(claimed->limit), claims[claimed->index].key);
		i = 0;
	}
}

// After every gate of hold_all, in the same order of limits: no circle of waiting (limit.h).
static struct held *hold_overflow(struct taking *taking, struct claimed *claimed)
{
	struct held *held;
	gate_count(&claimed->limit->overflow_uses);
	while (!(held = hold(taking, &claimed->limit->gate)))
		claimed->limit = successor_of(claimed->limit);
	return held;
}

// Where the claim's tokens are, and by what time to judge.
static struct held *find_bucket(struct taking *taking, struct claimed *claimed, uint64_t **bucket)
{
	struct held *held = find_held(taking, claimed->gate);
	claimed->slot = NULL;
	claimed->bucket = NULL;
	if (claimed->shard)
		claimed->slot = split_find(claimed->limit->split, &claimed->limit->gcra,
		        claimed->shard, claimed->print, held->now_ns);
	if (claimed->shard && !claimed->slot)
		held = hold_overflow(taking, claimed);
	*bucket = claimed->slot ? &claimed->slot->full_at : &held->full_at;
	return held;
}

static void set_bucket(struct claimed *claimed, uint64_t *bucket, uint64_t full_at)
{
	*bucket = full_at;
	if (claimed->slot)
		shard_set(claimed->shard, claimed->slot, full_at);
}

// 0 when the tokens were taken, else how long they are not there.
static int64_t take_one(struct taking *taking, struct claimed *claimed)
{
	uint64_t *bucket;
	struct held *held = find_bucket(taking, claimed, &bucket);
	uint64_t after = claimed->before = *bucket;
	int64_t wait_ns = gcra_take(&claimed->limit->gcra, &after, claimed->tokens, held->now_ns);
	if (wait_ns)
		return wait_ns + (held->now_ns - taking->now_ns);
	claimed->bucket = bucket;
	set_bucket(claimed, bucket, after);
	return 0;
}

// In reverse order: the same bucket may have been taken from twice. The gates are still held, so
// nobody saw the tokens gone.
static void put_back(struct taking *taking)
{
	for (size_t i = taking->count; i-- > 0;) {
		struct claimed *claimed = &taking->claims[i];
		if (claimed->bucket)
			set_bucket(claimed, claimed->bucket, claimed->before);
	}
}

static int64_t take_held(struct taking *taking, size_t *refused_by)
{
	const struct claimed *refused = NULL;
	int64_t longest_ns = 0;
	for (size_t i = 0; i < taking->count; i++) {
		int64_t wait_ns = take_one(taking, &taking->claims[i]);
		if (wait_ns > longest_ns) {
			longest_ns = wait_ns;
			refused = &taking->claims[i];
		}
	}
	if (refused) {
		gate_count(&refused->gate->refused);
		*refused_by = refused->index;
	}
	if (refused || !taking->keep)
		put_back(taking);
	for (size_t i = 0; !refused && taking->keep && i < taking->count; i++)
		gate_count(&taking->claims[i].gate->granted);
	return longest_ns;
}

static void tell_claimed(
        struct bucket_claim *claims, const struct claimed *claimed, struct taking *taking)
{
	const struct held *held = find_held(
	        taking, claimed->slot ? claimed->gate : &claimed->limit->gate);
	tell(&claims[claimed->index], &claimed->limit->gcra,
	        claimed->bucket ? *claimed->bucket : claimed->before, held->now_ns);
}

struct bucket_left bucket_claim_left(const struct bucket_claim *claim)
{
	const struct gcra *gcra = claim->gcra;
	uint64_t left = claim->debt < gcra->depth ? gcra->depth - claim->debt : 0;
	uint64_t missing = claim->debt ? (claim->debt - 1) % gcra->step + 1 : 0;
	return (struct bucket_left){left / gcra->step,
	        (int64_t)((missing + gcra->scale - 1) / gcra->scale),
	        (int64_t)((claim->debt + gcra->scale - 1) / gcra->scale)};
}

static void begin(
        struct taking *taking, const struct bucket_claim *claims, size_t count, int64_t now_ns)
{
	CHECK(count <= BUCKET_CLAIMS_MAX);
	taking->count = count;
	taking->held_count = 0;
	taking->now_ns = now_ns;
	for (size_t i = 0; i < count; i++) {
		taking->claims[i].index = i;
		taking->claims[i].tokens = claims[i].tokens;
		aim(&taking->claims[i], claims[i].limit, claims[i].key);
	}
	hold_all(taking, claims);
}

static int64_t take_all(
        struct bucket_claim *claims, size_t count, int64_t now_ns, bool keep, size_t *refused_by)
{
	struct taking taking;
	begin(&taking, claims, count, now_ns);
	taking.keep = keep;
	int64_t wait_ns = take_held(&taking, refused_by);
	for (size_t i = 0; i < taking.count; i++)
		if (wait_ns == 0 || taking.claims[i].index == *refused_by)
			tell_claimed(claims, &taking.claims[i], &taking);
	release_all(&taking);
	return wait_ns;
}

int64_t bucket_take_all(
        struct bucket_claim *claims, size_t count, int64_t now_ns, size_t *refused_by)
{
	*refused_by = 0;
	if (count == 0)
		return 0;
	if (count == 1 && !claims[0].limit->split)
		return take_single(&claims[0], now_ns);
	return take_all(claims, count, now_ns, true, refused_by);
}

void bucket_limit_set_shared(struct bucket_limit *limit, bool shared)
{
	atomic_store_explicit(&limit->shared, shared, memory_order_relaxed);
}

void bucket_limit_count(struct bucket_limit *limit, bool granted)
{
	gate_count(granted ? &limit->gate.granted : &limit->gate.refused);
}

int64_t bucket_would_refuse(
        struct bucket_claim *claims, size_t count, int64_t now_ns, size_t *refused_by)
{
	*refused_by = 0;
	return take_all(claims, count, now_ns, false, refused_by);
}

int64_t bucket_borrow(const struct bucket_claim *claim, int64_t longest_ns, int64_t now_ns)
{
	const int64_t most_ns = (int64_t)BUCKET_BORROW_S * NS_PER_S;
	struct taking taking;
	uint64_t *bucket;
	begin(&taking, claim, 1, now_ns);
	struct claimed *claimed = &taking.claims[0];
	struct held *held = find_bucket(&taking, claimed, &bucket);
	uint64_t after = *bucket;
	int64_t wait_ns = gcra_borrow(&claimed->limit->gcra, &after, claimed->tokens,
	        longest_ns < most_ns ? longest_ns : most_ns, held->now_ns);
	if (wait_ns >= 0)
		set_bucket(claimed, bucket, after);
	gate_count(wait_ns >= 0 ? &claimed->gate->granted : &claimed->gate->refused);
	// Another's clock may be ahead, by which this was judged.
	int64_t ahead_ns = held->now_ns - now_ns;
	release_all(&taking);
	return wait_ns > 0 ? wait_ns + ahead_ns : wait_ns < 0 ? wait_ns - ahead_ns : 0;
}
