// What a snapshot listens on: kept from the one before, inherited, or opened now.
#include <stdlib.h>

#include "conf/address.h"
#include "gateway/snapshot.h"

static struct listening *find_kept(const struct snapshot *now, const struct config_address *address)
{
	for (size_t i = 0; now && i < now->config->listener_count; i++)
		if (listening_is_at(now->listeners[i].listening, address))
			return now->listeners[i].listening;
	return NULL;
}

static bool is_neighbour(const struct listening *own, const struct config_address *address)
{
	return own &&
	       (address_takes(&own->address, address) || address_takes(address, &own->address));
}

// Then the port is taken, but perhaps by nobody else: `[::]:443` in place of `127.0.0.1:443`, or
// beside it, where the kernel gives each connection to the narrower one. A start has to take what a
// reload takes.
static bool has_neighbour(const struct snapshot *now, const struct snapshot *next, size_t index)
{
	const struct config_address *address = &next->config->listeners[index].address;
	for (size_t i = 0; now && i < now->config->listener_count; i++)
		if (is_neighbour(now->listeners[i].listening, address))
			return true;
	for (size_t i = 0; i < index; i++)
		if (is_neighbour(next->listeners[i].listening, address))
			return true;
	return false;
}

static struct listening *open_one(struct snapshot *next, const struct snapshot *now, size_t index,
        struct inherited *inherited, const char **why)
{
	const struct config_listener *listener = &next->config->listeners[index];
	struct listening *kept = find_kept(now, &listener->address);
	if (kept)
		return listening_ref(kept);
	int *sockets = must_alloc((inherited->count + 1) * sizeof(*sockets));
	size_t count = inherited_take(inherited, &listener->address, listener->name.text, sockets);
	struct listening *opened = listening_open(&listener->address, next->config->workers,
	        sockets, count, has_neighbour(now, next, index) || inherited->count > 0, why);
	free(sockets);
	return opened;
}

bool snapshot_listen(struct snapshot *next, const struct snapshot *now, struct inherited *inherited,
        struct config_problems *problems)
{
	bool good = true;
	for (size_t i = 0; i < next->config->listener_count; i++) {
		const char *why = "";
		const struct config_address *address = &next->config->listeners[i].address;
		struct listening *opened = open_one(next, now, i, inherited, &why);
		next->listeners[i].listening = opened;
		good &= opened != NULL;
		if (!opened)
			config_problem_add(problems, address->mark,
			        arena_printf(&next->arena, "listeners[%zu].address", i),
			        "cannot listen on %.*s (%s), expected an address of this machine "
			        "that is free",
			        STR_FMT(address->text), why);
	}
	return good;
}

bool snapshot_listens(const struct snapshot *snapshot, const struct listening *listening)
{
	for (size_t i = 0; i < snapshot->config->listener_count; i++)
		if (snapshot->listeners[i].listening == listening)
			return true;
	return false;
}
