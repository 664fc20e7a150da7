#include "gateway/redis.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/spare.h"
#include "gateway/net/link.h"

// A reply that is owed: in the order in which the server gives them.
struct redis_slot {
	struct list node;
	struct redis_call *call;  // NULL: nobody waits any more
	bool overdue;
};

struct connection {
	struct link link;
	struct grave grave;
	struct redis *redis;
	struct redis_replies *replies;
	struct list slots;
	size_t slot_count, overdue;
	unsigned greetings;  // replies owed before calls may come
	bool ready, dropped;
	struct timer timer;  // greeting, then patience
};

struct redis {
	struct turn *turn;
	struct redis_owner owner;
	struct str script;
	char script_name[REDIS_TEXT_MAX];  // by which the server knows it
	size_t script_name_len;
	struct config *config;          // NULL: nobody asks
	struct connection *connection;  // NULL: none, or waiting to try again
	size_t open;                    // connections, with those being closed
	unsigned failures;              // in a row
	struct timer again;
};

static const struct config_redis *server_of(const struct redis *redis)
{
	return &redis->config->redis;
}

static void end_call(
        struct redis_call *call, enum redis_outcome outcome, const struct redis_reply *reply)
{
	redis_take_back(call);
	call->replied(call, outcome, reply);
}

static void pop(struct connection *connection, struct redis_slot *slot)
{
	list_remove(&slot->node);
	connection->slot_count--;
	connection->overdue -= slot->overdue;
	spare_free(slot);
}

static void try_again_later(struct redis *redis)
{
	unsigned doublings = redis->failures < 10 ? redis->failures : 10;
	int64_t wait_ms = (int64_t)REDIS_BACKOFF_MS << doublings;
	if (wait_ms > REDIS_BACKOFF_MS_MAX)
		wait_ms = REDIS_BACKOFF_MS_MAX;
	// Gateways that lost the server at one moment do not all come back at one.
	wait_ms += (int64_t)(redis->owner.random(redis->owner.user) % (uint64_t)(wait_ms / 2 + 1));
	redis->failures++;
	turn_set_timer(redis->turn, &redis->again, wait_ms * NS_PER_MS);
}

// Whoever waits hears of it only when the connection is no longer the one in use: they may ask
// again from within.
static void drop(struct connection *connection, const char *why)
{
	struct redis *redis = connection->redis;
	if (connection->dropped)
		return;
	connection->dropped = true;
	redis->connection = NULL;
	turn_stop_timer(redis->turn, &connection->timer);
	link_close(&connection->link);
	if (redis->config)
		try_again_later(redis);
	redis->owner.lost(redis->owner.user, why, connection->ready);
	while (!list_empty(&connection->slots)) {
		struct redis_slot *slot = LIST_ITEM(
		        connection->slots.next, struct redis_slot, node);
		struct redis_call *call = slot->call;
		pop(connection, slot);
		if (!call)
			continue;
		call->slot = NULL;
		end_call(call, REDIS_DISCONNECTED, NULL);
	}
}

static void on_timer(struct timer *timer)
{
	struct connection *connection = CONTAINER_OF(timer, struct connection, timer);
	drop(connection, connection->ready ? "an answer is overdue" : "no answer to the greeting");
}

static struct redis_slot *ask(struct connection *connection, const struct str *words, size_t count)
{
	struct redis_slot *slot = must_spare(sizeof(*slot));
	list_push(&connection->slots, &slot->node);
	connection->slot_count++;
	redis_command_append(&connection->link.plain, words, count);
	link_mark_dirty(&connection->link);
	return slot;
}

static void greet(struct connection *connection, const struct str *words, size_t count)
{
	(void)ask(connection, words, count);
	connection->greetings++;
}

static void on_opened(struct link *link)
{
	struct connection *connection = CONTAINER_OF(link, struct connection, link);
	const struct config_redis *server = server_of(connection->redis);
	struct str user = server->username.text;
	char digits[24];
	if (user.len)
		greet(connection, (struct str[]){STR("AUTH"), user, server->password}, 3);
	else if (server->password.len)
		greet(connection, (struct str[]){STR("AUTH"), server->password}, 2);
	if (server->database) {
		int len = snprintf(
		        digits, sizeof(digits), "%llu", (unsigned long long)server->database);
		greet(connection, (struct str[]){STR("SELECT"), str_of(digits, (size_t)len)}, 2);
	}
	greet(connection, (struct str[]){STR("SCRIPT"), STR("LOAD"), connection->redis->script}, 3);
}

// Error codes are the server's words for operators; the rest of its message stays unsaid.
static const char *greeting_refused(const struct redis_reply *reply)
{
	if (redis_reply_is(reply, "WRONGPASS") || redis_reply_is(reply, "NOAUTH"))
		return "the server refuses the password";
	if (redis_reply_is(reply, "NOPERM"))
		return "the server forbids a command";
	if (redis_reply_is(reply, "LOADING"))
		return "the server is loading its data";
	return "the server refuses the greeting";
}

static void on_greeting(struct connection *connection, const struct redis_reply *reply)
{
	struct redis *redis = connection->redis;
	if (reply->error) {
		drop(connection, greeting_refused(reply));
		return;
	}
	if (--connection->greetings)
		return;
	memcpy(redis->script_name, reply->text, reply->text_len);
	redis->script_name_len = reply->text_len;
	redis->failures = 0;
	connection->ready = true;
	turn_stop_timer(redis->turn, &connection->timer);
	redis->owner.connected(redis->owner.user);
}

// With the script itself, after which the server knows it by name again.
static void run_anew(struct connection *connection, struct redis_call *call)
{
	struct str words[REDIS_WORDS_MAX];
	memcpy(words, call->command, call->words * sizeof(*words));
	words[0] = STR("EVAL");
	words[1] = connection->redis->script;
	call->slot = ask(connection, words, call->words);
	call->slot->call = call;
}

static void on_reply(struct connection *connection, const struct redis_reply *reply)
{
	struct redis_slot *slot = LIST_ITEM(connection->slots.next, struct redis_slot, node);
	struct redis_call *call = slot->call;
	pop(connection, slot);
	if (connection->ready && !connection->overdue)
		turn_stop_timer(connection->redis->turn, &connection->timer);
	if (!connection->ready) {
		on_greeting(connection, reply);
		return;
	}
	if (!call)
		return;
	call->slot = NULL;
	if (redis_reply_is(reply, "NOSCRIPT"))
		run_anew(connection, call);
	else
		end_call(call, reply->error ? REDIS_ERROR : REDIS_REPLIED, reply);
	// A replica that was the master: another server may stand behind the address by now.
	if (redis_reply_is(reply, "READONLY"))
		drop(connection, "the server is a replica");
}

static void on_data(struct link *link, struct str bytes)
{
	struct connection *connection = CONTAINER_OF(link, struct connection, link);
	const struct redis_reply *reply;
	bool sound = redis_replies_feed(connection->replies, bytes);
	while (sound && !connection->dropped) {
		sound = redis_replies_next(connection->replies, &reply);
		if (!sound || !reply)
			break;
		sound = !list_empty(&connection->slots);
		if (sound)
			on_reply(connection, reply);
	}
	if (!sound)
		drop(connection, "the server does not speak its protocol");
}

static void on_ended(struct link *link, enum link_end why)
{
	struct connection *connection = CONTAINER_OF(link, struct connection, link);
	drop(connection, why == LINK_CONNECT_FAILED ? "cannot connect" : "the connection was lost");
}

static void nothing(struct link *link)
{
	(void)link;
}

static void bury(struct grave *grave)
{
	struct connection *connection = CONTAINER_OF(grave, struct connection, grave);
	struct redis *redis = connection->redis;
	redis_replies_free(connection->replies);
	free(connection);
	redis->open--;
	redis->owner.closed(redis->owner.user);
}

static void on_closed(struct link *link)
{
	struct connection *connection = CONTAINER_OF(link, struct connection, link);
	connection->grave.bury = bury;
	turn_mark_dead(connection->redis->turn, &connection->grave);
}

static const struct link_events events = {
        .opened = on_opened,
        .data = on_data,
        .ended = on_ended,
        .pull = nothing,
        .settled = nothing,
        .closed = on_closed,
};

static void connect_now(struct redis *redis)
{
	const struct config_address *address = &server_of(redis)->address;
	struct connection *connection = must_alloc(sizeof(*connection));
	connection->redis = redis;
	connection->replies = redis_replies_new();
	list_init(&connection->slots);
	timer_init(&connection->timer, on_timer);
	link_init(&connection->link, redis->turn, &events, address->kind == ADDRESS_UNIX);
	redis->connection = connection;
	redis->open++;
	if (link_connect(&connection->link, address) < 0)
		drop(connection, "cannot connect");
	else
		turn_set_timer(
		        redis->turn, &connection->timer, (int64_t)REDIS_GREETING_MS * NS_PER_MS);
}

static void on_again(struct timer *timer)
{
	connect_now(CONTAINER_OF(timer, struct redis, again));
}

struct redis *redis_new(struct turn *turn, const struct redis_owner *owner, struct str script)
{
	struct redis *redis = must_alloc(sizeof(*redis));
	redis->turn = turn;
	redis->owner = *owner;
	redis->script = script;
	timer_init(&redis->again, on_again);
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

void redis_use(struct redis *redis, struct config *config)
{
	struct config *former = redis->config;
	bool same = same_server(former, config);
	redis->config = config;
	if (!same) {
		turn_stop_timer(redis->turn, &redis->again);
		redis->config = NULL;  // the one that is dropped is not to be tried again
		if (redis->connection)
			drop(redis->connection, "the configuration names another server");
		redis->config = config;
		redis->failures = 0;
		if (config)
			connect_now(redis);
	}
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
}

static void on_deadline(struct timer *timer)
{
	struct redis_call *call = CONTAINER_OF(timer, struct redis_call, deadline);
	struct connection *connection = call->redis->connection;
	call->slot->overdue = true;
	if (connection->overdue++ == 0)
		turn_set_timer(call->redis->turn, &connection->timer,
		        (int64_t)REDIS_PATIENCE_MS * NS_PER_MS);
	end_call(call, REDIS_TIMEOUT, NULL);
}

enum redis_outcome redis_run(
        struct redis *redis, struct redis_call *call, struct str *command, size_t words)
{
	struct connection *connection = redis->connection;
	CHECK(words <= REDIS_WORDS_MAX);
	if (!connection || !connection->ready)
		return REDIS_DISCONNECTED;
	if (connection->overdue || connection->slot_count >= REDIS_CALLS_MAX)
		return REDIS_TIMEOUT;
	command[0] = STR("EVALSHA");
	command[1] = str_of(redis->script_name, redis->script_name_len);
	call->redis = redis;
	call->command = command;
	call->words = words;
	call->slot = ask(connection, command, words);
	call->slot->call = call;
	timer_init(&call->deadline, on_deadline);
	turn_set_timer(redis->turn, &call->deadline, server_of(redis)->timeout_ns);
	return REDIS_REPLIED;
}
