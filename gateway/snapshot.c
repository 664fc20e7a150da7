#include "gateway/snapshot.h"

#include <stdio.h>
#include <stdlib.h>

#include "conf/doubts.h"
#include "gateway/audit_review.h"
#include "gateway/balance.h"
#include "gateway/metrics.h"
#include "gateway/trace_post.h"
#include "gateway/watch.h"

extern const char config_default_text[];

static struct config *load_config(
        const char *path, const struct snapshot *present, struct config_problems *problems)
{
	if (!path)
		return config_parse(
		        str_from(config_default_text), CONFIG_DEFAULT_NAME, ".", problems);
	return present ? config_reload(path, present->config, problems)
	               : config_start(path, problems);
}

static bool load_tls(struct snapshot *snapshot, struct config_problems *problems)
{
	bool good = true;
	for (size_t i = 0; i < snapshot->config->listener_count; i++) {
		struct str key = arena_printf(&snapshot->arena, "listeners[%zu].tls", i);
		snapshot->listeners[i].tls = tls_context_new(
		        &snapshot->config->listeners[i].tls, key, problems);
		good &= snapshot->listeners[i].tls != NULL;
	}
	const struct config_tls *admin = &snapshot->config->admin_tls.tls;
	if (admin->mark.line) {
		snapshot->admin_tls = tls_context_new(admin, STR("admin.tls"), problems);
		good &= snapshot->admin_tls != NULL;
	}
	for (size_t i = 0; i < snapshot->config->backend_count; i++) {
		const struct config_tls *tls = &snapshot->config->backends[i].tls.tls;
		if (!tls->mark.line)
			continue;
		struct str key = arena_printf(&snapshot->arena, "backends[%zu].tls", i);
		snapshot->backends[i].tls = tls_context_new(tls, key, problems);
		good &= snapshot->backends[i].tls != NULL;
	}
	return good;
}

static bool load_roots(const struct config *config, struct config_problems *problems)
{
	const struct config_text *file = &config->tracing.trusted_ca;
	return !file->text.len || tls_roots_check(file, STR("tracing.trusted_ca"), problems);
}

// `rate_limits[0]` and so on; NULL behind the last.
static const char **number_labels(const char *list, size_t count, struct arena *arena)
{
	const char **labels = arena_zalloc(arena, (count + 1) * sizeof(*labels));
	for (size_t i = 0; i < count; i++)
		labels[i] = metrics_label(arena_printf(arena, "%s[%zu]", list, i));
	return labels;
}

static void label_routes(struct snapshot *snapshot, const struct config_listener *listener,
        struct snapshot_listener *out)
{
	struct arena *arena = &snapshot->arena;
	out->label = metrics_label(listener->name.text);
	out->route_labels = arena_zalloc(arena, listener->route_count * sizeof(*out->route_labels));
	out->limit_labels = arena_zalloc(arena, listener->route_count * sizeof(*out->limit_labels));
	out->call_limit_labels = arena_zalloc(
	        arena, listener->route_count * sizeof(*out->call_limit_labels));
	out->flow_labels = arena_zalloc(arena, listener->route_count * sizeof(*out->flow_labels));
	for (size_t i = 0; i < listener->route_count; i++) {
		const struct config_route *route = &listener->routes[i];
		out->route_labels[i] = metrics_label(route->pattern.text);
		out->limit_labels[i] = number_labels("rate_limits", route->rate_limit_count, arena);
		out->call_limit_labels[i] = number_labels(
		        "call_limits", route->call_limit_count, arena);
		out->flow_labels[i] = number_labels("flow_limits", route->flow_limit_count, arena);
	}
}

static void unlabel_limits(const char *const *labels)
{
	for (; *labels; labels++)
		metrics_label_release(*labels);
}

static void unlabel_listener(
        const struct config_listener *listener, const struct snapshot_listener *labels)
{
	metrics_label_release(labels->label);
	for (size_t i = 0; labels->limit_labels && i < listener->route_count; i++) {
		metrics_label_release(labels->route_labels[i]);
		unlabel_limits(labels->limit_labels[i]);
		unlabel_limits(labels->call_limit_labels[i]);
		unlabel_limits(labels->flow_labels[i]);
	}
}

static void unlabel_listeners(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->config->listener_count; i++)
		unlabel_listener(&snapshot->config->listeners[i], &snapshot->listeners[i]);
}

static void label(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->config->listener_count; i++)
		label_routes(snapshot, &snapshot->config->listeners[i], &snapshot->listeners[i]);
	snapshot_word_backends(snapshot);
}

// Takes the configuration.
static struct snapshot *make_ready(
        struct config *config, struct bucket_store *store, struct config_problems *problems)
{
	static atomic_uint_fast64_t generations;
	struct snapshot *snapshot = must_alloc(sizeof(*snapshot));
	snapshot->references = 1;
	snapshot->generation = ++generations;
	snapshot->config = config;
	snapshot->looks = watch_look(config);
	struct arena *arena = &snapshot->arena;
	snapshot->listeners = arena_zalloc(
	        arena, config->listener_count * sizeof(*snapshot->listeners));
	snapshot->backends = arena_zalloc(
	        arena, config->backend_count * sizeof(*snapshot->backends));
	// Both stages run even if the first finds problems: all are reported at once.
	bool good = load_tls(snapshot, problems);
	good &= load_roots(config, problems);
	snapshot->policy = policy_compile(config, store, problems);
	if (!good || !snapshot->policy) {
		snapshot_unref(snapshot);
		return NULL;
	}
	label(snapshot);
	return snapshot;
}

struct snapshot *snapshot_load(const char *path, const struct snapshot *present,
        struct bucket_store *store, struct config_problems *problems)
{
	struct config *config = load_config(path, present, problems);
	return config ? make_ready(config, store, problems) : NULL;
}

struct snapshot *snapshot_renew(
        const struct snapshot *now, struct bucket_store *store, struct config_problems *problems)
{
	return make_ready(config_ref(now->config), store, problems);
}

void snapshot_each_tls(const struct snapshot *snapshot,
        void (*visit)(const char *label, const struct tls_context *tls, void *argument),
        void *argument)
{
	if (snapshot->admin_tls)
		visit("admin", snapshot->admin_tls, argument);
	for (size_t i = 0; i < snapshot->config->listener_count; i++)
		visit(snapshot->listeners[i].label, snapshot->listeners[i].tls, argument);
	for (size_t i = 0; i < snapshot->config->backend_count; i++)
		if (snapshot->backends[i].tls)
			visit(snapshot->backends[i].tls_label, snapshot->backends[i].tls, argument);
}

struct review {
	struct config_problems *problems;
	void (*visit)(const struct tls_expiry *expiry, void *argument);
	void *argument;
};

static void review_tls(const struct config_tls *tls, struct str key, void *argument)
{
	const struct review *review = argument;
	struct tls_context *context = tls_context_new(tls, key, review->problems);
	if (context && review->visit)
		tls_context_expiries(context, review->visit, review->argument);
	tls_context_unref(context);
}

static void print_doubt(const struct config_doubt *doubt, void *file)
{
	printf("%.*s:%d:%d: warning: %.*s: %s\n", STR_FMT(*(const struct str *)file),
	        doubt->mark.line, doubt->mark.column, STR_FMT(doubt->key), doubt->words);
}

static bool review(const char *path, enum config_lookups lookups, struct config_problems *problems,
        void (*visit)(const struct tls_expiry *expiry, void *argument), void *argument)
{
	struct config *config = config_load_faulty(path, lookups, problems);
	if (!config)
		return false;
	config_each_tls(config, review_tls, &(struct review){problems, visit, argument});
	(void)!load_roots(config, problems);
	(void)!trace_post_prepare(&config->tracing, problems);
	audit_review(config, visit != NULL, problems);
	if (visit)
		config_doubts(config, print_doubt, &config->file);
	policy_free(policy_compile(config, NULL, problems));
	config_free(config);
	return problems->count == 0;
}

bool snapshot_check(const char *path, struct config_problems *problems)
{
	return review(path, CONFIG_LOOKUPS_FORGIVEN, problems, NULL, NULL);
}

bool snapshot_review(const char *path, bool offline, struct config_problems *problems,
        void (*visit)(const struct tls_expiry *expiry, void *argument), void *argument)
{
	return review(path, offline ? CONFIG_LOOKUPS_NONE : CONFIG_LOOKUPS_NEEDED, problems, visit,
	        argument);
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
	atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
	return snapshot;
}

static void release_own(struct snapshot *snapshot)
{
	if (snapshot->policy)
		policy_free(snapshot->policy);
	for (size_t i = 0; i < snapshot->config->listener_count; i++) {
		if (snapshot->listeners[i].tls)
			tls_context_unref(snapshot->listeners[i].tls);
		listening_unref(snapshot->listeners[i].listening);
	}
	tls_context_unref(snapshot->admin_tls);
	for (size_t i = 0; i < snapshot->config->backend_count; i++)
		tls_context_unref(snapshot->backends[i].tls);
	unlabel_listeners(snapshot);
}

void snapshot_unref(struct snapshot *snapshot)
{
	if (!snapshot ||
	        atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) != 1)
		return;
	if (!snapshot->origin)
		release_own(snapshot);
	snapshot_unword_backends(snapshot);
	snapshot_unref(snapshot->origin);
	config_free(snapshot->config);
	arena_fini(&snapshot->arena);
	free(snapshot);
}

static bool output_equal(const struct config_output *a, const struct config_output *b)
{
	return a->kind == b->kind && str_eq(a->path, b->path);
}

static void name_changed(struct buffer *changed, bool differs, const char *key)
{
	if (differs)
		buffer_printf(changed, "%s%s", buffer_len(changed) ? ", " : "", key);
}

bool snapshot_can_follow(
        const struct snapshot *now, const struct snapshot *next, struct buffer *changed)
{
	const struct config *a = now->config, *b = next->config;
	name_changed(changed, a->workers != b->workers, "workers");
	name_changed(changed, a->run_as.uid != b->run_as.uid || a->run_as.gid != b->run_as.gid,
	        "run_as");
	name_changed(changed, a->sandbox != b->sandbox, "sandbox");
	name_changed(changed,
	        a->admin.kind != b->admin.kind || !str_eq(a->admin.text, b->admin.text),
	        "admin.address");
	name_changed(changed, !output_equal(&a->audit, &b->audit), "audit.path");
	name_changed(changed, !output_equal(&a->access_log, &b->access_log), "access_log.path");
	name_changed(changed,
	        (a->tracing.endpoint.text.len > 0) != (b->tracing.endpoint.text.len > 0),
	        "tracing, between on and off,");
	return buffer_len(changed) == 0;
}
