#include "policy/route.h"

#include "policy/path.h"

static bool is_name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

// Names joined by dots.
static bool is_dotted(struct str s)
{
	bool name = false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] != '.' && !is_name_byte(s.at[i]))
			return false;
		if (s.at[i] == '.' && !name)
			return false;
		name = s.at[i] != '.';
	}
	return name;
}

static bool is_name(struct str s)
{
	return is_dotted(s) && !str_find_byte(s, '.');
}

static bool parse_grpc(
        struct route *route, struct str pattern, struct arena *arena, const char **why)
{
	static const char expected[] = "expected pkg.Service/Method, pkg.Service/*, pkg.*/* or *";
	const char *slash = str_find_byte(pattern, '/');
	*why = NULL;
	if (str_eq(pattern, STR("*"))) {
		route->kind = ROUTE_CALLS;
		route->key = STR("");
		return true;
	}
	struct str service = str_of(pattern.at, slash ? (size_t)(slash - pattern.at) : pattern.len);
	struct str method = slash ? str_skip(pattern, service.len + 1) : STR("");
	bool every_method = str_eq(method, STR("*"));
	if (every_method && str_ends(service, STR(".*")) &&
	        is_dotted(str_of(service.at, service.len - 2))) {
		route->kind = ROUTE_PACKAGE;
		route->key = arena_printf(arena, "/%.*s", (int)service.len - 1, service.at);
	} else if (every_method && is_dotted(service)) {
		route->kind = ROUTE_SERVICE;
		route->key = arena_printf(arena, "/%.*s/", STR_FMT(service));
	} else if (is_name(method) && is_dotted(service)) {
		route->kind = ROUTE_METHOD;
		route->key = arena_printf(arena, "/%.*s", STR_FMT(pattern));
	} else {
		*why = pattern.len && *pattern.at == '/'
		               ? "leave out the slash at the beginning; expected pkg.Service/Method"
		               : expected;
	}
	return *why == NULL;
}

static bool parse_path(
        struct route *route, struct str pattern, struct arena *arena, const char **why)
{
	if (!path_pattern_valid(pattern, why))
		return false;
	struct str prefix = path_pattern_prefix(pattern);
	route->kind = prefix.len ? ROUTE_PREFIX : ROUTE_PATH;
	route->key = path_as_matched(prefix.len ? prefix : pattern, arena);
	return true;
}

bool route_parse(struct route *route, const struct config_route *config, struct arena *arena,
        const char **why)
{
	route->config = config;
	if (config->kind == MATCH_GRPC)
		return parse_grpc(route, config->pattern.text, arena, why);
	return parse_path(route, config->pattern.text, arena, why);
}

// `/user.Users/` and `/user.` of `/user.Users/Login`; of a path that is no full method, none.
static void add_service(struct route_keys *keys, struct str path)
{
	struct str service = str_skip(path, 1);
	const char *slash = str_find_byte(service, '/');
	if (!slash || slash == service.at)
		return;
	service.len = (size_t)(slash - service.at);
	struct str method = str_skip(path, service.len + 2);
	if (method.len == 0 || str_find_byte(method, '/'))
		return;
	keys->of[ROUTE_METHOD] = path;
	keys->of[ROUTE_SERVICE] = str_of(path.at, service.len + 2);
	const char *dot = memrchr(service.at, '.', service.len);
	if (dot)
		keys->of[ROUTE_PACKAGE] = str_of(path.at, (size_t)(dot - path.at) + 1);
}

struct route_keys route_keys_of_call(struct str path, bool grpc)
{
	struct route_keys keys = {0};
	if (!str_starts(path, STR("/")))
		return keys;  // `*` of OPTIONS, or nothing: no route takes it
	keys.of[ROUTE_PATH] = path;
	keys.of[ROUTE_PREFIX] = path;
	if (grpc) {
		keys.of[ROUTE_CALLS] = STR("");
		add_service(&keys, path);
	}
	return keys;
}

struct route_keys route_keys_covering(const struct route *route)
{
	struct route_keys keys = {0};
	keys.of[ROUTE_PREFIX] = route->key;
	switch (route->kind) {
	case ROUTE_PATH:
	case ROUTE_METHOD:
		return route_keys_of_call(route->key, route->kind == ROUTE_METHOD);
	case ROUTE_PREFIX:
		return keys;
	case ROUTE_SERVICE: {
		const char *dot = memrchr(route->key.at, '.', route->key.len);
		keys.of[ROUTE_SERVICE] = route->key;
		if (dot)
			keys.of[ROUTE_PACKAGE] = str_of(
			        route->key.at, (size_t)(dot - route->key.at) + 1);
		break;
	}
	case ROUTE_PACKAGE:
		keys.of[ROUTE_PACKAGE] = route->key;
		break;
	case ROUTE_CALLS:
		keys.of[ROUTE_PREFIX] = STR("/");
		break;
	case ROUTE_KINDS:
		CHECK(route->kind < ROUTE_KINDS);
	}
	keys.of[ROUTE_CALLS] = STR("");
	return keys;
}

static bool contains(const struct config_texts *texts, struct str text)
{
	for (size_t i = 0; i < texts->count; i++)
		if (str_eq(texts->items[i].text, text))
			return true;
	return false;
}

// No texts: everything.
static bool includes(const struct config_texts *wide, const struct config_texts *narrow)
{
	if (wide->count == 0)
		return true;
	for (size_t i = 0; i < narrow->count; i++)
		if (!contains(wide, narrow->items[i].text))
			return false;
	return narrow->count > 0;
}

bool route_takes_method(const struct route *route, struct str method)
{
	const struct config_texts *methods = &route->config->methods;
	return methods->count == 0 || contains(methods, method);
}

bool route_leaves_nothing(const struct route *earlier, const struct route *later)
{
	if (!includes(&earlier->config->hosts, &later->config->hosts))
		return false;
	if (later->config->kind == MATCH_GRPC)
		return route_takes_method(earlier, STR("POST"));
	return includes(&earlier->config->methods, &later->config->methods);
}
