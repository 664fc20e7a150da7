// The configuration as plain data: what one `tollgate/v1` file says, defaults filled in, nothing
// compiled or opened. config_load reads, checks and owns it all; after that it is immutable and any
// thread may read it. Patterns, paths and certificates are still words and file names here: policy/
// and tls/ make something of them. It never opens a socket and never touches OpenSSL. Every list is
// an array with its count beside it.
#ifndef CONF_CONFIG_H
#define CONF_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/str.h"
#include "conf/config_route.h"
#include "conf/config_word.h"

enum config_audit_failure { AUDIT_CONTINUE, AUDIT_REFUSE };

// Who the process becomes once it has started; an empty user: who it is.
struct config_run_as {
	struct config_text user, group;  // as written; the group may be empty
	uid_t uid;
	gid_t gid;
};

enum config_sandbox { SANDBOX_AUTO, SANDBOX_OFF };

struct config_certificate {
	struct config_text certificate_chain;  // file names, made absolute
	struct config_text private_key;
	const struct config_run_as *reader;  // NULL: the process as it is
};

enum config_unauthenticated { UNAUTHENTICATED_FORBID, UNAUTHENTICATED_ALERT };
enum config_tls_version { TLS_1_2, TLS_1_3 };

// `admin.tls` and `backends[].tls` have their keys in one mapping, without `validation_context`.
enum config_tls_side { TLS_OF_LISTENER, TLS_OF_ADMIN, TLS_OF_BACKEND };

enum { CONFIG_TICKET_KEYS_MAX = 8 };

struct config_tls {
	struct config_certificate *certificates;
	size_t certificate_count;  // >= 1, of a backend 0 or 1; the first is the default
	enum config_tls_version min_version;
	bool require_client_certificate;
	enum config_unauthenticated on_unauthenticated;
	struct config_text trusted_ca;
	struct config_text crl;                       // empty text when not given
	struct config_texts match_subject_alt_names;  // of a backend maybe none
	struct config_texts session_ticket_keys;      // files; none: sessions are kept in memory
	enum config_tls_side side;
	struct config_mark mark;  // line 0: no block was given
};

// `admin.tls`
struct config_admin_tls {
	struct config_tls tls;
	struct config_certificate certificate;  // what `tls.certificates` points to
};

struct config_timeouts {  // 0 = off
	int64_t handshake_ns, request_headers_ns, request_ns, stream_idle_ns, idle_ns;
};

struct config_limits {  // 0 = none
	uint64_t connections, concurrent_streams, header_bytes, header_fields, body_bytes;
	uint64_t connections_per_identity, connections_per_address;
};

// How callers are told what they have left of their limits.
enum config_quota_fields { QUOTA_OFF, QUOTA_STANDARD, QUOTA_LEGACY, QUOTA_BOTH };

struct config_network {
	int family;  // AF_INET, AF_INET6, or AF_UNIX, which has nothing else
	unsigned prefix;
	uint8_t bytes[16];
};

// Whose word is taken for where a connection comes from.
struct config_proxy_protocol {
	struct config_texts trusted;  // as written; none: nobody's
	struct config_network *networks;
	size_t count;
};

struct config_listener {
	struct config_text name;
	struct config_address address;
	struct config_tls tls;
	struct config_timeouts timeouts;
	struct config_limits limits;
	struct config_proxy_protocol proxy_protocol;
	enum config_quota_fields rate_limit_headers;
	struct config_route *routes;
	size_t route_count;  // >= 1
};

// `backends[].tls`
struct config_backend_tls {
	struct config_tls tls;
	struct config_certificate certificate;  // what `tls.certificates` points to, if any
	struct config_text server_name;         // empty: each endpoint's own host
};

enum config_protocol { PROTOCOL_HTTP1, PROTOCOL_H2 };
// The header by which a backend is told whose a connection is.
enum config_proxy_header { PROXY_HEADER_OFF, PROXY_HEADER_V1, PROXY_HEADER_V2 };
enum config_balance { BALANCE_ROUND_ROBIN, BALANCE_LEAST_REQUESTS, BALANCE_HASH };
enum config_hash_by { HASH_BY_IDENTITY, HASH_BY_SOURCE_IP, HASH_BY_HEADER };

struct config_ejection {
	uint64_t failures;  // in a row; 0: no block was given
	int64_t base_ns;    // the first time
	uint64_t most;      // of a hundred endpoints
};

enum config_health_check_kind {
	HEALTH_CHECK_NONE,
	HEALTH_CHECK_HTTP,
	HEALTH_CHECK_GRPC,
	HEALTH_CHECK_TCP,
};

struct config_health_check {
	enum config_health_check_kind kind;  // HEALTH_CHECK_NONE: no block was given
	struct config_text path;             // with a query, for HEALTH_CHECK_HTTP
	struct str service;                  // for HEALTH_CHECK_GRPC; empty: the whole server
	bool tcp;                            // as written
	int64_t interval_ns, timeout_ns;
	uint64_t unhealthy, healthy;  // in a row, until it is
};

// How many calls of a worker a backend has under way at most.
struct config_concurrency {
	struct config_mark mark;  // line 0: no block was given, and no limit is there
	uint64_t limit;           // > 0: it is this and never changes
	uint64_t min, max;        // of one that adapts itself
	uint64_t tolerance_percent;
};

// Of a backend's connections, all workers together.
struct config_circuit_breaker {
	uint64_t connections;  // to each endpoint; 0: no block was given, and there is no ceiling
	uint64_t pending;      // calls waiting for one
	int64_t pending_timeout_ns;
};

// A server as the file names it, or a name that stands for several.
struct config_endpoint {
	struct config_text address;
	uint64_t weight;  // >= 1, of each of its addresses
};

struct config_backend {
	struct config_text name;
	enum config_protocol protocol;
	enum config_proxy_header proxy_header;
	struct config_address *endpoints;  // a name stands here with all its addresses
	uint32_t *weights;                 // >= 1 each, beside the endpoints
	size_t endpoint_count;             // >= 1
	uint64_t edition;                  // of the addresses, among configurations of one origin
	struct config_endpoint *names;     // as written
	size_t name_count;                 // >= 1
	struct config_texts weight_texts;  // the older spelling, while it is read; then none
	int64_t connect_timeout_ns;
	struct config_backend_tls tls;
	enum config_balance balance;
	enum config_hash_by hash_by;
	struct str hash_header;           // lower case, for HASH_BY_HEADER
	struct config_text hash_by_text;  // as written; empty: balance is not hash
	struct config_ejection ejection;
	struct config_health_check health_check;
	int64_t slow_start_ns;  // 0 = off
	struct config_concurrency concurrency;
	struct config_circuit_breaker circuit_breaker;
};

// How names of backends are looked up.
struct config_dns {
	struct config_texts servers;       // as written; none: those of /etc/resolv.conf
	struct config_address *addresses;  // theirs
	size_t count;
	int64_t min_ttl_ns, max_ttl_ns;
};

struct config_redis {
	struct config_address address;  // ADDRESS_NONE: no block was given
	int64_t timeout_ns;
	struct config_text username;  // empty: the server's default user
	struct str password;
	uint64_t database;
	struct config_text prefix;  // of every key
	struct config_mark mark;
};

// `http://host:port/path`, taken apart.
struct config_url {
	struct str text;  // as written
	bool https;
	struct str host;  // without brackets
	uint16_t port;
	struct config_mark mark;
};

struct config_header {
	struct config_text name;
	struct str value;
};

struct config_tracing {
	struct config_url endpoint;  // empty text: no block was given
	double sample;               // 0 to 1, of the traces that begin here
	struct config_text service_name;
	struct config_header *headers;
	size_t header_count;
	struct config_text trusted_ca;  // empty text for http
	int64_t timeout_ns;
	uint64_t queue, batch;  // spans
	struct config_mark mark;
};

enum config_version { CONFIG_V1 };

struct config {
	struct arena arena;     // holds everything below
	atomic_size_t further;  // holders beyond the first
	struct config *origin;  // held, by what endpoints_readdress made; NULL: it shares nothing
	struct str file;        // as given to config_load
	enum config_version version;
	size_t workers;   // >= 1, `auto` already counted
	uint64_t memory;  // ceiling in bytes, `auto` already worked out; 0 = none
	struct config_run_as run_as;
	enum config_sandbox sandbox;
	int64_t drain_timeout_ns;
	bool watch_config;
	struct config_address admin;  // ADDRESS_NONE: no admin listener
	bool admin_allow_remote;
	struct config_admin_tls admin_tls;
	struct config_dns dns;
	struct config_redis redis;
	struct config_tracing tracing;
	struct config_output audit, access_log;
	uint64_t audit_fold_after;  // like records of one caller a second before folding
	enum config_audit_failure audit_on_failure;
	struct config_listener *listeners;
	size_t listener_count;  // >= 1
	struct config_backend *backends;
	size_t backend_count;
	bool stale_names;  // some have the addresses they had before (config_reload), or none
};

// One thing wrong in a file. `key` is the key path (`listeners[0].tls.min_version`), empty for the
// file itself.
struct config_problem {
	struct config_mark mark;
	struct str key;
	struct str what;  // what is wrong and what was expected
	bool reading;     // found while the file was read, not by a later stage
};

// More than this is a wrong file, not a file with mistakes; the rest is only counted.
enum { CONFIG_PROBLEMS_MAX = 1000 };

// Everything wrong, in the order of the file whoever finds it and when. Text lives in its arena.
// Whoever made it (zeroed) frees it.
struct config_problems {
	struct arena arena;
	struct str file;
	struct config_problem *items;
	size_t count, capacity;
	size_t dropped;  // beyond CONFIG_PROBLEMS_MAX
	bool read;       // the file has been read: what is added now comes from a later stage
};

// Of a later stage a problem is dropped when reading has already complained of that key, of one
// above it or of one below it: it would only be the echo.
void config_problem_add(struct config_problems *problems, struct config_mark mark, struct str key,
        const char *format, ...) PRINTF(4, 5);
// FILE:LINE:COLUMN: KEY.PATH: what; `(file)` stands for the key of a problem without one. One,
// without a newline, or all, each a line.
void config_problem_write(const struct config_problems *problems, size_t index, struct buffer *out);
void config_problems_write(const struct config_problems *problems, struct buffer *out);
void config_problems_print(const struct config_problems *problems, int descriptor);
void config_problems_fini(struct config_problems *problems);

// Reads and checks the file; every problem found is added, not the first only. NULL when there was
// any. Later stages (policy_compile, tls material) add theirs to the same list before anybody
// prints it.
MUST_USE struct config *config_load(const char *path, struct config_problems *problems);
// The same for a gateway that begins: names of backends whose addresses cannot be had now are no
// problem (config_address.unknown), and of DNS no more than some seconds' silence is waited for.
MUST_USE struct config *config_start(const char *path, struct config_problems *problems);
// config_load beside `present`, the one in force: names of backends that it knows from the same
// servers of DNS keep their addresses, and nobody is asked for them.
MUST_USE struct config *config_reload(
        const char *path, const struct config *present, struct config_problems *problems);
// The same from memory; `name` stands for the file in messages, relative paths are relative to
// `directory`.
MUST_USE struct config *config_parse(
        struct str text, const char *name, const char *directory, struct config_problems *problems);

// config_load for `check`, which wants the later stages' problems too: the config comes back even
// with problems, what could not be understood empty or at its default, and the counts said to be
// >= 1 may be 0. Never to be served. NULL only when there is no YAML to go by.
enum config_lookups {
	CONFIG_LOOKUPS_NEEDED,    // names need addresses, as for config_load
	CONFIG_LOOKUPS_FORGIVEN,  // as for config_start
	CONFIG_LOOKUPS_NONE,      // nobody is asked for names
};
MUST_USE struct config *config_load_faulty(
        const char *path, enum config_lookups lookups, struct config_problems *problems);
// Visits every `tls` block with its key path: of listeners, of the admin listener, of backends.
typedef void (*config_tls_visit)(const struct config_tls *tls, struct str key, void *argument);
void config_each_tls(const struct config *config, config_tls_visit visit, void *argument);
// config_load_faulty of a text that stands, or might, at `path`. It asks nobody: names have an
// address that leads nowhere, and users are not looked up. Never to be served.
MUST_USE struct config *config_parse_offline(
        struct str text, const char *path, struct config_problems *problems);
// The text of the file, empty at first; false after adding the problem. It may hold a password:
// whoever read it has it forgotten.
MUST_USE bool config_read(const char *path, struct buffer *text, struct config_problems *problems);
void config_forget(struct buffer *text);
// Counted: each holder frees once.
struct config *config_ref(struct config *config);
void config_free(struct config *config);

// What is in force, defaults filled in and secrets redacted, as a file that parses to the same.
void config_dump(const struct config *config, struct buffer *out);
// Whether both say the same, secrets included.
bool config_same(const struct config *a, const struct config *b);
// conf/REFERENCE.md, from the schema table, reason.def and metric.def.
void config_reference(FILE *out);
// The text of tollgate.yaml(5), from the same tables; `@DATE@` and the like are filled in later.
void config_manual(FILE *out);
// conf/default.yaml, what `make run` serves, and what messages call it.
#define CONFIG_DEFAULT_NAME "(default)"
extern const char config_default_text[];

#endif
