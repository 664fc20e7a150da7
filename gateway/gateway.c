#include "gateway/gateway.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/endpoints.h"
#include "gateway/announce.h"
#include "gateway/privilege.h"
#include "gateway/sandbox.h"
#include "gateway/trace_post.h"

enum {
	ABANDON_MS = 2000,  // for workers to close what is left
};

static void wind_up(struct gateway *gateway)
{
	if (gateway->ended)
		return;
	gateway->ended = true;
	// Closing the handles brings back the default action: a signal that comes now would spoil a
	// clean exit.
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	uv_close((uv_handle_t *)&gateway->terminate, NULL);
	uv_close((uv_handle_t *)&gateway->interrupt, NULL);
	uv_close((uv_handle_t *)&gateway->hangup, NULL);
	uv_close((uv_handle_t *)&gateway->successor, NULL);
	uv_close((uv_handle_t *)&gateway->bell, NULL);
	turn_stop_timer(&gateway->turn, &gateway->tick);
	turn_stop_timer(&gateway->turn, &gateway->look);
	turn_stop_timer(&gateway->turn, &gateway->forget);
	expiry_end(&gateway->expiry);
	turn_stop_timer(&gateway->turn, &gateway->drain_deadline);
	turn_stop_timer(&gateway->turn, &gateway->abandon);
	service_manager_end(&gateway->manager);
	names_end(&gateway->names);
	upgrade_cancel(gateway);
	handover_close(&gateway->handover);
	if (gateway->admin)
		admin_close(gateway->admin);
	gateway->admin = NULL;
	turn_close(&gateway->turn);
}

static void on_bell(uv_async_t *bell)
{
	struct gateway *gateway = bell->data;
	if (atomic_load(&gateway->finished_workers) == gateway->worker_count)
		wind_up(gateway);
}

static void on_worker_finished(struct worker *worker)
{
	struct gateway *gateway = worker->owner;
	atomic_fetch_add(&gateway->finished_workers, 1);
	uv_async_send(&gateway->bell);
}

static void stop(struct gateway *gateway)
{
	gateway->stopping = true;
	for (size_t i = 0; i < gateway->worker_count; i++)
		worker_stop(&gateway->workers[i]);
	if (!timer_armed(&gateway->abandon))
		turn_set_timer(&gateway->turn, &gateway->abandon, (int64_t)ABANDON_MS * NS_PER_MS);
}

// A worker whose loop stands still does not keep the process: what is to be recorded is, then it
// ends.
static void on_abandon(struct timer *timer)
{
	struct gateway *gateway = CONTAINER_OF(timer, struct gateway, abandon);
	log_event(LOG_ERROR, "a worker does not answer, leaving without it",
	        "finished=%zu workers=%zu", atomic_load(&gateway->finished_workers),
	        gateway->worker_count);
	audit_close(gateway->audit);
	log_end();
	_exit(1);
}

static void on_drain_deadline(struct timer *timer)
{
	struct gateway *gateway = CONTAINER_OF(timer, struct gateway, drain_deadline);
	log_event(LOG_WARN, "drain timeout: closing what is left", "%s", "");
	stop(gateway);
}

static void begin_drain(struct gateway *gateway)
{
	gateway->draining = true;
	log_event(LOG_INFO, "draining", "timeout_s=%lld",
	        (long long)(gateway->snapshot->config->drain_timeout_ns / NS_PER_S));
	service_manager_end(&gateway->manager);
	names_end(&gateway->names);  // whoever is still here stays where he is
	for (size_t i = 0; i < gateway->worker_count; i++)
		worker_drain(&gateway->workers[i]);
	for (size_t i = 0; i < gateway->snapshot->config->listener_count; i++)
		listening_shut(gateway->snapshot->listeners[i].listening);
	turn_set_timer(&gateway->turn, &gateway->drain_deadline,
	        gateway->snapshot->config->drain_timeout_ns);
}

void gateway_drain(struct gateway *gateway)
{
	if (gateway->draining)
		return;
	upgrade_cancel(gateway);
	service_manager_stopping();
	begin_drain(gateway);
}

void gateway_give_way(struct gateway *gateway)
{
	if (gateway->admin)
		admin_give_way(gateway->admin);
	gateway->admin = NULL;
	begin_drain(gateway);
}

// The gateway before this one has ended.
static void on_predecessor_gone(void *owner)
{
	struct gateway *gateway = owner;
	log_event(LOG_INFO, "the gateway before this one has ended", "%s", "");
	audit_share(gateway->audit, -1);
}

static void on_terminate(uv_signal_t *handle, int number)
{
	struct gateway *gateway = handle->data;
	(void)number;
	gateway->hurried = gateway->asked;
	if (gateway->asked)
		stop(gateway);  // asked twice: at once
	gateway->asked = true;
	gateway_drain(gateway);
}

static void on_upgrade(uv_signal_t *handle, int number)
{
	(void)number;
	upgrade_begin(handle->data);
}

void gateway_on_look(struct timer *timer)
{
	struct gateway *gateway = CONTAINER_OF(timer, struct gateway, look);
	uint64_t ceiling_bytes = gateway->snapshot->config->memory;
	memory_look(&gateway->memory, ceiling_bytes, gateway->turn.now_ns);
	turn_set_timer(
	        &gateway->turn, &gateway->look, memory_rest_ns(&gateway->memory, ceiling_bytes));
}

// Until they are watched: their default action would end us.
static void hold_signals(int how)
{
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGUSR2);
	pthread_sigmask(how, &signals, NULL);
}

static void watch_signal(
        struct gateway *gateway, uv_signal_t *handle, int number, uv_signal_cb callback)
{
	CHECK(uv_signal_init(&gateway->turn.loop, handle) == 0);
	handle->data = gateway;
	CHECK(uv_signal_start(handle, callback, number) == 0);
}

static void begin_workers(struct gateway *gateway)
{
	gateway->workers = must_alloc(gateway->worker_count * sizeof(*gateway->workers));
	for (size_t i = 0; i < gateway->worker_count; i++) {
		struct worker *worker = &gateway->workers[i];
		worker_init(worker, i, gateway->worker_count, gateway->snapshot, gateway->audit);
		worker->on_finished = on_worker_finished;
		worker->owner = gateway;
		worker->memory = &gateway->memory;
		worker->spans = gateway->tracing ? tracing_lane_of(gateway->tracing, i) : NULL;
	}
}

static bool begin_admin(struct gateway *gateway, struct config_problems *problems)
{
	const struct config *config = gateway->snapshot->config;
	int *sockets = must_alloc((gateway->inherited.count + 1) * sizeof(*sockets));
	size_t count = inherited_take(&gateway->inherited, &config->admin, STR("admin"), sockets);
	for (size_t i = 1; i < count; i++)
		close(sockets[i]);
	gateway->admin = admin_open(&gateway->turn, &config->admin, count ? sockets[0] : -1,
	        &gateway_status_hooks, gateway, problems);
	free(sockets);
	return gateway->admin != NULL;
}

static bool start(struct gateway *gateway, struct config_problems *problems)
{
	const struct config *config = gateway->snapshot->config;
	gateway->worker_count = config->workers;
	if (!privilege_make_logs(config, problems))
		return false;
	// One lane more than workers: main's own.
	gateway->audit = audit_open(
	        config, gateway->worker_count + 1, gateway->handover.state, problems);
	if (!gateway->audit ||
	        !snapshot_listen(gateway->snapshot, NULL, &gateway->inherited, problems))
		return false;
	gateway->metrics = metrics_new();
	if (config->tracing.endpoint.text.len)
		gateway->tracing = tracing_open(gateway->snapshot->config, gateway->worker_count);
	begin_workers(gateway);
	if (config->admin.kind != ADDRESS_NONE && !begin_admin(gateway, problems))
		return false;
	inherited_say_rest(&gateway->inherited);
	inherited_fini(&gateway->inherited);
	return true;
}

static void serve(struct gateway *gateway)
{
	CHECK(uv_async_init(&gateway->turn.loop, &gateway->bell, on_bell) == 0);
	gateway->bell.data = gateway;
	watch_signal(gateway, &gateway->terminate, SIGTERM, on_terminate);
	watch_signal(gateway, &gateway->interrupt, SIGINT, on_terminate);
	watch_signal(gateway, &gateway->hangup, SIGHUP, gateway_on_hangup);
	watch_signal(gateway, &gateway->successor, SIGUSR2, on_upgrade);
	hold_signals(SIG_UNBLOCK);
	timer_init(&gateway->tick, gateway_on_tick);
	timer_init(&gateway->drain_deadline, on_drain_deadline);
	timer_init(&gateway->abandon, on_abandon);
	timer_init(&gateway->look, gateway_on_look);
	timer_init(&gateway->forget, gateway_on_forget);
	turn_set_timer(&gateway->turn, &gateway->look, (int64_t)MEMORY_LOOK_MS * NS_PER_MS);
	// The user of run_as may see less than root did.
	gateway->watch.seen = gateway->snapshot->config->run_as.user.text.len
	                              ? watch_look(gateway->snapshot->config)
	                              : gateway->snapshot->looks;
	gateway_on_tick(&gateway->tick);
	names_begin(&gateway->names, &gateway->turn, gateway_on_names);
	names_use(&gateway->names, gateway->snapshot->config);
	for (size_t i = 0; i < gateway->worker_count; i++)
		worker_begin(&gateway->workers[i]);
	announce(gateway);
	expiry_begin(&gateway->expiry, &gateway->turn, &gateway->snapshot);
	service_manager_begin(&gateway->manager, &gateway->turn, gateway->workers,
	        gateway->worker_count, "serving");
	if (handover_expected(&gateway->handover))
		handover_watch(&gateway->handover, &gateway->turn, on_predecessor_gone, gateway);
	turn_run(&gateway->turn);
	for (size_t i = 0; i < gateway->worker_count; i++)
		worker_join(&gateway->workers[i]);
	log_event(LOG_INFO, "stopped", "clean=%s", gateway->stopping ? "false" : "true");
}

static void release(struct gateway *gateway)
{
	for (size_t i = 0; i < gateway->worker_count && gateway->workers; i++)
		worker_fini(&gateway->workers[i]);
	turn_fini(&gateway->turn);
	tracing_close(gateway->tracing, gateway->hurried);
	if (gateway->audit)
		audit_close(gateway->audit);
	memory_fini(&gateway->memory);
	process_fini(&gateway->process);
	gateway_forget(gateway);
	snapshot_unref(gateway->snapshot);
	bucket_store_free(gateway->store);
	free(gateway->workers);
	upgrade_fini(&gateway->upgrade);
	metrics_free(gateway->metrics);
	buffer_fini(&gateway->last_reload_problems);
	buffer_fini(&gateway->watch_problems);
}

// All of it, as `check` says it, but for names that may come to an address.
static void say_why_not(const char *config_path, struct config_problems *problems)
{
	if (config_path) {
		config_problems_fini(problems);
		*problems = (struct config_problems){0};
		(void)!snapshot_check(config_path, problems);
	}
	announce_no_start(problems);
	config_problems_fini(problems);
}

static bool become_ready(struct gateway *gateway, struct config_problems *problems)
{
	if (!start(gateway, problems) ||
	        !privilege_drop(gateway->snapshot->config, gateway->config_path))
		return false;
	// All that could still fail comes before the word to the predecessor.
	for (size_t i = 0; i < gateway->worker_count; i++)
		worker_start(&gateway->workers[i]);
	sandbox_close_calls(gateway->snapshot->config);
	if (!handover_expected(&gateway->handover) ||
	        handover_take(&gateway->handover, gateway->store,
	                endpoints_unknown(gateway->snapshot->config)))
		return true;
	announce_unknown(gateway->snapshot->config);
	return false;
}

int gateway_run(const char *config_path, struct launcher launcher)
{
	struct config_problems problems = {0};
	struct gateway gateway = {.config_path = config_path,
	        .last_reload_good = true,
	        .started_ns = clock_monotonic_ns()};
	hold_signals(SIG_BLOCK);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);  // a log that may grow no more (RLIMIT_FSIZE) is no death
	signal(SIGUSR1, SIG_IGN);  // others reopen logs at it; here SIGHUP does, and nothing is
	                           // worth dying for
	inherited_receive(&gateway.inherited);
	handover_receive(&gateway.handover);
	gateway.store = handover_store(&gateway.handover);
	watch_config_begin(&gateway.watch, config_path);
	gateway.snapshot = snapshot_load(config_path, NULL, gateway.store, &problems);
	if (!gateway.snapshot ||
	        !trace_post_prepare(&gateway.snapshot->config->tracing, &problems)) {
		say_why_not(config_path, &problems);
		inherited_fini(&gateway.inherited);
		snapshot_unref(gateway.snapshot);
		bucket_store_free(gateway.store);
		return 2;
	}
	upgrade_prepare(&gateway.upgrade, launcher);
	gateway.reloads.last_success_s = clock_wall_ns() / NS_PER_S;
	memory_init(&gateway.memory);
	process_init(&gateway.process);
	sandbox_close_files(gateway.snapshot->config, config_path);
	turn_init(&gateway.turn);
	if (!become_ready(&gateway, &problems)) {
		announce_no_start(&problems);
		log_end();
		_exit(1);  // nothing has been served and nothing needs to be undone
	}
	config_problems_fini(&problems);
	serve(&gateway);
	release(&gateway);
	return 0;
}
