#include "tests/gateway/redis_server.h"

// Another configuration comes into force.

// What is to be database 2; returns the connection to the former one.
static int another_server_accepts(struct bench *bench)
{
	int former = bench->peer;
	bench->peer = -1;
	server_accepts(bench);
	server_hears(bench, "SELECT 2");
	return former;
}

static void another_configuration_keeps_the_connection_to_the_same_server(void **state)
{
	struct bench bench;
	struct asked call;
	(void)state;
	bench_connect(&bench, "timeout: 10s");
	begin(&bench, &call, "a");
	bench_use(&bench, "timeout: 5s, prefix: other");  // the same one
	server_hears(&bench, "EVALSHA NAME 1 a");
	server_says(&bench, "*2\r\n:1\r\n:11\r\n");
	until(&bench, call.heard);
	assert_int_equal(call.number, 11);
	bench_close(&bench);
}

// What is asked meanwhile the former one answers, and then it goes without a word.
static void another_server_takes_over_once_it_has_greeted(void **state)
{
	struct bench bench;
	struct asked call, meanwhile, later;
	(void)state;
	bench_connect(&bench, "timeout: 10s");
	assert_true(bench.another);
	begin(&bench, &call, "a");
	bench_use(&bench, "timeout: 10s, database: 2");
	begin(&bench, &meanwhile, "b");
	int former = another_server_accepts(&bench);
	server_hears(&bench, "SCRIPT LOAD the script");
	server_says(&bench, "+OK\r\n$4\r\nNAME\r\n");
	until(&bench, bench.connected == 2);
	assert_true(bench.another);
	begin(&bench, &later, "c");
	server_hears(&bench, "EVALSHA NAME 1 c");
	assert_int_equal(bench.lost + call.heard + meanwhile.heard, 0);
	assert_int_equal(send(former, ":1\r\n:1\r\n", 8, MSG_NOSIGNAL), 8);
	until(&bench, bench.lost == 1);
	assert_null(bench.why);
	assert_int_equal(call.outcome, REDIS_REPLIED);
	assert_int_equal(meanwhile.outcome, REDIS_REPLIED);
	close(former);
	redis_take_back(&later.call);
	bench_close(&bench);
}

static void the_former_server_goes_when_the_other_one_does_not_greet(void **state)
{
	struct bench bench;
	struct asked call;
	(void)state;
	bench_connect(&bench, "timeout: 10s");
	begin(&bench, &call, "a");
	bench_use(&bench, "timeout: 10s, database: 2");
	int former = another_server_accepts(&bench);
	server_says(&bench, "-ERR DB index is out of range\r\n");
	until(&bench, call.heard);
	assert_int_equal(call.outcome, REDIS_DISCONNECTED);
	close(former);
	bench_close(&bench);
}

// Nobody waits for what the former one owes; or it never says it.
static void the_former_server_goes_whatever_it_owes(void **state)
{
	struct bench bench;
	struct asked call;
	(void)state;
	for (int answers = 0; answers < 2; answers++) {
		bench_connect(&bench, "timeout: 10ms");
		begin(&bench, &call, "a");
		redis_take_back(&call.call);
		bench_use(&bench, "timeout: 10ms, database: 2");
		int former = another_server_accepts(&bench);
		server_says(&bench, "+OK\r\n$4\r\nNAME\r\n");
		until(&bench, bench.connected == 2);
		if (answers)
			assert_int_equal(send(former, ":1\r\n", 4, MSG_NOSIGNAL), 4);
		until(&bench, bench.closed == 1);
		assert_null(bench.why);
		close(former);
		bench_close(&bench);
	}
}

static void with_the_configuration_the_former_server_goes_too(void **state)
{
	struct bench bench;
	struct asked call;
	(void)state;
	bench_connect(&bench, "timeout: 10s");
	begin(&bench, &call, "a");
	bench_use(&bench, "timeout: 10s, database: 2");
	int former = another_server_accepts(&bench);
	server_says(&bench, "+OK\r\n$4\r\nNAME\r\n");
	until(&bench, bench.connected == 2);
	redis_use(bench.redis, NULL);
	assert_int_equal(call.outcome, REDIS_DISCONNECTED);
	until(&bench, !redis_open(bench.redis));
	close(former);
	bench_close(&bench);
}

static void without_a_configuration_nothing_is_left_open(void **state)
{
	struct bench bench;
	struct asked call, other;
	(void)state;
	bench_connect(&bench, "timeout: 10s");
	begin(&bench, &call, "a");
	redis_use(bench.redis, NULL);
	assert_int_equal(call.outcome, REDIS_DISCONNECTED);
	assert_int_equal(try(&bench, &other, "b"), REDIS_DISCONNECTED);
	until(&bench, !redis_open(bench.redis));
	assert_int_equal(bench.closed, 1);
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(another_configuration_keeps_the_connection_to_the_same_server),
	        cmocka_unit_test(another_server_takes_over_once_it_has_greeted),
	        cmocka_unit_test(the_former_server_goes_when_the_other_one_does_not_greet),
	        cmocka_unit_test(the_former_server_goes_whatever_it_owes),
	        cmocka_unit_test(with_the_configuration_the_former_server_goes_too),
	        cmocka_unit_test(without_a_configuration_nothing_is_left_open),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
