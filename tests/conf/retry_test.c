#include "tests/conf/loading.h"

#define LISTENER                                                                                   \
	"listeners: [{name: a, address: \"127.0.0.1:1\", tls: {certificates: "                     \
	"[{certificate_chain: c, private_key: k}], validation_context: {trusted_ca: ca, "          \
	"match_subject_alt_names: [\"spiffe://a/*\"]}}, routes: [{match: {path: /a}, %s}, "        \
	"{match: {path: /*}, backend: b}]}]\n"
#define BACKEND "backends: [{name: b, endpoints: [\"127.0.0.1:2\"]}]\n"

static struct config_problems problems;

// `rest`: of the route, without its match.
static struct config *parse(const char *rest)
{
	struct buffer text = {0};
	buffer_printf(&text, "version: tollgate/v1\n" LISTENER BACKEND, rest);
	struct config *config = config_parse(buffer_str(&text), "t.yaml", "/etc", &problems);
	buffer_fini(&text);
	return config;
}

static const struct config_retry *retry_of(const struct config *config)
{
	return &config->listeners[0].routes[0].retry;
}

static bool has_status(const struct config_retry *retry, unsigned status)
{
	status -= RETRY_STATUS_FIRST;
	return retry->statuses[status / 64] >> status % 64 & 1;
}

static void nothing_is_repeated_unless_told(void **state)
{
	(void)state;
	struct config *config = parse("backend: b");
	assert_non_null(config);
	assert_int_equal(retry_of(config)->tries, 0);
	assert_false(dump_holds(config, "retry"));
	config_free(config);
	config_problems_fini(&problems);
}

static void an_empty_block_has_the_usual(void **state)
{
	(void)state;
	struct config *config = parse("backend: b, retry: {}");
	assert_non_null(config);
	const struct config_retry *retry = retry_of(config);
	assert_true(retry->reset && !retry->timeout && !retry->non_idempotent);
	for (unsigned status = RETRY_STATUS_FIRST; status <= RETRY_STATUS_LAST; status++)
		assert_int_equal(has_status(retry, status), status >= 502 && status <= 504);
	assert_int_equal(retry->grpc_statuses, 1 << 14);
	assert_int_equal(retry->tries, 2);
	assert_int_equal(retry->per_try_timeout_ns, 0);
	assert_int_equal(retry->backoff_ns, 25000000);
	assert_int_equal(retry->budget, 20);
	assert_int_equal(retry->buffer, 65536);
	assert_true(dump_holds(config, "retry:"));
	assert_true(dump_holds(config, "tries: 2"));
	assert_true(dump_holds(config, "backoff: 25ms"));
	config_free(config);
	config_problems_fini(&problems);
}

static void what_is_given_is_read_and_written(void **state)
{
	(void)state;
	struct config *config = parse(
	        "backend: b, timeout: 3s, retry: {on: [timeout, 400, 599, 429, cancelled, "
	        "unauthenticated], tries: 4, per_try_timeout: 1s, non_idempotent: true, backoff: "
	        "10s, budget: 100, buffer: 4MiB}");
	assert_non_null(config);
	const struct config_retry *retry = retry_of(config);
	assert_true(retry->timeout && !retry->reset && retry->non_idempotent);
	for (unsigned status = RETRY_STATUS_FIRST; status <= RETRY_STATUS_LAST; status++)
		assert_int_equal(
		        has_status(retry, status), status == 400 || status == 599 || status == 429);
	assert_int_equal(retry->grpc_statuses, 1 << 1 | 1 << 16);
	assert_int_equal(retry->tries, 4);
	assert_int_equal(retry->per_try_timeout_ns, 1000000000);
	assert_int_equal(retry->backoff_ns, INT64_C(10000000000));
	assert_int_equal(retry->budget, 100);
	assert_int_equal(retry->buffer, 4 << 20);
	static const char *const dumped[] = {"tries: 4", "per_try_timeout: 1s",
	        "non_idempotent: true", "backoff: 10s", "budget: 100", "buffer: 4MiB", "timeout",
	        "599", "unauthenticated"};
	for (size_t i = 0; i < ARRAY_LEN(dumped); i++)
		assert_true(dump_holds(config, dumped[i]));
	config_free(config);
	config_problems_fini(&problems);
}

#define AT_RETRY "listeners[0].routes[0].retry"
static const struct {
	const char *rest, *key, *what;
} bad[] = {
        {"backend: b, retry: {tries: 1}", AT_RETRY ".tries", "from 2 to 4"},
        {"backend: b, retry: {tries: 5}", AT_RETRY ".tries", "from 2 to 4"},
        {"backend: b, retry: {on: []}", AT_RETRY ".on", "at least one element"},
        {"backend: b, retry: {on: [reset, sometimes]}", AT_RETRY ".on[1]",
                "expected reset, timeout, an HTTP status from 400 to 599, or a gRPC status"},
        {"backend: b, retry: {on: [ok]}", AT_RETRY ".on[0]", "a gRPC status such as"},
        {"backend: b, retry: {on: [UNAVAILABLE]}", AT_RETRY ".on[0]", "a gRPC status such as"},
        {"backend: b, retry: {on: [399]}", AT_RETRY ".on[0]", "from 400 to 599"},
        {"backend: b, retry: {on: [600]}", AT_RETRY ".on[0]", "from 400 to 599"},
        {"backend: b, retry: {on: [5xx]}", AT_RETRY ".on[0]", "from 400 to 599"},
        {"backend: b, retry: {on: [timeout]}", AT_RETRY ".on", "without per_try_timeout"},
        {"backend: b, retry: {on: [timeout], per_try_timeout: 2h}", AT_RETRY ".per_try_timeout",
                "from 0s to 1h"},
        {"backend: b, timeout: 1s, retry: {per_try_timeout: 1s}", AT_RETRY ".per_try_timeout",
                "the route's timeout is no longer"},
        {"backend: b, timeout: 1s, retry: {per_try_timeout: 2s}", AT_RETRY ".per_try_timeout",
                "expected it shorter, or left out"},
        {"backend: b, retry: {backoff: 11s}", AT_RETRY ".backoff", "from 0s to 10s"},
        {"backend: b, retry: {budget: 101}", AT_RETRY ".budget", "from 0 to 100"},
        {"backend: b, retry: {buffer: 5MiB}", AT_RETRY ".buffer", "4MiB"},
        {"backend: b, retry: {attempts: 2}", AT_RETRY ".attempts", ""},
        {"backend: b, retry: {tires: 2}", AT_RETRY ".tires", "did you mean tries?"},
        {"backend: b, retry: yes", AT_RETRY, ""},
        {"backend: b, retyr: {}", "listeners[0].routes[0].retyr", "did you mean retry?"},
        {"respond: {status: 200}, retry: {}", AT_RETRY, "no effect beside respond"},
        {"redirect: {host: h}, retry: {}", AT_RETRY, "no effect beside redirect"},
};

static void what_is_wrong_is_told_with_its_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_null(parse(bad[i].rest));
		assert_one_problem(&problems, i, bad[i].key, bad[i].what);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(nothing_is_repeated_unless_told),
	        cmocka_unit_test(an_empty_block_has_the_usual),
	        cmocka_unit_test(what_is_given_is_read_and_written),
	        cmocka_unit_test(what_is_wrong_is_told_with_its_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
