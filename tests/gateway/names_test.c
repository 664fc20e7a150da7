#include "gateway/names.h"

#include "base/clock.h"
#include "gateway/net/socket.h"
#include "tests/conf/dns_server.h"
#include "tests/conf/loading.h"

// Names are asked for again, on a real loop, of a real name server.

struct bench {
	struct dns_server server;
	struct turn turn;
	struct names names;
	unsigned changes;
	char found[DNS_TEXT];  // what the names said a.test has, when they changed last
};

static const struct config_address a_test = {ADDRESS_INET, .text = {"a.test:80", 9}};
static const struct config_address b_test = {ADDRESS_INET, .text = {"b.test:80", 9}};

static void on_changed(struct names *names)
{
	struct bench *bench = CONTAINER_OF(names, struct bench, names);
	struct endpoints_of_name found = {0};
	size_t len = 0;
	bench->changes++;
	bench->found[0] = '\0';
	if (!names_find(&a_test, &found, names))
		return;
	for (size_t i = 0; i < found.count; i++) {
		char host[SOCKET_ADDRESS_SIZE];
		socket_host_text(&found.addresses[i].socket, host);
		len += (size_t)snprintf(
		        bench->found + len, sizeof(bench->found) - len, "%s%s", i ? " " : "", host);
	}
}

static struct config *parse(const struct bench *bench, const char *ttls, const char *endpoints)
{
	struct buffer text = {0};
	buffer_printf(&text,
	        "version: tollgate/v1\n"
	        "dns: {servers: [\"127.0.0.1:%u\"], %s}\n"
	        "listeners: [{name: a, address: \"127.0.0.1:1\", tls: {certificates: "
	        "[{certificate_chain: c, private_key: k}], validation_context: {trusted_ca: ca, "
	        "match_subject_alt_names: [\"spiffe://a/*\"]}}, routes: [{match: {path: /*}, "
	        "backend: b}]}]\n"
	        "backends: [{name: b, endpoints: [%s]}]\n",
	        bench->server.port, ttls, endpoints);
	struct config *config = assert_parses(buffer_str(&text), "/etc");
	buffer_fini(&text);
	return config;
}

static void use(struct bench *bench, const char *ttls, const char *endpoints)
{
	struct config *config = parse(bench, ttls, endpoints);
	bench->server.asked = 0;
	names_use(&bench->names, config);
	config_free(config);
}

static void turn_once(struct bench *bench)
{
	uv_run(&bench->turn.loop, UV_RUN_ONCE);
}

enum { PATIENCE_S = 20 };
#define until(bench, condition)                                                                    \
	do {                                                                                       \
		int64_t begun_ns = clock_monotonic_ns();                                           \
		while (!(condition)) {                                                             \
			turn_once(bench);                                                          \
			assert_true(                                                               \
			        clock_monotonic_ns() - begun_ns < PATIENCE_S * (int64_t)NS_PER_S); \
		}                                                                                  \
	} while (0)

static int open_bench(void **state)
{
	static struct bench bench;
	bench = (struct bench){.changes = 0};
	dns_open(&bench.server);
	dns_says(&bench.server, DNS_GOOD, 0, "10.0.0.1");
	turn_init(&bench.turn);
	names_begin(&bench.names, &bench.turn, on_changed);
	*state = &bench;
	return 0;
}

// Nothing is left open, which turn_fini proves.
static int close_bench(void **state)
{
	struct bench *bench = *state;
	names_end(&bench->names);
	names_end(&bench->names);
	turn_close(&bench->turn);
	turn_run(&bench->turn);
	turn_fini(&bench->turn);
	dns_close(&bench->server);
	return 0;
}

#define SOON "min_ttl: 100ms, max_ttl: 300ms"

static void other_addresses_are_told_and_the_same_are_not(void **state)
{
	struct bench *bench = *state;
	use(bench, SOON, "\"a.test:80\"");
	until(bench, bench->names.lookups[NAMES_UNCHANGED] == 2);
	assert_int_equal(bench->changes, 0);
	dns_says(&bench->server, DNS_GOOD, 0, "10.0.0.3 10.0.0.1 fd00::1");
	until(bench, bench->changes == 1);
	assert_string_equal(bench->found, "10.0.0.1 10.0.0.3");
	dns_says(&bench->server, DNS_GOOD, 0, "10.0.0.1 10.0.0.3");  // in another order
	uint64_t so_far = bench->names.lookups[NAMES_UNCHANGED];
	until(bench, bench->names.lookups[NAMES_UNCHANGED] == so_far + 2);
	dns_says(&bench->server, DNS_GOOD, 0, "fd00::1");
	until(bench, bench->changes == 2);
	assert_string_equal(bench->found, "fd00::1");
	assert_int_equal(bench->names.lookups[NAMES_CHANGED], 2);
	assert_int_equal(bench->names.lookups[NAMES_FAILED], 0);
}

static void who_cannot_be_resolved_keeps_what_it_has(void **state)
{
	static const struct {
		enum dns_rcode rcode;
		const char *says;
	} table[] = {{DNS_NXDOMAIN, ""}, {DNS_SERVFAIL, ""}, {DNS_GOOD, ""}, {DNS_GOOD, "0.0.0.0"}};
	struct bench *bench = *state;
	use(bench, SOON, "\"a.test:80\"");
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		uint64_t failed = bench->names.lookups[NAMES_FAILED];
		uint64_t good = bench->names.lookups[NAMES_UNCHANGED];
		dns_says(&bench->server, table[i].rcode, 0, table[i].says);
		until(bench, bench->names.lookups[NAMES_FAILED] == failed + 2);
		dns_says(&bench->server, DNS_GOOD, 0, "10.0.0.1");
		until(bench, bench->names.lookups[NAMES_UNCHANGED] == good + 1);
	}
	assert_int_equal(bench->changes, 0);
}

// From one question to the next it is not less; how much more depends on the machine.
static void a_name_is_asked_for_when_its_ttl_has_passed(void **state)
{
	static const struct {
		uint32_t ttl;
		const char *bounds;
		int64_t least_ms;
	} table[] = {{1, "min_ttl: 100ms, max_ttl: 1h", 1000}, {0, "min_ttl: 400ms", 400},
	        {1, "min_ttl: 1300ms", 1300}, {3600, "min_ttl: 100ms, max_ttl: 300ms", 300},
	        {INT32_MAX, "min_ttl: 100ms, max_ttl: 300ms", 300}};
	struct bench *bench = *state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		dns_says(&bench->server, DNS_GOOD, table[i].ttl, "10.0.0.1");
		use(bench, table[i].bounds, "\"a.test:80\"");
		until(bench, bench->server.asked == 1);
		int64_t asked_ns = clock_monotonic_ns();
		until(bench, bench->server.asked == 2);
		int64_t passed_ms = (clock_monotonic_ns() - asked_ns) / NS_PER_MS;
		if (passed_ms < table[i].least_ms - 100)
			fail_msg("row %zu: asked again after %lld ms", i, (long long)passed_ms);
	}
}

static void a_name_with_several_ports_is_one_question(void **state)
{
	struct bench *bench = *state;
	use(bench, SOON, "\"a.test:80\", \"a.test:81\", \"10.0.0.7:80\"");
	until(bench, bench->names.lookups[NAMES_UNCHANGED] == 3);
	assert_true(bench->server.asked >= 3 && bench->server.asked <= 4);
	dns_says(&bench->server, DNS_GOOD, 0, "10.0.0.2");
	until(bench, bench->changes == 1);
	assert_string_equal(bench->found, "10.0.0.2");
}

static void names_that_change_together_are_one_change(void **state)
{
	struct bench *bench = *state;
	use(bench, SOON, "\"a.test:80\", \"b.test:80\", \"c.test:80\"");
	dns_says(&bench->server, DNS_GOOD, 1, "10.0.0.2");
	until(bench, bench->changes > 0 && bench->names.lookups[NAMES_CHANGED] == 3);
	assert_int_equal(bench->changes, 1);
}

// What stood under the first port when the second was resolved was other: both are to have the
// same.
static void two_answers_that_differ_are_mended_by_the_next(void **state)
{
	struct bench *bench = *state;
	struct config *config = parse(bench, SOON, "\"a.test:80\", \"a.test:81\"");
	struct sockaddr_in *second = (struct sockaddr_in *)&config->backends[0].endpoints[1].socket;
	second->sin_addr.s_addr = htonl(0x0a000009);
	names_use(&bench->names, config);
	config_free(config);
	until(bench, bench->changes == 1);
	assert_string_equal(bench->found, "10.0.0.1");
}

static void another_configuration_forgets_the_names_of_the_one_before(void **state)
{
	struct bench *bench = *state;
	struct endpoints_of_name found;
	use(bench, SOON, "\"a.test:80\"");
	dns_says(&bench->server, DNS_SILENT, 0, "");
	until(bench, bench->server.asked > 0);  // and not answered
	use(bench, SOON, "\"127.0.0.1:80\"");
	assert_false(names_find(&a_test, &found, &bench->names));
	dns_says(&bench->server, DNS_GOOD, 0, "10.0.0.5");
	use(bench, SOON, "\"b.test:80\"");
	assert_true(names_find(&b_test, &found, &bench->names));
	until(bench, bench->names.lookups[NAMES_UNCHANGED] == 1);
	assert_int_equal(bench->changes + bench->names.lookups[NAMES_FAILED], 0);
}

static void it_ends_while_a_question_is_open(void **state)
{
	struct bench *bench = *state;
	use(bench, SOON, "\"a.test:80\"");
	dns_says(&bench->server, DNS_SILENT, 0, "");
	until(bench, bench->server.asked > 0);
	int64_t begun_ns = clock_monotonic_ns();
	names_end(&bench->names);
	assert_true(clock_monotonic_ns() - begun_ns < NS_PER_S);
	assert_int_equal(bench->names.lookups[NAMES_FAILED], 0);
}

static void a_silent_server_is_a_failure_in_the_end(void **state)
{
	struct bench *bench = *state;
	use(bench, SOON, "\"a.test:80\"");
	dns_says(&bench->server, DNS_SILENT, 0, "");
	until(bench, bench->names.lookups[NAMES_FAILED] == 1);
	dns_says(&bench->server, DNS_GOOD, 0, "10.0.0.6");
	until(bench, bench->changes == 1);
	assert_string_equal(bench->found, "10.0.0.6");
}

#define ON_A_BENCH(test) cmocka_unit_test_setup_teardown(test, open_bench, close_bench)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        ON_A_BENCH(other_addresses_are_told_and_the_same_are_not),
	        ON_A_BENCH(who_cannot_be_resolved_keeps_what_it_has),
	        ON_A_BENCH(a_name_is_asked_for_when_its_ttl_has_passed),
	        ON_A_BENCH(a_name_with_several_ports_is_one_question),
	        ON_A_BENCH(names_that_change_together_are_one_change),
	        ON_A_BENCH(two_answers_that_differ_are_mended_by_the_next),
	        ON_A_BENCH(another_configuration_forgets_the_names_of_the_one_before),
	        ON_A_BENCH(it_ends_while_a_question_is_open),
	        ON_A_BENCH(a_silent_server_is_a_failure_in_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
