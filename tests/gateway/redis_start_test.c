// A worker's first connection to Redis: whoever asks while it is being made waits for it, for a
// gateway that starts has lost nothing yet.
#include "tests/gateway/redis_server.h"

static void calls_before_the_first_connection_are_sent_once_it_is_greeted(void **state)
{
	struct bench bench;
	struct asked first, second;
	(void)state;
	bench_open(&bench);
	bench_use(&bench, "timeout: 10s");
	begin(&bench, &first, "a");
	server_accepts(&bench);
	server_hears(&bench, "SCRIPT LOAD the script");
	begin(&bench, &second, "b");
	turns(&bench, 3);
	assert_false(first.heard || second.heard || server_has_heard_anything(&bench));
	server_says(&bench, "$4\r\nNAME\r\n");
	server_hears(&bench, "EVALSHA NAME 1 a");
	server_hears(&bench, "EVALSHA NAME 1 b");
	server_says(&bench, ":1\r\n:2\r\n");
	until(&bench, second.heard);
	assert_int_equal(first.outcome, REDIS_REPLIED);
	assert_int_equal(second.outcome, REDIS_REPLIED);
	bench_close(&bench);
}

static void they_wait_no_longer_than_any_call(void **state)
{
	struct bench bench;
	struct asked call;
	(void)state;
	bench_open(&bench);
	bench_use(&bench, "timeout: 20ms");
	begin(&bench, &call, "a");
	until(&bench, call.heard);
	assert_int_equal(call.outcome, REDIS_TIMEOUT);
	server_greets(&bench);
	turns(&bench, 3);
	assert_false(server_has_heard_anything(&bench));
	begin(&bench, &call, "b");  // that one was late says nothing of the connection
	server_hears(&bench, "EVALSHA NAME 1 b");
	server_says(&bench, ":1\r\n");
	until(&bench, call.heard);
	bench_close(&bench);
}

static void whoever_is_not_interested_any_more_is_not_sent(void **state)
{
	struct bench bench;
	struct asked gone, stays;
	(void)state;
	bench_open(&bench);
	bench_use(&bench, "timeout: 10s");
	begin(&bench, &gone, "gone");
	begin(&bench, &stays, "stays");
	redis_take_back(&gone.call);
	redis_take_back(&gone.call);
	server_greets(&bench);
	server_hears(&bench, "EVALSHA NAME 1 stays");
	server_says(&bench, ":1\r\n");
	until(&bench, stays.heard);
	assert_false(gone.heard);
	bench_close(&bench);
}

static void when_the_first_attempt_fails_they_hear_of_it_and_nobody_waits_any_more(void **state)
{
	struct bench bench;
	struct asked call, later;
	(void)state;
	bench_open(&bench);
	bench_use(&bench, "timeout: 10s");
	begin(&bench, &call, "a");
	server_accepts(&bench);
	server_hears(&bench, "SCRIPT LOAD the script");
	server_says(&bench, "-LOADING Redis is loading the dataset in memory\r\n");
	until(&bench, call.heard);
	assert_int_equal(call.outcome, REDIS_DISCONNECTED);
	assert_int_equal(try(&bench, &later, "b"), REDIS_DISCONNECTED);
	bench_close(&bench);
}

static void a_server_that_is_not_there_is_known_at_once(void **state)
{
	struct bench bench;
	struct asked call;
	(void)state;
	bench_open(&bench);
	server_goes_away(&bench);
	bench_use(&bench, "timeout: 10s");
	if (try(&bench, &call, "a") == REDIS_REPLIED) {
		until(&bench, call.heard);
		assert_int_equal(call.outcome, REDIS_DISCONNECTED);
	}
	assert_int_equal(try(&bench, &call, "b"), REDIS_DISCONNECTED);
	bench_close(&bench);
}

static void an_end_meanwhile_is_told(void **state)
{
	struct bench bench;
	struct asked call;
	(void)state;
	bench_open(&bench);
	bench_use(&bench, "timeout: 10s");
	begin(&bench, &call, "a");
	redis_use(bench.redis, NULL);
	assert_true(call.heard);
	assert_int_equal(call.outcome, REDIS_DISCONNECTED);
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(calls_before_the_first_connection_are_sent_once_it_is_greeted),
	        cmocka_unit_test(they_wait_no_longer_than_any_call),
	        cmocka_unit_test(whoever_is_not_interested_any_more_is_not_sent),
	        cmocka_unit_test(
	                when_the_first_attempt_fails_they_hear_of_it_and_nobody_waits_any_more),
	        cmocka_unit_test(a_server_that_is_not_there_is_known_at_once),
	        cmocka_unit_test(an_end_meanwhile_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
