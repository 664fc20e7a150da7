// One worker's connection to the Redis server of its configuration: made at once, logged in, kept,
// and made anew by itself, with backoff and jitter, whenever it is lost. Runs one script, which it
// loads, for callers that differ in keys and arguments. What a turn asks leaves in one write. Each
// call hears once, of the reply or of why there is none, unless it is taken back before; nobody
// waits longer than the timeout, and while a reply is overdue, or there is no connection, nobody
// waits at all: but for the first that is made, since a gateway that starts has lost nothing yet.
// It knows commands and replies and nothing of limits. Owned by the worker; its thread only.
#ifndef GATEWAY_REDIS_H
#define GATEWAY_REDIS_H

#include "conf/config.h"
#include "gateway/net/turn.h"
#include "gateway/redis_reply.h"

enum {
	REDIS_CALLS_MAX = 8192,    // under way
	REDIS_GREETING_MS = 1000,  // connecting and logging in
	REDIS_PATIENCE_MS = 1000,  // with a reply that is overdue, then the connection is given up
	REDIS_BACKOFF_MS = 50,     // after the first failure; doubled with each further one
	REDIS_BACKOFF_MS_MAX = 1000,  // and half as much again, by chance
};

enum redis_outcome { REDIS_REPLIED, REDIS_ERROR, REDIS_TIMEOUT, REDIS_DISCONNECTED };

struct redis_slot;

// In the caller's storage from redis_run until `replied` or redis_take_back.
struct redis_call {
	void (*replied)(struct redis_call *call, enum redis_outcome outcome,
	        const struct redis_reply *reply);  // the reply only where there is one
	struct timer deadline;
	struct redis *redis;
	struct redis_slot *slot;  // NULL: not under way
	struct list early;        // among those that wait for the first connection
	struct str *command;      // borrowed meanwhile
	size_t words;
};

struct redis;

struct redis_owner {
	void *user;
	uint64_t (*random)(void *user);
	void (*connected)(
	        void *user, bool another);  // calls may come; to another server than before
	// `why` is a constant; NULL: it has left its place to another.
	void (*lost)(void *user, const char *why, bool was_connected);
	void (*closed)(void *user);  // a connection is gone for good
};

// `script` is borrowed for good.
MUST_USE struct redis *redis_new(
        struct turn *turn, const struct redis_owner *owner, struct str script);
void redis_free(struct redis *redis);  // once nothing is open any more

// The server from now on; takes over one reference on `config`. NULL: none, now or ever again once
// the worker ends. One that is the same stays connected; another takes over once it has greeted,
// and until then, or until it has failed to, the former one is asked.
void redis_use(struct redis *redis, struct config *config);
bool redis_open(const struct redis *redis);  // a connection exists, if only to be closed

// The first two words of a command are redis.c's to fill in: it begins with REDIS_RUN_WORDS of
// them, then come the number of keys, the keys and the arguments. Otherwise than REDIS_REPLIED
// there is no call: the outcome is known at once.
enum { REDIS_RUN_WORDS = 2 };
MUST_USE enum redis_outcome redis_run(
        struct redis *redis, struct redis_call *call, struct str *command, size_t words);
void redis_take_back(struct redis_call *call);  // idempotent; `replied` is not called any more

#endif
