#include "gateway/gateway.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/net/listen.h"
#include "gateway/privilege.h"
#include "gateway/sandbox.h"
#include "gateway/version.h"

enum {
	TICK_MS = 1000,
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
	uv_close((uv_handle_t *)&gateway->upgrade, NULL);
	uv_close((uv_handle_t *)&gateway->bell, NULL);
	turn_stop_timer(&gateway->turn, &gateway->tick);
	turn_stop_timer(&gateway->turn, &gateway->look);
	turn_stop_timer(&gateway->turn, &gateway->drain_deadline);
	turn_stop_timer(&gateway->turn, &gateway->abandon);
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
	_exit(1);
}

static void on_drain_deadline(struct timer *timer)
{
	struct gateway *gateway = CONTAINER_OF(timer, struct gateway, drain_deadline);
	log_event(LOG_WARN, "drain timeout: closing what is left", "%s", "");
	stop(gateway);
}

void gateway_drain(struct gateway *gateway)
{
	if (gateway->draining)
		return;
	gateway->draining = true;
	log_event(LOG_INFO, "draining", "timeout_s=%lld",
	        (long long)(gateway->snapshot->config->drain_timeout_ns / NS_PER_S));
	for (size_t i = 0; i < gateway->worker_count; i++)
		worker_drain(&gateway->workers[i]);
	turn_set_timer(&gateway->turn, &gateway->drain_deadline,
	        gateway->snapshot->config->drain_timeout_ns);
}

static void on_terminate(uv_signal_t *handle, int number)
{
	struct gateway *gateway = handle->data;
	(void)number;
	gateway->hurried = gateway->draining;
	if (gateway->draining)
		stop(gateway);  // asked twice: at once
	else
		gateway_drain(gateway);
}

static struct snapshot *load_next(struct gateway *gateway, struct config_problems *problems)
{
	const char *why;
	struct snapshot *next = snapshot_load(gateway->config_path, gateway->store, problems);
	if (!next || snapshot_can_follow(gateway->snapshot, next, &why))
		return next;
	config_problem_add(problems, (struct config_mark){1, 1}, STR(""),
	        "%s changed, which needs a restart; the configuration in force stays", why);
	snapshot_unref(next);
	return NULL;
}

static void put_in_force(struct gateway *gateway, struct snapshot *next)
{
	for (size_t i = 0; i < gateway->worker_count; i++)
		worker_offer(&gateway->workers[i], snapshot_ref(next));
	snapshot_unref(gateway->snapshot);
	gateway->snapshot = next;
	if (gateway->tracing)
		tracing_follow(gateway->tracing, next->config);
	watch_begin(&gateway->watch, next->config);
}

static void say_problems(const struct config_problems *problems, struct buffer *out)
{
	for (size_t i = 0; i < problems->count; i++) {
		const struct config_problem *problem = &problems->items[i];
		buffer_printf(out, "%.*s:%d:%d: %.*s: %.*s\n", STR_FMT(problems->file),
		        problem->mark.line, problem->mark.column, STR_FMT(problem->key),
		        STR_FMT(problem->what));
	}
}

bool gateway_reload(struct gateway *gateway, struct buffer *out)
{
	struct config_problems problems = {0};
	struct snapshot *next = load_next(gateway, &problems);
	gateway->last_reload_good = next != NULL;
	audit_reopen(gateway->audit);  // whoever rotates logs does not ask what the configuration
	                               // is like
	if (next) {
		put_in_force(gateway, next);
		log_event(LOG_INFO, "configuration reloaded", "generation=%llu",
		        (unsigned long long)next->generation);
	} else {
		say_problems(&problems, out);
		log_event(LOG_ERROR, "reload refused, the old configuration stays",
		        "problems=%zu first=\"%.*s\"", problems.count,
		        problems.count ? (int)problems.items[0].what.len : 0,
		        problems.count ? problems.items[0].what.at : "");
	}
	config_problems_fini(&problems);
	return next != NULL;
}

static void on_hangup(uv_signal_t *handle, int number)
{
	struct buffer problems = {0};
	(void)number;
	if (!gateway_reload(handle->data, &problems)) {
		ssize_t written = write(
		        STDERR_FILENO, buffer_data(&problems), buffer_len(&problems));
		(void)written;
	}
	buffer_fini(&problems);
}

// Left alone it would kill us.
static void on_upgrade(uv_signal_t *handle, int number)
{
	(void)handle, (void)number;
	log_event(LOG_WARN, "SIGUSR2 ignored: this version does not upgrade in place", "%s", "");
}

// Replaced material is taken up by itself, under the configuration in force: what the file has
// become since waits for SIGHUP. A pair caught half-way does not load: the old one stays, and the
// next second looks again; so it does when something changed while it was read.
static void on_tick(struct timer *timer)
{
	struct gateway *gateway = CONTAINER_OF(timer, struct gateway, tick);
	struct config_problems problems = {0};
	bool changed = watch_changed(&gateway->watch, gateway->snapshot->config);
	if (changed || gateway->watch_failed || gateway->watch_again) {
		uint64_t before = gateway->watch.seen;
		struct snapshot *next = snapshot_renew(gateway->snapshot, gateway->store, &problems);
		if (next) {
			put_in_force(gateway, next);
			log_event(LOG_INFO, "replaced certificates are in force", "%s", "");
		} else if (!gateway->watch_failed) {
			log_event(LOG_ERROR, "replaced certificates do not load, the old ones stay",
			        "first=\"%.*s\"", STR_FMT(problems.items[0].what));
		}
		gateway->watch_again = next && gateway->watch.seen != before;
		gateway->watch_failed = !next;
	}
	config_problems_fini(&problems);
	turn_set_timer(&gateway->turn, &gateway->tick, (int64_t)TICK_MS * NS_PER_MS);
}

static void on_look(struct timer *timer)
{
	struct gateway *gateway = CONTAINER_OF(timer, struct gateway, look);
	memory_look(&gateway->memory, gateway->snapshot->config->memory, gateway->turn.now_ns);
	turn_set_timer(&gateway->turn, &gateway->look, (int64_t)MEMORY_LOOK_MS * NS_PER_MS);
}

static void watch_signal(
        struct gateway *gateway, uv_signal_t *handle, int number, uv_signal_cb callback)
{
	CHECK(uv_signal_init(&gateway->turn.loop, handle) == 0);
	handle->data = gateway;
	CHECK(uv_signal_start(handle, callback, number) == 0);
}

// Sockets of all listeners for all workers: sockets[worker * listeners + listener].
static int *open_sockets(struct gateway *gateway)
{
	const struct config *config = gateway->snapshot->config;
	size_t listeners = config->listener_count, workers = gateway->worker_count;
	int *sockets = must_alloc(listeners * workers * sizeof(*sockets));
	int *of_one = must_alloc(workers * sizeof(*of_one));
	bool good = true;
	for (size_t i = 0; good && i < listeners; i++) {
		const char *why = "";
		good = listen_open(&config->listeners[i].address, workers, of_one, &why);
		for (size_t k = 0; good && k < workers; k++)
			sockets[k * listeners + i] = of_one[k];
		if (!good)
			log_event(LOG_ERROR, "cannot listen",
			        "listener=%.*s address=%.*s error=\"%s\"",
			        STR_FMT(config->listeners[i].name.text),
			        STR_FMT(config->listeners[i].address.text), why);
	}
	free(of_one);
	if (good)
		return sockets;
	free(sockets);
	return NULL;
}

static void announce(const struct gateway *gateway)
{
	const struct config *config = gateway->snapshot->config;
	for (size_t i = 0; i < config->listener_count; i++)
		log_event(LOG_INFO, "listening",
		        "listener=%.*s address=%.*s routes=%zu identities=\"%.*s\"",
		        STR_FMT(config->listeners[i].name.text),
		        STR_FMT(config->listeners[i].address.text),
		        config->listeners[i].route_count,
		        STR_FMT(config->listeners[i].tls.match_subject_alt_names.items[0].text));
	log_event(LOG_INFO, "ready", "version=%s workers=%zu backends=%zu", version_text(),
	        gateway->worker_count, config->backend_count);
}

static bool start(struct gateway *gateway, struct config_problems *problems)
{
	const struct config *config = gateway->snapshot->config;
	gateway->worker_count = config->workers;
	if (!privilege_make_logs(config, problems))
		return false;
	// One lane more than workers: main's own.
	gateway->audit = audit_open(config, gateway->worker_count + 1, problems);
	if (!gateway->audit)
		return false;
	int *sockets = open_sockets(gateway);
	if (!sockets)
		return false;
	if (config->tracing.endpoint.text.len)
		gateway->tracing = tracing_open(gateway->snapshot->config, gateway->worker_count);
	gateway->connections = must_alloc(config->listener_count * sizeof(*gateway->connections));
	gateway->workers = must_alloc(gateway->worker_count * sizeof(*gateway->workers));
	for (size_t i = 0; i < gateway->worker_count; i++) {
		worker_init(&gateway->workers[i], i, gateway->snapshot,
		        &sockets[i * config->listener_count], gateway->connections, gateway->audit);
		gateway->workers[i].on_finished = on_worker_finished;
		gateway->workers[i].owner = gateway;
		gateway->workers[i].memory = &gateway->memory;
		gateway->workers[i].spans = gateway->tracing ? tracing_lane_of(gateway->tracing, i)
		                                             : NULL;
	}
	free(sockets);
	if (config->admin.kind == ADDRESS_NONE)
		return true;
	gateway->admin = admin_open(
	        &gateway->turn, &config->admin, &gateway_status_hooks, gateway, problems);
	return gateway->admin != NULL;
}

static void serve(struct gateway *gateway)
{
	CHECK(uv_async_init(&gateway->turn.loop, &gateway->bell, on_bell) == 0);
	gateway->bell.data = gateway;
	watch_signal(gateway, &gateway->terminate, SIGTERM, on_terminate);
	watch_signal(gateway, &gateway->interrupt, SIGINT, on_terminate);
	watch_signal(gateway, &gateway->hangup, SIGHUP, on_hangup);
	watch_signal(gateway, &gateway->upgrade, SIGUSR2, on_upgrade);
	timer_init(&gateway->tick, on_tick);
	timer_init(&gateway->drain_deadline, on_drain_deadline);
	timer_init(&gateway->abandon, on_abandon);
	timer_init(&gateway->look, on_look);
	turn_set_timer(&gateway->turn, &gateway->look, (int64_t)MEMORY_LOOK_MS * NS_PER_MS);
	turn_set_timer(&gateway->turn, &gateway->tick, (int64_t)TICK_MS * NS_PER_MS);
	watch_begin(&gateway->watch, gateway->snapshot->config);
	for (size_t i = 0; i < gateway->worker_count; i++)
		worker_start(&gateway->workers[i]);
	sandbox_close_calls(gateway->snapshot->config);
	announce(gateway);
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
	snapshot_unref(gateway->snapshot);
	bucket_store_free(gateway->store);
	free(gateway->workers);
	free(gateway->connections);
}

int gateway_run(const char *config_path)
{
	struct config_problems problems = {0};
	struct gateway gateway = {.config_path = config_path, .last_reload_good = true};
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);  // others reopen logs at it; here SIGHUP does, and nothing is
	                           // worth dying for
	gateway.store = bucket_store_new();
	gateway.snapshot = snapshot_load(config_path, gateway.store, &problems);
	if (!gateway.snapshot) {
		if (config_path) {  // say all of it, as `check` does
			config_problems_fini(&problems);
			problems = (struct config_problems){0};
			(void)!snapshot_check(config_path, &problems);
		}
		config_problems_print(&problems, STDERR_FILENO);
		config_problems_fini(&problems);
		bucket_store_free(gateway.store);
		return 2;
	}
	memory_init(&gateway.memory);
	sandbox_close_files(gateway.snapshot->config, config_path);
	turn_init(&gateway.turn);
	bool started = start(&gateway, &problems) &&
	               privilege_drop(gateway.snapshot->config, config_path);
	if (started) {
		serve(&gateway);
	} else {
		config_problems_print(&problems, STDERR_FILENO);
		_exit(1);  // nothing has been served and nothing needs to be undone
	}
	config_problems_fini(&problems);
	release(&gateway);
	return 0;
}
