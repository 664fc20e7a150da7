// A worker of the real gateway on a loop of its own, without threads: clients arrive over socket
// pairs (fake_tls.h), backends listen on unix sockets, the clock stands still until the target
// moves it. house_turns runs the loop until nothing moves any more. Single thread.
#ifndef TESTS_FUZZ_HOUSE_H
#define TESTS_FUZZ_HOUSE_H

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/audit_lane.h"
#include "gateway/downstream.h"
#include "gateway/memory.h"
#include "gateway/upstream.h"
#include "tests/fuzz/fake_tls.h"
#include "tests/fuzz/peer.h"
#include "tests/tls/desk.h"

enum { CLIENTS_MAX = 4, BACKENDS_MAX = 32, WEB = 0, RPC = 1, BACKEND_KINDS = 2 };

struct client {
	int socket;
	struct caller caller;
	struct buffer got;
	bool hung_up;  // by the target, in any way
	bool ended;    // by the gateway
	uint32_t next_id;
};

struct backend {
	int socket, kind;
	struct buffer got;
	bool ended;
	struct side *helper;  // answers by itself; NULL: the target speaks
};

struct house {
	struct worker worker;
	struct client clients[CLIENTS_MAX];
	size_t client_count;
	struct backend backends[BACKENDS_MAX];
	size_t backend_count;
	bool helpful, moved;
	bool stricter;  // the stricter patterns were in force for a while
	int64_t now_ns;
};

// What outlives an input.
static struct {
	struct snapshot *snapshot, *stricter;
	struct bucket_store *store;
	char directory[64];
	int listening[BACKEND_KINDS];
	int64_t now_ns;
	bool disk_refuses;
	struct memory memory;
} street;

static struct audit_lane lane;
static struct audit_bell bell;

struct audit_lane *audit_lane_of(struct audit *audit, size_t index)
{
	(void)audit, (void)index;
	return &lane;
}

bool audit_failing(const struct audit *audit)
{
	(void)audit;
	return street.disk_refuses;
}

static inline int listen_at(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.60s/%s", street.directory, name);
	unlink(address.sun_path);
	CHECK(bind(descriptor, (const struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(descriptor, 128) == 0);
	return descriptor;
}

static inline void house_clock(struct house *house, int64_t after_ns)
{
	house->now_ns += after_ns;
	street.now_ns = house->now_ns;
	clock_fake(house->now_ns, NOW_S * NS_PER_S + house->now_ns);
}

// Backends' limits are wide, so that only what the gateway made wrong is refused.
static const struct codec_limits wide_limits = {
        .header_bytes = 256 * 1024, .header_fields = 400, .concurrent_streams = 1000};

// Both configurations listen at one socket, as after a reload; it is another in every house.
static inline void open_edge(void)
{
	const char *why;
	int door = listen_at("edge");
	struct snapshot *both[] = {street.snapshot, street.stricter};
	struct listening *edge = listening_open(
	        &street.snapshot->config->listeners[0].address, 1, &door, 1, false, &why);
	CHECK(edge);
	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		listening_unref(both[i]->listeners[0].listening);
		both[i]->listeners[0].listening = listening_ref(edge);
	}
	listening_unref(edge);
}

static inline void house_open(struct house *house, bool helpful)
{
	*house = (struct house){.helpful = helpful, .now_ns = street.now_ns};
	house_clock(house, (int64_t)200 * NS_PER_S);  // all buckets are full again
	audit_bell_init(&bell);
	audit_lane_init(&lane, &bell, street.snapshot->config);
	open_edge();
	worker_init(&house->worker, 0, 1, street.snapshot, NULL);
	house->worker.begun = true;
	pools_renew(&house->worker);
	worker_listeners_join(&house->worker);
	house->worker.memory = &street.memory;
	for (size_t i = 0; i < ARRAY_LEN(house->worker.random); i++)
		house->worker.random[i] = i + 1;
}

static inline void house_knock(struct house *house, const struct caller *caller)
{
	int pair[2];
	if (house->client_count == CLIENTS_MAX || house->worker.draining)
		return;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	struct client *client = &house->clients[house->client_count++];
	*client = (struct client){.socket = pair[0], .caller = *caller, .next_id = 1};
	next_caller = *caller;
	downstream_accept(
	        LIST_ITEM(house->worker.listeners.next, struct worker_listener, node), pair[1]);
}

// What does not fit is lost, as with a peer that gave up.
static inline void say_to(int socket, struct str bytes)
{
	while (bytes.len) {
		ssize_t count = send(socket, bytes.at, bytes.len, MSG_NOSIGNAL);
		if (count <= 0)
			return;
		bytes = str_skip(bytes, (size_t)count);
	}
}

static inline bool hear(int socket, struct buffer *got, bool *ended)
{
	bool moved = false;
	while (!*ended) {
		ssize_t count = recv(socket, buffer_room(got, 65536), 65536, 0);
		if (count < 0 && errno == EAGAIN)
			return moved;
		moved = true;
		*ended = count <= 0;
		buffer_added(got, count > 0 ? (size_t)count : 0);
	}
	return moved;
}

static inline void help(struct backend *backend, size_t before)
{
	struct side *side = backend->helper;
	side_feed(side, str_skip(buffer_str(&backend->got), before));
	side_settle(side);
	say_to(backend->socket, buffer_str(&side->out));
	buffer_clear(&side->out);
	if (backend->ended || side->codec->finished)
		shutdown(backend->socket, SHUT_WR);
}

static inline void backend_attend(struct house *house, struct backend *backend)
{
	size_t before = buffer_len(&backend->got);
	if (backend->socket < 0 || !hear(backend->socket, &backend->got, &backend->ended))
		return;
	house->moved = true;
	if (backend->helper)
		help(backend, before);
}

static inline void take_in(struct house *house, int kind)
{
	int descriptor = accept4(street.listening[kind], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (descriptor < 0)
		return;
	house->moved = true;
	if (house->backend_count == BACKENDS_MAX) {
		close(descriptor);
		return;
	}
	struct backend *backend = &house->backends[house->backend_count++];
	*backend = (struct backend){.socket = descriptor, .kind = kind};
	if (!house->helpful)
		return;
	backend->helper = must_alloc(sizeof(*backend->helper));
	side_open(backend->helper, SERVER | (kind == RPC ? H2 : H1), HABIT_ANSWER, &wide_limits);
}

static inline void house_turns(struct house *house)
{
	for (int quiet = 0; quiet < 3; quiet++) {
		house->moved = false;
		uv_run(&house->worker.turn.loop, UV_RUN_NOWAIT);
		for (int kind = 0; kind < BACKEND_KINDS; kind++)
			take_in(house, kind);
		for (size_t i = 0; i < house->backend_count; i++)
			backend_attend(house, &house->backends[i]);
		for (size_t i = 0; i < house->client_count; i++) {
			struct client *client = &house->clients[i];
			if (client->socket >= 0)
				house->moved |= hear(client->socket, &client->got, &client->ended);
		}
		if (house->moved)
			quiet = -1;
	}
}

// Time passes in steps, for whoever waits may wait again.
static inline void house_wait(struct house *house, int64_t ns, int steps)
{
	struct turn *turn = &house->worker.turn;
	for (int i = 0; i < steps; i++) {
		house_clock(house, ns / steps);
		turn->now_ns = clock_monotonic_ns();
		wheel_turn(&turn->wheel, turn->now_ns);
		house_turns(house);
	}
}

// With bytes unread a unix socket is reset by this.
static inline void hang_up(int *socket)
{
	close(*socket);
	*socket = -1;
}

// The worker winds up; whatever lingers has had its time.
static inline void house_close(struct house *house)
{
	struct worker *worker = &house->worker;
	worker_stop(worker);
	for (int i = 0; !worker->finished; i++) {
		CHECK(i < 100);
		house_wait(house, (int64_t)5 * NS_PER_S, 1);
	}
	house_turns(house);
	while (uv_loop_alive(&worker->turn.loop))
		uv_run(&worker->turn.loop, UV_RUN_NOWAIT);
	worker_fini(worker);
	CHECK(street.snapshot->listeners[0].listening->served == 0);
	CHECK(street.snapshot->listeners[0].listening->told == 0);
}

static inline void house_forget(struct house *house)
{
	for (size_t i = 0; i < house->client_count; i++) {
		if (house->clients[i].socket >= 0)
			close(house->clients[i].socket);
		buffer_fini(&house->clients[i].got);
	}
	for (size_t i = 0; i < house->backend_count; i++) {
		struct backend *backend = &house->backends[i];
		if (backend->socket >= 0)
			close(backend->socket);
		buffer_fini(&backend->got);
		if (backend->helper)
			side_close(backend->helper);
		free(backend->helper);
	}
	audit_lane_fini(&lane);
	audit_bell_fini(&bell);
}

#endif
