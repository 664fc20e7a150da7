#include "conf/address.h"
#include "conf/schema_row.h"
#include "conf/value.h"

enum { ENDPOINTS_MAX = 256 };

static void check_hash(
        struct reader *reader, const struct tree *node, struct config_backend *backend)
{
	struct str by = backend->hash_by_text.text;
	const struct tree *hash_by = tree_get(node, "hash_by");
	if (backend->balance == BALANCE_HASH && !hash_by)
		reader_problem_at(reader, node, "hash_by",
		        "is missing beside balance: hash; expected identity, source_ip or header: "
		        "followed by a header's name");
	if (backend->balance != BALANCE_HASH && hash_by)
		reader_problem_at(reader, node, "hash_by",
		        "can have no effect without balance: hash; expected it left out, or that "
		        "given");
	if (str_eq(by, STR("source_ip"))) {
		backend->hash_by = HASH_BY_SOURCE_IP;
	} else if (str_starts(by, STR("header:"))) {
		backend->hash_by = HASH_BY_HEADER;
		backend->hash_header = str_skip(by, strlen("header:"));
	}
}

// However many addresses a name has just now.
static bool is_alone(struct reader *reader, const struct config_backend *backend)
{
	struct config_address address;
	const char *why;
	return backend->name_count == 1 && backend->endpoint_count == 1 &&
	       address_parse(backend->names[0].address.text, reader->directory,
	               &reader->config->arena, &address, &why);
}

static void check_alternatives(
        struct reader *reader, const struct tree *node, const struct config_backend *backend)
{
	if (backend->ejection.failures && is_alone(reader, backend))
		reader_problem_at(reader, node, "ejection",
		        "can have no effect: there is one endpoint, and the last is never "
		        "ejected; expected more endpoints, or the key left out");
	if (backend->slow_start_ns && backend->balance == BALANCE_HASH)
		reader_problem_at(reader, node, "slow_start",
		        "can have no effect beside balance: hash, which moves callers whole; "
		        "expected it left out");
}

static void check_asking(
        struct reader *reader, const struct tree *node, const struct config_backend *backend)
{
	const struct tree *check = tree_get(node, "health_check");
	if (backend->health_check.kind != HEALTH_CHECK_GRPC || backend->protocol == PROTOCOL_H2)
		return;
	reader_enter(reader, "health_check");
	reader_problem_at(reader, check, "grpc",
	        "needs a backend that speaks h2, and this one speaks http1; expected path or tcp");
	reader_leave(reader);
}

// Whom a server's certificate has to name.
static void check_names(
        struct reader *reader, const struct tree *node, const struct config_backend *backend)
{
	const struct tree *tls = tree_get(node, "tls");
	if (!tls || tree_get(tls, "match_subject_alt_names") || tree_get(tls, "server_name"))
		return;
	for (size_t i = 0; i < backend->endpoint_count; i++) {
		if (backend->endpoints[i].kind != ADDRESS_UNIX &&
		        !address_is_service(&backend->endpoints[i]))
			continue;
		reader_enter(reader, "tls");
		reader_problem_at(reader, tls, "server_name",
		        "is missing: %s has no host that its certificate could be for; expected "
		        "it, or match_subject_alt_names",
		        value_quote(backend->endpoints[i].text).text);
		reader_leave(reader);
		return;
	}
}

static void check_backend(struct reader *reader, const struct tree *node, void *base)
{
	struct config_backend *backend = base;
	check_endpoints(reader, node, backend);
	check_hash(reader, node, backend);
	check_alternatives(reader, node, backend);
	check_asking(reader, node, backend);
	check_names(reader, node, backend);
}

static bool shown_ejection(const void *base)
{
	return ((const struct config_ejection *)base)->failures > 0;
}

static const struct schema_key ejection_keys[] = {
        {"failures", TYPE(type_count), AT(config_ejection, failures), RANGE(1, 1000),
                .fallback = "5", .shown = shown_ejection,
                DOC("In a row, seen by one worker: connections that could not be made or broke, "
                    "nonsense, no answer in time (a caller's own deadline aside), 502, 503 and "
                    "504, and gRPC's UNAVAILABLE. Any other answer begins the count anew.")},
        {"base", TYPE(type_duration), AT(config_ejection, base_ns),
                RANGE(100 * MS_NS, 60 * MINUTE_NS), .fallback = "30s", .shown = shown_ejection,
                DOC("How long the first time. Each ejection adds as much to the next, up to ten "
                    "times; each such time without one takes that back.")},
        {"most", TYPE(type_count), AT(config_ejection, most), RANGE(1, 100), .fallback = "50",
                .shown = shown_ejection,
                DOC("Of a hundred endpoints, how many may be out at once; one always may, and the "
                    "last never.")},
};

static const struct schema_object schema_ejection = {
        DOC("Endpoints that fail get no requests for a while; off unless given. Each worker judges "
            "by what it has seen itself, and a reload keeps what it knows of an endpoint that "
            "stays."),
        .size = sizeof(struct config_ejection), KEYS(ejection_keys)};

static bool shown_tls(const void *base)
{
	return ((const struct config_backend *)base)->tls.tls.mark.line > 0;
}

static bool shown_hash(const void *base)
{
	return ((const struct config_backend *)base)->balance == BALANCE_HASH;
}

static const char *const protocols[] = {"http1", "h2", NULL};
static const char *const proxy_headers[] = {"off", "v1", "v2", NULL};
static const char *const balances[] = {"round_robin", "least_requests", "hash", NULL};

static const struct schema_key backend_keys[] = {
        {"name", .presence = PRESENCE_REQUIRED, TYPE(type_name), AT(config_backend, name),
                DOC("What routes call it.")},
        {"protocol", TYPE(type_choice), AT(config_backend, protocol), .choices = protocols,
                .fallback = "http1",
                DOC("`h2` is HTTP/2 in clear text with prior knowledge, as gRPC servers speak "
                    "it, or with `tls` as ALPN agrees on it.")},
        {"endpoints", .shape = SHAPE_OBJECTS, .presence = PRESENCE_REQUIRED,
                OBJECT(schema_endpoint), AT(config_backend, names),
                COUNT_AT(config_backend, name_count), RANGE(1, ENDPOINTS_MAX),
                DOC("The servers: each its address, or `{address: 10.0.0.1:8080, weight: 3}`.")},
        {"weights", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL, .repeats = true,
                TYPE(type_weight), AT(config_backend, weight_texts), RANGE(1, ENDPOINTS_MAX),
                DOC("The older spelling of the `weight` of all `endpoints`, in their order: whole "
                    "numbers from 1 to 1000. It stays good; `tollgate upgrade-config` rewrites "
                    "it.")},
        {"tls", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL, OBJECT(schema_backend_tls),
                AT(config_backend, tls), .shown = shown_tls,
                DOC("TLS towards the servers; in clear text unless given.")},
        {"proxy_protocol", TYPE(type_choice), AT(config_backend, proxy_header),
                .choices = proxy_headers, .fallback = "off",
                DOC("Begins each connection with a PROXY header of that version, before TLS too: "
                    "where the client comes from and where it reached the gateway. Such a "
                    "connection is made for one client connection, carries its requests alone "
                    "and ends with it. Health checks say that they speak for nobody.")},
        {"balance", TYPE(type_choice), AT(config_backend, balance), .choices = balances,
                .fallback = "round_robin",
                DOC("Which endpoint a request goes to. `round_robin`: in turn, weighted and "
                    "evenly spread. `least_requests`: of two at random the one with fewer "
                    "requests under way for its weight. `hash`: like callers go to the same "
                    "endpoint, and few move when one is added, removed or out; it takes a table of "
                    "128 KiB. Each worker counts for itself.")},
        {"hash_by", .presence = PRESENCE_OPTIONAL, TYPE(type_hash_by),
                AT(config_backend, hash_by_text), .shown = shown_hash,
                DOC("What makes callers alike, with `balance: hash`: `identity` (SPIFFE ID), "
                    "`source_ip`, or `header:NAME`; requests without that header go round "
                    "robin.")},
        {"ejection", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL, OBJECT(schema_ejection),
                AT(config_backend, ejection),
                DOC("Endpoints that fail get no requests for a while.")},
        {"health_check", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_health_check), AT(config_backend, health_check),
                DOC("Endpoints that say they are not well get no requests.")},
        {"slow_start", TYPE(type_duration), AT(config_backend, slow_start_ns),
                RANGE(0, 60 * MINUTE_NS), .fallback = "0s",
                DOC("How long the weight of an endpoint grows, from a tenth to the whole, once it "
                    "is back or was added, by a reload or by DNS; 0 is at once.")},
        {"concurrency", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_concurrency), AT(config_backend, concurrency),
                DOC("Calls under way at once; no limit unless given. `{}` is one that adapts "
                    "itself, with the defaults.")},
        {"circuit_breaker", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_circuit_breaker), AT(config_backend, circuit_breaker),
                DOC("Connections open at once; no ceiling unless given.")},
        {"connect_timeout", TYPE(type_duration), AT(config_backend, connect_timeout_ns),
                RANGE(MS_NS, 5 * MINUTE_NS), .fallback = "1s",
                DOC("Connecting to a server, its TLS handshake included.")},
};

const struct schema_object schema_backend = {DOC("A group of equal servers."),
        .size = sizeof(struct config_backend), KEYS(backend_keys), .check = check_backend};
