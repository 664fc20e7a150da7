// Many that shake hands at once, or bring much, take their turns: nobody else waits for all of
// them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/net/link.h"
#include "tests/tls/gate.h"

enum { MANY = 3 * TURN_HANDSHAKES + 1 };

struct peer {
	struct link link;
	int socket;
	bool closed;
};

static void on_link(struct link *link)
{
	(void)link;
}

static void on_data(struct link *link, struct str plain)
{
	(void)link, (void)plain;
}

static void on_ended(struct link *link, enum link_end why)
{
	(void)link, (void)why;
}

static void on_closed(struct link *link)
{
	CONTAINER_OF(link, struct peer, link)->closed = true;
}

static const struct link_events events = {
        .opened = on_link,
        .data = on_data,
        .ended = on_ended,
        .pull = on_link,
        .settled = on_link,
        .closed = on_closed,
};

static void meet(struct peer *peer, struct turn *turn, struct tls_context *context)
{
	int pair[2];
	int kind = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	assert_int_equal(socketpair(AF_UNIX, kind, 0, pair), 0);
	peer->socket = pair[1];
	link_init(&peer->link, turn, &events, true);
	assert_int_equal(link_accept(&peer->link, pair[0]), 0);
	link_start(&peer->link,
	        context ? tls_session_new(context, &peer->link.wire, NULL, NULL) : NULL);
}

static void part(struct peer *peers, size_t count, struct turn *turn)
{
	for (size_t i = 0; i < count; i++) {
		link_close(&peers[i].link);
		close(peers[i].socket);
	}
	turn_close(turn);
	turn_run(turn);
	for (size_t i = 0; i < count; i++)
		assert_true(peers[i].closed);
	turn_fini(turn);
}

static size_t heard(const struct peer *peers, size_t count)
{
	size_t found = 0;
	for (size_t i = 0; i < count; i++)
		found += peers[i].link.bytes_in > 0;
	return found;
}

// Who shakes hands says hello, and one who does not says something. No time passes by itself.
static void meet_many(struct gate *gate, struct peer peers[MANY + 1], struct turn *turn)
{
	struct duel duel;
	char *hello;
	clock_fake(NS_PER_S, NS_PER_S);
	gate_meet(gate, &duel, (struct duel_client){0});
	duel_client_turn(&duel);
	long size = BIO_get_mem_data(SSL_get_wbio(duel.client), &hello);
	assert_true(size > 0);
	turn_init(turn);
	for (size_t i = 0; i <= MANY; i++) {
		meet(&peers[i], turn, i < MANY ? gate->context : NULL);
		assert_int_equal(send(peers[i].socket, hello, (size_t)size, 0), size);
	}
	duel_fini(&duel);
}

static void handshakes_leave_room_for_the_others(void **state)
{
	static struct peer peers[MANY + 1];
	struct turn turn;
	meet_many(*state, peers, &turn);
	for (size_t turns = 1; turns <= MANY / TURN_HANDSHAKES + 1; turns++) {
		size_t most = turns * TURN_HANDSHAKES;
		uv_run(&turn.loop, UV_RUN_NOWAIT);
		assert_int_equal(heard(peers, MANY), most < MANY ? most : MANY);
		assert_int_equal(heard(&peers[MANY], 1), 1);  // who shakes no hands is served
	}
	part(peers, MANY + 1, &turn);
	clock_real();
}

static void on_data_take_long(struct link *link, struct str plain)
{
	int64_t now_ns = clock_monotonic_ns() + MANY * 2 * TURN_HANDSHAKE_US * (int64_t)NS_PER_US;
	(void)link, (void)plain;
	clock_fake(now_ns, now_ns);
}

// Else thousands who are served, all in each turn, keep those who come from ever coming in.
static void half_of_a_long_turn_is_for_handshakes(void **state)
{
	static struct peer peers[MANY + 1];
	struct link_events slow = events;
	struct turn turn;
	slow.data = on_data_take_long;
	meet_many(*state, peers, &turn);
	peers[MANY].link.events = &slow;
	uv_run(&turn.loop, UV_RUN_NOWAIT);
	assert_int_equal(heard(peers, MANY), TURN_HANDSHAKES);
	uv_run(&turn.loop, UV_RUN_NOWAIT);
	assert_int_equal(heard(peers, MANY), MANY);
	part(peers, MANY + 1, &turn);
	clock_real();
}

// What one brings in one turn while others bring much too.
static void much_is_read_in_turns(void **state)
{
	(void)state;
	static struct peer peers[TURN_LARGE_READS + 2];
	static char much[TURN_READ_SIZE];
	struct turn turn;
	turn_init(&turn);
	for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
		meet(&peers[i], &turn, NULL);
		while (send(peers[i].socket, much, sizeof(much), 0) == sizeof(much))
			;
	}
	uv_run(&turn.loop, UV_RUN_NOWAIT);
	size_t reads = 0;
	for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
		assert_true(peers[i].link.bytes_in > 0);  // nobody is left out
		reads += (peers[i].link.bytes_in + TURN_READ_SIZE - 1) / TURN_READ_SIZE;
	}
	assert_true(reads <= TURN_LARGE_READS + ARRAY_LEN(peers));
	part(peers, ARRAY_LEN(peers), &turn);
}

static void on_data_close(struct link *link, struct str plain)
{
	(void)plain;
	link_close(link);
}

static void who_is_closed_over_it_is_on_no_list(void **state)
{
	(void)state;
	static struct peer peer;
	static char much[TURN_READ_SIZE];
	struct link_events closing = events;
	closing.data = on_data_close;
	struct turn turn;
	turn_init(&turn);
	meet(&peer, &turn, NULL);
	peer.link.events = &closing;
	assert_int_equal(send(peer.socket, much, sizeof(much), 0), sizeof(much));
	uv_run(&turn.loop, UV_RUN_NOWAIT);
	assert_true(peer.link.closing);
	assert_false(list_linked(&peer.link.pause.node));
	assert_false(list_linked(&peer.link.dirty.node));
	part(&peer, 1, &turn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(handshakes_leave_room_for_the_others),
	        cmocka_unit_test(half_of_a_long_turn_is_for_handshakes),
	        cmocka_unit_test(much_is_read_in_turns),
	        cmocka_unit_test(who_is_closed_over_it_is_on_no_list),
	};
	return cmocka_run_group_tests_name("link, fair", tests, gate_open, gate_close);
}
