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

// Where in the file a value stands, for messages that come later than parsing. Line and column from
// 1; 0 = not in the file.
struct config_mark {
	int line, column;
};

struct config_text {
	struct str text;
	struct config_mark mark;
};

struct config_texts {
	struct config_text *items;
	size_t count;
};

enum config_address_kind { ADDRESS_NONE, ADDRESS_INET, ADDRESS_UNIX };

// `127.0.0.1:8443`, `[::]:8443`, `unix:/path`; for backends also `name:port`, resolved once when
// the file is loaded.
struct config_address {
	enum config_address_kind kind;
	struct sockaddr_storage socket;
	socklen_t socket_len;
	struct str text;  // as written; a unix path made absolute
	struct config_mark mark;
};

// What `path:` of a log says: a file (made absolute), or the process's own stdout or stderr, or
// nothing.
enum config_output_kind { OUTPUT_OFF, OUTPUT_FILE, OUTPUT_STDOUT, OUTPUT_STDERR };

struct config_output {
	enum config_output_kind kind;
	struct str path;
};

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

enum { CONFIG_TICKET_KEYS_MAX = 8 };

struct config_tls {
	struct config_certificate *certificates;
	size_t certificate_count;  // >= 1; the first is the default
	enum config_tls_version min_version;
	bool require_client_certificate;
	enum config_unauthenticated on_unauthenticated;
	struct config_text trusted_ca;
	struct config_text crl;  // empty text when not given
	struct config_texts match_subject_alt_names;
	struct config_texts session_ticket_keys;  // files; none: sessions are kept in memory
	bool admin;  // `admin.tls`: its keys stand in one mapping, and HTTP/1.1 alone is spoken
	struct config_mark mark;
};

// `admin.tls`; without it `tls.certificate_count` is 0.
struct config_admin_tls {
	struct config_tls tls;
	struct config_certificate certificate;  // what `tls.certificates` points to
};

struct config_timeouts {  // 0 = off
	int64_t handshake_ns, request_headers_ns, request_ns, stream_idle_ns, idle_ns;
};

struct config_limits {  // 0 = none
	uint64_t connections, concurrent_streams, header_bytes, header_fields, body_bytes;
};

// Where a bucket lives: in this process, or for the whole fleet in Redis.
enum config_store { STORE_LOCAL, STORE_REDIS };
// What counts while the shared store does not answer: a bucket of this process, nothing, or a no.
enum config_store_failure { STORE_FAILURE_LOCAL, STORE_FAILURE_ALLOW, STORE_FAILURE_DENY };

enum config_per { PER_IDENTITY, PER_METHOD, PER_SOURCE_IP, PER_HEADER };

struct config_rate_limit {
	uint64_t rate_count;     // tokens refilled ...
	int64_t rate_period_ns;  // ... in this time
	uint64_t burst;          // >= 1
	struct {
		enum config_per kind;
		struct str header;  // lower case, for PER_HEADER
	} per[8];
	size_t per_count;
	struct config_texts per_names;  // the same as written
	uint64_t max_keys;              // >= 1
	enum config_store store;
	enum config_store_failure on_failure;
	uint64_t lease;  // >= 1: tokens taken from a shared store at once
	uint64_t fleet;  // >= 1: gateways among which a bucket of this process is divided
	struct config_mark mark;
};

// Whose calls are shed first when a backend is at its concurrency limit.
enum config_priority { PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH };
enum { CONFIG_PRIORITIES = PRIORITY_HIGH + 1 };

enum config_match_kind { MATCH_GRPC, MATCH_PATH };

struct config_route {
	enum config_match_kind kind;
	struct config_text pattern;   // `user.UserService/Login`, `user.*/*`, `*`; or `/api/*`
	struct config_texts methods;  // of a path match; none = any
	struct config_texts hosts;    // lower case, without port; none = any
	struct config_texts allow;    // SPIFFE patterns; none = every identity the listener accepts
	int backend;                  // index into config.backends, -1 when `respond` answers
	struct config_text backend_name;
	enum config_priority priority;
	struct config_mark priority_mark;  // line 0: not given
	int respond_status;                // 100..599 where backend < 0
	struct str respond_body;
	int64_t timeout_ns;  // 0 = none
	bool upgrade_websocket;
	struct config_texts upgrades;  // the same as written
	struct config_rate_limit *rate_limits;
	size_t rate_limit_count;
	struct config_mark mark;
};

struct config_listener {
	struct config_text name;
	struct config_address address;
	struct config_tls tls;
	struct config_timeouts timeouts;
	struct config_limits limits;
	struct config_route *routes;
	size_t route_count;  // >= 1
};

enum config_protocol { PROTOCOL_HTTP1, PROTOCOL_H2 };

// How many calls of a worker a backend has under way at most.
struct config_concurrency {
	struct config_mark mark;  // line 0: no block was given, and no limit is there
	uint64_t limit;           // > 0: it is this and never changes
	uint64_t min, max;        // of one that adapts itself
	uint64_t tolerance_percent;
};

struct config_backend {
	struct config_text name;
	enum config_protocol protocol;
	struct config_address *endpoints;    // a name stands here with all its addresses
	size_t endpoint_count;               // >= 1
	struct config_texts endpoint_names;  // as written
	int64_t connect_timeout_ns;
	struct config_concurrency concurrency;
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
};

enum config_version { CONFIG_V1 };

struct config {
	struct arena arena;     // holds everything below
	atomic_size_t further;  // holders beyond the first
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
	struct config_redis redis;
	struct config_tracing tracing;
	struct config_output audit, access_log;
	uint64_t audit_fold_after;  // like records of one caller a second before folding
	enum config_audit_failure audit_on_failure;
	struct config_listener *listeners;
	size_t listener_count;  // >= 1
	struct config_backend *backends;
	size_t backend_count;
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
// FILE:LINE:COLUMN: KEY.PATH: what; `(file)` stands for the key of a problem without one.
void config_problems_print(const struct config_problems *problems, int descriptor);
void config_problems_fini(struct config_problems *problems);

// Reads and checks the file; every problem found is added, not the first only. NULL when there was
// any. Later stages (policy_compile, tls material) add theirs to the same list before anybody
// prints it.
MUST_USE struct config *config_load(const char *path, struct config_problems *problems);
// The same from memory; `name` stands for the file in messages, relative paths are relative to
// `directory`.
MUST_USE struct config *config_parse(
        struct str text, const char *name, const char *directory, struct config_problems *problems);

// config_load for `check`, which wants the later stages' problems too: the config comes back even
// with problems, what could not be understood empty or at its default, and the counts said to be
// >= 1 may be 0. Never to be served. NULL only when there is no YAML to go by.
MUST_USE struct config *config_load_faulty(const char *path, struct config_problems *problems);
// Counted: each holder frees once.
struct config *config_ref(struct config *config);
void config_free(struct config *config);

// What is in force, defaults filled in and secrets redacted, as a file that parses to the same.
void config_dump(const struct config *config, struct buffer *out);
// conf/REFERENCE.md, from the schema table, reason.def and metric.def.
void config_reference(FILE *out);
// The text of tollgate.yaml(5), from the same tables; `@DATE@` and the like are filled in later.
void config_manual(FILE *out);
// conf/default.yaml, what `make run` serves.
extern const char config_default_text[];

#endif
