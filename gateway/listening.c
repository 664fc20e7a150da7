#include "gateway/listening.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "conf/address.h"
#include "gateway/net/listen.h"

static int duplicate(int socket)
{
	return fcntl(socket, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

static void close_all(struct listening *listening)
{
	for (size_t i = 0; i < listening->socket_count; i++) {
		int duplicate = atomic_exchange(&listening->duplicates[i], -1);
		if (duplicate >= 0)
			close(duplicate);
		if (listening->sockets[i] >= 0)
			close(listening->sockets[i]);
		listening->sockets[i] = -1;
	}
}

// Where fewer came than there are workers, some share.
static bool fill_up(struct listening *listening, const int inherited[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		listening->sockets[i] = inherited[i];
	for (size_t i = count; i < listening->socket_count; i++) {
		listening->sockets[i] = duplicate(inherited[i % count]);
		if (listening->sockets[i] < 0)
			return false;
	}
	return true;
}

static bool give_duplicates(struct listening *listening)
{
	for (size_t i = 0; i < listening->socket_count; i++) {
		listening->duplicates[i] = duplicate(listening->sockets[i]);
		if (listening->duplicates[i] < 0)
			return false;
	}
	return true;
}

static struct listening *new (const struct config_address *address, size_t socket_count)
{
	struct listening *listening = must_alloc(sizeof(*listening));
	listening->references = 1;
	listening->address = *address;
	listening->address.text = str_of(
	        must_copy(address->text.at, address->text.len), address->text.len);
	listening->socket_count = socket_count;
	listening->sockets = must_alloc(socket_count * sizeof(int));
	listening->duplicates = must_alloc(socket_count * sizeof(*listening->duplicates));
	for (size_t i = 0; i < socket_count; i++) {
		listening->sockets[i] = -1;
		atomic_init(&listening->duplicates[i], -1);
	}
	return listening;
}

struct listening *listening_open(const struct config_address *address, size_t workers,
        const int inherited[], size_t inherited_count, bool beside, const char **why)
{
	size_t count = inherited_count > workers ? inherited_count : workers;
	struct listening *listening = new (address, count);
	bool good = inherited_count ? fill_up(listening, inherited, inherited_count)
	                            : listen_open(address, count, beside, listening->sockets, why);
	if (good && give_duplicates(listening))
		return listening;
	if (good || inherited_count)
		*why = strerror(errno);
	listening_unref(listening);
	return NULL;
}

struct listening *listening_ref(struct listening *listening)
{
	atomic_fetch_add_explicit(&listening->references, 1, memory_order_relaxed);
	return listening;
}

void listening_unref(struct listening *listening)
{
	if (!listening ||
	        atomic_fetch_sub_explicit(&listening->references, 1, memory_order_acq_rel) != 1)
		return;
	close_all(listening);
	free(listening->sockets);
	free((void *)listening->duplicates);
	free((char *)listening->address.text.at);
	free(listening);
}

void listening_shut(struct listening *listening)
{
	close_all(listening);
}

bool listening_is_at(const struct listening *listening, const struct config_address *address)
{
	return address_equal(&listening->address, address);
}

bool listening_enter(atomic_size_t *count, size_t most, atomic_size_t **counted)
{
	size_t present = atomic_load_explicit(count, memory_order_relaxed);
	while (present < most)
		if (atomic_compare_exchange_weak_explicit(count, &present, present + 1,
		            memory_order_relaxed, memory_order_relaxed)) {
			*counted = count;
			return true;
		}
	return false;
}

void listening_leave(atomic_size_t **counted)
{
	if (*counted)
		atomic_fetch_sub_explicit(*counted, 1, memory_order_relaxed);
	*counted = NULL;
}

size_t listening_share(const struct listening *listening, size_t index, size_t workers)
{
	return (listening->socket_count - index + workers - 1) / workers;
}

int listening_take(struct listening *listening, size_t index, size_t workers, size_t number)
{
	return atomic_exchange(&listening->duplicates[index + number * workers], -1);
}
