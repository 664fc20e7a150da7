#include "gateway/net/resolver.h"

#include <stdlib.h>

#include "base/clock.h"

struct watched {
	struct list node;
	uv_poll_t poll;
	struct resolver *resolver;
	ares_socket_t socket;
};

static void keep_time(struct resolver *resolver)
{
	struct timeval room, *next = ares_timeout(resolver->channel, NULL, &room);
	if (next)
		turn_set_timer(resolver->turn, &resolver->timer,
		        next->tv_sec * (int64_t)NS_PER_S + next->tv_usec * (int64_t)NS_PER_US);
	else
		turn_stop_timer(resolver->turn, &resolver->timer);
}

static void on_time(struct timer *timer)
{
	struct resolver *resolver = CONTAINER_OF(timer, struct resolver, timer);
	ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	keep_time(resolver);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	const struct watched *watched = poll->data;
	struct resolver *resolver = watched->resolver;
	ares_socket_t socket = watched->socket;
	turn_wake(resolver->turn);
	// An error is read, whoever reads it.
	ares_process_fd(resolver->channel,
	        status < 0 || events & UV_READABLE ? socket : ARES_SOCKET_BAD,
	        events & UV_WRITABLE ? socket : ARES_SOCKET_BAD);
	keep_time(resolver);
}

static struct watched *find(const struct resolver *resolver, ares_socket_t socket)
{
	LIST_EACH (&resolver->watched, node) {
		struct watched *watched = LIST_ITEM(node, struct watched, node);
		if (watched->socket == socket)
			return watched;
	}
	return NULL;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

// Before c-ares closes the socket.
static void unwatch(struct watched *watched)
{
	list_remove(&watched->node);
	uv_poll_stop(&watched->poll);
	uv_close((uv_handle_t *)&watched->poll, on_closed);
}

static struct watched *watch(struct resolver *resolver, ares_socket_t socket)
{
	struct watched *watched = must_alloc(sizeof(*watched));
	watched->resolver = resolver;
	watched->socket = socket;
	CHECK(uv_poll_init_socket(&resolver->turn->loop, &watched->poll, socket) == 0);
	watched->poll.data = watched;
	list_push(&resolver->watched, &watched->node);
	return watched;
}

static void on_socket(void *argument, ares_socket_t socket, int readable, int writable)
{
	struct resolver *resolver = argument;
	struct watched *watched = find(resolver, socket);
	int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
	if (!events) {
		if (watched)
			unwatch(watched);
		return;
	}
	if (!watched)
		watched = watch(resolver, socket);
	CHECK(uv_poll_start(&watched->poll, events, on_ready) == 0);
}

void resolver_open(struct resolver *resolver, struct turn *turn, const struct config_dns *dns)
{
	*resolver = (struct resolver){.turn = turn};
	list_init(&resolver->watched);
	timer_init(&resolver->timer, on_time);
	resolver->channel = lookup_open(dns, on_socket, resolver);
}

static void on_answer(void *argument, const struct lookup_answer *answer)
{
	struct resolver_question *question = argument;
	question->asked = false;
	question->answered(question, answer);
}

void resolver_ask(struct resolver *resolver, struct resolver_question *question, struct str name,
        bool service)
{
	question->asked = true;
	if (!resolver->channel) {
		on_answer(question, &(struct lookup_answer){.why = "resolv.conf cannot be read"});
		return;
	}
	(service ? lookup_ask_service : lookup_ask)(resolver->channel, name, on_answer, question);
	keep_time(resolver);
}

void resolver_close(struct resolver *resolver)
{
	if (resolver->channel)
		ares_destroy(resolver->channel);
	resolver->channel = NULL;
	turn_stop_timer(resolver->turn, &resolver->timer);
	CHECK(list_empty(&resolver->watched));
}
