#include "conf/schema_row.h"

enum { DATABASES_MAX = 1000000 };

// Keys that others have and users will look for: who writes one is told what to do instead.
static bool refuse(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	(void)field;
	return reader_refuse(reader, key, node);
}

static bool never_given(const void *field)
{
	(void)field;
	return false;
}

#define UNSUPPORTED(instead)                                                                       \
	{                                                                                          \
		.name = "not supported", .expected = "it left out: not supported; " instead,       \
		.set = refuse, .write = type_write_text, .given = never_given                      \
	}

static const struct schema_type type_tls = UNSUPPORTED(
        "let a tunnel such as stunnel speak TLS to the server, and name its loopback address or "
        "unix socket");
static const struct schema_type type_sentinel = UNSUPPORTED(
        "name an address that follows the master, such as a service or HAProxy's");
static const struct schema_type type_cluster = UNSUPPORTED(
        "use a server that is no cluster: all limits of a call are taken in one step");

static bool shown(const void *base)
{
	return ((const struct config_redis *)base)->address.kind != ADDRESS_NONE;
}

// What is refused has a place to be refused at, and no more.
#define NOWHERE AT(config_redis, username)

static const struct schema_key redis_keys[] = {
        {"address", .presence = PRESENCE_REQUIRED, TYPE(type_server), AT(config_redis, address),
                DOC("The server; a name is resolved when the file is loaded. A reload that cannot "
                    "have it resolved again keeps the address.")},
        {"timeout", TYPE(type_duration), AT(config_redis, timeout_ns), RANGE(MS_NS, MINUTE_NS),
                .fallback = "20ms", .shown = shown,
                DOC("How long a call waits for the server's answer. While one is overdue, and "
                    "while there is no connection, `on_failure` decides at once.")},
        {"username", .presence = PRESENCE_OPTIONAL, TYPE(type_name), AT(config_redis, username),
                DOC("The server's user (ACL); its default one without the key. It needs EVAL, "
                    "EVALSHA, SCRIPT LOAD, TIME, GET, SET and, with `database`, SELECT.")},
        {"password", .presence = PRESENCE_OPTIONAL, .secret = true, TYPE(type_password),
                AT(config_redis, password), DOC("What the server asks for, if it does.")},
        {"database", TYPE(type_count), AT(config_redis, database), RANGE(0, DATABASES_MAX),
                .fallback = "0", .shown = shown, DOC("The number of its database.")},
        {"prefix", TYPE(type_name), AT(config_redis, prefix), .fallback = "tollgate",
                .shown = shown,
                DOC("Every key there begins with it and a colon: what tells one fleet from "
                    "another on the same server.")},
        {"tls", .presence = PRESENCE_OPTIONAL, TYPE(type_tls), NOWHERE,
                DOC("TLS to the server; refused by `check`, which says what to do instead.")},
        {"sentinel", .presence = PRESENCE_OPTIONAL, TYPE(type_sentinel), NOWHERE,
                DOC("Sentinels to ask for the master; refused likewise.")},
        {"cluster", .presence = PRESENCE_OPTIONAL, TYPE(type_cluster), NOWHERE,
                DOC("Redis Cluster; refused likewise.")},
};

static void check_redis_block(struct reader *reader, const struct tree *node, void *base)
{
	struct config_redis *redis = base;
	redis->mark = node->mark;
	if (redis->username.text.len && !redis->password.len)
		reader_problem_at(reader, node, "username",
		        "stands without a password; expected both, or neither");
}

const struct schema_object schema_redis = {
        DOC("The server that limits with `store: redis` ask: one that is no cluster, version 6 or "
            "later. Each worker has one connection, made anew by itself when it is lost. Keys end "
            "by themselves once their bucket is full; `maxmemory-policy` should be `noeviction` or "
            "`volatile-ttl`, or buckets are forgotten too early."),
        .size = sizeof(struct config_redis), KEYS(redis_keys), .check = check_redis_block};
