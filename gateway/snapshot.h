// One configuration made ready to serve: config, compiled policy, TLS contexts, sockets. Immutable
// and counted; any thread. Each worker holds one reference to the one in force, each connection and
// exchange one to the one it began under; a reload is a new snapshot handed to every worker. The
// buckets live outside, in the store, so that they survive.
#ifndef GATEWAY_SNAPSHOT_H
#define GATEWAY_SNAPSHOT_H

#include <stdatomic.h>

#include "conf/config.h"
#include "gateway/inherited.h"
#include "gateway/listening.h"
#include "policy/policy.h"
#include "tls/tls.h"

// Words that metrics and records use again and again, interned once.
struct snapshot_listener {
	const char *label;
	const char **route_labels;        // by route
	const char ***limit_labels;       // by route, by limit
	const char ***call_limit_labels;  // likewise
	const char ***flow_labels;
	struct tls_context *tls;
	struct listening *listening;  // one reference, since snapshot_listen
};

struct snapshot_backend {
	struct snapshot_words *words;  // snapshot_backends.c: holds what is a label or a table here
	const char *label;
	const char *tls_label;        // `backend/NAME`, where there is `tls`
	struct tls_context *tls;      // NULL: it is spoken to in clear text
	const struct policy *policy;  // which knows whom a server may be,
	size_t index;                 // by the backend's place
	const char **endpoint_labels;
	const uint16_t *table;  // of balance.h; NULL: the backend does not balance by hash
};

struct snapshot {
	atomic_size_t references;
	uint64_t generation;
	uint64_t looks;  // of its files, before they were read (watch.h)
	struct arena arena;
	struct snapshot *origin;  // held, and owns all but config and backends; NULL: none
	struct config *config;
	struct policy *policy;
	struct snapshot_listener *listeners;
	struct snapshot_backend *backends;
	struct tls_context *admin_tls;  // NULL: the admin listener is plain
};

// Loads everything `run` needs; NULL after adding every problem. `path` NULL: the embedded default
// configuration, relative to the working directory. `present`: the one in force, whose addresses of
// names are kept, or NULL. `check`: adds every problem that a start would meet, of all
// stages in one run. True when there is none.
MUST_USE bool snapshot_check(const char *path, struct config_problems *problems);
// The same of loading, `offline` without asking anybody for names, and `visit` sees what ends some
// day of all that could be loaded.
MUST_USE bool snapshot_review(const char *path, bool offline, struct config_problems *problems,
        void (*visit)(const struct tls_expiry *expiry, void *argument), void *argument);
MUST_USE struct snapshot *snapshot_load(const char *path, const struct snapshot *present,
        struct bucket_store *store, struct config_problems *problems);
// The same configuration with what its files hold now: certificates, keys, bundles, lists.
MUST_USE struct snapshot *snapshot_renew(
        const struct snapshot *now, struct bucket_store *store, struct config_problems *problems);
// The same again, with the addresses of `config`, which is endpoints_readdress's and taken over.
MUST_USE struct snapshot *snapshot_readdress(struct snapshot *now, struct config *config);
// Opens the sockets of every listener, or takes over those of `now` (NULL: there is none) that stay
// and those a predecessor left. False after adding a problem for each that cannot be had.
MUST_USE bool snapshot_listen(struct snapshot *next, const struct snapshot *now,
        struct inherited *inherited, struct config_problems *problems);
// Visits what speaks TLS: the admin listener, under the label "admin", every listener, and every
// backend that does, as `backend/NAME`.
void snapshot_each_tls(const struct snapshot *snapshot,
        void (*visit)(const char *label, const struct tls_context *tls, void *argument),
        void *argument);
bool snapshot_listens(const struct snapshot *snapshot, const struct listening *listening);
struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_unref(struct snapshot *snapshot);

// Whether `next` can take the place of `now` in a running process; else `changed` names all that
// needs a restart.
MUST_USE bool snapshot_can_follow(
        const struct snapshot *now, const struct snapshot *next, struct buffer *changed);

// snapshot_backends.c, for snapshot.c
void snapshot_word_backends(struct snapshot *snapshot);
void snapshot_unword_backends(struct snapshot *snapshot);

#endif
