// Inside of a redis: its connections, made and lost in redis_connection.c, and the calls on them,
// begun and ended in redis.c. At most one connection is in use and one is being greeted; others
// only wait to be closed. The worker's thread.
#ifndef GATEWAY_REDIS_INSIDE_H
#define GATEWAY_REDIS_INSIDE_H

#include "gateway/net/link.h"
#include "gateway/redis.h"

struct redis_connection;

// A reply that is owed: in the order in which the server gives them.
struct redis_slot {
	struct list node;
	struct redis_connection *connection;
	struct redis_call *call;  // NULL: nobody waits any more
	bool overdue;
};

struct redis_connection {
	struct link link;
	struct grave grave;
	struct redis *redis;
	struct redis_replies *replies;
	struct list slots;
	size_t slot_count, overdue;
	unsigned greetings;  // replies owed before calls may come
	bool ready, dropped;
	bool former;         // of a server that is not the configuration's any more
	bool leaving;        // another is in use: it goes with the last reply it owes
	struct timer timer;  // greeting, then patience
};

struct redis {
	struct turn *turn;
	struct redis_owner owner;
	struct str script;
	char script_name[REDIS_TEXT_MAX];  // by which the server knows it
	size_t script_name_len;
	struct config *config;                // NULL: nobody asks
	struct redis_connection *connection;  // in use; NULL: none
	struct redis_connection *next;        // that is to be, once it is greeted
	struct redis_connection *leaving;     // that was, until it has answered; soon gone
	bool changed;                         // the one to come is another server's
	size_t open;                          // connections, with those being closed
	unsigned failures;                    // in a row
	struct timer again;
	bool fresh;         // the first connection is being made
	struct list early;  // calls that wait for it
	size_t early_count;
};

static inline const struct config_redis *redis_server(const struct redis *redis)
{
	return &redis->config->redis;
}

void redis_begin_early(struct redis *redis);  // the calls that waited for the first connection
void redis_fail_early(struct redis *redis);
void redis_connect(struct redis *redis);  // begins the one to be used next
// For good; what waits on it is told. `why` is a constant.
void redis_drop(struct redis_connection *connection, const char *why);
struct redis_slot *redis_ask(
        struct redis_connection *connection, const struct str *words, size_t count);
void redis_end_call(
        struct redis_call *call, enum redis_outcome outcome, const struct redis_reply *reply);

#endif
