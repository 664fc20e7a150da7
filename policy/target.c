#include "policy/target.h"

#include "conf/value.h"
#include "policy/host.h"
#include "policy/path.h"

struct checking {
	const struct route *route;
	const struct config_target *target;
	struct str key;  // of the target
	struct arena *arena;
	struct config_problems *problems;
};

static void complain(const struct checking *checking, const char *key,
        const struct config_text *text, const char *what)
{
	config_problem_add(checking->problems, text->mark,
	        arena_printf(checking->arena, "%.*s.%s", STR_FMT(checking->key), key),
	        "found %s, %s", value_quote(text->text).text, what);
}

static bool check_path(
        const struct checking *checking, const char *key, const struct config_text *text)
{
	const char *why;
	if (!text->text.len)
		return false;
	if (path_literal_valid(text->text, &why))
		return true;
	complain(checking, key, text, arena_printf(checking->arena, "but %s", why).at);
	return false;
}

static bool check_prefix(const struct checking *checking)
{
	const struct config_text *prefix = &checking->target->prefix;
	if (!check_path(checking, "prefix", prefix))
		return false;
	if (checking->route->kind == ROUTE_PREFIX)
		return true;
	complain(checking, "prefix", prefix,
	        "but the route matches no prefix that it could take the place of; expected path, "
	        "or a match.path that ends with /*");
	return false;
}

static void check_host(const struct checking *checking)
{
	const struct config_text *host = &checking->target->host;
	struct str plain;
	if (host->text.len && (!host_normalise(host->text, checking->arena, &plain) ||
	                              str_ends(host->text, STR(":"))))
		complain(checking, "host", host,
		        "which is no host; expected one such as api.example.com or "
		        "api.example.com:8443");
}

// With a slash at its end.
static struct str closed(const struct checking *checking, struct str path)
{
	return str_ends(path, STR("/"))
	               ? path
	               : arena_join(checking->arena, (struct str[]){path, STR("/")}, 2);
}

static bool takes_path(const struct route *route, struct str path)
{
	return route->kind == ROUTE_PREFIX ? str_starts(path, route->key)
	                                   : str_eq(path, route->key);
}

static void check_rewrite(const struct checking *checking)
{
	const struct config_text *prefix = &checking->target->prefix,
	                         *path = &checking->target->path;
	const struct route *route = checking->route;
	bool path_valid = check_path(checking, "path", path), prefix_valid = check_prefix(checking);
	check_host(checking);
	if (path_valid && route->config->kind == MATCH_GRPC)
		complain(checking, "path", path,
		        "which would make another method of a gRPC call; expected it left out");
	else if (path_valid && str_eq(path->text, route->config->pattern.text))
		complain(checking, "path", path,
		        "which can have no effect: it is what the route matches; expected another");
	if (prefix_valid && str_eq(closed(checking, prefix->text),
	                            path_pattern_prefix(route->config->pattern.text)))
		complain(checking, "prefix", prefix,
		        "which can have no effect: it is what the route matches; expected another");
}

// To its own host as far as one can tell: another may be this one by another name.
static bool stays_at_host(const struct checking *checking)
{
	const struct config_texts *hosts = &checking->route->config->hosts;
	struct str host = checking->target->host.text;
	for (size_t i = 0; i < hosts->count; i++)
		if (str_eq_nocase(hosts->items[i].text, host))
			return true;
	return host.len == 0;
}

// Whoever follows would be sent on and on.
static void check_circle(const struct checking *checking, bool path_valid, bool prefix_valid)
{
	const struct config_target *target = checking->target;
	const struct route *route = checking->route;
	const char *what = "which leads back to this route; expected another";
	if (!stays_at_host(checking))
		return;
	if (path_valid && takes_path(route, path_as_matched(target->path.text, checking->arena)))
		complain(checking, "path", &target->path, what);
	else if (prefix_valid &&
	         takes_path(route,
	                 path_as_matched(closed(checking, target->prefix.text), checking->arena)))
		complain(checking, "prefix", &target->prefix, what);
	else if (target->host.text.len && !target->path.text.len && !target->prefix.text.len)
		complain(checking, "host", &target->host, what);
}

static void check_redirect(const struct checking *checking)
{
	bool path_valid = check_path(checking, "path", &checking->target->path);
	bool prefix_valid = check_prefix(checking);
	check_host(checking);
	check_circle(checking, path_valid, prefix_valid);
}

void target_check(const struct route *route, struct str key, struct arena *arena,
        struct config_problems *problems)
{
	const struct config_route *config = route->config;
	struct checking checking = {.route = route,
	        .target = &config->rewrite,
	        .key = arena_printf(arena, "%.*s.rewrite", STR_FMT(key)),
	        .arena = arena,
	        .problems = problems};
	check_rewrite(&checking);
	checking.target = &config->redirect.target;
	checking.key = arena_printf(arena, "%.*s.redirect", STR_FMT(key));
	check_redirect(&checking);
}
