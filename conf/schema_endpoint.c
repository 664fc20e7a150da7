// The servers of a backend: their keys, their addresses, and their weights in both spellings.
#include "base/clock.h"
#include "conf/address.h"
#include "conf/endpoints.h"
#include "conf/schema_row.h"
#include "conf/value.h"

enum { WEIGHT_MAX = 1000, SILENCES_MS = 5000 };

static void check_unique(
        struct reader *reader, const struct config_backend *backend, const struct config_text *name)
{
	for (const struct config_endpoint *other = backend->names; &other->address < name; other++)
		if (str_eq(other->address.text, name->text)) {
			reader_problem(reader, name->mark,
			        "stands twice in the list, first in line %d; expected it once",
			        other->address.mark.line);
			return;
		}
}

// What the servers said before may still hold, and whoever reads the file has better to do than to
// wait for them once more: they are asked again as soon as it is in force.
static bool is_known(struct reader *reader, struct str name, struct endpoints_of_name *resolved)
{
	struct config *config = reader->config;
	const struct config *present = reader_present(reader);
	if (!present || !address_is_looked_up(name))
		return false;
	*resolved = endpoints_known(present, name, &reader->present_at, &config->arena);
	config->stale_names |= resolved->count > 0;
	return resolved->count > 0;
}

static bool ask(struct reader *reader, struct str name, const struct config_dns *dns,
        struct endpoints_of_name *resolved, const char **why)
{
	// A start that is long may be given up by whoever began it.
	return (reader->forgiving ? address_resolve_briefly : address_resolve)(name,
	        reader->directory, dns, &reader->config->arena, &resolved->addresses,
	        &resolved->count, why);
}

// Whoever loads the file waits. Where it is refused already one silence is enough; where it is not,
// several, for whoever was not asked has no address at first.
static void note_silence(struct reader *reader, int64_t waited_ns)
{
	if (waited_ns > ADDRESS_SILENCE_MS * (int64_t)NS_PER_MS)
		reader->waited_ns += waited_ns;
	int64_t most_ms = reader->forgiving ? SILENCES_MS : 0;
	reader->silence |= reader->waited_ns > most_ms * NS_PER_MS;
}

static bool find(struct reader *reader, struct str name, struct endpoints_of_name *resolved,
        const char **why)
{
	int64_t asked_ns = clock_monotonic_ns();
	if (is_known(reader, name, resolved) ||
	        ask(reader, name, reader_dns(reader), resolved, why))
		return true;
	note_silence(reader, clock_monotonic_ns() - asked_ns);
	return reader->forgiving && address_is_looked_up(name) &&
	       ask(reader, name, NULL, resolved, why);
}

static void resolve(
        struct reader *reader, struct config_text *name, struct endpoints_of_name *resolved)
{
	const char *why;
	if (!find(reader, name->text, resolved, &why)) {
		resolved->count = 0;
		reader_problem(reader, name->mark, "found %s, %s; expected %s",
		        value_quote(name->text).text, why,
		        "an address such as " ADDRESS_NAME_EXAMPLES);
		return;
	}
	for (size_t i = 0; i < resolved->count; i++) {
		resolved->addresses[i].mark = name->mark;
		reader->config->stale_names |= resolved->addresses[i].unknown;
	}
}

static void take_addresses(struct reader *reader, struct config_backend *backend)
{
	struct arena *arena = &reader->config->arena;
	struct endpoints_of_name *resolved = arena_zalloc(
	        arena, backend->name_count * sizeof(*resolved));
	size_t count = 0;
	reader_enter(reader, "endpoints");
	for (size_t i = 0; i < backend->name_count; i++) {
		struct config_text *name = &backend->names[i].address;
		reader_enter_item(reader, i);
		if (name->text.len) {
			check_unique(reader, backend, name);
			resolve(reader, name, &resolved[i]);
		}
		reader_leave(reader);
		count += resolved[i].count;
	}
	if (count > ENDPOINT_ADDRESSES_MAX)
		reader_problem(reader, backend->name.mark,
		        "are %zu addresses in all; expected at most %d", count,
		        ENDPOINT_ADDRESSES_MAX);
	reader_leave(reader);
	for (size_t i = 0; i < backend->name_count; i++)
		if (resolved[i].count)  // a unix path is absolute now
			backend->names[i].address.text = resolved[i].addresses[0].text;
	endpoints_set(backend, resolved, arena);
}

static bool all_weigh_the_same(const struct config_backend *backend)
{
	for (size_t i = 1; i < backend->name_count; i++)
		if (backend->names[i].weight != backend->names[0].weight)
			return false;
	return true;
}

// False after a problem.
static bool check_spelling(
        struct reader *reader, const struct tree *node, const struct tree *endpoints)
{
	size_t index = 0;
	for (const struct tree *item = endpoints->first; item; item = item->next, index++) {
		const struct tree *weight = tree_get(item, "weight");
		if (!weight)
			continue;
		reader_problem_at(reader, node, "weights",
		        "stands beside endpoints[%zu].weight, in line %d; expected either weights "
		        "or the weight with each endpoint",
		        index, weight->mark.line);
		return false;
	}
	return true;
}

// The older spelling; from here on it is as if each stood with its endpoint.
static void take_weights(struct reader *reader, const struct tree *node,
        const struct tree *endpoints, struct config_backend *backend)
{
	const struct config_texts texts = backend->weight_texts;
	const struct tree *weights = tree_get(node, "weights");
	backend->weight_texts = (struct config_texts){0};
	if (weights->kind != TREE_LIST || !check_spelling(reader, node, endpoints))
		return;
	if (weights->count != endpoints->count) {
		reader_problem_at(reader, node, "weights",
		        "has %zu elements beside %zu endpoints; expected one for each",
		        weights->count, endpoints->count);
		return;
	}
	if (texts.count != backend->name_count)  // some was not understood
		return;
	for (size_t i = 0; i < texts.count; i++)
		CHECK(value_count(texts.items[i].text, &backend->names[i].weight));
	if (all_weigh_the_same(backend))
		reader_problem_at(reader, node, "weights",
		        "can have no effect: all are equal; expected some that differ, or the key "
		        "left out");
}

// What is the same for all weighs nothing; a 1 is what it would be without the key.
static void check_weights(
        struct reader *reader, const struct tree *endpoints, const struct config_backend *backend)
{
	if (!backend->name_count || backend->names[0].weight <= 1 || !all_weigh_the_same(backend))
		return;
	reader_enter(reader, "endpoints");
	reader_enter_item(reader, 0);
	reader_problem_at(reader, endpoints->first, "weight",
	        "can have no effect: all are equal; expected some that differ, or the key left "
	        "out");
	reader_leave(reader);
	reader_leave(reader);
}

void check_endpoints(struct reader *reader, const struct tree *node, struct config_backend *backend)
{
	const struct tree *endpoints = tree_get(node, "endpoints");
	if (endpoints && endpoints->kind == TREE_LIST) {
		if (tree_get(node, "weights"))
			take_weights(reader, node, endpoints, backend);
		else
			check_weights(reader, endpoints, backend);
	}
	take_addresses(reader, backend);
}

static const struct schema_key endpoint_keys[] = {
        {"address", .presence = PRESENCE_REQUIRED, TYPE(type_endpoint),
                AT(config_endpoint, address),
                DOC("A name is resolved when the file is loaded, to all its IPv4 addresses or else "
                    "its IPv6 ones, and again when its TTL has passed (`dns`). As a gateway starts "
                    "it may have none yet. "
                    "`_grpc._tcp.users.example.com`, without a port, is a service: its SRV records "
                    "name the servers, their ports and weights; of several priorities the lowest "
                    "number counts.")},
        {"weight", TYPE(type_count), AT(config_endpoint, weight), RANGE(1, WEIGHT_MAX),
                .fallback = "1",
                DOC("Its share beside the others'. Every address of a name has the name's weight, "
                    "and every server of a service that times its record's.")},
};

const struct schema_object schema_endpoint = {
        DOC("A server, or the servers of a name. An `address` without a mapping around it says the "
            "same as a mapping with that key alone."),
        .size = sizeof(struct config_endpoint), KEYS(endpoint_keys),
        .shorthand = &endpoint_keys[0]};
