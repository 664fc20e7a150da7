#include "gateway/net/link.h"

#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/net/link_inside.h"

static void on_linger(struct timer *timer);

void link_init(
        struct link *link, struct turn *turn, const struct link_events *events, bool unix_socket)
{
	link->turn = turn;
	link->traffic = &turn->accepted;
	link->events = events;
	link->dirty.flush = link_flush;
	link->pause.flush = link_stop_unwanted;
	link->step.flush = link_step;
	timer_init(&link->linger, on_linger);
	int result = unix_socket ? uv_pipe_init(&turn->loop, &link->handle.pipe, 0)
	                         : uv_tcp_init(&turn->loop, &link->handle.tcp);
	CHECK(result == 0);
	link->handle.any.data = link;
}

void link_ended(struct link *link, enum link_end why)
{
	// A peer that only stopped sending may turn out to be gone altogether, which the next write
	// tells.
	if (link->closing || (link->ended && why != LINK_BROKEN))
		return;
	link->ended = true;
	if (!link->finishing)
		link->events->ended(link, why);
	else if (why != LINK_PEER_ENDED)
		link_close(link);
}

int link_accept(struct link *link, int descriptor)
{
	bool unix_socket = link->handle.any.type == UV_NAMED_PIPE;
	int result = unix_socket ? uv_pipe_open(&link->handle.pipe, descriptor)
	                         : uv_tcp_open(&link->handle.tcp, descriptor);
	if (result < 0)
		close(descriptor);
	else if (!unix_socket)
		uv_tcp_nodelay(&link->handle.tcp, 1);
	return result;
}

void link_start(struct link *link, struct tls_session *tls)
{
	link->tls = tls;
	link->open = !tls;
	link_set_reading(link, true);
	if (link->open)
		link->events->opened(link);
}

static void on_connect(uv_connect_t *request, int status)
{
	struct link *link = request->handle->data;
	turn_wake(link->turn);
	if (status < 0) {
		link_ended(link, LINK_CONNECT_FAILED);  // unless it was closed meanwhile
		return;
	}
	if (link->handle.any.type == UV_TCP)
		uv_tcp_nodelay(&link->handle.tcp, 1);
	struct tls_session *tls = link->dials;
	link->dials = NULL;
	link_start(link, tls);
	link_mark_dirty(link);
}

int link_connect(struct link *link, const struct config_address *address, struct tls_session *tls)
{
	link->dials = tls;
	link->traffic = &link->turn->dialled;
	if (address->kind == ADDRESS_UNIX) {
		const struct sockaddr_un *path = (const struct sockaddr_un *)&address->socket;
		uv_pipe_connect(
		        &link->request.connect, &link->handle.pipe, path->sun_path, on_connect);
		return 0;
	}
	return uv_tcp_connect(&link->request.connect, &link->handle.tcp,
	        (const struct sockaddr *)&address->socket, on_connect);
}

static void on_closed(uv_handle_t *handle)
{
	struct link *link = handle->data;
	struct tls_session *tls = link->tls;  // the last records still tell of the peer by it
	tls_session_free(link->dials);
	buffer_fini(&link->plain);
	buffer_fini(&link->wire);
	buffer_fini(&link->flight);
	link->events->closed(link);
	tls_session_free(tls);
}

static void close_with(struct link *link, bool reset)
{
	if (link->closing)
		return;
	link->closing = true;
	turn_stop_timer(link->turn, &link->linger);
	list_remove(&link->dirty.node);
	list_remove(&link->pause.node);
	list_remove(&link->step.node);
	if (!reset || link->handle.any.type != UV_TCP ||
	        uv_tcp_close_reset(&link->handle.tcp, on_closed) < 0)
		uv_close(&link->handle.any, on_closed);
}

void link_close(struct link *link)
{
	close_with(link, link->cut_short);
}

void link_part(struct link *link)
{
	if (link->tls && !link->closing && !link->writing && !link->mute) {
		tls_close_notify(link->tls);  // nothing where it failed: there is an alert then
		uv_buf_t words = uv_buf_init(
		        buffer_data(&link->wire), (unsigned)buffer_len(&link->wire));
		if (words.len)
			(void)uv_try_write(&link->handle.stream, &words, 1);
	}
	link_close(link);
}

// A slow peer frees the kernel's buffer in large steps, with seconds between them.
void link_linger(struct link *link)
{
	int64_t wait_ms = link_pending(link) ? LINK_FLUSH_MS : LINK_LINGER_MS;
	turn_set_timer(link->turn, &link->linger, wait_ms * NS_PER_MS);
}

static void on_linger(struct timer *timer)
{
	struct link *link = CONTAINER_OF(timer, struct link, linger);
	if (link->mute && !link->finishing)
		link_ended(link, LINK_BROKEN);
	else
		link_close(link);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
	struct link *link = request->handle->data;
	// The peer already ended its side (nothing will be read any more), or the socket is gone.
	if (status < 0 || (link->ended && !link->reading))
		link_close(link);
}

static void announce_end(struct link *link)
{
	link->shut = true;
	link_linger(link);
	if (link->ended && !link->tls) {
		link_close(link);
		return;
	}
	link_set_reading(link, !link->ended || link->reading);
	if (uv_shutdown(&link->request.shutdown, &link->handle.stream, on_shutdown) < 0)
		link_close(link);
}

void link_say_goodbye(struct link *link)
{
	if (link->cut_short) {
		close_with(link, true);
		return;
	}
	if (link->tls && link->open)
		tls_close_notify(link->tls);
	if (link_write_out(link))
		announce_end(link);
}

void link_finish(struct link *link)
{
	if (link->finishing || link->closing)
		return;
	link->finishing = true;
	link_linger(link);
	link_mark_dirty(link);
}
