// Another configuration, or other files under the same one: prepared whole, sockets included, then
// put in force whole, or not at all.
#include "base/clock.h"
#include "base/log.h"
#include "gateway/announce.h"
#include "gateway/gateway.h"

enum { TICK_MS = 1000, FORGET_MS = 1000, TAKING_MS = 500 };

static struct snapshot *prepare(struct gateway *gateway, struct config_problems *problems)
{
	struct inherited none = {0};
	struct buffer changed = {0};
	struct snapshot *next = snapshot_load(
	        gateway->config_path, gateway->snapshot, gateway->store, problems);
	if (!next)
		return NULL;
	bool follows = snapshot_can_follow(gateway->snapshot, next, &changed);
	if (!follows)
		config_problem_add(problems, (struct config_mark){1, 1}, STR(""),
		        "%.*s changed, which needs a restart or an upgrade (SIGUSR2); the "
		        "configuration in force stays",
		        STR_FMT(buffer_str(&changed)));
	buffer_fini(&changed);
	if (follows && snapshot_listen(next, gateway->snapshot, &none, problems))
		return next;
	snapshot_unref(next);
	return NULL;
}

static void shut_removed(const struct snapshot *former, const struct snapshot *next)
{
	for (size_t i = 0; i < former->config->listener_count; i++) {
		struct listening *listening = former->listeners[i].listening;
		if (snapshot_listens(next, listening))
			continue;
		log_event(LOG_INFO, "listener removed, its connections drain", "address=%.*s",
		        STR_FMT(listening->address.text));
		listening_shut(listening);
	}
}

void gateway_forget(struct gateway *gateway)
{
	snapshot_unref(gateway->former);
	gateway->former = NULL;
}

void gateway_on_forget(struct timer *timer)
{
	gateway_forget(CONTAINER_OF(timer, struct gateway, forget));
}

// Whoever hears that it is in force is served by it from then on: the wait is for what a worker is
// at, so a moment. One that is stuck is told of elsewhere.
static void hand_out(struct gateway *gateway, struct snapshot *next)
{
	for (size_t i = 0; i < gateway->worker_count; i++)
		worker_offer(&gateway->workers[i], snapshot_ref(next));
	int64_t until_ns = clock_monotonic_ns() + TAKING_MS * (int64_t)NS_PER_MS;
	for (size_t i = 0; i < gateway->worker_count; i++)
		worker_await(&gateway->workers[i], next, until_ns);
}

static void put_in_force(struct gateway *gateway, struct snapshot *next)
{
	struct snapshot *former = gateway->snapshot;
	hand_out(gateway, next);
	shut_removed(former, next);
	gateway_forget(gateway);
	gateway->former = former;
	turn_set_timer(&gateway->turn, &gateway->forget, (int64_t)FORGET_MS * NS_PER_MS);
	gateway->snapshot = next;
	audit_follow(gateway->audit, next->config);
	if (gateway->tracing)
		tracing_follow(gateway->tracing, next->config);
	if (gateway->admin)
		admin_renew(gateway->admin);
}

static void note_problems(const struct config_problems *problems, struct buffer *noted)
{
	buffer_clear(noted);
	config_problems_write(problems, noted);
}

// Whoever rotates logs does not ask what else goes on; all else is the successor's now, or
// nobody's.
static bool reopen_alone(struct gateway *gateway, struct buffer *out)
{
	audit_reopen(gateway->audit);
	log_event(LOG_INFO, "draining: the logs are reopened, nothing else is reloaded", "%s", "");
	buffer_append_str(out, STR("draining: only the logs were reopened\n"));
	return false;
}

bool gateway_reload(struct gateway *gateway, struct buffer *out)
{
	struct config_problems problems = {0};
	if (gateway->draining)
		return reopen_alone(gateway, out);
	service_manager_reloading();
	watch_config_begin(&gateway->watch, gateway->config_path);
	struct snapshot *next = prepare(gateway, &problems);
	gateway->last_reload_good = next != NULL;
	gateway->reloads.config[next != NULL]++;
	if (next)
		gateway->reloads.last_success_s = clock_wall_ns() / NS_PER_S;
	gateway->last_reload_ns = clock_wall_ns();
	note_problems(&problems, &gateway->last_reload_problems);
	audit_reopen(gateway->audit);  // whoever rotates logs does not ask what the configuration
	                               // is like
	if (next) {
		put_in_force(gateway, next);
		gateway->watch.seen = next->looks;
		gateway_on_look(&gateway->look);  // another ceiling may be near
		gateway->watch_failed = false;    // what is on disk has just been loaded
		buffer_clear(&gateway->watch_problems);
		names_use(&gateway->names, next->config);
		gateway->upgrade.outdated = true;
		log_event(LOG_INFO, "configuration reloaded", "generation=%llu",
		        (unsigned long long)next->generation);
		announce_doubts(next->config);
	} else {
		buffer_append_str(out, buffer_str(&gateway->last_reload_problems));
		log_event(LOG_ERROR, "reload refused, the old configuration stays",
		        "problems=%zu first=\"%.*s\"", problems.count,
		        problems.count ? (int)problems.items[0].what.len : 0,
		        problems.count ? problems.items[0].what.at : "");
		announce_problems(&problems);
	}
	service_manager_reloaded(next ? "serving" : "serving; the last reload was refused");
	config_problems_fini(&problems);
	return next != NULL;
}

static void reload(struct gateway *gateway)
{
	struct buffer problems = {0};
	(void)!gateway_reload(gateway, &problems);
	buffer_fini(&problems);
}

void gateway_on_hangup(uv_signal_t *handle, int number)
{
	(void)number;
	reload(handle->data);
}

static struct snapshot *renew(struct gateway *gateway, struct config_problems *problems)
{
	struct inherited none = {0};
	struct snapshot *next = snapshot_renew(gateway->snapshot, gateway->store, problems);
	if (!next || snapshot_listen(next, gateway->snapshot, &none, problems))
		return next;
	snapshot_unref(next);
	return NULL;
}

// Replaced material is taken up by itself, under the configuration in force: what the file has
// become since waits for SIGHUP. A pair caught half-way does not load: the old one stays, and the
// next second looks again.
static void look_for_changes(struct gateway *gateway)
{
	struct config_problems problems = {
	        .file = str_from(
	                gateway->config_path ? gateway->config_path : CONFIG_DEFAULT_NAME)};
	bool changed = watch_changed(&gateway->watch, gateway->snapshot->config);
	if (!changed && !gateway->watch_failed)
		return;
	struct snapshot *next = renew(gateway, &problems);
	gateway->reloads.certificates[next != NULL]++;
	if (next) {
		put_in_force(gateway, next);
		gateway->watch.seen = next->looks;
		log_event(LOG_INFO, "replaced certificates are in force", "%s", "");
	} else if (!gateway->watch_failed) {
		log_event(LOG_ERROR, "replaced certificates do not load, the old ones stay",
		        "first=\"%.*s\"", STR_FMT(problems.items[0].what));
	}
	gateway->watch_failed = !next;
	note_problems(&problems, &gateway->watch_problems);
	config_problems_fini(&problems);
}

void gateway_on_names(struct names *names)
{
	struct gateway *gateway = CONTAINER_OF(names, struct gateway, names);
	struct config *config = endpoints_readdress(gateway->snapshot->config, names_find, names);
	put_in_force(gateway, snapshot_readdress(gateway->snapshot, config));
}

void gateway_on_tick(struct timer *timer)
{
	struct gateway *gateway = CONTAINER_OF(timer, struct gateway, tick);
	if (gateway->draining)
		return;
	look_for_changes(gateway);
	if (watch_config_rests_changed(&gateway->watch, gateway->config_path) &&
	        gateway->snapshot->config->watch_config)
		reload(gateway);
	turn_set_timer(&gateway->turn, &gateway->tick, (int64_t)TICK_MS * NS_PER_MS);
}
