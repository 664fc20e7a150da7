#include "gateway/health_check.h"

#include <stdlib.h>

#include "base/clock.h"
#include "gateway/health_probe.h"

struct health_check {
	struct pool *pool;
	size_t endpoint;
	struct timer timer;          // the next one, or the end of this one's time
	struct health_probe *probe;  // under way
};

static const struct config_health_check *config_of(const struct health_check *check)
{
	return &pool_config(check->pool)->health_check;
}

static void wait(struct health_check *check, int64_t wait_ns)
{
	turn_set_timer(&check->pool->worker->turn, &check->timer, wait_ns);
}

// From nine tenths of the interval to eleven.
static int64_t next_wait_ns(const struct health_check *check)
{
	int64_t interval_ns = config_of(check)->interval_ns;
	uint64_t spread = (uint64_t)interval_ns / 5 + 1;
	return interval_ns - interval_ns / 10 +
	       (int64_t)(worker_random(check->pool->worker) % spread);
}

static void on_concluded(void *owner, bool good, const char *why)
{
	struct health_check *check = owner;
	check->probe = NULL;
	wait(check, next_wait_ns(check));
	endpoint_checked(
	        check->pool->endpoints[check->endpoint].endpoint, config_of(check), good, why);
}

static void on_timer(struct timer *timer)
{
	struct health_check *check = CONTAINER_OF(timer, struct health_check, timer);
	const struct pool *pool = check->pool;
	if (check->probe) {
		health_probe_drop(check->probe);
		on_concluded(check, false, "timeout");
		return;
	}
	wait(check, config_of(check)->timeout_ns);
	check->probe = health_probe_start(pool, check->endpoint, on_concluded, check);
	if (!check->probe)
		on_concluded(check, false, "connect_failed");
}

struct health_check *health_check_start(struct pool *pool, size_t endpoint)
{
	struct health_check *check = must_alloc(sizeof(*check));
	check->pool = pool;
	check->endpoint = endpoint;
	timer_init(&check->timer, on_timer);
	uint64_t interval_ns = (uint64_t)config_of(check)->interval_ns;
	wait(check, (int64_t)(worker_random(pool->worker) % interval_ns));
	return check;
}

void health_check_stop(struct health_check *check)
{
	if (!check)
		return;
	turn_stop_timer(&check->pool->worker->turn, &check->timer);
	if (check->probe)
		health_probe_drop(check->probe);
	free(check);
}
