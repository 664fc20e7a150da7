// What the gateway tells the service manager that started it, where one did (sd_notify(3)): that it
// serves, reloads, stops, lives. With a watchdog (WatchdogSec=) it says so only while every worker
// answers: one whose loop stands still ends the process, and the manager starts another. Without a
// manager all of it is nothing. Main's thread.
#ifndef GATEWAY_SERVICE_MANAGER_H
#define GATEWAY_SERVICE_MANAGER_H

#include "gateway/net/turn.h"

struct worker;

struct service_manager {
	struct turn *turn;
	struct worker *workers;
	size_t worker_count;
	struct timer watchdog;
	int64_t watchdog_ns;  // between two signs of life; 0: none are wanted
};

// Ready, as the main process of the service, which an upgrade changes; `what` is its status line.
void service_manager_begin(struct service_manager *manager, struct turn *turn,
        struct worker *workers, size_t worker_count, const char *what);
void service_manager_reloading(void);
void service_manager_reloaded(const char *what);
void service_manager_stopping(void);
void service_manager_end(struct service_manager *manager);  // idempotent: no more signs of life

#endif
