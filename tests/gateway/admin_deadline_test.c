#include "tests/gateway/admin_harness.h"

enum { BIG = 8 * 1024 * 1024 };

static struct harness *start_with_short_deadline(void)
{
	struct harness *harness = harness_open(use_loopback);
	harness->metrics_size = 4 * BIG;
	harness->admin->deadline_ns = 50 * (int64_t)NS_PER_MS;
	harness_run(harness);
	return harness;
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
	(void)state;
	struct harness *harness = harness_open(use_loopback);
	// Enough for the one request, under valgrind on a busy machine too.
	harness->admin->deadline_ns = NS_PER_S;
	harness_run(harness);
	struct buffer heard = {0};
	int fresh = dial(harness), used = dial(harness);
	say(used, STR(GET("/healthz")));
	struct reply reply = hear_reply(used, &heard, false);
	reply_free(&reply);
	assert_false(hear(fresh, &heard));
	assert_false(hear(used, &heard));
	assert_int_equal(buffer_len(&heard), 0);
	buffer_fini(&heard);
	close(fresh);
	close(used);
	harness_stop(harness);
}

static void half_a_request_gets_a_408(void **state)
{
	(void)state;
	struct harness *harness = start_with_short_deadline();
	struct buffer heard = {0};
	int fd = dial(harness);
	say(fd, STR("GET /healthz HTTP/1.1\r\nHost: loc"));
	struct reply reply = hear_reply(fd, &heard, false);
	assert_int_equal(reply.status, 408);
	reply_free(&reply);
	assert_false(hear(fd, &heard));
	buffer_fini(&heard);
	close(fd);
	harness_stop(harness);
}

static void whoever_does_not_take_the_answer_is_cut_off(void **state)
{
	(void)state;
	struct harness *harness = start_with_short_deadline();
	struct buffer heard = {0};
	int fd = dial(harness);
	say(fd, STR(GET("/metrics")));
	struct pollfd gone = {.fd = fd, .events = POLLRDHUP};
	assert_int_equal(poll(&gone, 1, WAIT_MS), 1);
	hear_end(fd, &heard);
	assert_true(buffer_len(&heard) < harness->metrics_size);
	buffer_fini(&heard);
	close(fd);
	harness_stop(harness);
}

static void a_loop_that_slept_for_an_hour_gives_the_next_connection_its_time(void **state)
{
	(void)state;
	const int64_t start_ns = clock_monotonic_ns(), hour_ns = 3600 * (int64_t)NS_PER_S;
	clock_fake(start_ns, start_ns);
	struct harness *harness = harness_start();
	struct buffer heard = {0};
	assert_int_equal(status_of(harness, GET("/healthz")), 200);
	clock_fake(start_ns + hour_ns, start_ns + hour_ns);
	int fd = dial(harness);
	for (int i = 0; i < 2; i++) {
		say(fd, STR(GET("/healthz")));
		struct reply reply = hear_reply(fd, &heard, false);
		assert_int_equal(reply.status, 200);
		reply_free(&reply);
	}
	buffer_fini(&heard);
	close(fd);
	clock_real();
	harness_stop(harness);
}

struct dormant {
	struct link link;
	struct timer deadline;
	bool closed;
};

static void close_dormant(struct timer *timer)
{
	link_close(&CONTAINER_OF(timer, struct dormant, deadline)->link);
}

static void dormant_closed(struct link *link)
{
	CONTAINER_OF(link, struct dormant, link)->closed = true;
}

static void a_loop_told_to_end_waits_for_a_link_that_waits_for_its_deadline(void **state)
{
	(void)state;
	static const struct link_events events = {.closed = dormant_closed};
	struct turn turn;
	struct dormant dormant = {0};
	turn_init(&turn);
	link_init(&dormant.link, &turn, &events, false);
	timer_init(&dormant.deadline, close_dormant);
	turn_set_timer(&turn, &dormant.deadline, NS_PER_MS);
	turn_close(&turn);
	turn_run(&turn);
	assert_true(dormant.closed);
	turn_fini(&turn);
}

static void closing_the_listener_lets_the_answer_out(void **state)
{
	(void)state;
	struct harness *harness = harness_start();
	harness->closes_on_drain = true;
	int idle = dial(harness);
	struct reply reply = ask(harness, "POST /drain HTTP/1.1\r\nHost: localhost\r\n\r\n");
	struct buffer heard = {0};
	assert_int_equal(reply.status, 202);
	assert_non_null(strstr(reply.head, "connection: close\r\n"));
	assert_false(hear(idle, &heard));
	reply_free(&reply);
	buffer_fini(&heard);
	close(idle);
	harness_stop(harness);
}

static void closing_the_listener_does_not_wait_for_who_does_not_read(void **state)
{
	(void)state;
	struct harness *harness = harness_open(use_loopback);
	struct buffer heard = {0};
	harness->metrics_size = BIG;
	harness_run(harness);
	int stalled = dial(harness), half = dial(harness);
	say(half, STR("GET /"));
	say(stalled, STR(GET("/metrics")));
	assert_true(hear(stalled, &heard));
	harness_stop(harness);
	hear_end(stalled, &heard);
	assert_true(buffer_len(&heard) < BIG);
	buffer_fini(&heard);
	close(stalled);
	close(half);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(an_idle_connection_is_closed_without_a_word),
	        cmocka_unit_test(half_a_request_gets_a_408),
	        cmocka_unit_test(whoever_does_not_take_the_answer_is_cut_off),
	        cmocka_unit_test(a_loop_that_slept_for_an_hour_gives_the_next_connection_its_time),
	        cmocka_unit_test(a_loop_told_to_end_waits_for_a_link_that_waits_for_its_deadline),
	        cmocka_unit_test(closing_the_listener_lets_the_answer_out),
	        cmocka_unit_test(closing_the_listener_does_not_wait_for_who_does_not_read),
	};
	return cmocka_run_group_tests_name("admin deadlines", tests, NULL, NULL);
}
