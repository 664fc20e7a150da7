// What a snapshot knows of its backends, and the snapshot that differs from another in their
// addresses alone.
#include <stdlib.h>

#include "gateway/balance.h"
#include "gateway/metrics.h"
#include "gateway/snapshot.h"

// What does not change while a backend's addresses stay: of all snapshots of an origin.
struct snapshot_words {
	atomic_size_t references;
	struct arena arena;
	const char *label, *tls_label;  // interned, and so are those of the endpoints
	const char **endpoint_labels;
	size_t endpoint_count;
	const uint16_t *table;
};

// By addresses: a name's may be several, and all of a fleet see the same.
static const uint16_t *spread(const struct config_backend *backend, struct arena *arena)
{
	struct arena scratch = {0};
	if (backend->balance != BALANCE_HASH)
		return NULL;
	struct str *names = arena_alloc(&scratch, backend->endpoint_count * sizeof(*names));
	for (size_t i = 0; i < backend->endpoint_count; i++)
		names[i] = str_of((const char *)&backend->endpoints[i].socket,
		        backend->endpoints[i].socket_len);
	const uint16_t *table = balance_table(
	        names, backend->weights, backend->endpoint_count, arena);
	arena_fini(&scratch);
	return table;
}

static struct snapshot_words *words_new(const struct config_backend *backend)
{
	struct snapshot_words *words = must_alloc(sizeof(*words));
	struct arena *arena = &words->arena;
	words->references = 1;
	words->label = metrics_label(backend->name.text);
	if (backend->tls.tls.mark.line)
		words->tls_label = metrics_label(
		        arena_printf(arena, "backend/%.*s", STR_FMT(backend->name.text)));
	words->endpoint_count = backend->endpoint_count;
	words->endpoint_labels = arena_alloc(arena, backend->endpoint_count * sizeof(char *));
	for (size_t i = 0; i < backend->endpoint_count; i++)
		words->endpoint_labels[i] = metrics_label(backend->endpoints[i].text);
	words->table = spread(backend, arena);
	return words;
}

static void words_unref(struct snapshot_words *words)
{
	if (!words || atomic_fetch_sub(&words->references, 1) != 1)
		return;
	metrics_label_release(words->label);
	metrics_label_release(words->tls_label);
	for (size_t i = 0; i < words->endpoint_count; i++)
		metrics_label_release(words->endpoint_labels[i]);
	arena_fini(&words->arena);
	free(words);
}

static void take_words(struct snapshot *snapshot, size_t index, struct snapshot_words *words)
{
	struct snapshot_backend *backend = &snapshot->backends[index];
	backend->policy = snapshot->policy;
	backend->index = index;
	backend->words = words;
	backend->label = words->label;
	backend->tls_label = words->tls_label;
	backend->endpoint_labels = words->endpoint_labels;
	backend->table = words->table;
}

void snapshot_word_backends(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->config->backend_count; i++)
		take_words(snapshot, i, words_new(&snapshot->config->backends[i]));
}

void snapshot_unword_backends(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->config->backend_count; i++)
		words_unref(snapshot->backends[i].words);
}

static struct snapshot_words *words_of(
        const struct snapshot *now, const struct config *config, size_t index)
{
	struct snapshot_words *words = now->backends[index].words;
	if (now->config->backends[index].edition != config->backends[index].edition)
		return words_new(&config->backends[index]);
	atomic_fetch_add(&words->references, 1);
	return words;
}

struct snapshot *snapshot_readdress(struct snapshot *now, struct config *config)
{
	struct snapshot *next = must_alloc(sizeof(*next));
	next->references = 1;
	next->origin = snapshot_ref(now->origin ? now->origin : now);
	next->generation = now->generation;
	next->looks = now->looks;
	next->config = config;
	next->policy = now->policy;
	next->listeners = now->listeners;
	next->admin_tls = now->admin_tls;
	next->backends = arena_zalloc(
	        &next->arena, config->backend_count * sizeof(*next->backends));
	for (size_t i = 0; i < config->backend_count; i++) {
		next->backends[i].tls = now->backends[i].tls;
		take_words(next, i, words_of(now, config, i));
	}
	return next;
}
