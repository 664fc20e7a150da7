#include "conf/endpoints.h"

#include "conf/address.h"
#include "conf/lookup.h"

void endpoints_set(
        struct config_backend *backend, const struct endpoints_of_name *found, struct arena *arena)
{
	size_t names = backend->name_count, count = 0;
	for (size_t i = 0; i < names; i++)
		count += found[i].count;
	backend->endpoints = arena_alloc(arena, count * sizeof(*backend->endpoints));
	backend->weights = arena_alloc(arena, count * sizeof(*backend->weights));
	backend->endpoint_count = 0;
	for (size_t i = 0; i < names; i++)
		for (size_t j = 0; j < found[i].count; j++) {
			backend->endpoints[backend->endpoint_count] = found[i].addresses[j];
			uint32_t share = found[i].addresses[j].weight;
			backend->weights[backend->endpoint_count++] =
			        (uint32_t)backend->names[i].weight * (share ? share : 1);
		}
}

// Those of a name stand together, under its text.
static struct endpoints_of_name next_of(const struct config_backend *backend, size_t from)
{
	struct endpoints_of_name present = {.addresses = &backend->endpoints[from]};
	while (from + present.count < backend->endpoint_count &&
	        str_eq(backend->endpoints[from + present.count].text, present.addresses->text))
		present.count++;
	return present;
}

static struct endpoints_of_name find_in(const struct config_backend *backend, struct str name)
{
	for (size_t at = 0; at < backend->endpoint_count;) {
		struct endpoints_of_name one = next_of(backend, at);
		if (str_eq(one.addresses->text, name))
			return one;
		at += one.count;
	}
	return (struct endpoints_of_name){0};
}

// One place may have come to addresses, and another not yet.
struct endpoints_of_name endpoints_known(
        const struct config *config, struct str name, size_t *from, struct arena *arena)
{
	struct endpoints_of_name known = {0};
	size_t first = *from;
	for (size_t i = 0; i < config->backend_count; i++) {
		size_t at = (first + i) % config->backend_count;
		struct endpoints_of_name one = find_in(&config->backends[at], name);
		if (!one.count || (known.count && one.addresses->unknown))
			continue;
		known = one;
		*from = at;
		if (!one.addresses->unknown)
			break;
	}
	size_t bytes = known.count * sizeof(*known.addresses);
	if (known.count)
		known.addresses = memcpy(arena_alloc(arena, bytes), known.addresses, bytes);
	for (size_t i = 0; i < known.count; i++) {
		known.addresses[i].text = arena_str(arena, name);
		known.addresses[i].mark = (struct config_mark){0};
	}
	return known;
}

size_t endpoints_unknown(const struct config *config)
{
	size_t count = 0;
	for (size_t i = 0; i < config->backend_count; i++)
		for (size_t j = 0; j < config->backends[i].endpoint_count; j++)
			count += config->backends[i].endpoints[j].unknown;
	return count;
}

static struct endpoints_of_name aim(const struct endpoints_of_name *found,
        const struct config_address *present, struct arena *arena)
{
	struct config_address *addresses = arena_alloc(arena, found->count * sizeof(*addresses));
	for (size_t i = 0; i < found->count; i++) {
		addresses[i] = found->addresses[i];
		addresses[i].mark = present->mark;
		lookup_aim(&addresses[i],
		        address_port(address_is_service(present) ? &addresses[i] : present),
		        present->text);
	}
	return (struct endpoints_of_name){.addresses = addresses, .count = found->count};
}

bool endpoints_alike(const struct config_address a[], size_t a_count,
        const struct config_address b[], size_t b_count)
{
	for (size_t i = 0; a_count == b_count && i < a_count; i++)
		if (!address_equal(&a[i], &b[i]) || a[i].weight != b[i].weight)
			return false;
	return a_count == b_count;
}

static void readdress(
        struct config_backend *backend, struct arena *arena, endpoints_find find, void *argument)
{
	size_t names = backend->name_count, at = 0, count = backend->endpoint_count;
	struct endpoints_of_name *all = arena_zalloc(arena, names * sizeof(*all));
	bool other = false;
	for (size_t i = 0; i < names; i++) {
		struct endpoints_of_name present = next_of(backend, at), found;
		at += present.count;
		all[i] = present;
		if (!find(present.addresses, &found, argument))
			continue;
		if (count - present.count + found.count > ENDPOINT_ADDRESSES_MAX) {
			if (found.refused)
				*found.refused = true;
			continue;
		}
		count = count - present.count + found.count;
		all[i] = aim(&found, present.addresses, arena);
		other |= !endpoints_alike(
		        all[i].addresses, all[i].count, present.addresses, present.count);
	}
	backend->edition += other;
	endpoints_set(backend, all, arena);
}

struct config *endpoints_readdress(struct config *config, endpoints_find find, void *argument)
{
	struct config *next = must_alloc(sizeof(*next));
	memcpy(next, config, sizeof(*next));
	next->arena = (struct arena){0};
	atomic_init(&next->further, 0);
	next->origin = config_ref(config->origin ? config->origin : config);
	next->backends = arena_alloc(&next->arena, config->backend_count * sizeof(*next->backends));
	for (size_t i = 0; i < config->backend_count; i++) {
		next->backends[i] = config->backends[i];
		readdress(&next->backends[i], &next->arena, find, argument);
	}
	return next;
}
