// The running process: workers, the snapshot in force, the audit writer, the admin listener,
// signals and the drain. Everything here is the main thread's, on its own loop; workers are told
// things and never asked. `tollgate run` is gateway_run from start to exit status.
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "gateway/admin.h"
#include "gateway/tracing.h"
#include "gateway/watch.h"
#include "gateway/worker.h"

struct gateway {
	struct turn turn;
	const char *config_path;  // NULL: the embedded default
	struct bucket_store *store;
	struct snapshot *snapshot;
	struct audit *audit;
	struct tracing *tracing;  // NULL: off
	struct worker *workers;
	size_t worker_count;
	atomic_size_t finished_workers;
	atomic_size_t *connections;  // by listener
	struct admin *admin;
	struct watch watch;
	uv_signal_t terminate, interrupt, hangup, upgrade;
	uv_async_t bell;    // a worker has finished
	struct timer tick;  // watches files
	struct memory memory;
	struct timer look;  // at the memory
	struct timer drain_deadline;
	struct timer abandon;  // what does not stop
	bool draining, stopping, ended;
	bool hurried;  // told to stop twice
	bool last_reload_good;
	bool watch_failed;  // the files on disk do not load; said once
	bool watch_again;   // something changed while it was read
};

// Serves until it is told to stop: 0 after a clean drain, 1 could not start, 2 bad configuration.
MUST_USE int gateway_run(const char *config_path);

// For the admin listener and signals, on the main thread.
bool gateway_reload(struct gateway *gateway, struct buffer *problems);  // all or nothing
void gateway_drain(struct gateway *gateway);

extern const struct admin_hooks gateway_status_hooks;

#endif
