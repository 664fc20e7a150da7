#include "gateway/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/launcher.h"

static bool is_open(int descriptor)
{
	return fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0;
}

void handover_receive(struct handover *handover)
{
	const char *text = getenv(LAUNCHER_PRIVATE);
	int channel, state, end = 0;
	*handover = (struct handover){.channel = -1, .state = -1};
	if (text && sscanf(text, "%d,%d%n", &channel, &state, &end) == 2 && !text[end] &&
	        channel > STDERR_FILENO && state > STDERR_FILENO && is_open(channel) &&
	        is_open(state)) {
		handover->channel = channel;
		handover->state = state;
	}
	unsetenv(LAUNCHER_PRIVATE);
}

bool handover_expected(const struct handover *handover)
{
	return handover->channel >= 0;
}

static bool read_state(int state, struct buffer *text)
{
	struct stat file;
	if (fstat(state, &file) < 0)
		return false;
	size_t size = (size_t)file.st_size;
	char *room = buffer_room(text, size + 1);
	for (size_t have = 0; have < size;) {
		ssize_t got = pread(state, room + have, size - have, (off_t)have);
		if (got == 0 || (got < 0 && errno != EINTR))
			return false;
		have += got > 0 ? (size_t)got : 0;
	}
	buffer_added(text, size);
	return true;
}

bool handover_write(int state, struct bucket_store *store)
{
	struct buffer text = {0};
	size_t done = 0;
	bucket_store_export(store, clock_monotonic_ns(), &text);
	bool good = ftruncate(state, 0) == 0;
	while (good && done < buffer_len(&text)) {
		ssize_t wrote = pwrite(
		        state, buffer_data(&text) + done, buffer_len(&text) - done, (off_t)done);
		good = wrote > 0 || (wrote < 0 && errno == EINTR);
		done += wrote > 0 ? (size_t)wrote : 0;
	}
	buffer_fini(&text);
	return good;
}

struct bucket_store *handover_store(const struct handover *handover)
{
	struct buffer text = {0};
	struct bucket_store *store = NULL;
	if (handover_expected(handover) && read_state(handover->state, &text))
		store = bucket_store_new_after(buffer_str(&text));
	buffer_fini(&text);
	return store ? store : bucket_store_new();
}

// The file stays, for the sake of its lock, but not what stood in it.
static void take_buckets(const struct handover *handover, struct bucket_store *store)
{
	struct buffer text = {0};
	if (!read_state(handover->state, &text) ||
	        !bucket_store_import(store, buffer_str(&text), clock_monotonic_ns()))
		log_event(LOG_ERROR, "the predecessor's buckets cannot be read, some begin full",
		        "%s", "");
	buffer_fini(&text);
	(void)!ftruncate(handover->state, 0);
}

static bool hear_go(int channel)
{
	struct pollfd wait = {.fd = channel, .events = POLLIN};
	char word = 0;
	int count;
	do
		count = poll(&wait, 1, HANDOVER_GO_S * MS_PER_S);
	while (count < 0 && errno == EINTR);
	// Too late: then it must not be said any more, unless it just was.
	if (count <= 0)
		shutdown(channel, SHUT_RDWR);
	return read(channel, &word, 1) == 1 && word == HANDOVER_GO;
}

static bool say_ready(int channel, size_t nameless)
{
	const unsigned char words[] = {nameless ? HANDOVER_NAMELESS : HANDOVER_READY,
	        (unsigned char)(nameless < UCHAR_MAX ? nameless : UCHAR_MAX)};
	ssize_t len = nameless ? 2 : 1;
	return write(channel, words, (size_t)len) == len;
}

bool handover_take(struct handover *handover, struct bucket_store *store, size_t nameless)
{
	if (!say_ready(handover->channel, nameless) || !hear_go(handover->channel)) {
		log_event(LOG_ERROR, "the predecessor does not hand over, leaving", "%s", "");
		return false;
	}
	take_buckets(handover, store);
	return true;
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct handover *handover = handle->data;
	close(handover->channel);
	handover->channel = -1;
}

void handover_close(struct handover *handover)
{
	if (handover->watching)
		uv_close((uv_handle_t *)&handover->poll, on_poll_closed);
	handover->watching = false;
}

// It says nothing any more: what can be read is its end.
static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct handover *handover = poll->data;
	(void)status, (void)events;
	handover_close(handover);
	handover->gone(handover->owner);
}

void handover_watch(
        struct handover *handover, struct turn *turn, void (*gone)(void *owner), void *owner)
{
	handover->gone = gone;
	handover->owner = owner;
	handover->watching = true;
	CHECK(uv_poll_init(&turn->loop, &handover->poll, handover->channel) == 0);
	handover->poll.data = handover;
	CHECK(uv_poll_start(&handover->poll, UV_READABLE | UV_DISCONNECT, on_readable) == 0);
}
