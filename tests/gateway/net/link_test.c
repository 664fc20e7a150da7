// A reader that is off takes no bytes, whoever turns it on again and when; none are lost meanwhile.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "gateway/net/link.h"

struct reader {
	struct turn turn;
	struct link link;
	int peer;
	size_t got;
	unsigned reads;
	bool on_again;  // at the end of the turn, as one whose bytes were taken
	bool closed, ended;
};

static struct reader *reader_of(struct link *link)
{
	return CONTAINER_OF(link, struct reader, link);
}

static void on_opened(struct link *link)
{
	(void)link;
}

static void on_data(struct link *link, struct str plain)
{
	struct reader *reader = reader_of(link);
	for (size_t i = 0; i < plain.len; i++)
		assert_int_equal((unsigned char)plain.at[i], (reader->got + i) % 251);
	reader->got += plain.len;
	reader->reads++;
	link_set_reading(link, false);
	link_mark_dirty(link);
}

static void on_ended(struct link *link, enum link_end why)
{
	assert_int_equal(why, LINK_PEER_ENDED);
	reader_of(link)->ended = true;
}

static void on_pull(struct link *link)
{
	(void)link;
}

static void on_settled(struct link *link)
{
	if (!reader_of(link)->on_again)
		return;
	assert_true(uv_is_active(&link->handle.any));  // off, and not told so yet
	link_set_reading(link, true);
}

static void on_closed(struct link *link)
{
	reader_of(link)->closed = true;
}

static const struct link_events events = {
        .opened = on_opened,
        .data = on_data,
        .ended = on_ended,
        .pull = on_pull,
        .settled = on_settled,
        .closed = on_closed,
};

static void open_reader(struct reader *reader)
{
	int pair[2];
	*reader = (struct reader){0};
	turn_init(&reader->turn);
	int kind = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	assert_int_equal(socketpair(AF_UNIX, kind, 0, pair), 0);
	reader->peer = pair[1];
	link_init(&reader->link, &reader->turn, &events, true);
	assert_int_equal(link_accept(&reader->link, pair[0]), 0);
	link_start(&reader->link, NULL);
}

static void close_reader(struct reader *reader)
{
	link_close(&reader->link);
	turn_close(&reader->turn);
	turn_run(&reader->turn);
	assert_true(reader->closed);
	turn_fini(&reader->turn);
	close(reader->peer);
}

// As much as the kernel takes; more than one read brings.
static size_t fill(int peer)
{
	char bytes[251 * 16];
	size_t sent = 0;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i % 251);
	for (ssize_t count = sizeof(bytes); count == sizeof(bytes);) {
		count = send(peer, bytes, sizeof(bytes), 0);
		sent += count > 0 ? (size_t)count : 0;
	}
	assert_true(sent > TURN_READ_SIZE);
	return sent;
}

static void turns(struct reader *reader, int count)
{
	while (count--)
		uv_run(&reader->turn.loop, UV_RUN_NOWAIT);
}

static void one_that_is_off_takes_nothing_more(void **state)
{
	(void)state;
	struct reader reader;
	open_reader(&reader);
	size_t sent = fill(reader.peer);
	turns(&reader, 5);
	assert_int_equal(reader.reads, 1);
	assert_true(reader.got <= TURN_READ_SIZE);
	for (unsigned reads = 2; reader.got < sent; reads++) {
		link_set_reading(&reader.link, true);
		turns(&reader, 5);
		assert_int_equal(reader.reads, reads);
	}
	assert_false(uv_is_active(&reader.link.handle.any));
	close_reader(&reader);
}

static void one_that_is_on_again_never_left(void **state)
{
	(void)state;
	struct reader reader;
	open_reader(&reader);
	reader.on_again = true;
	size_t sent = fill(reader.peer);
	for (int i = 0; i < 100 && reader.got < sent; i++) {
		unsigned before = reader.reads;
		turns(&reader, 1);
		assert_true(reader.reads <= before + TURN_LARGE_READS);
		assert_true(uv_is_active(&reader.link.handle.any));
	}
	assert_int_equal(reader.got, sent);
	close_reader(&reader);
}

static void the_end_waits_until_what_came_before_is_taken(void **state)
{
	(void)state;
	struct reader reader;
	open_reader(&reader);
	assert_int_equal(send(reader.peer, "\0\1\2", 3, 0), 3);
	assert_int_equal(shutdown(reader.peer, SHUT_WR), 0);
	turns(&reader, 5);
	assert_int_equal(reader.got, 3);
	assert_false(reader.ended);
	link_set_reading(&reader.link, true);
	turns(&reader, 5);
	assert_true(reader.ended);
	close_reader(&reader);
}

static void one_that_is_closed_meanwhile_is_gone(void **state)
{
	(void)state;
	struct reader reader;
	open_reader(&reader);
	fill(reader.peer);
	link_set_reading(&reader.link, false);
	close_reader(&reader);
	assert_int_equal(reader.reads, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(one_that_is_off_takes_nothing_more),
	        cmocka_unit_test(one_that_is_on_again_never_left),
	        cmocka_unit_test(the_end_waits_until_what_came_before_is_taken),
	        cmocka_unit_test(one_that_is_closed_meanwhile_is_gone),
	};
	return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
