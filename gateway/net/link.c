#include "gateway/net/link.h"

#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/net/socket.h"

static void flush(struct dirty *dirty);
static void stop_unwanted(struct dirty *pause);
static void on_linger(struct timer *timer);
static void close_with(struct link *link, bool reset);

void link_init(
        struct link *link, struct turn *turn, const struct link_events *events, bool unix_socket)
{
	link->turn = turn;
	link->traffic = &turn->accepted;
	link->events = events;
	link->dirty.flush = flush;
	link->pause.flush = stop_unwanted;
	timer_init(&link->linger, on_linger);
	int result = unix_socket ? uv_pipe_init(&turn->loop, &link->handle.pipe, 0)
	                         : uv_tcp_init(&turn->loop, &link->handle.tcp);
	CHECK(result == 0);
	link->handle.any.data = link;
}

static void end(struct link *link, enum link_end why)
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

void link_mark_dirty(struct link *link)
{
	if (!link->closing)
		turn_mark_dirty(link->turn, &link->dirty);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct link *link = handle->data;
	(void)suggested;
	// libuv asks again within the same turn; without room it lets the bytes lie.
	bool wanted = link->wants_reading && !link->sated;
	*buf = uv_buf_init(turn_room(link->turn), wanted ? TURN_READ_SIZE : 0);
}

static void receive_tls(struct link *link, struct str bytes)
{
	struct buffer *plain = &link->turn->plain;
	buffer_clear(plain);
	bool was_open = link->open;
	enum tls_status status = tls_feed(link->tls, bytes, plain);
	link->waits = !was_open && status == TLS_OPEN && tls_session_may_wait(link->tls);
	if (buffer_len(&link->wire) && !link->waits)
		link_mark_dirty(link);
	if (!was_open && (status == TLS_OPEN || status == TLS_ENDED)) {
		link->open = true;
		link->events->opened(link);
	}
	if (buffer_len(plain) && link->open && !link->closing && !link->finishing)
		link->events->data(link, buffer_str(plain));
	if (status == TLS_FAILED)
		end(link, LINK_TLS_FAILED);
	else if (status == TLS_ENDED)
		end(link, LINK_PEER_ENDED);
}

// A backend may answer, close and be written to all at once; its answer lies in the socket still.
static void hear_out(struct link *link)
{
	turn_set_timer(link->turn, &link->linger, (int64_t)LINK_FLUSH_MS * NS_PER_MS);
}

static void write_failed(struct link *link)
{
	buffer_clear(&link->plain);
	buffer_clear(&link->wire);
	if (!link->last_words || link->ended || link->finishing) {
		end(link, LINK_BROKEN);
		return;
	}
	link->mute = true;
	hear_out(link);
}

static void receive(struct link *link, struct str bytes)
{
	turn_count(&link->bytes_in, &link->traffic->in, bytes.len);
	if (link->shut)
		return;  // lingering: only the end matters
	if (link->mute)
		hear_out(link);
	if (link->tls)
		receive_tls(link, bytes);
	else if (!link->finishing)
		link->events->data(link, bytes);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
	struct link *link = stream->data;
	(void)buf;  // the turn's
	turn_wake(link->turn);
	if (count > 0) {
		receive(link, turn_has_read(link->turn, (size_t)count));
		if (count >= TURN_READ_MUCH) {
			link->sated = turn_had_much(link->turn);
			turn_mark_last(link->turn, &link->pause);
			turn_flush(link->turn);
		}
	} else if (count < 0 && count != UV_ENOBUFS) {
		link->wants_reading = false;
		stop_unwanted(&link->pause);
		if (link->finishing && (link->shut || count != UV_EOF))
			link_close(link);
		else
			end(link, count == UV_EOF && !link->mute &&
			                          socket_ended_orderly(&link->handle.any)
			                  ? LINK_PEER_ENDED
			                  : LINK_BROKEN);
	}
}

static void stop_unwanted(struct dirty *pause)
{
	struct link *link = CONTAINER_OF(pause, struct link, pause);
	link->sated = false;
	if (link->wants_reading || !link->reading || link->closing)
		return;
	link->reading = false;
	uv_read_stop(&link->handle.stream);
}

void link_set_reading(struct link *link, bool on)
{
	link->wants_reading = on;
	if (on == link->reading || link->closing)
		return;
	if (on) {
		link->reading = true;
		uv_read_start(&link->handle.stream, on_alloc, on_read);
	} else {
		turn_mark_last(link->turn, &link->pause);
	}
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
		end(link, LINK_CONNECT_FAILED);  // unless it was closed meanwhile
		return;
	}
	if (link->handle.any.type == UV_TCP)
		uv_tcp_nodelay(&link->handle.tcp, 1);
	link_start(link, NULL);
	link_mark_dirty(link);
}

int link_connect(struct link *link, const struct config_address *address)
{
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

static void linger(struct link *link)
{
	int64_t wait_ms = link_pending(link) ? LINK_FLUSH_MS : LINK_LINGER_MS;
	turn_set_timer(link->turn, &link->linger, wait_ms * NS_PER_MS);
}

static void on_written(uv_write_t *request, int status)
{
	struct link *link = request->handle->data;
	turn_wake(link->turn);
	link->writing = false;
	if (link->closing)
		return;
	turn_count(&link->bytes_out, &link->traffic->out, buffer_len(&link->flight));
	buffer_clear(&link->flight);
	if (status < 0) {
		if (link->finishing)
			link_close(link);
		else
			write_failed(link);
		return;
	}
	if (link->finishing)
		linger(link);
	link_mark_dirty(link);
}

// What could not be written at once goes to libuv, in a buffer that stays still meanwhile.
static void write_rest(struct link *link, struct buffer *from)
{
	struct buffer swap = link->flight;
	link->flight = *from;
	*from = swap;
	buffer_clear(from);
	uv_buf_t buf = uv_buf_init(buffer_data(&link->flight), (unsigned)buffer_len(&link->flight));
	link->writing = true;
	int result = uv_write(&link->write, &link->handle.stream, &buf, 1, on_written);
	if (result < 0) {
		link->writing = false;
		write_failed(link);
	}
}

// False when nothing more can be written now.
static bool write_out(struct link *link)
{
	struct buffer *from = link->tls ? &link->wire : &link->plain;
	link->waits = false;
	if (link->tls && link->open && buffer_len(&link->plain)) {
		bool failed = !tls_write(link->tls, buffer_str(&link->plain));
		buffer_clear(&link->plain);
		if (failed && !link->ended) {  // else known already: the alert still has to leave
			end(link, LINK_TLS_FAILED);
			return false;
		}
	}
	if (buffer_len(from) == 0)
		return true;
	uv_buf_t buf = uv_buf_init(buffer_data(from), (unsigned)buffer_len(from));
	int count = uv_try_write(&link->handle.stream, &buf, 1);
	if (count < 0 && count != UV_EAGAIN) {
		write_failed(link);
		return false;
	}
	if (count > 0) {
		turn_count(&link->bytes_out, &link->traffic->out, (size_t)count);
		buffer_take(from, (size_t)count);
	}
	if (buffer_len(from) == 0)
		return true;
	write_rest(link, from);
	return false;
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
	linger(link);
	if (link->ended && !link->tls) {
		link_close(link);
		return;
	}
	link_set_reading(link, !link->ended || link->reading);
	if (uv_shutdown(&link->request.shutdown, &link->handle.stream, on_shutdown) < 0)
		link_close(link);
}

static void release_buffers(struct link *link)
{
	if (!buffer_len(&link->plain))
		buffer_fini(&link->plain);
	if (!buffer_len(&link->wire))
		buffer_fini(&link->wire);
	buffer_fini(&link->flight);
}

// Pulls and writes while there is something and the kernel takes it; true when all is written.
static bool advance(struct link *link)
{
	if (link->writing || link->mute || (!link->open && !link->tls))
		return false;
	for (;;) {
		if (link->open && !link->finishing)
			link->events->pull(link);
		if (link->closing)
			return false;
		if (!link_pending(link))
			break;
		if (!write_out(link) || link->closing)
			return false;
	}
	list_remove(&link->dirty.node);  // a pull's mark: it was looked at already
	release_buffers(link);
	return true;
}

static void flush(struct dirty *dirty)
{
	struct link *link = CONTAINER_OF(dirty, struct link, dirty);
	if (link->closing || link->shut)
		return;
	bool written = advance(link);
	if (!link->closing && !link->finishing)
		link->events->settled(link);
	if (!written || !link->finishing || link->closing || link->shut)
		return;
	if (link->cut_short) {
		close_with(link, true);
		return;
	}
	if (link->tls && link->open)
		tls_close_notify(link->tls);
	if (write_out(link))
		announce_end(link);
}

void link_finish(struct link *link)
{
	if (link->finishing || link->closing)
		return;
	link->finishing = true;
	linger(link);
	link_mark_dirty(link);
}

static void on_linger(struct timer *timer)
{
	struct link *link = CONTAINER_OF(timer, struct link, linger);
	if (link->mute && !link->finishing)
		end(link, LINK_BROKEN);
	else
		link_close(link);
}

static void on_closed(uv_handle_t *handle)
{
	struct link *link = handle->data;
	struct tls_session *tls = link->tls;  // the last records still tell of the peer by it
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
	if (!reset || link->handle.any.type != UV_TCP ||
	        uv_tcp_close_reset(&link->handle.tcp, on_closed) < 0)
		uv_close(&link->handle.any, on_closed);
}

void link_close(struct link *link)
{
	close_with(link, link->cut_short);
}

bool link_pending(const struct link *link)
{
	bool wire = buffer_len(&link->wire) && !link->waits;
	return wire || link->writing || buffer_len(&link->plain);
}
