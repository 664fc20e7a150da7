#include "gateway/limit_store.h"

#include <stdlib.h>

#include "base/clock.h"
#include "gateway/limit_script.h"
#include "gateway/limit_standing.h"
#include "gateway/limit_stock.h"
#include "gateway/redis.h"
#include "gateway/worker.h"
#include "tls/digest.h"

enum { SHARED_MAX = 16, WORDS_PER_CLAIM = 6 };  // a key and five arguments
_Static_assert(SHARED_MAX >= (int)BUCKET_CLAIMS_MAX, "every limit of a route may be shared");
_Static_assert(REDIS_RUN_WORDS + 1 + SHARED_MAX * WORDS_PER_CLAIM <= REDIS_WORDS_MAX,
        "a call of the script fits into a command");

#define LONGEST_US (INT64_MAX / 4 / NS_PER_US)  // that an answer may speak of

struct limit_store {
	struct worker *worker;
	struct redis *redis;
	struct limit_stock *stock;
	const struct config *config;  // whose server is asked; NULL: none
	struct limit_standing standing;
};

struct limit_ask {
	struct redis_call call;
	struct limit_store *store;
	struct policy_claim *claims;
	struct limit_id *ids;  // of each claim
	size_t count;
	size_t asked[SHARED_MAX];  // claims that the script was asked of, in its order
	size_t asked_count;
	int64_t asked_ns;
	void (*answered)(void *user);
	void *user;
};

static int64_t now_of(const struct limit_store *store)
{
	return store->worker->turn.now_ns;
}

static struct limit_id id_of(const struct policy_claim *claim)
{
	struct buffer text = {0};
	char hex[DIGEST_HEX_SIZE];
	struct limit_id id;
	buffer_append_str(&text, claim->name);
	buffer_append(&text, "", 1);
	buffer_append_str(&text, claim->key);
	digest_hex(buffer_str(&text), hex);
	buffer_fini(&text);
	memcpy(id.hex, hex, sizeof(id.hex));
	return id;
}

// Leased tokens are used, or lapse in the time in which the bucket would have refilled them.
static int64_t lease_ends_ns(const struct policy_claim *claim, int64_t now_ns)
{
	const struct config_rate_limit *limit = claim->config;
	double refill_ns = (double)limit->lease * (double)limit->rate.period_ns /
	                   (double)limit->rate.count;
	return now_ns + (refill_ns > NS_PER_S ? (int64_t)refill_ns : NS_PER_S);
}

// From what is known here. False when claims are refused, which ends the matter: all of them, for
// the longest wait is told.
static bool answer_from_stock(struct limit_ask *ask)
{
	struct limit_stock *stock = ask->store->stock;
	int64_t now_ns = now_of(ask->store);
	bool refused = false;
	for (size_t i = 0; i < ask->count; i++) {
		if (ask->claims[i].shadow)
			continue;
		ask->claims[i].wait_ns = limit_stock_wait(
		        stock, &ask->ids[i], ask->claims[i].tokens, now_ns);
		if (!ask->claims[i].wait_ns)
			continue;
		ask->claims[i].answer = POLICY_REFUSED;
		refused = true;
	}
	if (refused)
		return false;
	for (size_t i = 0; i < ask->count; i++)
		if (!limit_stock_take(stock, &ask->ids[i], ask->claims[i].tokens, now_ns)) {
			ask->asked[ask->asked_count++] = i;
		} else {
			ask->claims[i].answer = POLICY_GRANTED;
			ask->claims[i].left = (struct bucket_left){
			        limit_stock_tokens(stock, &ask->ids[i], now_ns), -1, -1};
		}
	return true;
}

static struct str key_word(const struct limit_ask *ask, size_t claim, struct arena *arena)
{
	return arena_join(arena,
	        (struct str[]){ask->store->config->redis.prefix.text, STR(":"),
	                ask->claims[claim].name, STR(":"),
	                str_of(ask->ids[claim].hex, sizeof(ask->ids[claim].hex))},
	        5);
}

static uint64_t wanted(const struct limit_ask *ask, size_t claim)
{
	if (ask->claims[claim].shadow)
		return 0;
	uint64_t lease = ask->claims[claim].config->lease, tokens = ask->claims[claim].tokens;
	int64_t timeout_ns = ask->store->config->redis.timeout_ns;
	return lease > tokens && limit_stock_order(ask->store->stock, &ask->ids[claim],
	                                 ask->asked_ns, ask->asked_ns + timeout_ns)
	               ? lease
	               : tokens;
}

static struct str *command_of(const struct limit_ask *ask, size_t *words, struct arena *arena)
{
	size_t most = REDIS_RUN_WORDS + 1 + ask->asked_count * WORDS_PER_CLAIM;
	struct str *command = arena_alloc(arena, most * sizeof(*command));
	size_t at = REDIS_RUN_WORDS;
	command[at++] = arena_digits(arena, ask->asked_count);
	for (size_t i = 0; i < ask->asked_count; i++)
		command[at++] = key_word(ask, ask->asked[i], arena);
	for (size_t i = 0; i < ask->asked_count; i++) {
		const struct config_rate_limit *limit = ask->claims[ask->asked[i]].config;
		command[at++] = arena_digits(arena, limit->rate.count);
		command[at++] = arena_digits(arena, (uint64_t)limit->rate.period_ns / NS_PER_US);
		command[at++] = arena_digits(arena, limit->burst);
		command[at++] = arena_digits(arena, ask->claims[ask->asked[i]].tokens);
		command[at++] = arena_digits(arena, wanted(ask, ask->asked[i]));
	}
	*words = at;
	return command;
}

static void fail(struct limit_ask *ask, enum redis_outcome outcome)
{
	static const char *const words[] = {
	        [REDIS_REPLIED] = "error",  // of a kind that says nothing
	        [REDIS_ERROR] = "error",
	        [REDIS_TIMEOUT] = "timeout",
	        [REDIS_DISCONNECTED] = "disconnected",
	};
	for (size_t i = 0; i < ask->asked_count; i++) {
		struct policy_claim *claim = &ask->claims[ask->asked[i]];
		claim->answer = POLICY_FAILED;
		claim->failure = words[outcome];
		limit_stock_arrived(ask->store->stock, &ask->ids[ask->asked[i]]);
	}
	metrics_limit_store(ask->store->worker->metrics, words[outcome]);
}

// {1, and for each its tokens, what is left, and the microseconds until it is full}
static bool is_grant(const struct limit_ask *ask, const struct redis_reply *reply)
{
	if (reply->number_count != 1 + 3 * ask->asked_count)
		return false;
	for (size_t i = 0; i < ask->asked_count; i++) {
		const int64_t *numbers = &reply->numbers[1 + 3 * i];
		const struct policy_claim *claim = &ask->claims[ask->asked[i]];
		bool refused = claim->shadow && numbers[0] == 0;
		if ((!refused && numbers[0] < (int64_t)claim->tokens) || numbers[1] < 0 ||
		        numbers[2] < 0 || numbers[2] > LONGEST_US)
			return false;
	}
	return true;
}

// The script tells when the bucket is full: all that is missing but one token comes after the next.
static struct bucket_left left_of(
        const struct config_rate_limit *limit, uint64_t tokens, int64_t full_in_ns)
{
	if (tokens >= limit->burst)
		return (struct bucket_left){tokens, 0, full_in_ns};
	int64_t after_ns = (int64_t)((unsigned __int128)(limit->burst - tokens - 1) *
	                             (uint64_t)limit->rate.period_ns / limit->rate.count);
	return (struct bucket_left){
	        tokens, full_in_ns > after_ns ? full_in_ns - after_ns : 1, full_in_ns};
}

static bool take_grant(struct limit_ask *ask, const struct redis_reply *reply)
{
	int64_t now_ns = now_of(ask->store);
	if (!is_grant(ask, reply))
		return false;
	for (size_t i = 0; i < ask->asked_count; i++) {
		struct policy_claim *claim = &ask->claims[ask->asked[i]];
		const struct limit_id *id = &ask->ids[ask->asked[i]];
		const int64_t *numbers = &reply->numbers[1 + 3 * i];
		uint64_t given = (uint64_t)numbers[0];
		uint64_t leased = given > claim->tokens ? given - claim->tokens : 0;
		claim->left = left_of(claim->config, (uint64_t)numbers[1], numbers[2] * NS_PER_US);
		claim->left.tokens += leased;
		claim->answer = given ? POLICY_GRANTED : POLICY_REFUSED;
		if (leased)
			limit_stock_add(ask->store->stock, id, leased, claim->config->lease, now_ns,
			        lease_ends_ns(claim, now_ns));
		limit_stock_arrived(ask->store->stock, id);
	}
	metrics_limit_store(ask->store->worker->metrics, "granted");
	return true;
}

// {0, number, microseconds}
static bool take_refusal(struct limit_ask *ask, const struct redis_reply *reply)
{
	int64_t now_ns = now_of(ask->store);
	if (reply->number_count != 3 || reply->numbers[1] < 1 ||
	        (size_t)reply->numbers[1] > ask->asked_count || reply->numbers[2] < 1 ||
	        reply->numbers[2] > LONGEST_US)
		return false;
	size_t refused = ask->asked[reply->numbers[1] - 1];
	ask->claims[refused].answer = POLICY_REFUSED;
	ask->claims[refused].wait_ns = reply->numbers[2] * NS_PER_US;
	limit_stock_refuse(ask->store->stock, &ask->ids[refused], ask->claims[refused].tokens,
	        now_ns + ask->claims[refused].wait_ns, now_ns);
	for (size_t i = 0; i < ask->asked_count; i++)
		limit_stock_arrived(ask->store->stock, &ask->ids[ask->asked[i]]);
	metrics_limit_store(ask->store->worker->metrics, "refused");
	return true;
}

static void tell_standing(
        struct limit_store *store, bool understood, const struct redis_reply *reply)
{
	if (understood)
		limit_standing_answered(&store->standing, &store->config->redis);
	else if (!redis_reply_tells(reply, "READONLY"))  // which ends the connection, and tells why
		limit_standing_erred(&store->standing, &store->config->redis, reply);
}

static void on_replied(
        struct redis_call *call, enum redis_outcome outcome, const struct redis_reply *reply)
{
	struct limit_ask *ask = CONTAINER_OF(call, struct limit_ask, call);
	bool understood = false;
	if (outcome == REDIS_REPLIED) {
		metrics_limit_store_duration(
		        ask->store->worker->metrics, clock_monotonic_ns() - ask->asked_ns);
		bool granted = reply->number_count && reply->numbers[0] == 1;
		understood = granted ? take_grant(ask, reply) : take_refusal(ask, reply);
	}
	if (reply && ask->store->config)
		tell_standing(ask->store, understood, reply);
	if (!understood)
		fail(ask, outcome);
	ask->answered(ask->user);
}

struct limit_ask *limit_store_ask(struct limit_store *store, struct policy_claim *claims,
        size_t count, struct arena *arena, void (*answered)(void *user), void *user)
{
	struct limit_ask *ask = arena_zalloc(arena, sizeof(*ask));
	size_t words;
	ask->call.replied = on_replied;
	ask->store = store;
	ask->claims = claims;
	ask->count = count;
	ask->asked_ns = clock_monotonic_ns();
	ask->answered = answered;
	ask->user = user;
	ask->ids = arena_alloc(arena, count * sizeof(*ask->ids));
	for (size_t i = 0; i < count; i++)
		ask->ids[i] = id_of(&claims[i]);
	if (!answer_from_stock(ask) || !ask->asked_count)
		return NULL;
	enum redis_outcome outcome = REDIS_DISCONNECTED;
	if (store->config) {
		struct str *command = command_of(ask, &words, arena);
		outcome = redis_run(store->redis, &ask->call, command, words);
	}
	if (outcome == REDIS_REPLIED)
		return ask;
	fail(ask, outcome);
	return NULL;
}

void limit_store_drop(struct limit_ask *ask)
{
	redis_take_back(&ask->call);
	limit_store_give_back(ask->store, ask->claims, ask->count);
}

void limit_store_give_back(
        struct limit_store *store, const struct policy_claim *claims, size_t count)
{
	int64_t now_ns = now_of(store);
	for (size_t i = 0; i < count; i++) {
		if (claims[i].answer != POLICY_GRANTED)
			continue;
		struct limit_id id = id_of(&claims[i]);
		// As many as come back: each was taken from the bucket.
		limit_stock_add(store->stock, &id, claims[i].tokens, claims[i].config->burst,
		        now_ns, lease_ends_ns(&claims[i], now_ns));
	}
}

static uint64_t random_of(void *user)
{
	struct limit_store *store = user;
	return worker_random(store->worker);
}

// What is known of another server's buckets says nothing of this one's.
static void forget_stock(struct limit_store *store)
{
	limit_stock_free(store->stock);
	store->stock = limit_stock_new();
}

static void on_connected(void *user, bool another)
{
	struct limit_store *store = user;
	if (another)
		forget_stock(store);
	metrics_limit_store_connections(store->worker->metrics, 1);
	limit_standing_connected(&store->standing, &store->config->redis);
}

static void on_lost(void *user, const char *why, bool was_connected)
{
	struct limit_store *store = user;
	if (was_connected)
		metrics_limit_store_connections(store->worker->metrics, -1);
	if (!store->config || !why)
		return;  // nobody asks any more, or another is asked
	limit_standing_lost(&store->standing, &store->config->redis, why);
}

static void on_closed(void *user)
{
	struct limit_store *store = user;
	worker_settle(store->worker);
}

struct limit_store *limit_store_new(struct worker *worker)
{
	struct limit_store *store = must_alloc(sizeof(*store));
	const struct redis_owner owner = {store, random_of, on_connected, on_lost, on_closed};
	store->worker = worker;
	store->standing.worker = worker;
	store->redis = redis_new(&worker->turn, &owner, str_from(limit_script));
	store->stock = limit_stock_new();
	return store;
}

void limit_store_free(struct limit_store *store)
{
	redis_free(store->redis);
	limit_stock_free(store->stock);
	free(store);
}

static bool route_asks(const struct config_route *route)
{
	for (size_t i = 0; i < route->rate_limit_count; i++)
		if (route->rate_limits[i].store == STORE_REDIS)
			return true;
	return false;
}

// A server that is named for no limit is left alone, and not missed.
static bool asks(const struct config *config)
{
	for (size_t i = 0; i < config->listener_count; i++)
		for (size_t j = 0; j < config->listeners[i].route_count; j++)
			if (route_asks(&config->listeners[i].routes[j]))
				return true;
	return false;
}

void limit_store_use(struct limit_store *store, struct config *config)
{
	bool named = config && config->redis.address.kind != ADDRESS_NONE && asks(config);
	store->config = named ? config : NULL;
	if (named)  // without a connection too: 0 is what whoever watches it waits for
		metrics_limit_store_connections(store->worker->metrics, 0);
	redis_use(store->redis, named ? config_ref(config) : NULL);
}

bool limit_store_open(const struct limit_store *store)
{
	return redis_open(store->redis);
}
