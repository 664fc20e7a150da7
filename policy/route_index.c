#include "policy/route_index.h"

struct route_entry {
	uint32_t hash;
	enum route_kind kind;
	struct str host;  // empty: any
	int route;
	uint32_t next;  // entry + 1 of the same bucket, with a higher route; 0 = none
};

// Keys and hosts are the operator's own: nobody else can make them collide.
static uint32_t hash_of(enum route_kind kind, struct str key, struct str host)
{
	return (uint32_t)str_hash(key, str_hash(host, kind));
}

static size_t entries_of(const struct config_route *config)
{
	return config->hosts.count ? config->hosts.count : 1;
}

void route_index_init(
        struct route_index *index, const struct route *routes, size_t count, struct arena *arena)
{
	size_t entries = 0, buckets = 4;
	for (size_t i = 0; i < count; i++)
		entries += entries_of(routes[i].config);
	while (buckets < 2 * entries)
		buckets *= 2;
	*index = (struct route_index){.routes = routes, .mask = (uint32_t)buckets - 1};
	index->entries = arena_alloc(arena, entries * sizeof(*index->entries));
	index->first = arena_zalloc(arena, buckets * sizeof(*index->first));
	index->last = arena_zalloc(arena, buckets * sizeof(*index->last));
}

static void add_entry(struct route_index *index, size_t number, struct str host)
{
	const struct route *route = &index->routes[number];
	uint32_t hash = hash_of(route->kind, route->key, host);
	uint32_t entry = index->entry_count++, bucket = hash & index->mask;
	index->entries[entry] = (struct route_entry){hash, route->kind, host, (int)number, 0};
	if (index->first[bucket])
		index->entries[index->last[bucket] - 1].next = entry + 1;
	else
		index->first[bucket] = entry + 1;
	index->last[bucket] = entry + 1;
}

static uint32_t slashes(struct str path)
{
	uint32_t count = 0;
	for (size_t i = 0; i < path.len; i++)
		count += path.at[i] == '/';
	return count;
}

void route_index_add(struct route_index *index, size_t number)
{
	const struct route *route = &index->routes[number];
	const struct config_texts *hosts = &route->config->hosts;
	index->kind_count[route->kind]++;
	if (route->kind == ROUTE_PREFIX && slashes(route->key) > index->deepest)
		index->deepest = slashes(route->key);
	for (size_t i = 0; i < hosts->count; i++)
		add_entry(index, number, hosts->items[i].text);
	if (hosts->count)
		index->hosts = true;
	else
		add_entry(index, number, STR(""));
}

struct search {
	const struct route_index *index;
	struct str host;
	bool (*wanted)(const struct route *, const void *);
	const void *argument;
	int best;
};

static void probe_host(struct search *search, enum route_kind kind, struct str key, struct str host)
{
	const struct route_index *index = search->index;
	uint32_t hash = hash_of(kind, key, host);
	for (uint32_t at = index->first[hash & index->mask]; at; at = index->entries[at - 1].next) {
		const struct route_entry *entry = &index->entries[at - 1];
		const struct route *route = &index->routes[entry->route];
		if (search->best != ROUTE_NONE && entry->route >= search->best)
			return;
		if (entry->hash == hash && entry->kind == kind && str_eq(route->key, key) &&
		        str_eq(entry->host, host) && search->wanted(route, search->argument)) {
			search->best = entry->route;
			return;
		}
	}
}

static void probe(struct search *search, enum route_kind kind, struct str key)
{
	probe_host(search, kind, key, STR(""));
	if (search->index->hosts && search->host.len)
		probe_host(search, kind, key, search->host);
}

static void probe_beginnings(struct search *search, struct str path)
{
	uint32_t depth = 0;
	for (size_t i = 0; i < path.len && depth < search->index->deepest; i++) {
		if (path.at[i] != '/')
			continue;
		depth++;
		probe(search, ROUTE_PREFIX, str_of(path.at, i + 1));
	}
}

int route_index_first(const struct route_index *index, const struct route_keys *keys,
        struct str host, bool (*wanted)(const struct route *, const void *), const void *argument)
{
	struct search search = {index, host, wanted, argument, ROUTE_NONE};
	for (enum route_kind kind = 0; kind < ROUTE_KINDS; kind++) {
		if (!index->kind_count[kind] || !keys->of[kind].at)
			continue;
		if (kind == ROUTE_PREFIX)
			probe_beginnings(&search, keys->of[kind]);
		else
			probe(&search, kind, keys->of[kind]);
	}
	return search.best;
}
