// One worker's connection to Redis, on a real loop, against a server that says what the test says:
// on a unix socket, in the test's own thread.
#include "tests/gateway/redis_server.h"

static void it_greets_in_order_and_is_connected_when_all_is_answered(void **state)
{
	struct bench bench;
	struct asked call;
	(void)state;
	bench_open(&bench);
	bench_use(&bench, "username: me, password: secret, database: 3");
	server_accepts(&bench);
	server_hears(&bench, "AUTH me secret");
	server_hears(&bench, "SELECT 3");
	server_hears(&bench, "SCRIPT LOAD the script");  // all of it before the first answer
	server_says(&bench, "+OK\r\n+OK\r\n$4\r\nNA");
	turns(&bench, 3);
	assert_int_equal(bench.connected, 0);
	server_says(&bench, "ME\r\n");
	until(&bench, bench.connected == 1);
	begin(&bench, &call, "key");
	server_hears(&bench, "EVALSHA NAME 1 key");
	server_says(&bench, "*2\r\n:1\r\n:1\r\n");
	until(&bench, call.heard);
	assert_int_equal(call.outcome, REDIS_REPLIED);
	bench_close(&bench);
}

static void without_a_user_it_shows_the_password_alone(void **state)
{
	struct bench bench;
	(void)state;
	bench_open(&bench);
	bench_use(&bench, "password: secret");
	server_accepts(&bench);
	server_hears(&bench, "AUTH secret");
	server_hears(&bench, "SCRIPT LOAD the script");
	bench_close(&bench);
}

static const struct {
	const char *said, *why;
} refusals[] = {
        {"-WRONGPASS invalid username-password pair\r\n", "the server refuses the password"},
        {"+OK\r\n-NOAUTH Authentication required.\r\n", "the server refuses the password"},
        {"+OK\r\n-NOPERM this user has no permissions\r\n", "the server forbids a command"},
        {"-LOADING Redis is loading the dataset in memory\r\n", "the server is loading its data"},
        {"-ERR what\r\n", "the server refuses the greeting"},
        {"HTTP/1.1 400 Bad Request\r\n", "the server does not speak its protocol"},
        {"+OK\r\n+OK\r\n+OK\r\n", "the server does not speak its protocol"},  // one too many
};

static void who_refuses_the_greeting_is_left_and_tried_again(void **state)
{
	struct bench bench;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		bench_open(&bench);
		bench_use(&bench, "password: secret");
		server_accepts(&bench);
		server_hears(&bench, "AUTH secret");
		server_says(&bench, refusals[i].said);
		until(&bench, bench.lost == 1);
		assert_string_equal(bench.why, refusals[i].why);
		server_accepts(&bench);
		server_hears(&bench, "AUTH secret");
		bench_close(&bench);
	}
}

static void calls_of_a_turn_leave_together_and_hear_in_order(void **state)
{
	struct bench bench;
	struct asked first, second, third;
	(void)state;
	bench_connect(&bench, "timeout: 10s");
	begin(&bench, &first, "a");
	begin(&bench, &second, "b");
	begin(&bench, &third, "c");
	assert_false(server_has_heard_anything(&bench));
	turns(&bench, 1);
	server_hears(&bench, "EVALSHA NAME 1 a");
	server_hears(&bench, "EVALSHA NAME 1 b");
	server_hears(&bench, "EVALSHA NAME 1 c");
	server_says(&bench, "*2\r\n:1\r\n:11\r\n-OOM used memory\r\n*2\r\n:1\r\n:33\r\n");
	until(&bench, third.heard);
	assert_int_equal(first.number, 11);
	assert_int_equal(second.outcome, REDIS_ERROR);
	assert_int_equal(third.number, 33);
	bench_close(&bench);
}

static void the_reply_to_a_call_taken_back_is_nobody_elses(void **state)
{
	struct bench bench;
	struct asked first, second;
	(void)state;
	bench_connect(&bench, "timeout: 10s");
	begin(&bench, &first, "a");
	begin(&bench, &second, "b");
	redis_take_back(&first.call);
	redis_take_back(&first.call);
	server_hears(&bench, "EVALSHA NAME 1 a");
	server_hears(&bench, "EVALSHA NAME 1 b");
	server_says(&bench, "*2\r\n:1\r\n:11\r\n*2\r\n:1\r\n:22\r\n");
	until(&bench, second.heard);
	assert_int_equal(second.number, 22);
	assert_int_equal(first.heard, 0);
	bench_close(&bench);
}

static void nobody_waits_while_an_answer_is_overdue(void **state)
{
	struct bench bench;
	struct asked late, other, next;
	(void)state;
	bench_connect(&bench, "timeout: 300ms");
	int64_t begun_ns = clock_monotonic_ns();
	begin(&bench, &late, "a");
	until(&bench, late.heard);
	assert_int_equal(late.outcome, REDIS_TIMEOUT);
	assert_true(clock_monotonic_ns() - begun_ns >= 300 * NS_PER_MS);
	assert_int_equal(try(&bench, &other, "b"), REDIS_TIMEOUT);
	server_hears(&bench, "EVALSHA NAME 1 a");
	server_says(&bench, "*2\r\n:1\r\n:11\r\n");
	// It has come: the next is asked again, and the late answer is not taken for its own.
	until(&bench, try(&bench, &next, "c") == REDIS_REPLIED);
	redis_take_back(&next.call);
	server_hears(&bench, "EVALSHA NAME 1 c");
	server_says(&bench, "*2\r\n:1\r\n:22\r\n");
	begin(&bench, &next, "d");
	server_hears(&bench, "EVALSHA NAME 1 d");
	server_says(&bench, "*2\r\n:1\r\n:33\r\n");
	until(&bench, next.heard);
	assert_int_equal(next.number, 33);
	assert_int_equal(late.heard, 1);
	assert_int_equal(bench.lost, 0);
	bench_close(&bench);
}

static void a_server_that_stays_silent_is_given_up(void **state)
{
	struct bench bench;
	struct asked call;
	(void)state;
	bench_connect(&bench, "timeout: 20ms");
	int64_t begun_ns = clock_monotonic_ns();
	begin(&bench, &call, "a");
	until(&bench, bench.lost == 1);
	assert_string_equal(bench.why, "an answer is overdue");
	assert_true(clock_monotonic_ns() - begun_ns >= REDIS_PATIENCE_MS * NS_PER_MS);
	assert_int_equal(call.heard, 1);
	server_greets(&bench);
	bench_close(&bench);
}

static void a_server_that_forgot_the_script_is_given_it_with_the_call(void **state)
{
	struct bench bench;
	struct asked first, second;
	(void)state;
	bench_connect(&bench, "timeout: 10s");
	begin(&bench, &first, "a");
	begin(&bench, &second, "b");
	server_hears(&bench, "EVALSHA NAME 1 a");
	server_hears(&bench, "EVALSHA NAME 1 b");
	server_says(&bench, "-NOSCRIPT No matching script.\r\n-NOSCRIPT No matching script.\r\n");
	server_hears(&bench, "EVAL the script 1 a");
	server_hears(&bench, "EVAL the script 1 b");
	redis_take_back(&second.call);
	server_says(&bench, "*2\r\n:1\r\n:11\r\n*2\r\n:1\r\n:22\r\n");
	until(&bench, first.heard);
	assert_int_equal(first.number, 11);
	assert_int_equal(second.heard, 0);
	bench_close(&bench);
}

// One that has lost it for good keeps nobody longer than any other.
static void a_server_that_never_knows_the_script_costs_the_timeout(void **state)
{
	struct bench bench;
	struct asked call;
	(void)state;
	bench_connect(&bench, "timeout: 20ms");
	begin(&bench, &call, "a");
	server_hears(&bench, "EVALSHA NAME 1 a");
	while (!call.heard) {
		server_says(&bench, "-NOSCRIPT No matching script.\r\n");
		until(&bench, call.heard || server_has_heard_anything(&bench));
		server_forgets(&bench);
	}
	assert_int_equal(call.outcome, REDIS_TIMEOUT);
	bench_close(&bench);
}

static void ask_again(struct asked *asked)
{
	struct asked again;
	asked->again = try(asked->bench, &again, "again");
}

static void who_waits_hears_of_a_lost_connection_at_once_and_it_is_made_anew(void **state)
{
	struct bench bench;
	struct asked calls[3];
	(void)state;
	bench_connect(&bench, "timeout: 10s");
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		begin(&bench, &calls[i], "a");
		calls[i].on_heard = ask_again;
	}
	redis_take_back(&calls[1].call);
	server_hangs_up(&bench);
	until(&bench, bench.lost == 1);
	assert_string_equal(bench.why, "the connection was lost");
	assert_true(bench.was_connected);
	assert_int_equal(calls[0].outcome, REDIS_DISCONNECTED);
	assert_int_equal(calls[0].again, REDIS_DISCONNECTED);
	assert_int_equal(calls[1].heard, 0);
	assert_int_equal(calls[2].outcome, REDIS_DISCONNECTED);
	server_greets(&bench);
	assert_int_equal(bench.connected, 2);
	bench_close(&bench);
}

static void each_failure_doubles_the_wait(void **state)
{
	struct bench bench;
	(void)state;
	bench_open(&bench);
	bench_use(&bench, "database: 0");
	server_accepts(&bench);
	for (int64_t least_ms = REDIS_BACKOFF_MS; least_ms <= 4 * REDIS_BACKOFF_MS; least_ms *= 2) {
		unsigned lost = bench.lost;
		int64_t begun_ns = clock_monotonic_ns();
		server_hangs_up(&bench);
		until(&bench, bench.lost == lost + 1);
		assert_false(bench.was_connected);
		server_accepts(&bench);
		assert_true(clock_monotonic_ns() - begun_ns >= least_ms * NS_PER_MS);
	}
	bench_close(&bench);
}

static void a_server_that_comes_later_is_found(void **state)
{
	struct bench bench;
	(void)state;
	bench_open(&bench);
	server_goes_away(&bench);
	bench_use(&bench, "database: 0");
	until(&bench, bench.lost == 2);
	assert_string_equal(bench.why, "cannot connect");
	server_comes_back(&bench);
	server_greets(&bench);
	bench_close(&bench);
}

static void leave_a_replica(const char *says)
{
	struct bench bench;
	struct asked first, second;
	bench_connect(&bench, "timeout: 10s");
	begin(&bench, &first, "a");
	begin(&bench, &second, "b");
	server_hears(&bench, "EVALSHA NAME 1 a");
	server_says(&bench, says);
	until(&bench, bench.lost == 1);
	assert_string_equal(bench.why, "the server is a replica");
	assert_int_equal(first.outcome, REDIS_ERROR);
	assert_int_equal(second.outcome, REDIS_DISCONNECTED);
	bench_close(&bench);
}

static void a_replica_answers_its_call_and_is_left(void **state)
{
	(void)state;
	leave_a_replica("-READONLY You can't write against a read only replica.\r\n:1\r\n");
	// Redis 6.
	leave_a_replica(
	        "-ERR Error running script (call to "
	        "f_0123456789012345678901234567890123456789): @user_script:68: "
	        "@user_script: 68: -READONLY You can't write against a read only replica.\r\n"
	        ":1\r\n");
}

static void an_answer_to_nobody_ends_the_connection(void **state)
{
	struct bench bench;
	(void)state;
	bench_connect(&bench, "timeout: 10s");
	server_says(&bench, ":1\r\n");
	until(&bench, bench.lost == 1);
	assert_string_equal(bench.why, "the server does not speak its protocol");
	bench_close(&bench);
}

static void calls_under_way_have_a_bound(void **state)
{
	struct bench bench;
	struct asked other, *calls = calloc(REDIS_CALLS_MAX, sizeof(*calls));
	(void)state;
	assert_non_null(calls);
	bench_connect(&bench, "timeout: 10s");
	for (size_t i = 0; i < REDIS_CALLS_MAX; i++)
		begin(&bench, &calls[i], "a");
	assert_int_equal(try(&bench, &other, "b"), REDIS_TIMEOUT);
	for (size_t i = 0; i < REDIS_CALLS_MAX; i++)
		redis_take_back(&calls[i].call);
	assert_int_equal(try(&bench, &other, "b"), REDIS_TIMEOUT);  // the answers are still owed
	bench_close(&bench);
	free(calls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(it_greets_in_order_and_is_connected_when_all_is_answered),
	        cmocka_unit_test(without_a_user_it_shows_the_password_alone),
	        cmocka_unit_test(who_refuses_the_greeting_is_left_and_tried_again),
	        cmocka_unit_test(calls_of_a_turn_leave_together_and_hear_in_order),
	        cmocka_unit_test(the_reply_to_a_call_taken_back_is_nobody_elses),
	        cmocka_unit_test(nobody_waits_while_an_answer_is_overdue),
	        cmocka_unit_test(a_server_that_stays_silent_is_given_up),
	        cmocka_unit_test(a_server_that_forgot_the_script_is_given_it_with_the_call),
	        cmocka_unit_test(a_server_that_never_knows_the_script_costs_the_timeout),
	        cmocka_unit_test(who_waits_hears_of_a_lost_connection_at_once_and_it_is_made_anew),
	        cmocka_unit_test(each_failure_doubles_the_wait),
	        cmocka_unit_test(a_server_that_comes_later_is_found),
	        cmocka_unit_test(a_replica_answers_its_call_and_is_left),
	        cmocka_unit_test(an_answer_to_nobody_ends_the_connection),
	        cmocka_unit_test(calls_under_way_have_a_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
