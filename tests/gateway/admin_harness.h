// An admin listener in this process: its loop on a thread of its own, a make-believe gateway behind
// it, and plain sockets to talk to it. Every wait has a deadline. For the admin tests alone.
#ifndef TESTS_GATEWAY_ADMIN_HARNESS_H
#define TESTS_GATEWAY_ADMIN_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/admin.h"
#include "gateway/admin_connection.h"

enum { WAIT_MS = 10000 };

struct harness {
	struct turn turn;
	uv_async_t stop;
	pthread_t thread;
	struct admin *admin;
	struct config_address address;
	struct sockaddr_in listening;
	char directory[64];
	// The make-believe gateway.
	atomic_bool ready, reload_taken, closes_on_drain;
	atomic_int reloads, drains;
	size_t metrics_size;
};

static bool fake_ready(void *gateway)
{
	return ((struct harness *)gateway)->ready;
}

static void fake_metrics(void *gateway, struct buffer *out)
{
	struct harness *harness = gateway;
	buffer_append_str(out, STR("# HELP tollgate_requests_total Requests.\n"
	                           "tollgate_requests_total{code=\"200\"} 40\n"
	                           "tollgate_requests_total{code=\"404\"} 2\n"
	                           "tollgate_requests_totally_else 7\n"
	                           "tollgate_config_last_reload_success 1\n"));
	for (size_t i = 0; buffer_len(out) < harness->metrics_size; i++)
		buffer_printf(out, "# %zu %01000d\n", i, 0);
}

static void fake_config(void *gateway, struct buffer *out)
{
	(void)gateway;
	buffer_append_str(out, STR("version: tollgate/v1\n"));
}

static void fake_certificates(void *gateway, struct buffer *out)
{
	(void)gateway;
	buffer_append_str(out, STR("{\"edge\":[]}\n"));
}

static void fake_limits(void *gateway, struct buffer *out)
{
	(void)gateway;
	buffer_append_str(out, STR("[]\n"));
}

static void fake_status(void *gateway, struct buffer *out)
{
	(void)gateway;
	buffer_append_str(out, STR("{\"state\":\"serving\"}\n"));
}

static void fake_audit(void *gateway, size_t most, struct buffer *out)
{
	(void)gateway;
	buffer_printf(out, "[%zu]\n", most);
}

static bool fake_reload(void *gateway, struct buffer *out)
{
	struct harness *harness = gateway;
	harness->reloads++;
	if (!harness->reload_taken)
		buffer_append_str(out, STR("gate.yaml:3:1: adress: unknown key\n"));
	return harness->reload_taken;
}

static void fake_drain(void *gateway)
{
	struct harness *harness = gateway;
	harness->drains++;
	if (!harness->closes_on_drain)
		return;
	admin_close(harness->admin);
	harness->admin = NULL;
}

static const struct admin_hooks fake_hooks = {
        .ready = fake_ready,
        .metrics = fake_metrics,
        .config = fake_config,
        .certificates = fake_certificates,
        .limits = fake_limits,
        .status = fake_status,
        .audit = fake_audit,
        .reload = fake_reload,
        .drain = fake_drain,
};

static void on_stop(uv_async_t *async)
{
	struct harness *harness = async->data;
	if (harness->admin)
		admin_close(harness->admin);
	harness->admin = NULL;
	uv_close((uv_handle_t *)async, NULL);
	turn_close(&harness->turn);
}

static void *run_turn(void *argument)
{
	struct harness *harness = argument;
	turn_run(&harness->turn);
	return NULL;
}

static inline void use_loopback(struct harness *harness)
{
	struct sockaddr_in *four = (struct sockaddr_in *)&harness->address.socket;
	four->sin_family = AF_INET;
	four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	harness->address.kind = ADDRESS_INET;
	harness->address.socket_len = sizeof(*four);
	harness->address.text = STR("127.0.0.1:0");
}

static inline void use_unix_socket(struct harness *harness)
{
	struct sockaddr_un *path = (struct sockaddr_un *)&harness->address.socket;
	snprintf(harness->directory, sizeof(harness->directory), "/tmp/tollgate-admin-XXXXXX");
	assert_non_null(mkdtemp(harness->directory));
	path->sun_family = AF_UNIX;
	snprintf(path->sun_path, sizeof(path->sun_path), "%s/admin.sock", harness->directory);
	harness->address.kind = ADDRESS_UNIX;
	harness->address.socket_len = sizeof(*path);
	harness->address.text = STR("unix:admin.sock");
}

static inline const char *socket_path(const struct harness *harness)
{
	return ((const struct sockaddr_un *)&harness->address.socket)->sun_path;
}

// The listener is open, its loop does not turn yet.
static inline struct harness *harness_open(void (*use_address)(struct harness *harness))
{
	struct harness *harness = must_alloc(sizeof(*harness));
	struct config_problems problems = {0};
	use_address(harness);
	harness->ready = harness->reload_taken = true;
	turn_init(&harness->turn);
	assert_int_equal(uv_async_init(&harness->turn.loop, &harness->stop, on_stop), 0);
	harness->stop.data = harness;
	harness->admin = admin_open(
	        &harness->turn, &harness->address, -1, &fake_hooks, harness, &problems);
	assert_non_null(harness->admin);
	config_problems_fini(&problems);
	socklen_t len = sizeof(harness->listening);
	if (harness->address.kind == ADDRESS_INET)
		assert_int_equal(getsockname(harness->admin->door.socket,
		                         (struct sockaddr *)&harness->listening, &len),
		        0);
	return harness;
}

static inline void harness_run(struct harness *harness)
{
	assert_int_equal(pthread_create(&harness->thread, NULL, run_turn, harness), 0);
}

static inline struct harness *harness_start(void)
{
	struct harness *harness = harness_open(use_loopback);
	harness_run(harness);
	return harness;
}

// turn_fini checks that no handle was left open.
static inline void harness_stop(struct harness *harness)
{
	uv_async_send(&harness->stop);
	pthread_join(harness->thread, NULL);
	turn_fini(&harness->turn);
	if (harness->directory[0])
		assert_int_equal(rmdir(harness->directory), 0);
	free(harness);
}

// --- the client

static inline int dial(const struct harness *harness)
{
	bool inet = harness->address.kind == ADDRESS_INET;
	int fd = socket(inet ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	const void *address = inet ? (const void *)&harness->listening : &harness->address.socket;
	socklen_t len = inet ? sizeof(harness->listening) : harness->address.socket_len;
	assert_int_equal(connect(fd, address, len), 0);
	if (inet)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	return fd;
}

static inline void say(int fd, struct str text)
{
	while (text.len) {
		ssize_t count = send(fd, text.at, text.len, MSG_NOSIGNAL);
		assert_true(count > 0);
		text = str_skip(text, (size_t)count);
	}
}

// Appends what comes next; false at the end, however it came.
static inline bool hear(int fd, struct buffer *heard)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	assert_int_equal(poll(&wait, 1, WAIT_MS), 1);
	ssize_t count = recv(fd, buffer_room(heard, 65536), 65536, 0);
	if (count > 0)
		buffer_added(heard, (size_t)count);
	return count > 0;
}

static inline void hear_end(int fd, struct buffer *heard)
{
	while (hear(fd, heard))
		;
}

struct reply {
	int status;
	char *head;  // NUL-terminated
	char *body;
	size_t body_len;
};

// Takes one whole answer off the front of *heard, hearing more as needed.
static inline struct reply hear_reply(int fd, struct buffer *heard, bool to_head)
{
	struct reply reply = {0};
	const char *end;
	do
		end = buffer_len(heard)
		              ? memmem(buffer_data(heard), buffer_len(heard), "\r\n\r\n", 4)
		              : NULL;
	while (!end && hear(fd, heard));
	if (!end)
		fail_msg("no whole head: %.*s", STR_FMT(buffer_str(heard)));
	size_t head_len = (size_t)(end - buffer_data(heard)) + 4;
	reply.head = must_copy(buffer_data(heard), head_len);
	buffer_take(heard, head_len);
	assert_int_equal(sscanf(reply.head, "HTTP/1.1 %d ", &reply.status), 1);
	const char *length = strstr(reply.head, "content-length: ");
	assert_non_null(length);
	reply.body_len = to_head ? 0 : strtoul(length + strlen("content-length: "), NULL, 10);
	while (buffer_len(heard) < reply.body_len)
		assert_true(hear(fd, heard));
	reply.body = must_copy(buffer_data(heard), reply.body_len);
	buffer_take(heard, reply.body_len);
	return reply;
}

static inline void reply_free(struct reply *reply)
{
	free(reply->head);
	free(reply->body);
}

// One request on a connection of its own.
static inline struct reply ask(const struct harness *harness, const char *request)
{
	struct buffer heard = {0};
	int fd = dial(harness);
	say(fd, str_from(request));
	struct reply reply = hear_reply(fd, &heard, strncmp(request, "HEAD ", 5) == 0);
	assert_int_equal(buffer_len(&heard), 0);
	buffer_fini(&heard);
	close(fd);
	return reply;
}

static inline int status_of(const struct harness *harness, const char *request)
{
	struct reply reply = ask(harness, request);
	reply_free(&reply);
	return reply.status;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

#endif
