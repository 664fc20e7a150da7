// A worker's connection to Redis and the server it talks to, in one thread: the server is a unix
// socket on which the test says and hears word by word. What never comes fails after ten seconds.
#ifndef TESTS_GATEWAY_REDIS_SERVER_H
#define TESTS_GATEWAY_REDIS_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/redis.h"

struct bench {
	struct turn turn;
	struct redis *redis;
	char folder[32], path[48];
	int listener, peer;  // -1: none
	struct buffer heard;
	unsigned connected, lost, closed;
	const char *why;
	bool was_connected, another;
};

struct asked {
	struct redis_call call;
	struct bench *bench;
	struct str command[REDIS_RUN_WORDS + 2];
	void (*on_heard)(struct asked *asked);
	unsigned heard;
	enum redis_outcome outcome, again;
	int64_t number;
};

#define until(bench, condition)                                                                    \
	do {                                                                                       \
		int64_t until_ns = clock_monotonic_ns() + INT64_C(10) * NS_PER_S;                  \
		while (!(condition)) {                                                             \
			bench_turn(bench);                                                         \
			assert_true(clock_monotonic_ns() < until_ns);                              \
		}                                                                                  \
	} while (0)

static inline void bench_turn(struct bench *bench)
{
	struct pollfd polled[] = {{bench->listener, POLLIN, 0}, {bench->peer, POLLIN, 0}};
	uv_run(&bench->turn.loop, UV_RUN_NOWAIT);
	poll(polled, 2, 1);
}

static inline void turns(struct bench *bench, int count)
{
	while (count--)
		uv_run(&bench->turn.loop, UV_RUN_NOWAIT);
}

static inline uint64_t no_jitter(void *user)
{
	(void)user;
	return 0;
}

static inline void on_bench_connected(void *user, bool another)
{
	struct bench *bench = user;
	bench->connected++;
	bench->another = another;
}

static inline void on_bench_lost(void *user, const char *why, bool was_connected)
{
	struct bench *bench = user;
	bench->lost++;
	bench->why = why;
	bench->was_connected = was_connected;
}

static inline void on_bench_closed(void *user)
{
	((struct bench *)user)->closed++;
}

static inline void server_comes_back(struct bench *bench)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, bench->path, strlen(bench->path) + 1);
	bench->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(bench->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(bench->listener, 8), 0);
}

static inline void server_goes_away(struct bench *bench)
{
	close(bench->listener);
	unlink(bench->path);
	bench->listener = -1;
}

static inline void bench_open(struct bench *bench)
{
	*bench = (struct bench){.peer = -1};
	const struct redis_owner owner = {
	        bench, no_jitter, on_bench_connected, on_bench_lost, on_bench_closed};
	signal(SIGPIPE, SIG_IGN);  // as the gateway does
	strcpy(bench->folder, "/tmp/redis-test-XXXXXX");
	assert_non_null(mkdtemp(bench->folder));
	snprintf(bench->path, sizeof(bench->path), "%s/redis", bench->folder);
	server_comes_back(bench);
	turn_init(&bench->turn);
	bench->redis = redis_new(&bench->turn, &owner, STR("the script"));
}

// Whatever the test left: all is closed, which turn_fini proves.
static inline void bench_close(struct bench *bench)
{
	redis_use(bench->redis, NULL);
	until(bench, !redis_open(bench->redis));
	redis_free(bench->redis);
	turn_close(&bench->turn);
	turn_run(&bench->turn);
	turn_fini(&bench->turn);
	if (bench->listener >= 0)
		server_goes_away(bench);
	if (bench->peer >= 0)
		close(bench->peer);
	rmdir(bench->folder);
	buffer_fini(&bench->heard);
}

// A configuration that names the server, with these keys besides.
static inline void bench_use(struct bench *bench, const char *keys)
{
	struct buffer text = {0};
	struct config_problems problems = {0};
	buffer_printf(&text,
	        "version: tollgate/v1\n"
	        "redis: {address: 'unix:%s', %s}\n"
	        "listeners:\n"
	        "  - name: edge\n"
	        "    address: 127.0.0.1:8443\n"
	        "    tls:\n"
	        "      certificates: [{certificate_chain: a.pem, private_key: a.key}]\n"
	        "      validation_context: {trusted_ca: ca.pem, match_subject_alt_names: "
	        "['spiffe://a/*']}\n"
	        "    routes: [{match: {path: /*}, respond: {status: 200}}]\n",
	        bench->path, keys);
	struct config *config = config_parse(buffer_str(&text), "gate.yaml", "/", &problems);
	config_problems_print(&problems, 2);
	assert_non_null(config);
	assert_int_equal(problems.count, 0);
	config_problems_fini(&problems);
	buffer_fini(&text);
	redis_use(bench->redis, config);
}

static inline void server_forgets(struct bench *bench)
{
	buffer_clear(&bench->heard);
}

static inline void server_accepts(struct bench *bench)
{
	if (bench->peer >= 0)
		close(bench->peer);
	server_forgets(bench);
	until(bench, (bench->peer = accept4(
	                      bench->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
}

static inline void server_hangs_up(struct bench *bench)
{
	close(bench->peer);
	bench->peer = -1;
}

static inline void server_says(struct bench *bench, const char *words)
{
	ssize_t sent = send(bench->peer, words, strlen(words), MSG_NOSIGNAL);
	assert_int_equal(sent, strlen(words));
}

static inline bool server_has_heard_anything(struct bench *bench)
{
	char bytes[4096];
	ssize_t count;
	while ((count = recv(bench->peer, bytes, sizeof(bytes), 0)) > 0)
		buffer_append(&bench->heard, bytes, (size_t)count);
	return buffer_len(&bench->heard) > 0;
}

// The number behind `sign`, up to a line's end; false when there is none yet.
static inline bool take_count(struct str *bytes, char sign, size_t *count)
{
	const char *end = str_find_byte(*bytes, '\n');
	if (!end)
		return false;
	assert_int_equal(bytes->at[0], sign);
	*count = strtoul(bytes->at + 1, NULL, 10);
	*bytes = str_skip(*bytes, (size_t)(end + 1 - bytes->at));
	return true;
}

// The next whole command, its words with a space between; false when there is none yet.
static inline bool take_command(struct bench *bench, struct buffer *command)
{
	struct str bytes = buffer_str(&bench->heard);
	size_t words, len;
	if (!take_count(&bytes, '*', &words))
		return false;
	for (size_t i = 0; i < words; i++) {
		if (!take_count(&bytes, '$', &len) || bytes.len < len + 2)
			return false;
		buffer_append(command, " ", i > 0);
		buffer_append(command, bytes.at, len);
		bytes = str_skip(bytes, len + 2);
	}
	buffer_take(&bench->heard, buffer_len(&bench->heard) - bytes.len);
	return true;
}

static inline void server_hears(struct bench *bench, const char *expected)
{
	struct buffer command = {0};
	until(bench, (buffer_clear(&command), (void)server_has_heard_anything(bench),
	                     take_command(bench, &command)));
	buffer_append(&command, "", 1);
	assert_string_equal(buffer_data(&command), expected);
	buffer_fini(&command);
}

static inline void on_asked_replied(
        struct redis_call *call, enum redis_outcome outcome, const struct redis_reply *reply)
{
	struct asked *asked = CONTAINER_OF(call, struct asked, call);
	assert_int_equal(reply != NULL, outcome == REDIS_REPLIED || outcome == REDIS_ERROR);
	asked->heard++;
	asked->outcome = outcome;
	if (reply && reply->number_count == 2)
		asked->number = reply->numbers[1];
	if (asked->on_heard)
		asked->on_heard(asked);
}

// What is said at once; REDIS_REPLIED: it is under way.
static inline enum redis_outcome try(struct bench *bench, struct asked *asked, const char *key)
{
	*asked = (struct asked){.bench = bench, .call = {.replied = on_asked_replied}};
	turn_wake(&bench->turn);  // asked from within an event, as always
	asked->command[REDIS_RUN_WORDS] = STR("1");
	asked->command[REDIS_RUN_WORDS + 1] = str_from(key);
	return redis_run(bench->redis, &asked->call, asked->command, ARRAY_LEN(asked->command));
}

static inline void begin(struct bench *bench, struct asked *asked, const char *key)
{
	assert_int_equal(try(bench, asked, key), REDIS_REPLIED);
}

static inline void server_greets(struct bench *bench)
{
	unsigned connected = bench->connected;
	server_accepts(bench);
	server_hears(bench, "SCRIPT LOAD the script");
	server_says(bench, "$4\r\nNAME\r\n");
	until(bench, bench->connected == connected + 1);
}

// Opened, and connected to the server.
static inline void bench_connect(struct bench *bench, const char *keys)
{
	bench_open(bench);
	bench_use(bench, keys);
	server_greets(bench);
}

#endif
