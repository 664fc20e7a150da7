#include "conf/check.h"
#include "conf/value.h"

static void check_target(
        struct reader *reader, const struct tree *node, const struct config_target *target)
{
	if (target->prefix.text.len && target->path.text.len)
		reader_problem_at(reader, node, "path",
		        "stands beside prefix; expected either prefix or path");
}

void check_rewrite(struct reader *reader, const struct tree *node, void *base)
{
	if (!node->count)
		reader_problem(reader, node->mark,
		        "changes nothing; expected prefix, path or host, or the key left out");
	check_target(reader, node, base);
}

void check_mirror(struct reader *reader, const struct tree *node, void *base)
{
	const struct config_mirror *mirror = base;
	if (tree_get(node, "share") && !(mirror->share > 0))
		reader_problem_at(reader, node, "share",
		        "copies nothing; expected more than 0, or mirror left out");
}

void check_redirect(struct reader *reader, const struct tree *node, void *base)
{
	static const int statuses[] = {301, 302, 303, 307, 308};
	const struct config_redirect *redirect = base;
	bool known = false;
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
		known |= redirect->status == statuses[i];
	if (!known)
		reader_problem_at(reader, node, "status",
		        "found %d, which redirects nobody; expected 301, 302, 303, 307 or 308",
		        redirect->status);
	if (!tree_get(node, "prefix") && !tree_get(node, "path") && !tree_get(node, "host"))
		reader_problem(reader, node->mark,
		        "leads back to where it came from; expected host, path or prefix");
	check_target(reader, node, &redirect->target);
}

// The one of those keys that stands in the route; a problem for each further one.
static const char *find_end(struct reader *reader, const struct tree *node)
{
	static const char *const ends[] = {"backend", "backends", "respond", "redirect"};
	const char *found = NULL;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (!found && tree_get(node, ends[i]))
			found = ends[i];
		else if (tree_get(node, ends[i]))
			reader_problem_at(reader, node, ends[i],
			        "stands beside %s; expected one of backend, backends, respond and "
			        "redirect",
			        found);
	if (!found)
		reader_problem(reader, node->mark,
		        "leads nowhere; expected backend, backends, respond or redirect beside "
		        "match");
	return found;
}

// What only a request that is forwarded has a use for.
static void check_forwarding(struct reader *reader, const struct tree *node, const char *end)
{
	static const char *const forwarding[] = {"timeout", "upgrade", "mirror", "rewrite",
	        "request_headers", "priority", "retry", "flow_limits"};
	for (size_t i = 0; i < ARRAY_LEN(forwarding); i++)
		if (tree_get(node, forwarding[i]))
			reader_problem_at(reader, node, forwarding[i],
			        "can have no effect beside %s; expected it left out", end);
}

static void check_share(struct reader *reader, const struct config_route *route, size_t index)
{
	const struct config_text *name = &route->shares[index].name;
	for (size_t i = 0; name->text.len && i < index; i++)
		if (str_eq(route->shares[i].name.text, name->text)) {
			reader_enter_item(reader, index);
			reader_enter(reader, "name");
			reader_problem(reader, name->mark,
			        "found %s, which stands in the list already; expected it once",
			        value_quote(name->text).text);
			reader_leave(reader);
			reader_leave(reader);
			return;
		}
}

static void check_shares(struct reader *reader, const struct tree *node, struct config_route *route)
{
	for (size_t i = 0; i < route->share_count; i++)
		route->share_weight += route->shares[i].weight;
	if (route->share_count == 1)
		reader_problem_at(reader, node, "backends",
		        "names one alone; expected backend with its name, or others beside it");
	else if (route->share_count && !route->share_weight)
		reader_problem_at(reader, node, "backends",
		        "has no weight above 0, so nobody would get a request; expected one");
	reader_enter(reader, "backends");
	for (size_t i = 0; i < route->share_count; i++)
		check_share(reader, route, i);
	reader_leave(reader);
}

static void check_try_time(
        struct reader *reader, const struct tree *node, const struct config_route *route)
{
	int64_t try_ns = route->retry.per_try_timeout_ns;
	if (!try_ns || !route->timeout_ns || try_ns < route->timeout_ns)
		return;
	reader_enter(reader, "retry");
	reader_problem_at(reader, tree_get(node, "retry"), "per_try_timeout",
	        "can have no effect: the route's timeout is no longer; expected it shorter, or "
	        "left out");
	reader_leave(reader);
}

static void check_costs(
        struct reader *reader, const struct tree *node, const struct config_route *route)
{
	const struct tree *limits = tree_get(node, "rate_limits");
	const struct tree *limit = limits ? limits->first : NULL;
	reader_enter(reader, "rate_limits");
	for (size_t i = 0; limit && i < route->rate_limit_count; i++, limit = limit->next) {
		if (!route->rate_limits[i].cost.body || route->kind != MATCH_GRPC)
			continue;
		reader_enter_item(reader, i);
		reader_enter(reader, "cost");
		reader_problem_at(reader, tree_get(limit, "cost"), "body",
		        "can have no effect: gRPC calls announce no length; expected header");
		reader_leave(reader);
		reader_leave(reader);
	}
	reader_leave(reader);
}

// Nobody knows the messages of what need not be gRPC.
static void check_messages(
        struct reader *reader, const struct tree *node, const struct config_route *route)
{
	const struct tree *limits = tree_get(node, "flow_limits");
	const struct tree *limit = limits ? limits->first : NULL;
	reader_enter(reader, "flow_limits");
	for (size_t i = 0; limit && i < route->flow_limit_count; i++, limit = limit->next) {
		if (!route->flow_limits[i].messages.count || route->kind == MATCH_GRPC)
			continue;
		reader_enter_item(reader, i);
		reader_problem_at(reader, limit, "messages",
		        "counts messages of gRPC calls; expected a route that matches grpc, or "
		        "bytes");
		reader_leave(reader);
	}
	reader_leave(reader);
}

void check_route(struct reader *reader, const struct tree *node, void *base)
{
	struct config_route *route = base;
	const char *end = find_end(reader, node);
	route->mark = node->mark;
	route->backend = -1;
	route->upgrade_websocket = route->upgrades.count > 0;
	route->rewrites = tree_get(node, "rewrite") != NULL;
	if (tree_get(node, "priority"))
		route->priority_mark = tree_get(node, "priority")->mark;
	check_try_time(reader, node, route);
	if (route->redirect.status)
		route->respond_status = route->redirect.status;
	if (tree_get(node, "redirect") && route->kind == MATCH_GRPC && route->pattern.text.len)
		reader_problem_at(reader, node, "redirect",
		        "can have no effect: gRPC callers follow none; expected respond");
	check_shares(reader, node, route);
	check_costs(reader, node, route);
	check_messages(reader, node, route);
	if (end && strncmp(end, "backend", strlen("backend")) != 0)
		check_forwarding(reader, node, end);
}

bool shown_answer(const void *base)
{
	const struct config_route *route = base;
	return route->backend < 0 && !route->redirect.status;
}

bool shown_priority(const void *base)
{
	return ((const struct config_route *)base)->priority_mark.line > 0;
}

bool shown_retry(const void *base)
{
	return ((const struct config_route *)base)->retry.tries > 0;
}

bool shown_mirror(const void *base)
{
	return ((const struct config_mirror *)base)->backend_name.text.len > 0;
}

bool shown_redirect(const void *base)
{
	return ((const struct config_redirect *)base)->status > 0;
}

bool shown_forward(const void *base)
{
	return ((const struct config_route *)base)->backend >= 0;
}
