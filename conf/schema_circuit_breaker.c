#include "conf/schema_row.h"
#include "conf/value.h"

enum { CONNECTIONS_MAX = 1000000 };

static bool shown(const void *base)
{
	return ((const struct config_circuit_breaker *)base)->connections > 0;
}

static const struct schema_key circuit_breaker_keys[] = {
        {"connections", .presence = PRESENCE_REQUIRED, TYPE(type_count),
                AT(config_circuit_breaker, connections), RANGE(1, CONNECTIONS_MAX), .shown = shown,
                DOC("To each endpoint, at most. The workers share them, each has one at least.")},
        {"pending", TYPE(type_count), AT(config_circuit_breaker, pending),
                RANGE(0, CONNECTIONS_MAX), .fallback = "100", .shown = shown,
                DOC("Calls that may wait for a connection at once, of the whole backend; likewise "
                    "shared. What is more is refused as `overloaded`, and pays no token.")},
        {"pending_timeout", TYPE(type_duration), AT(config_circuit_breaker, pending_timeout_ns),
                RANGE(MS_NS, 5 * MINUTE_NS), .fallback = "1s", .shown = shown,
                DOC("What has waited so long is refused likewise; its tokens are paid.")},
};

const struct schema_object schema_circuit_breaker = {
        DOC("How many connections the backend's endpoints get. While one has all of them and none "
            "has room (a free stream, over HTTP/1.1 no call under way) calls go to other "
            "endpoints; where none of those has room either, or callers are bound to theirs "
            "(`balance: hash`), they wait, first come first served. A connection counts until its "
            "socket is closed, one of a replaced configuration too. Those of `mirror` count, and "
            "find room or copy nothing; health checks come on top."),
        .size = sizeof(struct config_circuit_breaker), KEYS(circuit_breaker_keys)};
