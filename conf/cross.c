#include "conf/cross.h"

#include "conf/address.h"
#include "conf/nearest.h"
#include "conf/value.h"

// The reader stands at `list[index]`, whose `key` says what `list[taker]` says already.
static void duplicate_problem(struct reader *reader, const char *key, struct config_mark mark,
        struct str word, const char *list, size_t taker)
{
	reader_enter(reader, key);
	reader_problem(reader, mark, "found %s, which %s[%zu] has already; expected another",
	        value_quote(word).text, list, taker);
	reader_leave(reader);
}

static void check_listener(struct reader *reader, size_t index)
{
	const struct config *config = reader->config;
	const struct config_listener *listener = &config->listeners[index];
	struct str name = listener->name.text;
	const struct config_address *address = &listener->address;
	bool name_told = !name.len, address_told = address->kind == ADDRESS_NONE;
	for (size_t i = 0; i < index; i++) {
		const struct config_listener *other = &config->listeners[i];
		if (!name_told && str_eq(other->name.text, name)) {
			name_told = true;
			duplicate_problem(
			        reader, "name", listener->name.mark, name, "listeners", i);
		}
		if (!address_told && address_equal(&other->address, address)) {
			address_told = true;
			duplicate_problem(
			        reader, "address", address->mark, address->text, "listeners", i);
		}
	}
	bool same = address_equal(&config->admin, address);
	if (address_told || !(same || address_takes(address, &config->admin)))
		return;
	reader_enter(reader, "address");
	reader_problem(reader, address->mark,
	        "found %s, which %s the admin address; expected another",
	        value_quote(address->text).text, same ? "is" : "takes");
	reader_leave(reader);
}

// What is known of the backends. A file that was not understood in full gives no second-hand
// problems: nobody is unknown whose name may have been the unreadable one, and nobody unused while
// some route leads who knows where.
struct usage {
	bool *used;
	bool names_known, routes_known;
};

static void check_backend_name(struct reader *reader, size_t index, struct usage *usage)
{
	const struct config_backend *backends = reader->config->backends;
	const struct config_text *name = &backends[index].name;
	for (size_t i = 0; name->text.len && i < index; i++)
		if (str_eq(backends[i].name.text, name->text)) {
			usage->used[index] = true;  // nobody can lead here; once is enough
			duplicate_problem(reader, "name", name->mark, name->text, "backends", i);
			return;
		}
}

static int find_backend(const struct config *config, struct str name)
{
	for (size_t i = 0; i < config->backend_count; i++)
		if (str_eq(config->backends[i].name.text, name))
			return (int)i;
	return -1;
}

static int near_backend(const struct config *config, struct str name)
{
	struct nearest nearest = {.word = name};
	int near = -1;
	for (size_t i = 0; i < config->backend_count; i++)
		if (nearest_offer(&nearest, config->backends[i].name.text))
			near = (int)i;
	return near;
}

static void unknown_backend(
        struct reader *reader, const struct config_text *name, struct usage *usage)
{
	// In a file with a thousand problems nobody reads what else was meant.
	bool full = reader->problems->count >= CONFIG_PROBLEMS_MAX;
	int near = full ? -1 : near_backend(reader->config, name->text);
	if (near >= 0)
		usage->used[near] = true;  // it was meant
	if (!usage->names_known)
		return;
	if (near >= 0)
		reader_problem(reader, name->mark,
		        "found %s, which is no backend's name; did you mean %.*s?",
		        value_quote(name->text).text,
		        STR_FMT(reader->config->backends[near].name.text));
	else
		reader_problem(reader, name->mark,
		        "found %s, which is no backend's name; expected one from backends",
		        value_quote(name->text).text);
}

static void check_upgrade(struct reader *reader, const struct config_route *route, int index)
{
	const struct config_backend *backend = &reader->config->backends[index];
	if (!route->upgrade_websocket || backend->protocol == PROTOCOL_HTTP1)
		return;
	reader_enter(reader, "upgrade");
	reader_problem(reader, route->upgrades.items[0].mark,
	        "needs a backend that speaks http1, and %.*s speaks h2; expected it left out",
	        STR_FMT(backend->name.text));
	reader_leave(reader);
}

// The reader stands at the name; its index, or -1.
static int resolve_backend(
        struct reader *reader, const struct config_text *name, struct usage *usage)
{
	int index = name->text.len ? find_backend(reader->config, name->text) : -1;
	if (index >= 0)
		usage->used[index] = true;
	else if (name->text.len)
		unknown_backend(reader, name, usage);
	else
		usage->routes_known = false;
	return index;
}

static void resolve_share(struct reader *reader, struct config_share *share, struct usage *usage)
{
	reader_enter(reader, "name");
	share->backend = resolve_backend(reader, &share->name, usage);
	reader_leave(reader);
}

static void resolve_shares(struct reader *reader, struct config_route *route, struct usage *usage)
{
	reader_enter(reader, "backends");
	for (size_t i = 0; i < route->share_count; i++) {
		reader_enter_item(reader, i);
		resolve_share(reader, &route->shares[i], usage);
		reader_leave(reader);
	}
	reader_leave(reader);
	for (size_t i = 0; i < route->share_count; i++)
		if (route->shares[i].backend >= 0)
			check_upgrade(reader, route, route->shares[i].backend);
	route->backend = route->shares[0].backend;
}

static bool is_limited(const struct config *config, int backend)
{
	return backend < 0 || config->backends[backend].concurrency.mark.line;
}

// One backend of several that knows priorities is enough.
static void check_priority(struct reader *reader, const struct config_route *route)
{
	const struct config *config = reader->config;
	bool limited = is_limited(config, route->backend);
	for (size_t i = 0; i < route->share_count; i++)
		limited |= is_limited(config, route->shares[i].backend);
	if (!route->priority_mark.line || limited)
		return;
	reader_enter(reader, "priority");
	reader_problem(reader, route->priority_mark,
	        "can have no effect: %.*s has no concurrency limit; expected it left out, or "
	        "concurrency on that backend",
	        STR_FMT(config->backends[route->backend].name.text));
	reader_leave(reader);
}

static void check_route_backend(
        struct reader *reader, struct config_route *route, struct usage *usage)
{
	if (route->share_count) {
		resolve_shares(reader, route, usage);
		return;
	}
	if (route->respond_status && !route->backend_name.text.len)
		return;
	reader_enter(reader, "backend");
	route->backend = resolve_backend(reader, &route->backend_name, usage);
	reader_leave(reader);
	if (route->backend >= 0)
		check_upgrade(reader, route, route->backend);
}

static bool leads_to(const struct config_route *route, int backend)
{
	bool leads = route->backend == backend;
	for (size_t i = 0; i < route->share_count; i++)
		leads |= route->shares[i].backend == backend;
	return leads;
}

static void check_route_mirror(
        struct reader *reader, struct config_route *route, struct usage *usage)
{
	struct config_mirror *mirror = &route->mirror;
	if (!mirror->backend_name.text.len)
		return;
	reader_enter(reader, "mirror");
	reader_enter(reader, "backend");
	mirror->backend = resolve_backend(reader, &mirror->backend_name, usage);
	if (mirror->backend >= 0 && leads_to(route, mirror->backend))
		reader_problem(reader, mirror->backend_name.mark,
		        "found %s, which gets the requests themselves; expected another",
		        value_quote(mirror->backend_name.text).text);
	else if (mirror->backend >= 0 &&
	         reader->config->backends[mirror->backend].proxy_header != PROXY_HEADER_OFF)
		reader_problem(reader, mirror->backend_name.mark,
		        "found %s, whose connections are each one client's by proxy_protocol, and "
		        "copies share theirs; expected a backend without it",
		        value_quote(mirror->backend_name.text).text);
	reader_leave(reader);
	reader_leave(reader);
}

static void check_routes(
        struct reader *reader, struct config_listener *listener, struct usage *usage)
{
	usage->routes_known = usage->routes_known && listener->route_count;
	reader_enter(reader, "routes");
	for (size_t i = 0; i < listener->route_count; i++) {
		reader_enter_item(reader, i);
		check_route_backend(reader, &listener->routes[i], usage);
		check_priority(reader, &listener->routes[i]);
		check_route_mirror(reader, &listener->routes[i], usage);
		reader_leave(reader);
	}
	reader_leave(reader);
}

static void check_backend_use(struct reader *reader, size_t index, const struct usage *usage)
{
	const struct config_text *name = &reader->config->backends[index].name;
	if (!usage->routes_known || usage->used[index] || !name->text.len)
		return;
	reader_enter(reader, "name");
	reader_problem(reader, name->mark,
	        "found %s, to which no route leads; expected a route to it, or its removal",
	        value_quote(name->text).text);
	reader_leave(reader);
}

static bool names_known(const struct config *config, const struct tree *root)
{
	const struct tree *list = tree_get(root, "backends");
	if (list && (list->kind != TREE_LIST || list->count != config->backend_count))
		return false;
	for (size_t i = 0; i < config->backend_count; i++)
		if (!config->backends[i].name.text.len)
			return false;
	return true;
}

// Two writers in one file would break the chain of the audit records.
static void check_logs(struct reader *reader, const struct tree *root)
{
	const struct config *config = reader->config;
	const struct tree *access_log = tree_get(root, "access_log");
	if (!access_log || config->access_log.kind != OUTPUT_FILE ||
	        config->audit.kind != OUTPUT_FILE ||
	        !str_eq(config->audit.path, config->access_log.path))
		return;
	reader_enter(reader, "access_log");
	reader_problem_at(reader, access_log, "path",
	        "found %s, which is the audit file; expected another",
	        value_quote(config->access_log.path).text);
	reader_leave(reader);
}

void cross_check(struct reader *reader, const struct tree *root)
{
	struct config *config = reader->config;
	struct usage usage = {
	        .used = arena_zalloc(&config->arena, config->backend_count * sizeof(bool)),
	        .names_known = names_known(config, root),
	        .routes_known = config->listener_count > 0};
	check_logs(reader, root);
	reader_enter(reader, "listeners");
	for (size_t i = 0; i < config->listener_count; i++) {
		reader_enter_item(reader, i);
		check_listener(reader, i);
		check_routes(reader, &config->listeners[i], &usage);
		reader_leave(reader);
	}
	reader_leave(reader);
	reader_enter(reader, "backends");
	for (size_t i = 0; i < config->backend_count; i++) {
		reader_enter_item(reader, i);
		check_backend_name(reader, i, &usage);
		check_backend_use(reader, i, &usage);
		reader_leave(reader);
	}
	reader_leave(reader);
}
