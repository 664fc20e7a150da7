#include <stdlib.h>
#include <sys/random.h>

#include "policy/limit.h"

static struct bucket_limit **chain_of(struct bucket_store *store, struct str name)
{
	return &store->chains[str_hash(name, store->seed.low) % ARRAY_LEN(store->chains)];
}

struct bucket_store *bucket_store_new(void)
{
	struct bucket_store *store = must_alloc(sizeof(*store));
	pthread_mutex_init(&store->mutex, NULL);
	// Not the seed of a mere hash table: who knew it could make two keys share a bucket.
	CHECK(getrandom(&store->seed, sizeof(store->seed), 0) == sizeof(store->seed));
	return store;
}

void bucket_store_free(struct bucket_store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < ARRAY_LEN(store->chains); i++)
		CHECK(!store->chains[i]);
	CHECK(!store->tallies);
	pthread_mutex_destroy(&store->mutex);
	free(store);
}

struct bucket_limit *limit_new(struct bucket_store *store, struct str name, struct bucket_rate rate,
        bool keyed, uint64_t max_keys)
{
	struct bucket_limit *limit = must_alloc(sizeof(*limit));
	limit->gcra = gcra_of(rate);
	limit->split = keyed ? split_new(max_keys) : NULL;
	limit->seed = store->seed;
	limit->swept_ns = SWEPT_NEVER;
	pthread_mutex_init(&limit->sweeping, NULL);
	limit->order = store->orders++;
	limit->store = store;
	limit->rate = rate;
	limit->name = str_of(must_copy(name.at, name.len), name.len);
	limit->references = 1;
	return limit;
}

static void limit_free(struct bucket_limit *limit)
{
	pthread_mutex_destroy(&limit->sweeping);
	split_free(limit->split);
	free((char *)limit->name.at);
	free(limit);
}

static void link_limit(struct bucket_limit *limit)
{
	struct bucket_limit **chain = chain_of(limit->store, limit->name);
	limit->next = *chain;
	*chain = limit;
}

// One that was replaced is not in its chain any more.
static void unlink_limit(struct bucket_limit *limit)
{
	struct bucket_limit **at = chain_of(limit->store, limit->name);
	while (*at && *at != limit)
		at = &(*at)->next;
	if (*at)
		*at = limit->next;
}

struct bucket_limit *limit_find(struct bucket_store *store, struct str name)
{
	struct bucket_limit *limit = *chain_of(store, name);
	while (limit && !str_eq(limit->name, name))
		limit = limit->next;
	return limit;
}

bool limit_is_kind(const struct bucket_limit *limit, bool keyed)
{
	return (limit->split != NULL) == keyed;
}

static bool is_same(const struct bucket_limit *limit, struct bucket_rate rate, uint64_t max_keys)
{
	return limit->rate.count == rate.count && limit->rate.period_ns == rate.period_ns &&
	       limit->rate.burst == rate.burst &&
	       (!limit->split || limit->split->max_keys == max_keys);
}

struct bucket_limit *bucket_limit_get(struct bucket_store *store, struct str name,
        struct bucket_rate rate, bool keyed, uint64_t max_keys, int64_t now_ns)
{
	pthread_mutex_lock(&store->mutex);
	struct bucket_limit *limit = limit_find(store, name);
	if (limit && limit_is_kind(limit, keyed) && is_same(limit, rate, max_keys)) {
		limit->references++;
	} else {
		struct bucket_limit *former = limit;
		limit = limit_new(store, name, rate, keyed, max_keys);
		if (former)
			unlink_limit(former);
		if (former && limit_is_kind(former, keyed)) {
			limit->order = former->order;
			limit->references++;
			limit_carry(former, limit, now_ns);
		}
		link_limit(limit);
	}
	pthread_mutex_unlock(&store->mutex);
	return limit;
}

void bucket_limit_unref(struct bucket_limit *limit)
{
	if (!limit)
		return;
	struct bucket_store *store = limit->store;
	pthread_mutex_lock(&store->mutex);
	while (limit && --limit->references == 0) {
		struct bucket_limit *successor = limit->successor;
		unlink_limit(limit);
		limit_free(limit);
		limit = successor;
	}
	pthread_mutex_unlock(&store->mutex);
}

static void view_gate(struct bucket_view *view, const struct gate *gate)
{
	view->granted += atomic_load_explicit(&gate->granted, memory_order_relaxed);
	view->refused += atomic_load_explicit(&gate->refused, memory_order_relaxed);
}

static void view_tokens(
        struct bucket_view *view, const struct gcra *gcra, uint64_t full_at, int64_t now_ns)
{
	double tokens = gcra_tokens(gcra, full_at, now_ns);
	if (tokens < view->fill)
		view->fill = tokens;
}

static void view_shard(
        struct bucket_view *view, const struct gcra *gcra, struct shard *shard, int64_t now_ns)
{
	uint64_t word;
	CHECK(gate_hold(&shard->gate, &word));
	int64_t gate_ns = gate_now(&shard->gate, now_ns);
	for (uint32_t i = 0; i < shard_used(shard); i++)
		view_tokens(view, gcra, shard->slots[shard->heap[i]].full_at, gate_ns);
	gate_release(&shard->gate, word);
	view->keys_used += shard_used(shard);
	view_gate(view, &shard->gate);
}

static struct bucket_view view_limit(struct bucket_limit *limit, int64_t now_ns)
{
	struct bucket_view view = {
	        .name = limit->name,
	        .shared = atomic_load_explicit(&limit->shared, memory_order_relaxed),
	        .rate = limit->rate,
	        .max_keys = limit->split ? limit->split->max_keys : 0,
	        .overflow_uses = atomic_load_explicit(&limit->overflow_uses, memory_order_relaxed),
	        .fill = (double)limit->rate.burst,
	};
	uint64_t word;
	limit_refresh(limit, now_ns);
	CHECK(gate_hold(&limit->gate, &word));
	view_tokens(&view, &limit->gcra, word, gate_now(&limit->gate, now_ns));
	gate_release(&limit->gate, word);
	view_gate(&view, &limit->gate);
	for (uint32_t i = 0; limit->split && i < limit->split->shard_count; i++)
		view_shard(&view, &limit->gcra, &limit->split->shards[i], now_ns);
	return view;
}

void bucket_store_each(struct bucket_store *store, int64_t now_ns,
        void (*visit)(const struct bucket_view *, void *), void *argument)
{
	pthread_mutex_lock(&store->mutex);
	for (size_t i = 0; i < ARRAY_LEN(store->chains); i++)
		for (struct bucket_limit *limit = store->chains[i]; limit; limit = limit->next) {
			struct bucket_view view = view_limit(limit, now_ns);
			visit(&view, argument);
		}
	pthread_mutex_unlock(&store->mutex);
}
