#include "gateway/upgrade.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/endpoints.h"
#include "gateway/gateway.h"
#include "gateway/handover.h"

enum { READY_S = 60, PRIVATE = 2 };

static void on_deadline(struct timer *timer);

void upgrade_prepare(struct upgrade *upgrade, struct launcher launcher)
{
	*upgrade = (struct upgrade){.launcher = launcher, .channel = -1, .state = -1};
	timer_init(&upgrade->deadline, on_deadline);
	if (upgrade->launcher.channel >= 0)
		upgrade->state = memfd_create("tollgate-buckets", MFD_CLOEXEC);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct gateway *gateway = handle->data;
	// After the handover the open channel tells the newcomer that we are still here.
	if (!gateway->upgrade.handed_over)
		close(gateway->upgrade.channel);
	gateway->upgrade.channel = gateway->upgrade.handed_over ? gateway->upgrade.channel : -1;
	bool again = gateway->upgrade.again && !gateway->draining;
	gateway->upgrade.again = false;
	if (again)
		upgrade_begin(gateway);
}

static void stop_polling(struct gateway *gateway)
{
	struct upgrade *upgrade = &gateway->upgrade;
	turn_stop_timer(&gateway->turn, &upgrade->deadline);
	if (upgrade->polling)
		uv_close((uv_handle_t *)&upgrade->poll, on_poll_closed);
	upgrade->polling = false;
}

void upgrade_cancel(struct gateway *gateway)
{
	if (!gateway->upgrade.polling)
		return;
	stop_polling(gateway);
	audit_share(gateway->audit, -1);
}

static void fail(struct gateway *gateway, const char *why)
{
	log_event(LOG_ERROR, "upgrade failed, this gateway goes on", "error=\"%s\"", why);
	upgrade_cancel(gateway);
}

static void on_deadline(struct timer *timer)
{
	struct upgrade *upgrade = CONTAINER_OF(timer, struct upgrade, deadline);
	fail(CONTAINER_OF(upgrade, struct gateway, upgrade), "the new one is not ready in time");
}

static void hand_over(struct gateway *gateway)
{
	struct upgrade *upgrade = &gateway->upgrade;
	const char go = HANDOVER_GO;
	bool carried = handover_write(upgrade->state, gateway->store);
	if (!carried)
		log_event(LOG_WARN, "the buckets cannot be handed over", "error=\"%s\"",
		        strerror(errno));
	if (write(upgrade->channel, &go, 1) != 1) {
		fail(gateway, strerror(errno));
		return;
	}
	upgrade->handed_over = true;
	stop_polling(gateway);
	log_event(LOG_INFO, "the new gateway serves, this one drains", "%s", "");
	gateway_give_way(gateway);
}

// Calls to names that this one has addresses of must not fail by the new one.
static bool knows_less(const struct gateway *gateway, const unsigned char words[2])
{
	return words[0] == HANDOVER_NAMELESS &&
	       words[1] > endpoints_unknown(gateway->snapshot->config);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct gateway *gateway = poll->data;
	unsigned char words[2] = {0};
	(void)status, (void)events;
	turn_wake(&gateway->turn);
	ssize_t count = read(gateway->upgrade.channel, words, sizeof(words));
	bool ready = (count == 1 && words[0] == HANDOVER_READY) ||
	             (count == 2 && words[0] == HANDOVER_NAMELESS);
	gateway->upgrade.again = ready && gateway->upgrade.outdated;
	if (gateway->upgrade.again)
		fail(gateway, "the configuration was reloaded meanwhile; it begins again");
	else if (ready && knows_less(gateway, words))
		fail(gateway, "the new one cannot resolve names that this one could");
	else if (ready)
		hand_over(gateway);
	else
		fail(gateway, "the new one has ended; what it said stands above");
}

// The channel's far end and the state first, then all that listens.
static size_t gather(struct gateway *gateway, int far_end, int **descriptors)
{
	const struct snapshot *snapshot = gateway->snapshot;
	size_t count = PRIVATE, most = PRIVATE + 1;
	for (size_t i = 0; i < snapshot->config->listener_count; i++)
		most += snapshot->listeners[i].listening->socket_count;
	int *all = must_alloc(most * sizeof(*all));
	all[0] = far_end;
	all[1] = gateway->upgrade.state;
	for (size_t i = 0; i < snapshot->config->listener_count; i++) {
		const struct listening *listening = snapshot->listeners[i].listening;
		for (size_t k = 0; k < listening->socket_count; k++)
			all[count++] = listening->sockets[k];
	}
	if (gateway->admin)
		all[count++] = admin_socket(gateway->admin);
	*descriptors = all;
	return count;
}

static bool ask(struct gateway *gateway)
{
	struct upgrade *upgrade = &gateway->upgrade;
	int ends[2], *descriptors;
	if (!handover_write(upgrade->state, gateway->store) ||
	        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return false;
	size_t count = gather(gateway, ends[1], &descriptors);
	bool asked = launcher_ask(&upgrade->launcher, descriptors, count, PRIVATE);
	free(descriptors);
	close(ends[1]);
	if (asked)
		upgrade->channel = ends[0];
	else
		close(ends[0]);
	return asked;
}

// A successor finds its sockets by their addresses: one that the service manager gave by name alone
// would be closed, and another opened, at an address that nobody has been told of.
static bool is_found_again(const struct listening *listening)
{
	for (size_t i = 0; i < listening->socket_count; i++)
		if (!inherited_is_at(listening->sockets[i], &listening->address))
			return false;
	return true;
}

static bool are_found_again(const struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->config->listener_count; i++)
		if (!is_found_again(snapshot->listeners[i].listening))
			return false;
	return true;
}

static const char *obstacle(const struct gateway *gateway)
{
	const struct upgrade *upgrade = &gateway->upgrade;
	if (gateway->draining)
		return "it drains already";
	if (upgrade->channel >= 0)
		return "one is under way";
	if (handover_expected(&gateway->handover))
		return "the gateway before this one still drains";
	if (upgrade->launcher.channel < 0 || upgrade->state < 0)
		return "there is no launcher";
	if (!are_found_again(gateway->snapshot))
		return "a socket of the service manager's listens elsewhere than configured; "
		       "a restart refuses nobody";
	return NULL;
}

void upgrade_begin(struct gateway *gateway)
{
	struct upgrade *upgrade = &gateway->upgrade;
	const char *why = obstacle(gateway);
	if (why) {
		log_event(LOG_WARN, "upgrade refused", "reason=\"%s\"", why);
		return;
	}
	audit_share(gateway->audit, gateway->upgrade.state);
	if (!ask(gateway)) {
		log_event(LOG_ERROR, "upgrade failed, this gateway goes on", "error=\"%s\"",
		        strerror(errno));
		audit_share(gateway->audit, -1);
		return;
	}
	log_event(LOG_INFO, "upgrading: a new gateway is started", "%s", "");
	CHECK(uv_poll_init(&gateway->turn.loop, &upgrade->poll, upgrade->channel) == 0);
	upgrade->poll.data = gateway;
	upgrade->polling = true;
	upgrade->outdated = false;
	CHECK(uv_poll_start(&upgrade->poll, UV_READABLE | UV_DISCONNECT, on_readable) == 0);
	turn_set_timer(&gateway->turn, &upgrade->deadline, (int64_t)READY_S * NS_PER_S);
}

void upgrade_fini(struct upgrade *upgrade)
{
	launcher_end(&upgrade->launcher);
	if (upgrade->state >= 0)
		close(upgrade->state);
	if (upgrade->channel >= 0)
		close(upgrade->channel);
}
