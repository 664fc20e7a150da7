// The running process: workers, the snapshot in force, the audit writer, the admin listener,
// signals and the drain. Everything here is the main thread's, on its own loop; workers are told
// things and never asked, but whether they serve by another configuration yet. `tollgate run` is
// gateway_run from start to exit status.
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "gateway/admin.h"
#include "gateway/expiry.h"
#include "gateway/handover.h"
#include "gateway/names.h"
#include "gateway/process.h"
#include "gateway/service_manager.h"
#include "gateway/tracing.h"
#include "gateway/upgrade.h"
#include "gateway/watch.h"
#include "gateway/worker.h"

// By result: [false] failed, [true] succeeded.
struct reloads {
	uint64_t config[2], certificates[2];
	int64_t last_success_s;  // of the configuration; the start is the first
};

struct gateway {
	struct turn turn;
	const char *config_path;  // NULL: the embedded default
	struct bucket_store *store;
	struct snapshot *snapshot;
	struct snapshot *former;  // until workers have let go of it: see gateway_forget
	struct audit *audit;
	struct metrics *metrics;  // main's own: who was refused by the admin listener
	struct tracing *tracing;  // NULL: off
	struct worker *workers;
	size_t worker_count;
	atomic_size_t finished_workers;
	struct inherited inherited;  // at the start only
	struct handover handover;    // from the gateway before this one
	struct upgrade upgrade;      // to the one after it
	struct service_manager manager;
	struct admin *admin;
	struct watch watch;
	struct names names;  // of backends
	uv_signal_t terminate, interrupt, hangup, successor;
	uv_async_t bell;    // a worker has finished
	struct timer tick;  // watches files
	struct memory memory;
	struct process process;
	struct timer look;  // at the memory
	struct expiry expiry;
	struct timer forget;  // `former`
	struct timer drain_deadline;
	struct timer abandon;  // what does not stop
	bool draining, stopping, ended;
	bool asked, hurried;  // told to stop once, twice
	int64_t started_ns;   // monotonic
	struct reloads reloads;
	bool last_reload_good;
	int64_t last_reload_ns;              // wall clock; 0: there was none
	struct buffer last_reload_problems;  // why it was refused, a line each; empty: it was not
	struct buffer watch_problems;        // why files on disk do not load
	bool watch_failed;                   // the files on disk do not load; said once
};

// Serves until it is told to stop: 0 after a clean drain, 1 could not start, 2 bad configuration.
// The launcher is taken over.
MUST_USE int gateway_run(const char *config_path, struct launcher launcher);

// For the admin listener and signals, on the main thread.
bool gateway_reload(struct gateway *gateway, struct buffer *problems);  // all or nothing
void gateway_drain(struct gateway *gateway);
void gateway_give_way(struct gateway *gateway);  // a successor serves from now on
void gateway_on_look(struct timer *timer);       // at memory, now and when it is worth it again

// gateway_reload.c, called by the loop.
void gateway_on_hangup(uv_signal_t *handle, int number);
void gateway_on_tick(struct timer *timer);
// Lets go of the former snapshot. To free a large one takes tens of milliseconds: workers leave
// that to whoever is last, and that is to be this thread, which serves nobody.
void gateway_forget(struct gateway *gateway);
void gateway_on_forget(struct timer *timer);
void gateway_on_names(struct names *names);

// status.c and status_metrics.c: what the admin listener tells.
void status_metrics(const struct gateway *gateway, struct buffer *out);
extern const struct admin_hooks gateway_status_hooks;

#endif
