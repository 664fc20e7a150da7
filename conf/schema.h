// The one table of everything a config file may say. The reader, the checks of single values, the
// defaults, the dump and REFERENCE.md are all made from it; a new key is one new row. Constant
// data; any thread. What depends on several keys at once stands in check.c (within one object) and
// cross.c (over the file).
#ifndef CONF_SCHEMA_H
#define CONF_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"
#include "conf/tree.h"

struct config;
struct reader;
struct schema_key;

// What kind of scalar a key takes: how it is read, written and named.
struct schema_type {
	const char *name;      // for the reference: `duration`
	const char *expected;  // for messages: `a duration such as 250ms, 10s, 5m or 1h`
	// Stores the node, a TREE_TEXT that is not absent, at `field`; false after adding the
	// problem.
	bool (*set)(struct reader *reader, const struct schema_key *key, const struct tree *node,
	        void *field);
	void (*write)(const struct schema_key *key, const void *field, struct buffer *out);
	bool (*given)(const void *field);  // NULL: always; else whether there is anything to write
	void (*write_bound)(uint64_t bound, struct buffer *out);  // NULL: it has no range
	size_t bytes_max;                                         // of a text
};

enum schema_shape {
	SHAPE_SCALAR,   // `type` at `at`
	SHAPE_TEXTS,    // a list of scalars: struct config_texts at `at`
	SHAPE_OBJECT,   // `object`; its fields count from `at`
	SHAPE_OBJECTS,  // a list: a pointer at `at` and the count at `count_at`
};

enum schema_presence {
	PRESENCE_DEFAULT,   // absent: the fallback, or for an object the fallbacks of its keys
	PRESENCE_REQUIRED,  // absent: a problem
	PRESENCE_OPTIONAL,  // absent: off, zero
};

enum schema_reload { RELOAD_LIVE, RELOAD_RESTART };

struct schema_key {
	const char *name;
	enum schema_shape shape;
	enum schema_presence presence;
	enum schema_reload reload;
	bool secret;
	bool repeats;  // a list that may hold equal elements
	const struct schema_type *type;
	const struct schema_object *object;
	size_t at, count_at;
	uint64_t min, max;           // of a number, or of a list's elements
	const char *fallback;        // as one would write it
	const char *const *choices;  // NULL-terminated, in the order of the enum
	const char *missing;         // why it is required, where that is not plain
	const char *doc;             // one sentence
	// Whether the value means anything beside its siblings in `base`; NULL: always. The dump
	// leaves it out where not.
	bool (*shown)(const void *base);
};

struct schema_object {
	const char *doc;
	size_t size;
	const struct schema_key *keys;
	size_t key_count;
	// What several keys say together; `node` is the map they came from. NULL: nothing to check.
	void (*check)(struct reader *reader, const struct tree *node, void *base);
	// A scalar in the place of the mapping says this key alone; NULL: none may stand there.
	const struct schema_key *shorthand;
};

enum { SCHEMA_KEYS_MAX = 24 };  // in one object

extern const struct schema_object schema_config;            // the whole file: schema.c
extern const struct schema_object schema_listener;          // schema_listener.c
extern const struct schema_object schema_rate_limit;        // schema_limits.c
extern const struct schema_object schema_call_limit;        // schema_limits.c
extern const struct schema_object schema_flow_limit;        // schema_limits.c
extern const struct schema_object schema_proxy_protocol;    // schema_proxy_protocol.c
extern const struct schema_object schema_request_headers;   // schema_headers.c
extern const struct schema_object schema_response_headers;  // schema_headers.c
extern const struct schema_object schema_share;             // schema_target.c
extern const struct schema_object schema_mirror;            // schema_target.c
extern const struct schema_object schema_redirect;          // schema_target.c
extern const struct schema_object schema_rewrite;           // schema_target.c
extern const struct schema_object schema_retry;             // schema_retry.c
extern const struct schema_object schema_run_as;            // schema_run_as.c
extern const struct schema_object schema_dns;               // schema_dns.c
extern const struct schema_object schema_redis;             // schema_redis.c
extern const struct schema_object schema_tracing;           // schema_tracing.c
extern const struct schema_object schema_backend;           // schema_backend.c
extern const struct schema_object schema_endpoint;          // schema_endpoint.c
extern const struct schema_object schema_health_check;      // schema_health_check.c
extern const struct schema_object schema_backend_tls;       // schema_backend_tls.c
extern const struct schema_object schema_concurrency;       // schema_concurrency.c
extern const struct schema_object schema_circuit_breaker;   // schema_circuit_breaker.c
void schema_run_as_spread(struct config *config);  // to the private keys, once the file is read

// `list: address or mapping`, for people.
void schema_write_type(const struct schema_key *key, struct buffer *out);
// `forbid or alert`, `from 1ms to 5m`: what is allowed of the type; nothing where all is.
void schema_write_range(const struct schema_key *key, struct buffer *out);
// `a duration such as 250ms, 10s, 5m or 1h from 1ms to 5m`; of a list, or of one `element` of it.
void schema_write_expected(const struct schema_key *key, bool element, struct buffer *out);
// `a mapping with the keys a and b`, and what may stand in its place.
void schema_write_mapping(const struct schema_object *object, struct buffer *out);
// `a, b or c`, or with another word before the last.
void schema_write_keys(const struct schema_object *object, const char *word, struct buffer *out);
// Whether there is anything to write of it.
bool schema_key_shown(const struct schema_key *key, const void *base);

#endif
