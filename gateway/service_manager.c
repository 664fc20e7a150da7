#include "gateway/service_manager.h"

#include <inttypes.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/address.h"
#include "gateway/worker.h"

static void on_watchdog(struct timer *timer)
{
	struct service_manager *manager = CONTAINER_OF(timer, struct service_manager, watchdog);
	bool alive = true;
	for (size_t i = 0; i < manager->worker_count; i++)
		alive &= worker_has_pulse(&manager->workers[i]);
	if (alive)
		sd_notify(0, "WATCHDOG=1");
	else
		log_event(LOG_ERROR, "a worker's loop stands still, no sign of life", "%s", "");
	turn_set_timer(manager->turn, &manager->watchdog, manager->watchdog_ns);
}

// The loop waits for the resolver while it reads a configuration, which is no reason to end it.
static void say_alive(void)
{
	sd_notify(0, "WATCHDOG=1");
}

void service_manager_begin(struct service_manager *manager, struct turn *turn,
        struct worker *workers, size_t worker_count, const char *what)
{
	uint64_t limit_us = 0;
	*manager = (struct service_manager){
	        .turn = turn, .workers = workers, .worker_count = worker_count};
	timer_init(&manager->watchdog, on_watchdog);
	sd_notifyf(0, "READY=1\nMAINPID=%ld\nSTATUS=%s", (long)getpid(), what);
	if (sd_watchdog_enabled(0, &limit_us) <= 0)
		return;
	manager->watchdog_ns = (int64_t)limit_us * NS_PER_US / 2;
	address_before_lookup = say_alive;
	turn_set_timer(turn, &manager->watchdog, manager->watchdog_ns);
}

void service_manager_reloading(void)
{
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_monotonic_ns() / NS_PER_US);
}

void service_manager_reloaded(const char *what)
{
	sd_notifyf(0, "READY=1\nSTATUS=%s", what);
}

void service_manager_stopping(void)
{
	sd_notify(0, "STOPPING=1\nSTATUS=draining");
}

void service_manager_end(struct service_manager *manager)
{
	if (manager->turn)
		turn_stop_timer(manager->turn, &manager->watchdog);
}
