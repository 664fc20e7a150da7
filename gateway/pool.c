#include "gateway/pool.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/address.h"
#include "gateway/health_check.h"
#include "gateway/pending.h"
#include "gateway/upstream.h"

enum { REWEIGH_MS = 20 };  // while some weight grows

const struct config_backend *pool_config(const struct pool *pool)
{
	return &pool->snapshot->config->backends[pool->backend];
}

const struct snapshot_backend *pool_labels(const struct pool *pool)
{
	return &pool->snapshot->backends[pool->backend];
}

// The pool in force of a backend with this name, until the next takes charge; labels are interned.
static const struct pool *find_namesake(const struct worker *worker, const char *label)
{
	const struct list *head = &worker->pools;
	for (const struct list *node = head->previous; node != head; node = node->previous) {
		const struct pool *pool = LIST_ITEM(node, struct pool, node);
		if (!pool->retired && pool_labels(pool)->label == label)
			return pool;
	}
	return NULL;
}

static struct endpoint *find_endpoint(
        const struct pool *pool, const char *label, const struct config_address *address)
{
	for (size_t i = 0; i < pool->endpoint_count; i++) {
		struct endpoint *endpoint = pool->endpoints[i].endpoint;
		if (endpoint->label == label && address_equal(&endpoint->address, address))
			return endpoint;
	}
	return NULL;
}

// One that goes and comes back is the same while calls are under way there: what was found out
// about it still holds, and its connections count.
static struct endpoint *find_left_over(
        const struct pool *pool, const char *label, const struct config_address *address)
{
	LIST_EACH (&pool->worker->pools_retired, node) {
		const struct pool *other = LIST_ITEM(node, struct pool, left_over);
		bool akin = pool_labels(other)->label == pool_labels(pool)->label;
		struct endpoint *found = akin ? find_endpoint(other, label, address) : NULL;
		if (found)
			return found;
	}
	return NULL;
}

static struct endpoint *take_endpoint(
        const struct pool *pool, const struct pool *before, size_t index)
{
	const struct config_address *address = &pool_config(pool)->endpoints[index];
	const char *label = pool_labels(pool)->endpoint_labels[index];
	struct endpoint *endpoint = before ? find_endpoint(before, label, address) : NULL;
	if (endpoint)
		return endpoint_ref(endpoint);
	endpoint = find_left_over(pool, label, address);
	if (endpoint)
		endpoint_ref(endpoint);
	else
		endpoint = endpoint_new(pool->worker, pool_labels(pool)->label, label, address);
	if (before && !pool->retired)
		health_join(&endpoint->health, pool->worker->turn.now_ns);
	return endpoint;
}

static void note_panic(struct pool *pool, bool panic)
{
	if (pool->panic == panic)
		return;
	pool->panic = panic;
	log_event(panic ? LOG_ERROR : LOG_INFO,
	        panic ? "every endpoint is out, so all are asked" : "an endpoint is in again",
	        "backend=%s worker=%zu", pool_labels(pool)->label, pool->worker->index);
}

static bool leads_anywhere(const struct pool *pool)
{
	bool anywhere = false;
	for (size_t i = 0; i < pool->endpoint_count; i++)
		anywhere |= !pool->endpoints[i].endpoint->health.nowhere;
	return anywhere;
}

// Nobody is well: all are asked, if need be even those that lead nowhere.
static void weigh_all(struct pool *pool, bool anywhere)
{
	const uint32_t *weights = pool_config(pool)->weights;
	for (size_t i = 0; i < pool->endpoint_count; i++) {
		bool out = anywhere && pool->endpoints[i].endpoint->health.nowhere;
		pool->balance[i].weight = out ? 0 : weights[i];
	}
}

void pool_weigh(struct pool *pool)
{
	const struct config_backend *config = pool_config(pool);
	int64_t now_ns = pool->worker->turn.now_ns;
	bool panic = true;
	pool->health_changes = pool->worker->health_changes;
	pool->weigh_ns = INT64_MAX;
	for (size_t i = 0; i < pool->endpoint_count; i++) {
		const struct health *health = &pool->endpoints[i].endpoint->health;
		struct balance_endpoint *balance = &pool->balance[i];
		if (!balance->weight)
			balance->credit = 0;
		balance->weight = health_weight(
		        health, config->weights[i], config->slow_start_ns, now_ns);
		panic &= !balance->weight;
		if (health_warming(health, config->slow_start_ns, now_ns))
			pool->weigh_ns = now_ns + (int64_t)REWEIGH_MS * NS_PER_MS;
	}
	bool anywhere = panic && leads_anywhere(pool);
	if (panic)
		weigh_all(pool, anywhere);
	note_panic(pool, anywhere);
}

static void fill(struct pool *pool, const struct pool *before)
{
	for (size_t i = 0; i < pool->endpoint_count; i++) {
		pool->endpoints[i].endpoint = take_endpoint(pool, before, i);
		list_init(&pool->endpoints[i].roomy);
		pool->balance[i].active = &pool->endpoints[i].endpoint->active;
	}
	pool_weigh(pool);
	// Workers begin at different endpoints.
	for (size_t i = 0; i < pool->worker->index % pool->endpoint_count; i++)
		(void)balance_round_robin(pool->balance, pool->endpoint_count);
}

// In force from here on: what earlier ones knew stays, unless this one has no use for it.
static void take_charge(struct pool *pool)
{
	bool checked = pool_config(pool)->health_check.kind != HEALTH_CHECK_NONE;
	for (size_t i = 0; i < pool->endpoint_count; i++) {
		if (!pool_config(pool)->ejection.failures)
			endpoint_unejected(pool->endpoints[i].endpoint);
		if (checked && !pool_config(pool)->endpoints[i].unknown)
			pool->endpoints[i].check = health_check_start(pool, i);
		else
			endpoint_unchecked(pool->endpoints[i].endpoint);
	}
}

static void stop_checks(struct pool *pool)
{
	for (size_t i = 0; i < pool->endpoint_count; i++) {
		health_check_stop(pool->endpoints[i].check);
		pool->endpoints[i].check = NULL;
	}
}

// This worker's part of what all workers have together; of something at least one.
static size_t share_of(const struct worker *worker, uint64_t whole)
{
	uint64_t share = whole / worker->peers + (worker->index < whole % worker->peers);
	return whole && !share ? 1 : (size_t)share;
}

// The connections of a replaced configuration are under the ceiling of the one in force.
static void obey(struct pool *pool, const struct pool *in_force)
{
	pool->ceiling = in_force->ceiling;
	pool->pending_most = in_force->pending_most;
}

static void be_left_over(struct pool *pool)
{
	if (!list_linked(&pool->left_over))
		list_push(&pool->worker->pools_retired, &pool->left_over);
}

// `before`: the one in force until now, of which it takes over what is known of endpoints; or NULL.
static struct pool *open_pool(struct worker *worker, struct snapshot *snapshot, size_t backend,
        enum pool_use use, const struct pool *before)
{
	size_t count = snapshot->config->backends[backend].endpoint_count;
	struct pool *pool = must_alloc(sizeof(*pool) + count * sizeof(*pool->endpoints));
	pool->balance = must_alloc(count * sizeof(*pool->balance));
	pool->worker = worker;
	pool->snapshot = snapshot_ref(snapshot);
	pool->backend = backend;
	pool->use = use;
	pool->retired = snapshot != worker->snapshot;
	pool->endpoint_count = count;
	list_init(&pool->connections);
	list_init(&pool->pending);
	pool->ceiling = share_of(worker, pool_config(pool)->circuit_breaker.connections);
	pool->pending_most = share_of(worker, pool_config(pool)->circuit_breaker.pending);
	if (pool->retired && before)
		obey(pool, before);
	fill(pool, before);
	if (pool->retired)
		be_left_over(pool);  // not before it has its endpoints
	else if (use == POOL_OF_CALLS)
		take_charge(pool);
	if (pool->ceiling)
		pending_count_from_nought(pool);
	list_push(&worker->pools, &pool->node);
	return pool;
}

// Whether it is the same backend in both, addresses included: then they are of one origin, and no
// pool can tell them apart.
static bool is_same(const struct snapshot *a, const struct snapshot *b, size_t backend)
{
	return a == b || (a->policy == b->policy && a->config->backends[backend].edition ==
	                                                    b->config->backends[backend].edition);
}

struct pool *pool_of(
        struct worker *worker, struct snapshot *snapshot, size_t backend, enum pool_use use)
{
	if (use == POOL_OF_CALLS && is_same(snapshot, worker->snapshot, backend))
		return worker->pools_in_force[backend];
	LIST_EACH (&worker->pools, node) {
		struct pool *pool = LIST_ITEM(node, struct pool, node);
		if (pool->backend == backend && pool->use == use &&
		        is_same(pool->snapshot, snapshot, backend))
			return pool;
	}
	return open_pool(worker, snapshot, backend, use,
	        find_namesake(worker, snapshot->backends[backend].label));
}

static bool may_eject(const struct pool *pool)
{
	size_t ejected = 0, in = 0;
	for (size_t i = 0; i < pool->endpoint_count; i++) {
		const struct health *health = &pool->endpoints[i].endpoint->health;
		ejected += health->ejected;
		in += health_in(health);
	}
	return health_may_eject(&pool_config(pool)->ejection, pool->endpoint_count, ejected, in);
}

void pool_report(struct pool *pool, size_t endpoint, bool good)
{
	struct endpoint *asked = pool->endpoints[endpoint].endpoint;
	const struct config_ejection *ejection = &pool_config(pool)->ejection;
	if (good)
		health_succeeded(&asked->health);
	else if (health_failed(&asked->health, ejection) && may_eject(pool))
		endpoint_eject(asked, ejection);
}

bool pool_repeat_begins(struct pool *pool, unsigned budget)
{
	// Whoever asks has just failed, and counts too.
	uint64_t active = 1 + pool->waiting + pool->pending_count;
	for (size_t i = 0; i < pool->endpoint_count; i++)
		active += pool->endpoints[i].endpoint->active;
	if (pool->repeats >= POOL_REPEATS_FREE &&
	        pool->repeats * UINT64_C(100) >= active * budget) {
		if (pool->retired)
			pool_free_if_empty(pool);  // it may have been opened for this question
		return false;
	}
	pool->repeats++;
	return true;
}

void pool_repeat_ends(struct pool *pool)
{
	pool->repeats--;
	if (pool->retired)
		pool_free_if_empty(pool);
}

void pool_free_if_empty(struct pool *pool)
{
	if (pool->upstream_count || pool->repeats || pool->pending_count || pool->serving)
		return;
	list_remove(&pool->node);
	list_remove(&pool->left_over);
	stop_checks(pool);
	for (size_t i = 0; i < pool->endpoint_count; i++)
		endpoint_unref(pool->endpoints[i].endpoint);
	snapshot_unref(pool->snapshot);
	free(pool->balance);
	free(pool);
}

// Of these the one with that name, which mostly stands near where it stood in another
// configuration: whoever looks for each of thousands does not walk past all. NULL: there is none.
static struct pool *find_near(
        struct pool *const *pools, size_t count, size_t near, const char *label)
{
	for (size_t away = 0; away <= near || near + away < count; away++) {
		if (near + away < count && pool_labels(pools[near + away])->label == label)
			return pools[near + away];
		if (away <= near && near - away < count &&
		        pool_labels(pools[near - away])->label == label)
			return pools[near - away];
	}
	return NULL;
}

static void retire(struct pool *pool)
{
	const struct worker *worker = pool->worker;
	struct pool *next = find_near(worker->pools_in_force,
	        worker->snapshot->config->backend_count, pool->backend, pool_labels(pool)->label);
	if (next && !pool->retired)
		pool_adopt(next, pool);
	if (next)
		obey(pool, next);
	pool->retired = true;
	be_left_over(pool);
	stop_checks(pool);
	LIST_EACH (&pool->connections, connection)
		link_mark_dirty(&LIST_ITEM(connection, struct upstream, node)->link);
	pool_free_if_empty(pool);
}

// Of one whose addresses are the same, where only those of others have changed.
static struct pool *keep_pool(struct pool *pool, struct snapshot *snapshot)
{
	if (pool->retired || !is_same(pool->snapshot, snapshot, pool->backend))
		return NULL;
	struct snapshot *former = pool->snapshot;
	pool->snapshot = snapshot_ref(snapshot);
	snapshot_unref(former);
	return pool;
}

void pools_renew(struct worker *worker)
{
	struct snapshot *snapshot = worker->snapshot;
	size_t count = snapshot->config->backend_count, former_count = 0;
	struct pool **former = worker->pools_in_force;
	while (former && former[former_count])
		former_count++;
	// Where there was no backend the array ends at once.
	bool akin = former && former[0] && former[0]->snapshot->policy == snapshot->policy;
	worker->pools_in_force = must_alloc((count + 1) * sizeof(struct pool *));
	for (size_t i = 0; i < count; i++) {
		struct pool *kept = akin ? keep_pool(former[i], snapshot) : NULL;
		if (!kept)
			kept = open_pool(worker, snapshot, i, POOL_OF_CALLS,
			        find_near(former, former_count, i, snapshot->backends[i].label));
		worker->pools_in_force[i] = kept;
	}
	free(former);
	LIST_EACH (&worker->pools, node) {
		struct pool *pool = LIST_ITEM(node, struct pool, node);
		if (pool->snapshot != snapshot && !keep_pool(pool, snapshot))
			retire(pool);
	}
	worker_has_room(worker);
}

void pools_close(struct worker *worker)
{
	LIST_EACH (&worker->pools, node) {
		struct pool *pool = LIST_ITEM(node, struct pool, node);
		stop_checks(pool);
		LIST_EACH (&pool->connections, connection)
			upstream_close(LIST_ITEM(connection, struct upstream, node), ABORT_CLOSED);
	}
}

void pools_rest(struct worker *worker)
{
	LIST_EACH (&worker->pools, node) {
		struct pool *pool = LIST_ITEM(node, struct pool, node);
		stop_checks(pool);
		for (size_t i = 0; i < pool->endpoint_count; i++)
			endpoint_rest(pool->endpoints[i].endpoint);
	}
}

void pools_free(struct worker *worker)
{
	LIST_EACH (&worker->pools, node) {
		struct pool *pool = LIST_ITEM(node, struct pool, node);
		pool_free_if_empty(pool);
	}
	CHECK(list_empty(&worker->pools));
	free(worker->pools_in_force);
}
