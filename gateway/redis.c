#include "gateway/redis.h"

#include <stdlib.h>

#include "base/clock.h"
#include "gateway/redis_inside.h"

static void on_again(struct timer *timer)
{
	redis_connect(CONTAINER_OF(timer, struct redis, again));
}

struct redis *redis_new(struct turn *turn, const struct redis_owner *owner, struct str script)
{
	struct redis *redis = must_alloc(sizeof(*redis));
	redis->turn = turn;
	redis->owner = *owner;
	redis->script = script;
	timer_init(&redis->again, on_again);
	list_init(&redis->early);
	return redis;
}

void redis_free(struct redis *redis)
{
	CHECK(!redis->open && !redis->config);
	free(redis);
}

static bool same_server(const struct config *a, const struct config *b)
{
	return a && b && str_eq(a->redis.address.text, b->redis.address.text) &&
	       a->redis.address.socket_len == b->redis.address.socket_len &&
	       memcmp(&a->redis.address.socket, &b->redis.address.socket,
	               a->redis.address.socket_len) == 0 &&
	       str_eq(a->redis.username.text, b->redis.username.text) &&
	       str_eq(a->redis.password, b->redis.password) &&
	       a->redis.database == b->redis.database;
}

// The one in use stays until the other server has greeted, or has not.
static void change_server(struct redis *redis)
{
	turn_stop_timer(redis->turn, &redis->again);
	redis->failures = 0;
	if (redis->connection)
		redis->connection->former = true;
	redis->changed = true;
	if (redis->next) {
		redis->next->leaving = true;
		redis_drop(redis->next, NULL);
	}
	if (redis->config) {
		redis_connect(redis);
		return;
	}
	if (redis->connection)
		redis_drop(redis->connection, NULL);
	if (redis->leaving)
		redis_drop(redis->leaving, NULL);
}

void redis_use(struct redis *redis, struct config *config)
{
	struct config *former = redis->config;
	redis->config = config;
	redis->fresh |= !former && config;
	if (!same_server(former, config))
		change_server(redis);
	if (former)
		config_free(former);
}

bool redis_open(const struct redis *redis)
{
	return redis->open > 0;
}

// The slot stays: the server still owes that reply.
void redis_take_back(struct redis_call *call)
{
	if (call->redis)
		turn_stop_timer(call->redis->turn, &call->deadline);
	if (call->slot)
		call->slot->call = NULL;
	call->slot = NULL;
	if (!list_linked(&call->early))
		return;
	list_remove(&call->early);
	call->redis->early_count--;
}

void redis_end_call(
        struct redis_call *call, enum redis_outcome outcome, const struct redis_reply *reply)
{
	redis_take_back(call);
	call->replied(call, outcome, reply);
}

static void on_deadline(struct timer *timer)
{
	struct redis_call *call = CONTAINER_OF(timer, struct redis_call, deadline);
	if (!call->slot) {
		redis_end_call(call, REDIS_TIMEOUT, NULL);
		return;
	}
	struct redis_connection *connection = call->slot->connection;
	call->slot->overdue = true;
	if (connection->overdue++ == 0)
		turn_set_timer(call->redis->turn, &connection->timer,
		        (int64_t)REDIS_PATIENCE_MS * NS_PER_MS);
	redis_end_call(call, REDIS_TIMEOUT, NULL);
}

static void put(struct redis_call *call)
{
	struct redis *redis = call->redis;
	call->command[0] = STR("EVALSHA");
	call->command[1] = str_of(redis->script_name, redis->script_name_len);
	call->slot = redis_ask(redis->connection, call->command, call->words);
	call->slot->call = call;
}

static struct redis_call *pop_early(struct redis *redis)
{
	struct list *node = list_pop(&redis->early);
	redis->early_count -= node != NULL;
	return node ? LIST_ITEM(node, struct redis_call, early) : NULL;
}

void redis_begin_early(struct redis *redis)
{
	redis->fresh = false;
	for (struct redis_call *call; (call = pop_early(redis));)
		put(call);
}

void redis_fail_early(struct redis *redis)
{
	redis->fresh = false;
	for (struct redis_call *call; (call = pop_early(redis));)
		redis_end_call(call, REDIS_DISCONNECTED, NULL);
}

enum redis_outcome redis_run(
        struct redis *redis, struct redis_call *call, struct str *command, size_t words)
{
	const struct redis_connection *connection = redis->connection;
	CHECK(words <= REDIS_WORDS_MAX);
	if (!connection && !redis->fresh)
		return REDIS_DISCONNECTED;
	if (redis->early_count >= REDIS_CALLS_MAX ||
	        (connection && (connection->overdue || connection->slot_count >= REDIS_CALLS_MAX)))
		return REDIS_TIMEOUT;
	call->redis = redis;
	call->command = command;
	call->words = words;
	if (connection) {
		put(call);
	} else {
		list_push(&redis->early, &call->early);
		redis->early_count++;
	}
	timer_init(&call->deadline, on_deadline);
	turn_set_timer(redis->turn, &call->deadline, redis_server(redis)->timeout_ns);
	return REDIS_REPLIED;
}
