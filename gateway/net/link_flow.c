#include "base/clock.h"
#include "gateway/net/link_inside.h"
#include "gateway/net/socket.h"

void link_mark_dirty(struct link *link)
{
	if (!link->closing)
		turn_mark_dirty(link->turn, &link->dirty);
}

// Whoever brought much, or is one of many who shake hands, gives way to the others of this turn.
static bool has_its_turn(const struct link *link)
{
	const struct turn *turn = link->turn;
	bool free = turn->handshakes < TURN_HANDSHAKES && list_empty(&turn->queue);
	return !link->sated && (link->open || !link->tls || link->called || free);
}

// Left to epoll they would be told of over and over in one turn, and who is served be chance: some
// waited for longer than a handshake may take.
static void wait_for_step(struct link *link)
{
	if (link->open || !link->tls || link->sated || !link->wants_reading || link->closing)
		return;
	link->reading = false;
	uv_read_stop(&link->handle.stream);
	turn_queue(link->turn, &link->step);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct link *link = handle->data;
	(void)suggested;
	// libuv asks again within the same turn; without room it lets the bytes lie.
	bool wanted = link->wants_reading && has_its_turn(link);
	*buf = uv_buf_init(turn_room(link->turn), wanted ? TURN_READ_SIZE : 0);
}

static void receive_tls(struct link *link, struct str bytes)
{
	struct buffer *plain = &link->turn->plain;
	buffer_clear(plain);
	bool was_open = link->open;
	size_t before = buffer_len(&link->wire);
	enum tls_status status = tls_feed(link->tls, bytes, plain);
	// A step, not a piece of one: those cost nothing.
	link->turn->handshakes += !was_open && !link->called &&
	                          (buffer_len(&link->wire) || status != TLS_HANDSHAKING);
	link->called = false;
	if (buffer_len(&link->wire) > before)
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
		link_ended(link, LINK_TLS_FAILED);
	else if (status == TLS_ENDED)
		link_ended(link, LINK_PEER_ENDED);
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
		link_ended(link, LINK_BROKEN);
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
	if (link->prefaced)
		bytes = link->events->preface(link, bytes);
	if (link->closing || !bytes.len)
		return;
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
		if (count >= TURN_READ_MUCH && !link->closing) {
			link->sated = ++link->turn->large >= TURN_LARGE_READS;
			turn_mark_last(link->turn, &link->pause);
			turn_flush(link->turn);
		}
	} else if (count == UV_ENOBUFS) {
		wait_for_step(link);
	} else if (count < 0) {
		link->wants_reading = false;
		link_stop_unwanted(&link->pause);
		if (link->finishing && (link->shut || count != UV_EOF))
			link_close(link);
		else
			link_ended(link, count == UV_EOF && !link->mute &&
			                                 socket_ended_orderly(&link->handle.any)
			                         ? LINK_PEER_ENDED
			                         : LINK_BROKEN);
	}
}

void link_stop_unwanted(struct dirty *pause)
{
	struct link *link = CONTAINER_OF(pause, struct link, pause);
	link->sated = false;
	if (link->wants_reading || !link->reading || link->closing)
		return;
	link->reading = false;
	uv_read_stop(&link->handle.stream);
}

void link_step(struct dirty *step)
{
	struct link *link = CONTAINER_OF(step, struct link, step);
	if (!link->wants_reading)
		return;
	link->called = true;
	link->turn->handshakes++;
	link_set_reading(link, true);
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
		link_linger(link);
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

bool link_write_out(struct link *link)
{
	struct buffer *from = link->tls ? &link->wire : &link->plain;
	link->waits = false;
	if (link->tls && link->open && buffer_len(&link->plain)) {
		bool failed = !tls_write(link->tls, buffer_str(&link->plain));
		buffer_clear(&link->plain);
		if (failed && !link->ended) {  // else known already: the alert still has to leave
			link_ended(link, LINK_TLS_FAILED);
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
		if (!link_write_out(link) || link->closing)
			return false;
	}
	list_remove(&link->dirty.node);  // a pull's mark: it was looked at already
	release_buffers(link);
	return true;
}

void link_flush(struct dirty *dirty)
{
	struct link *link = CONTAINER_OF(dirty, struct link, dirty);
	if (link->closing || link->shut)
		return;
	bool written = advance(link);
	if (!link->closing && !link->finishing)
		link->events->settled(link);
	if (written && link->finishing && !link->closing && !link->shut)
		link_say_goodbye(link);
}

bool link_pending(const struct link *link)
{
	bool wire = buffer_len(&link->wire) && !link->waits;
	// What is there before a handshake is over waits for that, not for the kernel.
	bool plain = buffer_len(&link->plain) && (link->open || !link->tls);
	return wire || link->writing || plain;
}
