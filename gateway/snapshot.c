#include "gateway/snapshot.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/balance.h"
#include "gateway/metrics.h"
#include "gateway/watch.h"

extern const char config_default_text[];

static struct config *load_config(const char *path, struct config_problems *problems)
{
	if (path)
		return config_load(path, problems);
	return config_parse(str_from(config_default_text), "(default)", ".", problems);
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
	if (admin->certificate_count) {
		snapshot->admin_tls = tls_context_new(admin, STR("admin.tls"), problems);
		good &= snapshot->admin_tls != NULL;
	}
	return good;
}

static bool load_roots(const struct config *config, struct config_problems *problems)
{
	const struct config_text *file = &config->tracing.trusted_ca;
	return !file->text.len || tls_roots_check(file, STR("tracing.trusted_ca"), problems);
}

static void label_routes(struct snapshot *snapshot, const struct config_listener *listener,
        struct snapshot_listener *out)
{
	struct arena *arena = &snapshot->arena;
	out->label = metrics_label(listener->name.text);
	out->route_labels = arena_zalloc(arena, listener->route_count * sizeof(*out->route_labels));
	out->limit_labels = arena_zalloc(arena, listener->route_count * sizeof(*out->limit_labels));
	for (size_t i = 0; i < listener->route_count; i++) {
		const struct config_route *route = &listener->routes[i];
		out->route_labels[i] = metrics_label(route->pattern.text);
		out->limit_labels[i] = arena_zalloc(
		        arena, (route->rate_limit_count + 1) * sizeof(char *));
		for (size_t k = 0; k < route->rate_limit_count; k++)
			out->limit_labels[i][k] = metrics_label(
			        arena_printf(arena, "rate_limits[%zu]", k));
	}
}

static void label_backend(struct snapshot *snapshot, const struct config_backend *backend,
        struct snapshot_backend *out)
{
	out->label = metrics_label(backend->name.text);
	out->endpoint_labels = arena_zalloc(
	        &snapshot->arena, backend->endpoint_count * sizeof(char *));
	for (size_t i = 0; i < backend->endpoint_count; i++)
		out->endpoint_labels[i] = metrics_label(backend->endpoints[i].text);
}

// By addresses: a name's may be several, and all of a fleet see the same.
static void spread_backend(struct snapshot *snapshot, const struct config_backend *backend,
        struct snapshot_backend *out)
{
	struct arena scratch = {0};
	if (backend->balance != BALANCE_HASH)
		return;
	struct str *names = arena_alloc(&scratch, backend->endpoint_count * sizeof(*names));
	for (size_t i = 0; i < backend->endpoint_count; i++)
		names[i] = str_of((const char *)&backend->endpoints[i].socket,
		        backend->endpoints[i].socket_len);
	out->table = balance_table(
	        names, backend->weights, backend->endpoint_count, &snapshot->arena);
	arena_fini(&scratch);
}

static void unlabel_listener(
        const struct config_listener *listener, const struct snapshot_listener *labels)
{
	metrics_label_release(labels->label);
	for (size_t i = 0; labels->limit_labels && i < listener->route_count; i++) {
		metrics_label_release(labels->route_labels[i]);
		for (const char **limit = labels->limit_labels[i]; *limit; limit++)
			metrics_label_release(*limit);
	}
}

static void unlabel(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->config->listener_count; i++)
		unlabel_listener(&snapshot->config->listeners[i], &snapshot->listeners[i]);
	for (size_t i = 0; i < snapshot->config->backend_count; i++) {
		const struct snapshot_backend *backend = &snapshot->backends[i];
		metrics_label_release(backend->label);
		for (size_t k = 0;
		        backend->label && k < snapshot->config->backends[i].endpoint_count; k++)
			metrics_label_release(backend->endpoint_labels[k]);
	}
}

static void label(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->config->listener_count; i++)
		label_routes(snapshot, &snapshot->config->listeners[i], &snapshot->listeners[i]);
	for (size_t i = 0; i < snapshot->config->backend_count; i++) {
		label_backend(snapshot, &snapshot->config->backends[i], &snapshot->backends[i]);
		spread_backend(snapshot, &snapshot->config->backends[i], &snapshot->backends[i]);
	}
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

struct snapshot *snapshot_load(
        const char *path, struct bucket_store *store, struct config_problems *problems)
{
	struct config *config = load_config(path, problems);
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
}

bool snapshot_check(const char *path, struct config_problems *problems)
{
	return snapshot_review(path, problems, NULL, NULL);
}

static void review_tls(const struct config_tls *tls, struct str key,
        struct config_problems *problems,
        void (*visit)(const struct tls_expiry *expiry, void *argument), void *argument)
{
	struct tls_context *context = tls_context_new(tls, key, problems);
	if (context && visit)
		tls_context_expiries(context, visit, argument);
	tls_context_unref(context);
}

bool snapshot_review(const char *path, struct config_problems *problems,
        void (*visit)(const struct tls_expiry *expiry, void *argument), void *argument)
{
	struct config *config = config_load_faulty(path, problems);
	if (!config)
		return false;
	struct arena arena = {0};
	for (size_t i = 0; i < config->listener_count; i++) {
		struct str key = arena_printf(&arena, "listeners[%zu].tls", i);
		review_tls(&config->listeners[i].tls, key, problems, visit, argument);
	}
	const struct config_tls *admin = &config->admin_tls.tls;
	if (admin->certificate_count)
		review_tls(admin, STR("admin.tls"), problems, visit, argument);
	(void)!load_roots(config, problems);
	policy_free(policy_compile(config, NULL, problems));
	config_free(config);
	arena_fini(&arena);
	return problems->count == 0;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
	atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
	return snapshot;
}

void snapshot_unref(struct snapshot *snapshot)
{
	if (!snapshot ||
	        atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) != 1)
		return;
	if (snapshot->policy)
		policy_free(snapshot->policy);
	for (size_t i = 0; i < snapshot->config->listener_count; i++) {
		if (snapshot->listeners[i].tls)
			tls_context_unref(snapshot->listeners[i].tls);
		listening_unref(snapshot->listeners[i].listening);
	}
	tls_context_unref(snapshot->admin_tls);
	unlabel(snapshot);
	config_free(snapshot->config);
	arena_fini(&snapshot->arena);
	free(snapshot);
}

bool snapshot_can_follow(const struct snapshot *now, const struct snapshot *next, const char **why)
{
	const struct config *a = now->config, *b = next->config;
	*why = NULL;
	if (a->workers != b->workers)
		*why = "workers";
	else if (a->run_as.uid != b->run_as.uid || a->run_as.gid != b->run_as.gid)
		*why = "run_as";
	else if (a->sandbox != b->sandbox)
		*why = "sandbox";
	else if (a->admin.kind != b->admin.kind || !str_eq(a->admin.text, b->admin.text))
		*why = "admin.address";
	else if (a->audit.kind != b->audit.kind || !str_eq(a->audit.path, b->audit.path))
		*why = "audit.path";
	else if (a->access_log.kind != b->access_log.kind ||
	         !str_eq(a->access_log.path, b->access_log.path))
		*why = "access_log.path";
	else if ((a->tracing.endpoint.text.len > 0) != (b->tracing.endpoint.text.len > 0))
		*why = "tracing, between on and off,";
	return !*why;
}
