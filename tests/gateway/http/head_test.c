#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "gateway/http/head.h"

static void fields_keep_their_order_and_repeats(void **state)
{
	(void)state;
	struct arena arena = {0};
	struct fields fields = {0};
	for (int i = 0; i < 100; i++)
		fields_add(&fields, &arena, i % 3 ? STR("a") : STR("b"),
		        arena_printf(&arena, "%d", i));
	assert_int_equal(fields.count, 100);
	assert_true(str_eq(fields_get(&fields, STR("a")), STR("1")));
	assert_true(str_eq(fields_find(&fields, STR("b"))->value, STR("0")));
	assert_null(fields_find(&fields, STR("c")));
	assert_int_equal(fields_get(&fields, STR("c")).len, 0);
	fields_remove(&fields, STR("a"));
	assert_int_equal(fields.count, 34);
	for (size_t i = 0; i < fields.count; i++)
		assert_true(str_eq(fields.items[i].value, arena_printf(&arena, "%zu", 3 * i)));
	arena_fini(&arena);
}

static void values_of_one_name_are_joined(void **state)
{
	(void)state;
	struct arena arena = {0};
	struct fields fields = {0};
	assert_int_equal(fields_joined(&fields, STR("a"), &arena).len, 0);
	fields_add(&fields, &arena, STR("a"), STR("1"));
	fields_add(&fields, &arena, STR("b"), STR("x"));
	assert_true(str_eq(fields_joined(&fields, STR("a"), &arena), STR("1")));
	fields_add(&fields, &arena, STR("a"), STR(""));
	fields_add(&fields, &arena, STR("a"), STR("2, 3"));
	assert_true(str_eq(fields_joined(&fields, STR("a"), &arena), STR("1, , 2, 3")));
	assert_true(
	        str_eq(fields_joined_with(&fields, STR("a"), STR("; "), &arena), STR("1; ; 2, 3")));
	arena_fini(&arena);
}

static void grpc_is_known_by_its_content_type(void **state)
{
	(void)state;
	static const struct {
		struct str type;
		bool grpc;
	} rows[] = {
	        {{"application/grpc", 16}, true},
	        {{"application/grpc+proto", 22}, true},
	        {{"application/grpc;x", 18}, true},
	        {{"Application/GRPC", 16}, true},
	        {{"application/grp", 15}, false},
	        {{"application/json", 16}, false},
	        {{"", 0}, false},
	        {{" application/grpc", 17}, false},
	};
	struct arena arena = {0};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct head head;
		head_request(&head);
		fields_add(&head.fields, &arena, STR("content-type"), rows[i].type);
		assert_int_equal(head_is_grpc(&head), rows[i].grpc);
	}
	arena_fini(&arena);
}

static void every_byte_is_judged_in_names_values_targets_and_hosts(void **state)
{
	(void)state;
	static const char tokens[] = "!#$%&'*+-.^_`|~0123456789"
	                             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char hosts[] =
	        "-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	for (int i = 0; i < 256; i++) {
		char text[2] = {'/', (char)i}, host[3] = {'a', (char)i, 'b'};
		bool control = i < 0x20 || i == 0x7f;
		assert_int_equal(field_name_valid(str_of(text + 1, 1)), i && strchr(tokens, i));
		assert_int_equal(field_value_valid(str_of(text + 1, 1)), !control || i == '\t');
		assert_int_equal(target_valid(str_of(text, 2)),
		        !control && i != ' ' && i < 0x80 && i != '#');
		assert_int_equal(authority_valid(str_of(host, 3)), i && strchr(hosts, i));
	}
	assert_false(field_name_valid(STR("")));
	assert_true(field_value_valid(STR("")));
	assert_false(target_valid(STR("")));
	assert_false(target_valid(STR("a/")));
}

static void an_authority_is_a_host_and_perhaps_a_port(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool valid;
	} rows[] = {
	        {"a", true},
	        {"a.b", true},
	        {"a.b.", true},
	        {"a:1", true},
	        {"a:", true},
	        {"a:65535", true},
	        {"127.0.0.1:80", true},
	        {"[::1]", true},
	        {"[::1]:80", true},
	        {"[::ffff:1.2.3.4]", true},
	        {"", false},
	        {":80", false},
	        {"a:65536", false},
	        {"a:-1", false},
	        {"a:+1", false},
	        {"a:1:2", false},
	        {"a: 1", false},
	        {"a:x", false},
	        {"a b", false},
	        {"a,b", false},
	        {"u@a", false},
	        {"a/b", false},
	        {"a?b", false},
	        {"a#b", false},
	        {"a\\b", false},
	        {"a%41", false},
	        {"[", false},
	        {"]", false},
	        {"[::1", false},
	        {"[::1]x", false},
	        {"[::1]:", true},
	        {"[::1]:x", false},
	        {"[::1%25eth0]", false},
	        {"[v1.x]", false},
	        {"::1", false},
	        {"\"a\"", false},
	        {"a\xc3\xa9", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (authority_valid(str_from(rows[i].text)) != rows[i].valid)
			fail_msg("%s is judged wrong", rows[i].text);
}

static void what_belongs_to_one_hop_goes_no_further(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		bool hop, trailer;  // dropped as a field, as a trailer
	} rows[] = {
	        {"connection", true, true},
	        {"keep-alive", true, true},
	        {"proxy-connection", true, true},
	        {"te", true, true},
	        {"upgrade", true, true},
	        {"http2-settings", true, true},
	        {"transfer-encoding", true, true},
	        {"proxy-authenticate", true, true},
	        {"proxy-authorization", true, true},
	        {"trailer", false, true},
	        {"host", false, true},
	        {"content-length", false, true},
	        {"content-type", false, true},
	        {"content-encoding", false, true},
	        {"content-range", false, true},
	        {"authorization", false, true},
	        {"cookie", false, true},
	        {"set-cookie", false, true},
	        {"cache-control", false, true},
	        {"expect", false, true},
	        {"range", false, true},
	        {"max-forwards", false, true},
	        {"forwarded", false, true},
	        {"x-forwarded-client-cert", false, true},
	        {"x_forwarded_client_cert", false, true},
	        {"x-forwarded-for", false, true},
	        {"x-request-id", false, true},
	        {"traceparent", false, true},
	        {"grpc-timeout", false, true},
	        {"grpc-status", false, false},
	        {"grpc-message", false, false},
	        {"grpc-status-details-bin", false, false},
	        {"x-sum", false, false},
	        {"etag", false, false},
	        {"accept", false, false},
	        {"te2", false, false},
	        {"connectio", false, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (field_is_hop_by_hop(str_from(rows[i].name)) != rows[i].hop)
			fail_msg("%s as a field", rows[i].name);
		if (field_forbidden_in_trailers(str_from(rows[i].name)) != rows[i].trailer)
			fail_msg("%s as a trailer", rows[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(fields_keep_their_order_and_repeats),
	        cmocka_unit_test(values_of_one_name_are_joined),
	        cmocka_unit_test(grpc_is_known_by_its_content_type),
	        cmocka_unit_test(every_byte_is_judged_in_names_values_targets_and_hosts),
	        cmocka_unit_test(an_authority_is_a_host_and_perhaps_a_port),
	        cmocka_unit_test(what_belongs_to_one_hop_goes_no_further),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
