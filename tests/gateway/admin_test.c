#include "tests/gateway/admin_harness.h"

#include <sys/stat.h>

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no %s in\n%s", part, text);
}

static void each_endpoint_answers(void **state)
{
	(void)state;
	static const struct {
		const char *request;
		int status;
		const char *head, *body;
	} rows[] = {
	        {GET("/healthz"), 200, "content-type: text/plain", "ok\n"},
	        {GET("/readyz"), 200, "content-type: text/plain", "ready\n"},
	        {GET("/metrics"), 200, "content-type: text/plain; version=0.0.4",
	                "tollgate_requests_total{code=\"200\"} 40\n"},
	        {GET("/metrics?name[]=x"), 200, "text/plain; version=0.0.4", "tollgate_"},
	        {GET("/config"), 200, "content-type: application/yaml\r\n",
	                "version: tollgate/v1\n"},
	        {GET("/certificates"), 200, "content-type: application/json\r\n",
	                "{\"edge\":[]}\n"},
	        {GET("/limits"), 200, "content-type: application/json\r\n", "[]\n"},
	        {GET("/status"), 200, "content-type: application/json\r\n",
	                "{\"state\":\"serving\"}\n"},
	        {GET("/audit"), 200, "content-type: application/json\r\n", "[20]\n"},
	        {GET("/audit?limit=3"), 200, "content-type: application/json\r\n", "[3]\n"},
	        {GET("/audit?limit=100000"), 200, "application/json", "[100]\n"},
	        {GET("/audit?limit=99999999999999999999"), 200, "application/json", "[20]\n"},
	        {GET("/audit?limit=0"), 200, "application/json", "[20]\n"},
	        {GET("/audit?limit=-1"), 200, "application/json", "[20]\n"},
	        {GET("/audit?x"), 200, "application/json", "[20]\n"},
	        {GET("/"), 200, "content-security-policy: default-src 'none';", "/metrics"},
	        {GET("http://127.0.0.1/healthz"), 200, "text/plain", "ok\n"},
	        {"POST /reload HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, "text/plain",
	                "reloaded\n"},
	        {"POST /drain HTTP/1.1\r\nHost: localhost\r\n\r\n", 202, "text/plain",
	                "draining\n"},
	        {GET("/nothing"), 404, "text/plain", "nothing is served here\n"},
	        {GET("/healthz/"), 404, "text/plain", ""},
	        {GET("//healthz"), 404, "text/plain", ""},
	        {GET("/%68ealthz"), 404, "text/plain", ""},
	        {"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "text/plain", ""},
	        {GET("/reload"), 405, "allow: POST\r\n", "use POST\n"},
	        {GET("/drain"), 405, "allow: POST\r\n", "use POST\n"},
	        {"POST /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "allow: GET, HEAD\r\n",
	                ""},
	        {"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "allow: GET, HEAD\r\n", ""},
	        {"GET /healthz HTTP/1.0\r\n\r\n", 200, "connection: close", "ok\n"},
	};
	struct harness *harness = harness_start();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct reply reply = ask(harness, rows[i].request);
		print_message("%.*s -> %d\n", (int)strcspn(rows[i].request, "\r"), rows[i].request,
		        reply.status);
		assert_int_equal(reply.status, rows[i].status);
		assert_has(reply.head, rows[i].head);
		assert_has(reply.head, "x-content-type-options: nosniff\r\n");
		assert_has(reply.head, "referrer-policy: no-referrer\r\n");
		assert_has(reply.head, "cache-control: no-store\r\n");
		assert_has(reply.body, rows[i].body);
		reply_free(&reply);
	}
	assert_int_equal(harness->reloads, 1);
	assert_int_equal(harness->drains, 1);
	harness_stop(harness);
}

static void readiness_is_what_the_gateway_says(void **state)
{
	(void)state;
	struct harness *harness = harness_start();
	assert_int_equal(status_of(harness, GET("/readyz")), 200);
	harness->ready = false;
	assert_int_equal(status_of(harness, GET("/readyz")), 503);
	assert_int_equal(status_of(harness, GET("/healthz")), 200);
	harness_stop(harness);
}

static void a_refused_reload_says_why(void **state)
{
	(void)state;
	struct harness *harness = harness_start();
	harness->reload_taken = false;
	struct reply reply = ask(harness, "POST /reload HTTP/1.1\r\nHost: [::1]:9901\r\n\r\n");
	assert_int_equal(reply.status, 409);
	assert_string_equal(reply.body, "gate.yaml:3:1: adress: unknown key\n");
	reply_free(&reply);
	harness_stop(harness);
}

static void head_tells_the_length_of_what_get_gives(void **state)
{
	(void)state;
	static const char *const paths[] = {"/", "/healthz", "/readyz", "/metrics", "/config",
	        "/certificates", "/limits", "/status", "/audit", "/nothing"};
	struct harness *harness = harness_start();
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		char request[128];
		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
		        paths[i]);
		struct reply full = ask(harness, request);
		snprintf(request, sizeof(request), "HEAD %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
		        paths[i]);
		struct reply bare = ask(harness, request);
		assert_string_equal(full.head, bare.head);
		reply_free(&full);
		reply_free(&bare);
	}
	harness_stop(harness);
}

static void a_host_that_is_a_name_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *host;
		bool served;
	} rows[] = {
	        {"127.0.0.1", true},
	        {"127.0.0.1:9901", true},
	        {"10.1.2.3", true},
	        {"[::1]", true},
	        {"[::1]:9901", true},
	        {"localhost", true},
	        {"LocalHost:80", true},
	        {"localhost.", true},
	        {"evil.example", false},
	        {"evil.example:9901", false},
	        {"localhost.evil.example", false},
	        {"127.0.0.1.evil.example", false},
	        {"127.0.0.1@evil.example", false},
	        {"[::1].evil.example", false},
	        {"[localhost]", false},
	        {"127.1", false},
	        {"2130706433", false},
	        {"0x7f000001", false},
	        {"1.2.3.4.5", false},
	        {"localhost:x", false},
	        {"localhost, evil.example", false},
	};
	struct harness *harness = harness_start();
	int drains = 0;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char request[128];
		print_message("Host: %s\n", rows[i].host);
		snprintf(request, sizeof(request), "GET /config HTTP/1.1\r\nHost: %s\r\n\r\n",
		        rows[i].host);
		int status = status_of(harness, request);  // the codec itself refuses some: 400
		assert_true(rows[i].served ? status == 200 : status == 403 || status == 400);
		snprintf(request, sizeof(request), "POST /drain HTTP/1.1\r\nHost: %s\r\n\r\n",
		        rows[i].host);
		drains += rows[i].served;
		assert_int_equal(status_of(harness, request), rows[i].served ? 202 : status);
		assert_int_equal(harness->drains, drains);
	}
	assert_int_equal(
	        status_of(harness,
	                "GET http://evil.example/config HTTP/1.1\r\nHost: localhost\r\n\r\n"),
	        403);
	harness_stop(harness);
}

static void a_post_of_another_site_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *origin;
		int status;
	} rows[] = {
	        {"http://127.0.0.1:9901", 202},
	        {"HTTP://127.0.0.1:9901", 202},
	        {"http://127.0.0.1", 403},
	        {"http://127.0.0.1:9902", 403},
	        {"https://127.0.0.1:9901", 403},
	        {"http://localhost:9901", 403},
	        {"http://evil.example", 403},
	        {"null", 403},
	        {"", 403},
	        {"http://127.0.0.1:9901\r\nOrigin: http://evil.example", 403},
	        {"http://evil.example\r\nOrigin: http://127.0.0.1:9901", 403},
	};
	struct harness *harness = harness_start();
	int drains = 0;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char request[256];
		print_message("Origin: %s\n", rows[i].origin);
		snprintf(request, sizeof(request),
		        "POST /drain HTTP/1.1\r\nHost: 127.0.0.1:9901\r\nOrigin: %s\r\n\r\n",
		        rows[i].origin);
		assert_int_equal(status_of(harness, request), rows[i].status);
		drains += rows[i].status == 202;
		assert_int_equal(harness->drains, drains);
	}
	harness_stop(harness);
}

static void what_is_no_request_is_refused_and_ends_the_connection(void **state)
{
	(void)state;
	static const struct {
		struct str bytes;
		int status;
	} rows[] = {
	        {{"\x16\x03\x01\x02\x00\x01\x00", 7}, 400},
	        {{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24}, 400},
	        {{"GET /healthz\r\n\r\n", 16}, 400},
	        {{"GET /healthz HTTP/1.1\r\n\r\n", 25}, 400},
	        {{"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 36}, 400},
	        {{"GET / HTTP/1.1\nHost: a\n\n", 24}, 400},
	        {{"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 50}, 400},
	        {{"\0\0\0\0", 4}, 400},
	};
	struct harness *harness = harness_start();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buffer heard = {0};
		int fd = dial(harness);
		say(fd, rows[i].bytes);
		struct reply reply = hear_reply(fd, &heard, false);
		print_message("%s", reply.body);
		assert_int_equal(reply.status, rows[i].status);
		assert_has(reply.head, "connection: close\r\n");
		hear_end(fd, &heard);
		assert_int_equal(buffer_len(&heard), 0);
		reply_free(&reply);
		buffer_fini(&heard);
		close(fd);
	}
	harness_stop(harness);
}

// --- addresses

static void a_unix_socket_takes_any_host_and_leaves_no_file(void **state)
{
	(void)state;
	struct harness *harness = harness_open(use_unix_socket);
	struct stat file;
	assert_int_equal(stat(socket_path(harness), &file), 0);
	assert_int_equal(file.st_mode & 0777, 0600);
	harness_run(harness);
	assert_int_equal(
	        status_of(harness, "GET /healthz HTTP/1.1\r\nHost: tollgate\r\n\r\n"), 200);
	assert_int_equal(
	        status_of(harness, "POST /drain HTTP/1.1\r\nHost: x.example\r\n\r\n"), 202);
	assert_int_equal(
	        status_of(harness, "POST /drain HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\n\r\n"),
	        403);
	harness_stop(harness);  // its rmdir proves that the socket's file is gone
}

static void use_socket_path_with_a_stale_file(struct harness *harness)
{
	use_unix_socket(harness);
	int left = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(left, (struct sockaddr *)&harness->address.socket,
	                         harness->address.socket_len),
	        0);
	close(left);
	assert_int_equal(access(socket_path(harness), F_OK), 0);
}

static void a_socket_file_nobody_listens_at_is_replaced(void **state)
{
	(void)state;
	struct harness *harness = harness_open(use_socket_path_with_a_stale_file);
	harness_run(harness);
	assert_int_equal(status_of(harness, GET("/healthz")), 200);
	harness_stop(harness);
}

static void assert_refused_to_listen(const struct config_address *address, const char *why)
{
	struct turn turn;
	struct config_problems problems = {0};
	turn_init(&turn);
	assert_null(admin_open(&turn, address, -1, &fake_hooks, NULL, &problems));
	assert_int_equal(problems.count, 1);
	char *what = must_copy(problems.items[0].what.at, problems.items[0].what.len);
	print_message("%s\n", what);
	assert_has(what, why);
	assert_true(str_eq(problems.items[0].key, STR("admin.address")));
	free(what);
	config_problems_fini(&problems);
	turn_close(&turn);
	turn_run(&turn);
	turn_fini(&turn);
}

static void an_address_in_use_is_a_problem(void **state)
{
	(void)state;
	struct harness *harness = harness_start();
	struct config_address taken = harness->address;
	memcpy(&taken.socket, &harness->listening, sizeof(harness->listening));
	assert_refused_to_listen(&taken, "Address already in use");
	assert_int_equal(status_of(harness, GET("/healthz")), 200);
	harness_stop(harness);

	harness = harness_open(use_unix_socket);
	harness_run(harness);
	assert_refused_to_listen(&harness->address, "Address already in use");
	assert_int_equal(status_of(harness, GET("/healthz")), 200);
	harness_stop(harness);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	(void)state;
	struct harness files = {0};
	use_unix_socket(&files);
	int fd = open(socket_path(&files), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "precious", 8), 8);
	close(fd);
	assert_refused_to_listen(&files.address, "Address already in use");
	assert_int_equal(unlink(socket_path(&files)), 0);
	assert_int_equal(rmdir(files.directory), 0);
	assert_refused_to_listen(&files.address, "No such file or directory");
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(each_endpoint_answers),
	        cmocka_unit_test(readiness_is_what_the_gateway_says),
	        cmocka_unit_test(a_refused_reload_says_why),
	        cmocka_unit_test(head_tells_the_length_of_what_get_gives),
	        cmocka_unit_test(a_host_that_is_a_name_is_refused),
	        cmocka_unit_test(a_post_of_another_site_is_refused),
	        cmocka_unit_test(what_is_no_request_is_refused_and_ends_the_connection),
	        cmocka_unit_test(a_unix_socket_takes_any_host_and_leaves_no_file),
	        cmocka_unit_test(a_socket_file_nobody_listens_at_is_replaced),
	        cmocka_unit_test(an_address_in_use_is_a_problem),
	        cmocka_unit_test(a_file_that_is_no_socket_is_left_alone),
	};
	return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
