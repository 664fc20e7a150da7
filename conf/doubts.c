#include "conf/doubts.h"

#include "base/check.h"

struct place {
	const struct config *config;
	size_t listener, route;
	config_doubt_tell tell;
	void *argument;
};

static void say(
        const struct place *place, struct config_mark mark, const char *key, const char *words)
{
	struct buffer path = {0};
	buffer_printf(&path, "listeners[%zu].routes[%zu].%s", place->listener, place->route, key);
	const struct config_doubt doubt = {mark, buffer_str(&path), words};
	place->tell(&doubt, place->argument);
	buffer_fini(&path);
}

// `http1` is what a backend speaks unless it says otherwise, so it is easily forgotten.
static void doubt_protocol(
        const struct place *place, int backend, const struct config_text *name, const char *key)
{
	if (backend >= 0 && place->config->backends[backend].protocol == PROTOCOL_HTTP1)
		say(place, name->mark, key,
		        "gRPC calls go to a backend that is spoken to in HTTP/1.1, and gRPC "
		        "servers speak HTTP/2: `protocol: h2`");
}

static void doubt_route(const struct place *place, const struct config_route *route)
{
	if (route->kind != MATCH_GRPC)
		return;
	if (!route->share_count)
		doubt_protocol(place, route->backend, &route->backend_name, "backend");
	for (size_t i = 0; i < route->share_count; i++) {
		char key[sizeof("backends[].name") + 20];
		snprintf(key, sizeof(key), "backends[%zu].name", i);
		doubt_protocol(place, route->shares[i].backend, &route->shares[i].name, key);
	}
}

void config_doubts(const struct config *config, config_doubt_tell tell, void *argument)
{
	struct place place = {.config = config, .tell = tell, .argument = argument};
	for (; place.listener < config->listener_count; place.listener++) {
		const struct config_listener *listener = &config->listeners[place.listener];
		for (place.route = 0; place.route < listener->route_count; place.route++)
			doubt_route(&place, &listener->routes[place.route]);
	}
}
