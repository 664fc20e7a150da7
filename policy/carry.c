#include "policy/limit.h"

// Every bucket behind a gate that is held.
static void sweep_shard(
        const struct gcra *gcra, struct shard *shard, int64_t swept_ns, int64_t now_ns)
{
	// In the order of slots: what moves is raised to one and the same moment, so the order of
	// the heap stands whatever the sequence.
	for (uint32_t i = 0; i < shard_used(shard); i++) {
		struct shard_slot *slot = &shard->slots[shard->heap[i]];
		slot->full_at = gcra_sweep(gcra, slot->full_at, swept_ns, now_ns);
	}
	if (shard_used(shard))
		atomic_store_explicit(
		        &shard->earliest, shard_earliest(shard)->full_at, memory_order_relaxed);
}

static void sweep(struct bucket_limit *limit, int64_t swept_ns, int64_t now_ns)
{
	const struct gcra *gcra = &limit->gcra;
	uint64_t full_at;
	if (gate_hold(&limit->gate, &full_at)) {
		int64_t gate_ns = gate_now(&limit->gate, now_ns);
		full_at = swept_ns == SWEPT_NEVER ? gcra_moment(gcra, gate_ns)
		                                  : gcra_sweep(gcra, full_at, swept_ns, gate_ns);
		gate_release(&limit->gate, full_at);
	}
	for (uint32_t i = 0; limit->split && i < limit->split->shard_count; i++) {
		struct shard *shard = &limit->split->shards[i];
		if (!gate_hold(&shard->gate, &full_at))
			continue;
		sweep_shard(gcra, shard, swept_ns, gate_now(&shard->gate, now_ns));
		gate_release(&shard->gate, 0);
	}
}

static bool sweep_due(const struct bucket_limit *limit, int64_t swept_ns, int64_t now_ns)
{
	return swept_ns == SWEPT_NEVER || (__int128)now_ns - swept_ns > limit->gcra.sweep_ns;
}

void limit_refresh(struct bucket_limit *limit, int64_t now_ns)
{
	int64_t swept_ns = atomic_load_explicit(&limit->swept_ns, memory_order_acquire);
	if (__builtin_expect(!sweep_due(limit, swept_ns, now_ns), 1))
		return;
	pthread_mutex_lock(&limit->sweeping);
	swept_ns = atomic_load_explicit(&limit->swept_ns, memory_order_relaxed);
	if (sweep_due(limit, swept_ns, now_ns)) {
		sweep(limit, swept_ns, now_ns);
		atomic_store_explicit(&limit->swept_ns, now_ns, memory_order_release);
	}
	pthread_mutex_unlock(&limit->sweeping);
}

// The single bucket; or the overflow bucket, which owes as much as any bucket that found no place.
static void owe(struct bucket_limit *to, uint64_t full_at)
{
	uint64_t word;
	CHECK(gate_hold(&to->gate, &word));
	gate_release(&to->gate, (int64_t)(full_at - word) > 0 ? full_at : word);
}

static void carry_slot(struct bucket_limit *from, struct bucket_limit *to,
        const struct shard_slot *slot, int64_t now_ns)
{
	if (gcra_debt(&from->gcra, slot->full_at, now_ns) == 0)
		return;
	uint64_t full_at = gcra_convert(&from->gcra, slot->full_at, &to->gcra, now_ns), word;
	struct shard *shard = split_shard(to->split, slot->print);
	CHECK(gate_hold(&shard->gate, &word));
	int64_t gate_ns = gate_now(&shard->gate, now_ns);
	struct shard_slot *place = split_find(to->split, &to->gcra, shard, slot->print, gate_ns);
	if (place)
		shard_set(shard, place, full_at);
	gate_release(&shard->gate, 0);
	if (!place)
		owe(to, full_at);
}

// A move is one-way: the counters go along, then the gate is closed.
static void close_gate(struct gate *from, struct gate *to)
{
	atomic_fetch_add_explicit(&to->granted, from->granted, memory_order_relaxed);
	atomic_fetch_add_explicit(&to->refused, from->refused, memory_order_relaxed);
	gate_release(from, GATE_MOVED);
}

static void carry_single(struct bucket_limit *from, struct bucket_limit *to, int64_t now_ns)
{
	uint64_t word;
	CHECK(gate_hold(&from->gate, &word));
	int64_t gate_ns = gate_now(&to->gate, gate_now(&from->gate, now_ns));
	owe(to, gcra_convert(&from->gcra, word, &to->gcra, gate_ns));
	close_gate(&from->gate, &to->gate);
}

static void carry_shard(
        struct bucket_limit *from, struct bucket_limit *to, struct shard *shard, int64_t now_ns)
{
	uint64_t word;
	CHECK(gate_hold(&shard->gate, &word));
	int64_t gate_ns = gate_now(&shard->gate, now_ns);
	for (uint32_t place = 0; place < shard_used(shard); place++)
		carry_slot(from, to, &shard->slots[shard->heap[place]], gate_ns);
	close_gate(&shard->gate, &to->gate);
	// Who still comes looks at the gate alone. An old snapshot may live for long.
	shard_fini(shard);
}

void limit_carry(struct bucket_limit *from, struct bucket_limit *to, int64_t now_ns)
{
	limit_refresh(from, now_ns);
	limit_refresh(to, now_ns);
	atomic_fetch_add_explicit(&to->overflow_uses, from->overflow_uses, memory_order_relaxed);
	atomic_store_explicit(&from->successor, to, memory_order_release);
	// The single or overflow bucket first: until it is there nobody is sent to `to`.
	carry_single(from, to, now_ns);
	for (uint32_t i = 0; from->split && i < from->split->shard_count; i++)
		carry_shard(from, to, &from->split->shards[i], now_ns);
}
