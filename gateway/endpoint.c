#include "gateway/endpoint.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

static void count_in(const struct endpoint *endpoint, int change)
{
	metrics_endpoint_healthy(
	        endpoint->worker->metrics, endpoint->backend, endpoint->label, change);
}

// Something changed for an endpoint that `was_in`, or was not.
static void note(const struct endpoint *endpoint, bool was_in)
{
	endpoint->worker->health_changes++;
	worker_has_room(endpoint->worker);
	count_in(endpoint, (int)health_in(&endpoint->health) - (int)was_in);
}

static void on_back(struct timer *timer)
{
	struct endpoint *endpoint = CONTAINER_OF(timer, struct endpoint, back);
	bool was_in = health_in(&endpoint->health);
	health_return(&endpoint->health, endpoint->worker->turn.now_ns);
	note(endpoint, was_in);
	log_event(LOG_INFO, "endpoint is back", "backend=%s endpoint=%s worker=%zu",
	        endpoint->backend, endpoint->label, endpoint->worker->index);
}

struct endpoint *endpoint_new(struct worker *worker, const char *backend, const char *label,
        const struct config_address *address)
{
	struct endpoint *endpoint = must_alloc(sizeof(*endpoint));
	endpoint->holders = 1;
	endpoint->worker = worker;
	endpoint->backend = backend;
	endpoint->label = label;
	endpoint->address = *address;
	endpoint->address.text = (struct str){0};
	endpoint->health.nowhere = address->unknown;
	timer_init(&endpoint->back, on_back);
	count_in(endpoint, health_in(&endpoint->health));
	return endpoint;
}

struct endpoint *endpoint_ref(struct endpoint *endpoint)
{
	endpoint->holders++;
	return endpoint;
}

void endpoint_unref(struct endpoint *endpoint)
{
	if (--endpoint->holders > 0)
		return;
	endpoint_rest(endpoint);
	if (health_in(&endpoint->health))
		count_in(endpoint, -1);
	free(endpoint);
}

void endpoint_eject(struct endpoint *endpoint, const struct config_ejection *ejection)
{
	struct worker *worker = endpoint->worker;
	uint32_t failures = endpoint->health.failures;
	bool was_in = health_in(&endpoint->health);
	int64_t out_ns = health_eject(&endpoint->health, ejection, worker->turn.now_ns);
	turn_set_timer(&worker->turn, &endpoint->back, out_ns);
	note(endpoint, was_in);
	metrics_ejection(worker->metrics, endpoint->backend, endpoint->label);
	log_event(LOG_WARN, "endpoint ejected",
	        "backend=%s endpoint=%s worker=%zu failures=%u for_ms=%lld", endpoint->backend,
	        endpoint->label, worker->index, failures, (long long)(out_ns / NS_PER_MS));
}

void endpoint_unejected(struct endpoint *endpoint)
{
	bool was_in = health_in(&endpoint->health);
	endpoint_rest(endpoint);
	health_unejected(&endpoint->health);
	note(endpoint, was_in);
}

void endpoint_checked(struct endpoint *endpoint, const struct config_health_check *config,
        bool good, const char *why)
{
	struct worker *worker = endpoint->worker;
	bool was_in = health_in(&endpoint->health);
	metrics_health_check(worker->metrics, endpoint->backend, endpoint->label, good);
	if (!health_checked(&endpoint->health, config, good, worker->turn.now_ns))
		return;
	note(endpoint, was_in);
	if (good)
		log_event(LOG_INFO, "endpoint is healthy", "backend=%s endpoint=%s worker=%zu",
		        endpoint->backend, endpoint->label, worker->index);
	else
		log_event(LOG_WARN, "endpoint is unhealthy",
		        "backend=%s endpoint=%s worker=%zu checks=%llu last=%s", endpoint->backend,
		        endpoint->label, worker->index, (unsigned long long)config->unhealthy, why);
}

void endpoint_unchecked(struct endpoint *endpoint)
{
	bool was_in = health_in(&endpoint->health);
	health_unchecked(&endpoint->health);
	note(endpoint, was_in);
}

void endpoint_rest(struct endpoint *endpoint)
{
	turn_stop_timer(&endpoint->worker->turn, &endpoint->back);
}
