#include "gateway/net/door.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
	AT_ONCE = 64,        // then the other connections of the loop have their turn
	WAITING_MAX = 4096,  // as many as a queue usually holds
};

static void rest(struct door *door, int error)
{
	int64_t now_ns = door->turn->now_ns;
	if (!door->complained_ns ||
	        now_ns - door->complained_ns > (int64_t)DOOR_COMPLAIN_S * NS_PER_S) {
		door->complained_ns = now_ns;
		log_event(LOG_WARN, "cannot take connections in, they wait", "error=\"%s\"",
		        strerror(error));
	}
	uv_poll_stop(&door->poll);
	turn_set_timer(door->turn, &door->rest, (int64_t)DOOR_REST_MS * NS_PER_MS);
}

// 0, or why nobody more comes in: EAGAIN when nobody waits.
static int take_in(struct door *door, size_t most)
{
	for (size_t i = 0; i < most && !door->held && !door->shut; i++) {
		int descriptor = accept4(door->socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (descriptor >= 0)
			door->knock(door, descriptor);
		else if (errno != EINTR && errno != ECONNABORTED)
			return errno;
	}
	return 0;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct door *door = poll->data;
	(void)status, (void)events;
	turn_wake(door->turn);
	int error = take_in(door, AT_ONCE);
	if (error && error != EAGAIN)
		rest(door, error);
}

void door_take_waiting(struct door *door)
{
	(void)take_in(door, WAITING_MAX);
}

static void look(struct door *door)
{
	if (!door->held && !door->shut && !timer_armed(&door->rest))
		CHECK(uv_poll_start(&door->poll, UV_READABLE, on_ready) == 0);
}

static void on_rested(struct timer *timer)
{
	look(CONTAINER_OF(timer, struct door, rest));
}

void door_open(struct door *door, struct turn *turn, int socket)
{
	door->turn = turn;
	door->socket = socket;
	timer_init(&door->rest, on_rested);
	CHECK(uv_poll_init_socket(&turn->loop, &door->poll, socket) == 0);
	door->poll.data = door;
	look(door);
}

void door_hold(struct door *door, bool on)
{
	if (door->held == on || door->shut)
		return;
	door->held = on;
	if (on)
		uv_poll_stop(&door->poll);
	else
		look(door);
}

static void on_closed(uv_handle_t *handle)
{
	struct door *door = handle->data;
	close(door->socket);
	if (door->closed)
		door->closed(door);
}

void door_shut(struct door *door)
{
	if (door->shut)
		return;
	door->shut = true;
	turn_stop_timer(door->turn, &door->rest);
	uv_close((uv_handle_t *)&door->poll, on_closed);
}
