#include <stdlib.h>

#include "base/clock.h"
#include "base/spare.h"
#include "gateway/redis_inside.h"

static void pop(struct redis_connection *connection, struct redis_slot *slot)
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

static void fail_calls(struct redis_connection *connection)
{
	while (!list_empty(&connection->slots)) {
		struct redis_slot *slot = LIST_ITEM(
		        connection->slots.next, struct redis_slot, node);
		struct redis_call *call = slot->call;
		pop(connection, slot);
		if (!call)
			continue;
		call->slot = NULL;
		redis_end_call(call, REDIS_DISCONNECTED, NULL);
	}
}

// Whoever waits hears of it only when the connection is no longer the one in use: they may ask
// again from within.
void redis_drop(struct redis_connection *connection, const char *why)
{
	struct redis *redis = connection->redis;
	if (connection->dropped)
		return;
	connection->dropped = true;
	if (redis->connection == connection)
		redis->connection = NULL;
	if (redis->next == connection)
		redis->next = NULL;
	if (redis->leaving == connection)
		redis->leaving = NULL;
	turn_stop_timer(redis->turn, &connection->timer);
	link_close(&connection->link);
	if (redis->config && !connection->leaving && !redis->next)
		try_again_later(redis);
	bool last = !connection->leaving || !redis->config;
	redis->fresh &= !last;
	redis->owner.lost(redis->owner.user, connection->leaving ? NULL : why, connection->ready);
	fail_calls(connection);
	if (last)
		redis_fail_early(redis);
	// It was good for as long as its successor might come.
	if (!connection->leaving && redis->connection && redis->connection->former) {
		redis->connection->leaving = true;
		redis_drop(redis->connection, why);
	}
}

static void on_timer(struct timer *timer)
{
	struct redis_connection *connection = CONTAINER_OF(timer, struct redis_connection, timer);
	redis_drop(connection,
	        connection->ready ? "an answer is overdue" : "no answer to the greeting");
}

struct redis_slot *redis_ask(
        struct redis_connection *connection, const struct str *words, size_t count)
{
	struct redis_slot *slot = must_spare(sizeof(*slot));
	slot->connection = connection;
	list_push(&connection->slots, &slot->node);
	connection->slot_count++;
	redis_command_append(&connection->link.plain, words, count);
	link_mark_dirty(&connection->link);
	return slot;
}

static void greet(struct redis_connection *connection, const struct str *words, size_t count)
{
	(void)redis_ask(connection, words, count);
	connection->greetings++;
}

static void on_opened(struct link *link)
{
	struct redis_connection *connection = CONTAINER_OF(link, struct redis_connection, link);
	const struct config_redis *server = redis_server(connection->redis);
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

// It still owes some answers; whoever waits for them does so no longer than for any other.
static void see_off(struct redis_connection *connection)
{
	struct redis *redis = connection->redis;
	connection->leaving = true;
	redis->leaving = connection;
	if (connection->slot_count)
		turn_set_timer(redis->turn, &connection->timer,
		        redis_server(redis)->timeout_ns + (int64_t)REDIS_PATIENCE_MS * NS_PER_MS);
	else
		redis_drop(connection, NULL);
}

static void take_over(struct redis_connection *connection)
{
	struct redis *redis = connection->redis;
	struct redis_connection *before = redis->connection;
	redis->connection = connection;
	redis->next = NULL;
	redis->owner.connected(redis->owner.user, redis->changed);
	redis->changed = false;
	redis_begin_early(redis);
	if (redis->leaving)
		redis_drop(redis->leaving, NULL);
	if (before)
		see_off(before);
}

static void on_greeting(struct redis_connection *connection, const struct redis_reply *reply)
{
	struct redis *redis = connection->redis;
	if (reply->error) {
		redis_drop(connection, greeting_refused(reply));
		return;
	}
	if (--connection->greetings)
		return;
	memcpy(redis->script_name, reply->text, reply->text_len);
	redis->script_name_len = reply->text_len;
	redis->failures = 0;
	connection->ready = true;
	turn_stop_timer(redis->turn, &connection->timer);
	take_over(connection);
}

// With the script itself, after which the server knows it by name again.
static void run_anew(struct redis_connection *connection, struct redis_call *call)
{
	struct str words[REDIS_WORDS_MAX];
	memcpy(words, call->command, call->words * sizeof(*words));
	words[0] = STR("EVAL");
	words[1] = connection->redis->script;
	call->slot = redis_ask(connection, words, call->words);
	call->slot->call = call;
}

static void answer(struct redis_connection *connection, struct redis_call *call,
        const struct redis_reply *reply)
{
	call->slot = NULL;
	if (redis_reply_is(reply, "NOSCRIPT"))
		run_anew(connection, call);
	else
		redis_end_call(call, reply->error ? REDIS_ERROR : REDIS_REPLIED, reply);
}

static void on_reply(struct redis_connection *connection, const struct redis_reply *reply)
{
	struct redis_slot *slot = LIST_ITEM(connection->slots.next, struct redis_slot, node);
	struct redis_call *call = slot->call;
	pop(connection, slot);
	if (!connection->ready) {
		on_greeting(connection, reply);
		return;
	}
	if (!connection->overdue && !connection->leaving)
		turn_stop_timer(connection->redis->turn, &connection->timer);
	if (call)
		answer(connection, call, reply);
	// A replica that was the master: another server may stand behind the address by now.
	if (redis_reply_tells(reply, "READONLY"))
		redis_drop(connection, "the server is a replica");
	else if (connection->leaving && !connection->slot_count)
		redis_drop(connection, NULL);
}

static void on_data(struct link *link, struct str bytes)
{
	struct redis_connection *connection = CONTAINER_OF(link, struct redis_connection, link);
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
		redis_drop(connection, "the server does not speak its protocol");
}

static void on_ended(struct link *link, enum link_end why)
{
	struct redis_connection *connection = CONTAINER_OF(link, struct redis_connection, link);
	redis_drop(connection,
	        why == LINK_CONNECT_FAILED ? "cannot connect" : "the connection was lost");
}

static void nothing(struct link *link)
{
	(void)link;
}

static void bury(struct grave *grave)
{
	struct redis_connection *connection = CONTAINER_OF(grave, struct redis_connection, grave);
	struct redis *redis = connection->redis;
	redis_replies_free(connection->replies);
	free(connection);
	redis->open--;
	redis->owner.closed(redis->owner.user);
}

static void on_closed(struct link *link)
{
	struct redis_connection *connection = CONTAINER_OF(link, struct redis_connection, link);
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

void redis_connect(struct redis *redis)
{
	const struct config_address *address = &redis_server(redis)->address;
	struct redis_connection *connection = must_alloc(sizeof(*connection));
	connection->redis = redis;
	connection->replies = redis_replies_new();
	list_init(&connection->slots);
	timer_init(&connection->timer, on_timer);
	link_init(&connection->link, redis->turn, &events, address->kind == ADDRESS_UNIX);
	redis->next = connection;
	redis->open++;
	if (link_connect(&connection->link, address, NULL) < 0)
		redis_drop(connection, "cannot connect");
	else
		turn_set_timer(
		        redis->turn, &connection->timer, (int64_t)REDIS_GREETING_MS * NS_PER_MS);
}
