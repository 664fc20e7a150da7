#include "tests/gateway/admin_harness.h"

enum { BIG = 8 * 1024 * 1024, MANY = 150, PIPELINED = 200 };

static void a_connection_serves_one_request_after_another(void **state)
{
	(void)state;
	struct harness *harness = harness_start();
	struct buffer heard = {0};
	int fd = dial(harness);
	for (int i = 0; i < 20; i++) {
		say(fd, i % 2 ? STR(GET("/nothing")) : STR(GET("/healthz")));
		struct reply reply = hear_reply(fd, &heard, false);
		assert_int_equal(reply.status, i % 2 ? 404 : 200);
		reply_free(&reply);
	}
	say(fd, STR("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
	struct reply last = hear_reply(fd, &heard, false);
	assert_non_null(strstr(last.head, "connection: close\r\n"));
	reply_free(&last);
	assert_false(hear(fd, &heard));
	buffer_fini(&heard);
	close(fd);
	harness_stop(harness);
}

static void assert_answers_in_order(int fd, struct buffer *heard, int count)
{
	for (int i = 0; i < count; i++) {
		struct reply reply = hear_reply(fd, heard, false);
		assert_int_equal(reply.status, i % 3 == 0 ? 200 : i % 3 == 1 ? 404 : 405);
		reply_free(&reply);
	}
}

static void append_pipeline(struct buffer *out, int count)
{
	static const char *const requests[] = {GET("/limits"), GET("/nothing"), GET("/drain")};
	for (int i = 0; i < count; i++)
		buffer_append_str(out, str_from(requests[i % 3]));
}

static void a_pipeline_is_answered_in_order(void **state)
{
	(void)state;
	struct harness *harness = harness_start();
	struct buffer pipeline = {0}, heard = {0};
	append_pipeline(&pipeline, PIPELINED);
	int fd = dial(harness);
	say(fd, buffer_str(&pipeline));
	assert_answers_in_order(fd, &heard, PIPELINED);
	assert_int_equal(buffer_len(&heard), 0);
	buffer_fini(&heard);
	close(fd);
	buffer_fini(&pipeline);
	harness_stop(harness);
}

static void bytes_may_come_one_by_one(void **state)
{
	(void)state;
	struct harness *harness = harness_start();
	struct buffer pipeline = {0}, heard = {0};
	append_pipeline(&pipeline, 12);
	int fd = dial(harness);
	for (size_t i = 0; i < buffer_len(&pipeline); i++)
		say(fd, str_of(buffer_data(&pipeline) + i, 1));
	assert_answers_in_order(fd, &heard, 12);
	assert_int_equal(buffer_len(&heard), 0);
	buffer_fini(&heard);
	close(fd);
	buffer_fini(&pipeline);
	harness_stop(harness);
}

static void bodies_are_skipped(void **state)
{
	(void)state;
	static const char *const bodies[] = {
	        "Content-Length: 5\r\n\r\nGET /",
	        "Content-Length: 0\r\n\r\n",
	        "Transfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n",
	};
	struct harness *harness = harness_start();
	struct buffer heard = {0};
	int fd = dial(harness);
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		say(fd, STR("POST /reload HTTP/1.1\r\nHost: localhost\r\n"));
		say(fd, str_from(bodies[i]));
		say(fd, STR(GET("/nothing")));
		struct reply reload = hear_reply(fd, &heard, false),
		             next = hear_reply(fd, &heard, false);
		assert_int_equal(reload.status, 200);
		assert_int_equal(next.status, 404);
		reply_free(&reload);
		reply_free(&next);
	}
	assert_int_equal(harness->reloads, (int)ARRAY_LEN(bodies));
	buffer_fini(&heard);
	close(fd);
	harness_stop(harness);
}

static void a_broken_or_endless_body_ends_the_connection(void **state)
{
	(void)state;
	struct harness *harness = harness_start();
	struct buffer heard = {0}, endless = {0};
	int fd = dial(harness);
	say(fd, STR("POST /reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
	            "chunked\r\n\r\nxyz\r\n"));
	struct reply reply = hear_reply(fd, &heard, false);
	assert_int_equal(reply.status, 200);
	reply_free(&reply);
	assert_false(hear(fd, &heard));
	close(fd);

	fd = dial(harness);
	say(fd, STR("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
	            "99999999\r\n\r\n"));
	memset(buffer_room(&endless, 1024 * 1024), 'x', 1024 * 1024);
	buffer_added(&endless, 1024 * 1024);
	send(fd, buffer_data(&endless), buffer_len(&endless), MSG_NOSIGNAL);  // may be cut off
	reply = hear_reply(fd, &heard, false);
	assert_int_equal(reply.status, 200);
	reply_free(&reply);
	assert_false(hear(fd, &heard));
	close(fd);
	buffer_fini(&heard);
	buffer_fini(&endless);
	harness_stop(harness);
}

static void a_peer_that_only_listens_on_hears_all_it_asked_for(void **state)
{
	(void)state;
	struct harness *harness = harness_open(use_loopback);
	struct buffer pipeline = {0}, heard = {0};
	harness->metrics_size = 1024 * 1024;
	harness_run(harness);
	append_pipeline(&pipeline, 9);
	buffer_append_str(&pipeline, STR(GET("/metrics")));
	buffer_append_str(&pipeline, STR("GET /half"));
	int fd = dial(harness);
	say(fd, buffer_str(&pipeline));
	shutdown(fd, SHUT_WR);
	assert_answers_in_order(fd, &heard, 9);
	struct reply reply = hear_reply(fd, &heard, false);
	assert_true(reply.body_len >= harness->metrics_size);
	reply_free(&reply);
	assert_false(hear(fd, &heard));
	buffer_fini(&pipeline);
	buffer_fini(&heard);
	close(fd);
	harness_stop(harness);
}

static struct harness *start_with_big_answers(void)
{
	struct harness *harness = harness_open(use_loopback);
	harness->metrics_size = BIG;
	harness_run(harness);
	return harness;
}

static void a_big_answer_arrives_whole(void **state)
{
	(void)state;
	struct harness *harness = start_with_big_answers();
	struct buffer expected = {0};
	fake_metrics(harness, &expected);
	for (int i = 0; i < 3; i++) {
		struct reply reply = ask(harness, GET("/metrics"));
		assert_int_equal(reply.body_len, buffer_len(&expected));
		assert_memory_equal(reply.body, buffer_data(&expected), reply.body_len);
		reply_free(&reply);
	}
	buffer_fini(&expected);
	harness_stop(harness);
}

static void hang_up(int fd, bool reset)
{
	struct linger now = {.l_onoff = 1};
	if (reset)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void a_peer_may_leave_at_any_moment(void **state)
{
	(void)state;
	static const struct str sent[] = {
	        {"", 0},
	        {"GET /heal", 9},
	        {GET("/metrics"), sizeof(GET("/metrics")) - 1},
	        {GET("/metrics") GET("/metrics") "GET", 2 * sizeof(GET("/metrics")) + 1},
	        {"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\nhalf", 67},
	        {"junk\r\n\r\n", 8},
	};
	struct harness *harness = start_with_big_answers();
	struct buffer heard = {0};
	for (size_t i = 0; i < 2 * ARRAY_LEN(sent); i++) {
		int fd = dial(harness);
		say(fd, sent[i / 2]);
		hang_up(fd, i % 2);
		fd = dial(harness);  // and in the middle of the answer, where there is one
		say(fd, sent[i / 2]);
		if (i / 2 >= 2)
			assert_true(hear(fd, &heard));
		hang_up(fd, i % 2);
	}
	assert_int_equal(status_of(harness, GET("/healthz")), 200);
	buffer_fini(&heard);
	harness_stop(harness);
}

static void who_stops_sending_and_then_vanishes_makes_room_at_once(void **state)
{
	(void)state;
	struct harness *harness = harness_open(use_loopback);
	struct buffer heard = {0};
	harness->metrics_size = BIG;
	harness->admin->deadline_ns = 3600 * (int64_t)NS_PER_S;  // the deadline is not what helps
	harness_run(harness);
	for (int i = 0; i <= ADMIN_CONNECTIONS_MAX; i++) {
		int fd = dial(harness);
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
		say(fd, STR(GET("/metrics")));
		shutdown(fd, SHUT_WR);
		assert_true(hear(fd, &heard));
		// Once another is answered the end has been read too, and the answer is stuck
		// half-way.
		assert_int_equal(status_of(harness, GET("/healthz")), 200);
		hang_up(fd, true);
	}
	buffer_fini(&heard);
	harness_stop(harness);
}

// Whether they have had an answer, sit there, send half a request, or do not take what they asked
// for.
static void nobody_holds_all_the_places(void **state)
{
	(void)state;
	static const char *const sent[] = {GET("/healthz"), "", "GET /hea", GET("/metrics")};
	for (size_t kind = 0; kind < ARRAY_LEN(sent); kind++) {
		struct harness *harness = harness_open(use_loopback);
		int fds[MANY];
		harness->metrics_size = BIG;
		harness->admin->deadline_ns = 3600 * (int64_t)NS_PER_S;
		harness_run(harness);
		for (int i = 0; i < MANY; i++) {
			fds[i] = dial(harness);
			setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
			say(fds[i], str_from(sent[kind]));
			if (i % 10 == 0 || i >= ADMIN_CONNECTIONS_MAX - 1)
				assert_int_equal(status_of(harness, GET("/healthz")), 200);
		}
		for (int i = 0; i < MANY; i++)
			close(fds[i]);
		harness_stop(harness);
	}
}

// A scraper that is answered now and then stays beside a crowd that is not.
static void who_is_answered_keeps_its_place(void **state)
{
	(void)state;
	struct harness *harness = harness_start();
	struct buffer heard = {0};
	int scraper = dial(harness), fds[MANY];
	for (int i = 0; i < MANY; i++) {
		fds[i] = dial(harness);
		if (i % 20)
			continue;
		say(scraper, STR(GET("/healthz")));
		struct reply reply = hear_reply(scraper, &heard, false);
		assert_int_equal(reply.status, 200);
		reply_free(&reply);
	}
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	close(scraper);
	buffer_fini(&heard);
	harness_stop(harness);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_connection_serves_one_request_after_another),
	        cmocka_unit_test(a_pipeline_is_answered_in_order),
	        cmocka_unit_test(bytes_may_come_one_by_one),
	        cmocka_unit_test(bodies_are_skipped),
	        cmocka_unit_test(a_broken_or_endless_body_ends_the_connection),
	        cmocka_unit_test(a_peer_that_only_listens_on_hears_all_it_asked_for),
	        cmocka_unit_test(a_big_answer_arrives_whole),
	        cmocka_unit_test(a_peer_may_leave_at_any_moment),
	        cmocka_unit_test(who_stops_sending_and_then_vanishes_makes_room_at_once),
	        cmocka_unit_test(nobody_holds_all_the_places),
	        cmocka_unit_test(who_is_answered_keeps_its_place),
	};
	return cmocka_run_group_tests_name("admin connection", tests, NULL, NULL);
}
