#include "tests/conf/loading.h"

#define REST                                                                                       \
	"listeners: [{name: a, address: \"127.0.0.1:1\", tls: {certificates: "                     \
	"[{certificate_chain: c, "                                                                 \
	"private_key: k}], validation_context: {trusted_ca: ca, match_subject_alt_names: "         \
	"[\"spiffe://a/*\"]}}, routes: [{match: {path: /*}, respond: {status: 200}}]}]\n"

static struct config_problems problems;

static struct config *parse(const char *tracing)
{
	struct buffer text = {0};
	buffer_printf(&text, "version: tollgate/v1\n%s\n" REST, tracing);
	struct config *config = config_parse(buffer_str(&text), "t.yaml", "/etc", &problems);
	buffer_fini(&text);
	return config;
}

static void off_unless_given(void **state)
{
	(void)state;
	struct config *config = parse("");
	struct buffer dump = {0};
	assert_non_null(config);
	assert_int_equal(config->tracing.endpoint.text.len, 0);
	config_dump(config, &dump);
	assert_null(memmem(buffer_data(&dump), buffer_len(&dump), "tracing", 7));
	buffer_fini(&dump);
	config_free(config);
	config_problems_fini(&problems);
}

static void defaults_are_filled_in(void **state)
{
	(void)state;
	struct config *config = parse("tracing: {endpoint: \"http://[::1]:4318/v1/traces\"}");
	assert_non_null(config);
	const struct config_tracing *tracing = &config->tracing;
	assert_text(tracing->endpoint.host, "::1");
	assert_int_equal(tracing->endpoint.port, 4318);
	assert_false(tracing->endpoint.https);
	assert_true(tracing->sample == 1);
	assert_text(tracing->service_name.text, "tollgate");
	assert_int_equal(tracing->timeout_ns, INT64_C(10000000000));
	assert_int_equal(tracing->queue, 2048);
	assert_int_equal(tracing->batch, 512);
	config_free(config);
	config_problems_fini(&problems);
}

static void all_of_it_reads_back_but_for_its_secrets(void **state)
{
	(void)state;
	struct config *config = parse(
	        "tracing: {endpoint: \"https://otel.example/x?y\", sample: 0.0625, service_name: "
	        "e-1, "
	        "headers: [{name: Authorization, value: \"Bearer s3cret\"}], trusted_ca: r.pem, "
	        "timeout: 250ms, queue: 7, batch: 7}");
	struct buffer dump = {0};
	assert_non_null(config);
	assert_int_equal(config->tracing.endpoint.port, 443);
	assert_true(config->tracing.endpoint.https);
	assert_text(config->tracing.trusted_ca.text, "/etc/r.pem");
	assert_text(config->tracing.headers[0].value, "Bearer s3cret");
	config_dump(config, &dump);
	assert_null(memmem(buffer_data(&dump), buffer_len(&dump), "s3cret", 6));
	assert_non_null(memmem(buffer_data(&dump), buffer_len(&dump), "sample: 0.0625\n", 15));
	struct config *again = assert_parses(buffer_str(&dump), "/elsewhere");
	assert_true(again->tracing.sample == 0.0625);
	assert_int_equal(again->tracing.batch, 7);
	config_free(again);
	config_free(config);
	buffer_fini(&dump);
	config_problems_fini(&problems);
}

#define HTTP "endpoint: \"http://a:1/t\""
static const struct {
	const char *tracing, *key, *what;
} bad[] = {
        {"{sample: 1}", "tracing.endpoint", "is missing"},
        {"{endpoint: \"127.0.0.1:4318\"}", "tracing.endpoint", "expected a URL"},
        {"{endpoint: \"grpc://a:1/t\"}", "tracing.endpoint", "expected a URL"},
        {"{endpoint: \"http://a:1\"}", "tracing.endpoint", "with its path"},
        {"{endpoint: \"http:///t\"}", "tracing.endpoint", "expected a URL"},
        {"{endpoint: \"http://[::1/t\"}", "tracing.endpoint", "expected a URL"},
        {"{endpoint: \"http://a:0/t\"}", "tracing.endpoint", "expected a URL"},
        {"{endpoint: \"http://a:65536/t\"}", "tracing.endpoint", "expected a URL"},
        {"{endpoint: \"http://a:/t\"}", "tracing.endpoint", "expected a URL"},
        {"{endpoint: \"http://u:p@a/t\"}", "tracing.endpoint", "expected a URL"},
        {"{endpoint: \"http://a/t#x\"}", "tracing.endpoint", "expected a URL"},
        {"{endpoint: \"http://a/t x\"}", "tracing.endpoint", "expected a URL"},
        {"{" HTTP ", sample: 1.01}", "tracing.sample", "expected a number from 0 to 1"},
        {"{" HTTP ", sample: -0.1}", "tracing.sample", "expected a number from 0 to 1"},
        {"{" HTTP ", sample: 0x1}", "tracing.sample", "expected a number from 0 to 1"},
        {"{" HTTP ", sample: 1e-3}", "tracing.sample", "expected a number from 0 to 1"},
        {"{" HTTP ", sample: 0.1.2}", "tracing.sample", "expected a number from 0 to 1"},
        {"{" HTTP ", sample: nan}", "tracing.sample", "expected a number from 0 to 1"},
        {"{" HTTP ", sampl: 1}", "tracing.sampl", "did you mean sample?"},
        {"{" HTTP ", service_name: \"a b\"}", "tracing.service_name", "expected a name"},
        {"{" HTTP ", headers: [{name: x}]}", "tracing.headers[0].value", "is missing"},
        {"{" HTTP ", headers: [{name: \"x y\", value: z}]}", "tracing.headers[0].name",
                "found 'x y'"},
        {"{" HTTP ", headers: [{name: Host, value: z}]}", "tracing.headers[0].name",
                "the gateway sets itself"},
        {"{" HTTP ", headers: [{name: x, value: \"a\\r\\nb: c\"}]}", "tracing.headers[0].value",
                "found no usable password"},
        {"{" HTTP ", trusted_ca: r}", "tracing.trusted_ca", "can have no effect"},
        {"{endpoint: \"https://a/t\"}", "tracing", "expected trusted_ca beside it"},
        {"{" HTTP ", queue: 5, batch: 6}", "tracing.batch", "expected at most 5"},
        {"{" HTTP ", queue: 5}", "tracing", "expected at most 5"},
        {"{" HTTP ", timeout: 0}", "tracing.timeout", "from 1ms to 1m"},
};

static void what_is_wrong_is_told_with_its_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct buffer line = {0};
		buffer_printf(&line, "tracing: %s", bad[i].tracing);
		buffer_append(&line, "", 1);
		struct config *config = parse(buffer_data(&line));
		if (config || problems.count != 1 ||
		        !str_starts(problems.items[0].key, str_from(bad[i].key)) ||
		        !memmem(problems.items[0].what.at, problems.items[0].what.len, bad[i].what,
		                strlen(bad[i].what)))
			fail_msg("%s: %zu problems, %.*s: %.*s", bad[i].tracing, problems.count,
			        problems.count ? (int)problems.items[0].key.len : 0,
			        problems.count ? problems.items[0].key.at : "",
			        problems.count ? (int)problems.items[0].what.len : 0,
			        problems.count ? problems.items[0].what.at : "");
		buffer_fini(&line);
		config_problems_fini(&problems);
		problems = (struct config_problems){0};
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(off_unless_given),
	        cmocka_unit_test(defaults_are_filled_in),
	        cmocka_unit_test(all_of_it_reads_back_but_for_its_secrets),
	        cmocka_unit_test(what_is_wrong_is_told_with_its_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
