#include <glob.h>

#include "tests/conf/loading.h"

static void every_example_parses_and_its_dump_reads_back_the_same(void **state)
{
	(void)state;
	glob_t found;
	assert_int_equal(glob("conf/examples/*.yaml", 0, NULL, &found), 0);
	assert_true(found.gl_pathc >= 4);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct config *config = assert_loads(found.gl_pathv[i]);
		assert_dump_reads_back(config);
		config_free(config);
	}
	globfree(&found);
}

static const char file[] =
        "version: tollgate/v1\n"
        "workers: 3\n"
        "admin: {address: \"unix:run/admin\", allow_remote: true, tls: {certificate_chain: a.pem, "
        "private_key: a.key, trusted_ca: ops.pem, match_subject_alt_names: [spiffe://ops/*]}}\n"
        "audit: {path: stdout, fold_after: 7, on_failure: refuse}\n"
        "redis: {address: \"[::1]:6379\", username: me, password: \"hunter2\", database: 3}\n"
        "listeners:\n"
        "  - name: \"on\"\n"
        "    address: \"[::]:443\"\n"
        "    tls:\n"
        "      certificates: [{certificate_chain: a b.pem, private_key: 'it''s.key'}]\n"
        "      min_version: 1.3\n"
        "      on_unauthenticated: alert\n"
        "      validation_context: {trusted_ca: /ca, match_subject_alt_names: [spiffe://a/*]}\n"
        "    timeouts: {idle: 90s, request: 1500ms, handshake: 0}\n"
        "    limits: {body_bytes: 1048577, header_bytes: 2048}\n"
        "    routes:\n"
        "      - match: {path: /a, hosts: [\"[::1]\", Example.COM]}\n"
        "        respond: {status: 503, body: \"q\\\" b\\\\ n\\n t\\t e\\e \\u00e9 \\U0001F600 "
        "\\u2028\"}\n"
        "        rate_limits: [{rate: 7/h, burst: 3, per: [method, 'header:X-A', source_ip],"
        " max_keys: 9, store: redis, on_failure: deny, lease: 2, cost: {header: X-Cost, max: 3}},"
        " {rate: 7/s, burst: 9, cost: {max: 9, body: 1500}}, {rate: 8/s, burst: 8}]\n";

static struct config *parse_odd(void)
{
	return assert_parses(STR(file), "/etc/tollgate");
}

static void odd_values_survive_the_dump(void **state)
{
	(void)state;
	struct config *config = parse_odd();
	assert_dump_reads_back(config);
	config_free(config);
}

static void the_dump_fills_in_what_is_in_force(void **state)
{
	(void)state;
	static const char *const lines[] = {
	        "workers: 3\n",
	        "drain_timeout: 30s\n",
	        "watch_config: false\n",
	        "  address: \"unix:/etc/tollgate/run/admin\"\n",
	        "  allow_remote: true\n",
	        "  tls:\n    certificate_chain: /etc/tollgate/a.pem\n",
	        "    trusted_ca: /etc/tollgate/ops.pem\n",
	        "    match_subject_alt_names: [\"spiffe://ops/*\"]\n",
	        "  path: stdout\n",
	        "  - name: \"on\"\n",
	        "        - certificate_chain: \"/etc/tollgate/a b.pem\"\n",
	        "      min_version: \"1.3\"\n",
	        "      require_client_certificate: true\n",
	        "      handshake: 0s\n",
	        "      request_headers: 10s\n",
	        "      request: 1500ms\n",
	        "      idle: 90s\n",
	        "      header_bytes: 2KiB\n",
	        "      body_bytes: 1048577\n",
	        "          hosts: [\"[::1]\", example.com]\n",
	        "            per: [method, \"header:x-a\", source_ip]\n",
	        "            cost:\n              header: x-cost\n              max: 3\n",
	        "            cost:\n              body: 1500\n              max: 9\n",
	};
	struct config *config = parse_odd();
	struct buffer out = {0};
	config_dump(config, &out);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (!memmem(buffer_data(&out), buffer_len(&out), lines[i], strlen(lines[i])))
			fail_msg("no '%s' in\n%.*s", lines[i], STR_FMT(buffer_str(&out)));
	buffer_fini(&out);
	config_free(config);
}

static void a_limit_without_cost_is_dumped_without(void **state)
{
	(void)state;
	struct config *config = parse_odd();
	struct buffer out = {0};
	size_t costs = 0;
	config_dump(config, &out);
	buffer_append(&out, "", 1);
	for (const char *at = buffer_data(&out); (at = strstr(at, "cost:")); at++)
		costs++;
	assert_int_equal(config->listeners[0].routes[0].rate_limit_count, 3);
	assert_int_equal(costs, 2);
	buffer_fini(&out);
	config_free(config);
}

static void secrets_stay_out_of_the_dump(void **state)
{
	(void)state;
	struct config *config = parse_odd();
	struct buffer out = {0};
	config_dump(config, &out);
	assert_text(config->redis.password, "hunter2");
	assert_null(memmem(buffer_data(&out), buffer_len(&out), "hunter2", 7));
	assert_non_null(memmem(buffer_data(&out), buffer_len(&out), "<redacted>", 10));
	buffer_fini(&out);
	config_free(config);
}

// The dump has neither, but who rewrites a file must not change it.
static void a_secret_makes_a_difference(void **state)
{
	(void)state;
	char *other = strdup(file);
	memcpy(strstr(other, "hunter2"), "hunter3", strlen("hunter3"));
	struct config *config = parse_odd(), *again = parse_odd();
	struct config *changed = assert_parses(str_from(other), "/etc/tollgate");
	assert_true(config_same(config, again));
	assert_false(config_same(config, changed));
	config_free(config);
	config_free(again);
	config_free(changed);
	free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_example_parses_and_its_dump_reads_back_the_same),
	        cmocka_unit_test(odd_values_survive_the_dump),
	        cmocka_unit_test(the_dump_fills_in_what_is_in_force),
	        cmocka_unit_test(a_limit_without_cost_is_dumped_without),
	        cmocka_unit_test(secrets_stay_out_of_the_dump),
	        cmocka_unit_test(a_secret_makes_a_difference),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
