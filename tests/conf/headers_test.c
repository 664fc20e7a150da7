#include "tests/conf/loading.h"

#define FILE_(routes)                                                                              \
	"version: tollgate/v1\n"                                                                   \
	"listeners: [{name: a, address: \"127.0.0.1:1\", tls: {certificates: "                     \
	"[{certificate_chain: c, "                                                                 \
	"private_key: k}], validation_context: {trusted_ca: ca, match_subject_alt_names: "         \
	"[\"spiffe://a/*\"]}}, routes: [" routes "]}]\n"                                           \
	"backends: [{name: b, endpoints: [\"127.0.0.1:2\"]}]\n"
#define ROUTE "{match: {path: /*}, backend: b, %s}"

static struct config_problems problems;

static struct config *parse(const char *rules)
{
	struct buffer text = {0};
	buffer_printf(&text, FILE_(ROUTE), rules);
	struct config *config = config_parse(buffer_str(&text), "t.yaml", "/etc", &problems);
	buffer_fini(&text);
	return config;
}

static const struct config_route *route_of(const struct config *config)
{
	assert_non_null(config);
	return &config->listeners[0].routes[0];
}

static void rules_are_read_and_names_are_lower_case(void **state)
{
	(void)state;
	struct config *config = parse(
	        "request_headers: {set: [{name: X-Tenant, value: web}], add: [{name: x-Via, value: "
	        "a}, {name: x-via, value: b}], remove: [X-Debug, cookie]}");
	const struct config_route *route = route_of(config);
	const struct config_field_rules *rules = &route->request_headers;
	assert_true(rules->any);
	assert_false(route->response_headers.any);
	assert_int_equal(rules->set_count, 1);
	assert_text(rules->set[0].name.text, "x-tenant");
	assert_int_equal(rules->add_count, 2);
	assert_text(rules->add[1].value.text, "b");
	assert_int_equal(rules->remove.count, 2);
	assert_text(rules->remove.items[0].text, "x-debug");
	config_free(config);
	config_problems_fini(&problems);
}

static void values_are_text_and_placeholders(void **state)
{
	(void)state;
	static const struct {
		const char *value;
		struct {
			enum config_placeholder placeholder;
			const char *text;
		} parts[6];
		size_t count;
	} rows[] = {
	        {"plain", {{PLACEHOLDER_NONE, "plain"}}, 1},
	        {"%{identity}", {{PLACEHOLDER_IDENTITY, NULL}}, 1},
	        {"<%{route}>",
	                {{PLACEHOLDER_NONE, "<"}, {PLACEHOLDER_ROUTE, NULL},
	                        {PLACEHOLDER_NONE, ">"}},
	                3},
	        {"%{request_id}%{identity}",
	                {{PLACEHOLDER_REQUEST_ID, NULL}, {PLACEHOLDER_IDENTITY, NULL}}, 2},
	        {"50% off", {{PLACEHOLDER_NONE, "50"}, {PLACEHOLDER_NONE, "% off"}}, 2},
	        {"%", {{PLACEHOLDER_NONE, "%"}}, 1},
	        {"%%{identity}", {{PLACEHOLDER_NONE, "%{"}, {PLACEHOLDER_NONE, "identity}"}}, 2},
	        {"%%%{route}",
	                {{PLACEHOLDER_NONE, "%"}, {PLACEHOLDER_NONE, "%{"},
	                        {PLACEHOLDER_NONE, "route}"}},
	                3},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char rules[256];
		snprintf(rules, sizeof(rules), "request_headers: {set: [{name: x, value: \"%s\"}]}",
		        rows[i].value);
		struct config *config = parse(rules);
		const struct config_value *value = &route_of(config)->request_headers.set[0].value;
		assert_int_equal(value->part_count, rows[i].count);
		for (size_t k = 0; k < value->part_count; k++) {
			assert_int_equal(value->parts[k].placeholder, rows[i].parts[k].placeholder);
			if (rows[i].parts[k].text)
				assert_text(value->parts[k].text, rows[i].parts[k].text);
		}
		config_free(config);
		config_problems_fini(&problems);
	}
}

static void the_dump_reads_back_and_tells_no_value_meant_for_backends(void **state)
{
	(void)state;
	struct config *config = parse(
	        "request_headers: {set: [{name: authorization, value: \"Bearer s3cret\"}], "
	        "remove: [x-a]}, response_headers: {add: [{name: x-b, value: \"c: %{route}\"}]}");
	struct buffer dump = {0};
	(void)route_of(config);
	config_dump(config, &dump);
	assert_null(memmem(buffer_data(&dump), buffer_len(&dump), "s3cret", 6));
	struct config *again = assert_parses(buffer_str(&dump), "/elsewhere");
	assert_text(route_of(again)->response_headers.add[0].value.text, "c: %{route}");
	assert_text(route_of(again)->request_headers.remove.items[0].text, "x-a");
	config_free(again);
	config_free(config);
	buffer_fini(&dump);
	config_problems_fini(&problems);
}

#define SET(name, value) "{set: [{name: \"" name "\", value: \"" value "\"}]}"
#define REQUEST "request_headers"
#define RESPONSE "response_headers"

static const struct {
	const char *direction, *rules, *key, *what;
} bad[] = {
        {REQUEST, "{}", "", "changes nothing; expected set, add or remove"},
        {REQUEST, "{set: []}", ".set", "is an empty list"},
        {REQUEST, "{delete: [x]}", ".delete", "is no key here; expected set, add or remove"},
        {REQUEST, SET("a b", "x"), ".set[0].name", "expected the name of a header field"},
        {REQUEST, SET("a:", "x"), ".set[0].name", "expected the name of a header field"},
        {REQUEST, SET("x-a\\r\\nb", "x"), ".set[0].name", "expected the name of a header field"},
        {REQUEST, SET("", "x"), ".set[0].name", "expected the name of a header field"},
        {REQUEST, SET("x-a", "a\\r\\nx-forwarded-client-cert: b"), ".set[0].value",
                "found no usable value, expected a text of at most 4KiB without control"},
        {REQUEST, SET("x-a", "a\\nb"), ".set[0].value", "found no usable value"},
        {REQUEST, SET("x-a", "a\\0b"), ".set[0].value", "found no usable value"},
        {REQUEST, SET("x-a", "\\x7f"), ".set[0].value", "found no usable value"},
        {REQUEST, SET("x-a", ""), ".set[0].value", "found no usable value"},
        {REQUEST, SET("x-a", " a"), ".set[0].value", "without a space at either end"},
        {REQUEST, SET("x-a", "a "), ".set[0].value", "without a space at either end"},
        {REQUEST, SET("x-a", "%{user}"), ".set[0].value",
                "holds '%{user}', which is no placeholder; expected %{identity}, %{route} or "
                "%{request_id}, or %%{ where the text shall be %{"},
        {REQUEST, SET("x-a", "%{Identity}"), ".set[0].value", "is no placeholder"},
        {REQUEST, SET("x-a", "a %{identity"), ".set[0].value", "a %{ without its }"},
        {REQUEST, SET(":authority", "x"), ".set[0].name",
                "found ':authority', which is a pseudo-header field; expected another"},
        {RESPONSE, SET(":status", "200"), ".set[0].name", "which is a pseudo-header field"},
        {REQUEST, SET("Host", "x"), ".set[0].name", "rewritten as a host"},
        {REQUEST, SET("X-Forwarded-Client-Cert", "x"), ".set[0].name",
                "by which the gateway says who called and how; expected another"},
        {REQUEST, SET("x_forwarded_client-cert", "x"), ".set[0].name", "who called and how"},
        {REQUEST, "{remove: [x-forwarded-client-cert]}", ".remove[0]", "who called and how"},
        {REQUEST, "{add: [{name: x-forwarded-for, value: a}]}", ".add[0].name",
                "who called and how"},
        {REQUEST, SET("x-forwarded-proto", "http"), ".set[0].name", "who called and how"},
        {REQUEST, SET("x-forwarded-host", "a"), ".set[0].name", "who called and how"},
        {REQUEST, "{remove: [x-request-id]}", ".remove[0]", "ties a request to its records"},
        {RESPONSE, "{remove: [x-request-id]}", ".remove[0]", "ties a request to its records"},
        {REQUEST, "{remove: [traceparent]}", ".remove[0]", "ties a request to its records"},
        {REQUEST, "{remove: [tracestate]}", ".remove[0]", "ties a request to its records"},
        {REQUEST, SET("content-length", "1"), ".set[0].name", "which frames the message"},
        {RESPONSE, SET("Content_Length", "1"), ".set[0].name", "which frames the message"},
        {REQUEST, SET("transfer-encoding", "chunked"), ".set[0].name", "which frames the message"},
        {RESPONSE, "{remove: [trailer]}", ".remove[0]", "which frames the message"},
        {REQUEST, SET("expect", "100-continue"), ".set[0].name", "which frames the message"},
        {REQUEST, SET("connection", "close"), ".set[0].name", "which belongs to one connection"},
        {REQUEST, SET("keep-alive", "1"), ".set[0].name", "which belongs to one connection"},
        {REQUEST, SET("proxy-connection", "1"), ".set[0].name", "belongs to one connection"},
        {REQUEST, SET("upgrade", "h2c"), ".set[0].name", "which belongs to one connection"},
        {REQUEST, SET("http2-settings", "a"), ".set[0].name", "which belongs to one connection"},
        {REQUEST, SET("te", "trailers"), ".set[0].name", "which belongs to one connection"},
        {REQUEST, "{remove: [te]}", ".remove[0]", "which belongs to one connection"},
        {RESPONSE, "{remove: [proxy-authenticate]}", ".remove[0]", "belongs to one connection"},
        {REQUEST, "{remove: [proxy-authorization]}", ".remove[0]", "belongs to one connection"},
        {REQUEST, SET("grpc-timeout", "1S"), ".set[0].name", "which belongs to gRPC"},
        {RESPONSE, SET("grpc-status", "0"), ".set[0].name", "which belongs to gRPC"},
        {RESPONSE, "{remove: [Grpc_Message]}", ".remove[0]", "which belongs to gRPC"},
        {REQUEST, SET("content-type", "a/b"), ".set[0].name", "by which gRPC calls were told"},
        {RESPONSE, SET("content-type", "Application/gRPC+proto"), ".set[0].name",
                "makes a gRPC answer of one that is none"},
        {RESPONSE, "{add: [{name: content-type, value: a/b}]}", ".add[0].name",
                "adds a second content-type; expected it in set"},
        {REQUEST, "{set: [{name: x-a, value: b}, {name: X_A, value: c}]}", ".set[1].name",
                "is set twice, first in line 2; expected it once, and further values in add"},
        {REQUEST, "{set: [{name: x-a, value: b}], remove: [x_a]}", ".remove[0]",
                "can have no effect: set takes away what is there, too"},
        {REQUEST, "{add: [{name: x-a, value: b}], remove: [x-a]}", ".remove[0]",
                "is removed and added; expected it in set, which does both"},
        {REQUEST, "{remove: [x-a, X-A]}", ".remove[1]", "stands twice in the list"},
        {REQUEST, "{remove: [x-a, x_a]}", ".remove[1]",
                "can have no effect: 'x-a' takes away this spelling, too"},
};

static void what_is_wrong_is_told_with_its_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char rules[512], key[128];
		snprintf(rules, sizeof(rules), "%s: %s", bad[i].direction, bad[i].rules);
		snprintf(key, sizeof(key), "listeners[0].routes[0].%s%s", bad[i].direction,
		        bad[i].key);
		struct config *config = parse(rules);
		const struct config_problem *problem = problems.items;
		if (config || problems.count != 1 || !str_eq(problem->key, str_from(key)) ||
		        !memmem(problem->what.at, problem->what.len, bad[i].what,
		                strlen(bad[i].what))) {
			config_problems_print(&problems, 2);
			fail_msg("%s: %zu problems; expected %s: %s", rules, problems.count, key,
			        bad[i].what);
		}
		config_problems_fini(&problems);
		problems = (struct config_problems){0};
	}
}

static void a_request_that_goes_nowhere_has_no_headers_to_change(void **state)
{
	(void)state;
	struct config *config = config_parse(
	        STR(FILE_("{match: {path: /a}, respond: {status: 200}, request_headers: {remove: "
	                  "[x-a]}, response_headers: {remove: [x-b]}}, {match: {path: /b}, "
	                  "backend: b}")),
	        "t.yaml", "/etc", &problems);
	config_problems_print(&problems, 2);
	assert_null(config);
	assert_int_equal(problems.count, 1);
	assert_text(problems.items[0].key, "listeners[0].routes[0].request_headers");
	assert_text(
	        problems.items[0].what, "can have no effect beside respond; expected it left out");
	config_problems_fini(&problems);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(rules_are_read_and_names_are_lower_case),
	        cmocka_unit_test(values_are_text_and_placeholders),
	        cmocka_unit_test(the_dump_reads_back_and_tells_no_value_meant_for_backends),
	        cmocka_unit_test(what_is_wrong_is_told_with_its_key),
	        cmocka_unit_test(a_request_that_goes_nowhere_has_no_headers_to_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
