#include "tests/gateway/audit_fixture.h"

#include "gateway/audit_line.h"

static char *body_of(const struct audit_record *record)
{
	struct buffer buffer = {0};
	audit_line_body(&buffer, record);
	buffer_append(&buffer, "", 1);
	return buffer.block;
}

static void assert_body(const struct audit_record *record, const char *expected)
{
	char *body = body_of(record);
	assert_string_equal(body, expected);
	free(body);
}

static void a_full_record_reads_like_the_contracts_example(void **state)
{
	(void)state;
	struct str uri = STR("spiffe://cluster.local/ns/web/sa/cart");
	struct tls_certificate_facts certificate = {
	        .subject = STR("CN=cart"),
	        .issuer = STR("CN=ca"),
	        .serial = STR("0a"),
	        .sha256 = STR("beef"),
	        .not_before = STR("2026-01-01T00:00:00Z"),
	        .not_after = STR("2027-01-01T00:00:00Z"),
	        .uri_sans = &uri,
	        .uri_san_count = 1,
	};
	struct audit_record record = {
	        .event = "rejected",
	        .reason = REASON_rate_limited,
	        .detail = STR("5/s burst 10 per identity"),
	        .principal = uri,
	        .rpc_method = STR("/user.UserService/Login"),
	        .policy_name = STR("edge/user.UserService/Login"),
	        .matched_rule = STR("rate_limits[0]"),
	        .listener = STR("edge"),
	        .answer = {.status = 200, .grpc_status = 8, .retry_after_ms = 180},
	        .client = {.address = STR("127.0.0.1:51512"), .certificate = &certificate},
	        .tls = {.version = STR("TLSv1.3"),
	                .cipher = STR("TLS_AES_128_GCM_SHA256"),
	                .sni = STR("localhost")},
	        .request = {.id = STR("r1"),
	                .trace_id = STR("t1"),
	                .protocol = STR("h2"),
	                .method = STR("POST"),
	                .host = STR("localhost"),
	                .path = STR("/user.UserService/Login")},
	};
	assert_body(&record,
	        "\"event\":\"rejected\",\"authorized\":false,\"reason\":\"rate_limited\","
	        "\"detail\":\"5/s burst 10 per identity\","
	        "\"principal\":\"spiffe://cluster.local/ns/web/sa/cart\","
	        "\"rpc_method\":\"/user.UserService/Login\","
	        "\"policy_name\":\"edge/user.UserService/Login\","
	        "\"matched_rule\":\"rate_limits[0]\",\"listener\":\"edge\","
	        "\"answer\":{\"status\":200,\"grpc_status\":8,\"retry_after_ms\":180},"
	        "\"client\":{\"address\":\"127.0.0.1:51512\",\"certificate\":{"
	        "\"subject\":\"CN=cart\",\"issuer\":\"CN=ca\",\"serial\":\"0a\",\"sha256\":"
	        "\"beef\","
	        "\"not_before\":\"2026-01-01T00:00:00Z\",\"not_after\":\"2027-01-01T00:00:00Z\","
	        "\"uri_sans\":[\"spiffe://cluster.local/ns/web/sa/cart\"],\"dns_sans\":[]}},"
	        "\"tls\":{\"version\":\"TLSv1.3\",\"cipher\":\"TLS_AES_128_GCM_SHA256\","
	        "\"sni\":\"localhost\",\"resumed\":false},"
	        "\"request\":{\"id\":\"r1\",\"trace_id\":\"t1\",\"protocol\":\"h2\","
	        "\"method\":\"POST\",\"host\":\"localhost\",\"path\":\"/user.UserService/Login\"}");
}

static void what_does_not_apply_is_left_out(void **state)
{
	(void)state;
	struct audit_record bare = {.event = "rejected", .reason = REASON_tls_failed};
	assert_body(&bare, "\"event\":\"rejected\",\"authorized\":false,\"reason\":\"tls_failed\"");
	bare.answer.grpc_status = -1;
	bare.client.address = STR("[::1]:9");
	bare.answer.tls_alert = STR("certificate_required");
	assert_body(&bare, "\"event\":\"rejected\",\"authorized\":false,\"reason\":\"tls_failed\","
	                   "\"answer\":{\"tls_alert\":\"certificate_required\"},"
	                   "\"client\":{\"address\":\"[::1]:9\"}");
}

static json_t *parsed(const struct audit_record *record)
{
	char *body = body_of(record);
	for (const char *at = body; *at; at++)
		assert_true((unsigned char)*at >= 0x20 && *at != 0x7f);
	struct buffer line = {0};
	buffer_printf(&line, "{%s}", body);
	json_error_t error;
	json_t *object = json_loadb(buffer_data(&line), buffer_len(&line),
	        JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!object)
		fail_msg("%s", error.text);
	buffer_fini(&line);
	free(body);
	return object;
}

static void text_from_the_network_forges_nothing(void **state)
{
	(void)state;
	struct audit_record record = refusal(REASON_no_route, "127.0.0.1:1");
	const struct str path = STR(
	        "/\",\"authorized\":true,\"x\":\"\r\n{\"seq\":1}\0\x1b[2J\x7f\xff\xc2\x85");
	record.request.protocol = STR("h2");
	record.request.path = record.detail = record.principal = record.request.host = path;
	json_t *object = parsed(&record);
	assert_true(json_is_false(json_object_get(object, "authorized")));
	json_t *told = json_object_get(json_object_get(object, "request"), "path");
	const char *expected = "/\",\"authorized\":true,\"x\":\"\r\n{\"seq\":1}";
	assert_memory_equal(json_string_value(told), expected, strlen(expected) + 1);
	json_decref(object);
}

static void every_text_is_bounded_and_cut_between_characters(void **state)
{
	(void)state;
	enum { HUGE_BYTES = 100000 };
	char *huge = malloc(HUGE_BYTES);
	for (size_t shift = 0; shift < 4; shift++) {
		memset(huge, 'a', shift);
		for (size_t i = shift; i + 4 <= HUGE_BYTES; i += 4)
			memcpy(huge + i, "\xf0\x9f\x92\xa9", 4);
		struct audit_record record = refusal(REASON_no_route, "127.0.0.1:1");
		record.detail = str_of(huge, HUGE_BYTES - 4);
		json_t *object = parsed(&record);
		const char *detail = json_string_value(json_object_get(object, "detail"));
		size_t len = strlen(detail);
		assert_true(len <= AUDIT_TEXT_BYTES + 3 && len > AUDIT_TEXT_BYTES - 3);
		assert_string_equal(detail + len - 3, "\xe2\x80\xa6");
		assert_null(strstr(detail, "\xef\xbf\xbd"));  // no half character before it
		json_decref(object);
	}
	free(huge);
}

// The worst a peer can do: every text huge and every byte one that takes six to escape.
static void the_worst_record_stays_below_a_megabyte(void **state)
{
	(void)state;
	enum { HUGE_BYTES = 65536, NAMES = 5000 };
	char *huge = malloc(HUGE_BYTES);
	memset(huge, 0x01, HUGE_BYTES);
	struct str worst = str_of(huge, HUGE_BYTES), *names = calloc(NAMES, sizeof(*names));
	for (size_t i = 0; i < NAMES; i++)
		names[i] = i % 2 ? worst : str_of(huge, i % 7);
	struct tls_certificate_facts certificate = {worst, worst, worst, worst, worst, worst,
	        .uri_sans = names, .uri_san_count = NAMES, .dns_sans = names,
	        .dns_san_count = NAMES};
	struct audit_record record = {.event = "rejected",
	        .reason = REASON_certificate_invalid,
	        .detail = worst,
	        .principal = worst,
	        .rpc_method = worst,
	        .policy_name = worst,
	        .matched_rule = worst,
	        .listener = worst,
	        .answer = {.tls_alert = worst},
	        .client = {.address = worst, .certificate = &certificate},
	        .tls = {worst, worst, worst, true},
	        .request = {worst, worst, worst, worst, worst, worst}};
	json_decref(parsed(&record));
	char *body = body_of(&record);
	assert_true(strlen(body) < 700 * 1024);
	free(body);
	free(names);
	free(huge);
}

static void a_certificates_names_end_in_an_ellipsis_when_there_are_too_many(void **state)
{
	(void)state;
	enum { NAMES = 1000 };
	static struct str names[NAMES];
	for (size_t i = 0; i < NAMES; i++)
		names[i] = STR("spiffe://cluster.local/one");
	struct tls_certificate_facts certificate = {.uri_sans = names, .uri_san_count = NAMES};
	struct audit_record record = refusal(REASON_identity_ambiguous, "127.0.0.1:1");
	record.client.certificate = &certificate;
	json_t *object = parsed(&record);
	json_t *told = json_object_get(
	        json_object_get(json_object_get(object, "client"), "certificate"), "uri_sans");
	size_t count = json_array_size(told);
	assert_true(count > 200 && count < 400);
	assert_string_equal(
	        json_string_value(json_array_get(told, 0)), "spiffe://cluster.local/one");
	assert_string_equal(json_string_value(json_array_get(told, count - 1)), "\xe2\x80\xa6");
	json_decref(object);
}

static void likeness_is_reason_principal_listener_policy_rule_and_host(void **state)
{
	(void)state;
	struct audit_record base = refusal(REASON_rate_limited, "10.0.0.1:1000");
	base.principal = STR("spiffe://a/b");
	base.policy_name = STR("edge/x");
	struct audit_record rows[9];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		rows[i] = base;
	rows[0].client.address = STR("10.0.0.1:2000");
	rows[1].detail = STR("another");
	rows[2].reason = REASON_no_route;
	rows[3].principal = STR("spiffe://a/c");
	rows[4].listener = STR("edge2");
	rows[5].policy_name = STR("edge/y");
	rows[6].client.address = STR("10.0.0.2:1000");
	rows[8].matched_rule = STR("flow_limits[1]");
	rows[7].principal = STR("spiffe://a/b\x04");  // lengths keep neighbours apart
	struct buffer key = {0}, other = {0};
	audit_line_key(&key, &base);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buffer_clear(&other);
		audit_line_key(&other, &rows[i]);
		assert_int_equal(str_eq(buffer_str(&key), buffer_str(&other)), i < 2);
	}
	buffer_fini(&key);
	buffer_fini(&other);
}

static void the_port_is_what_follows_the_last_colon(void **state)
{
	(void)state;
	static const struct {
		const char *one, *other;
		bool like;
	} rows[] = {
	        {"[::1]:1", "[::1]:2", true},
	        {"[::1]:1", "[::2]:1", false},
	        {"unix:/run/a", "unix:/run/b", false},
	        {"", "", true},
	        {"10.0.0.1", "10.0.0.1:5", true},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct audit_record one = refusal(REASON_no_route, rows[i].one);
		struct audit_record other = refusal(REASON_no_route, rows[i].other);
		struct buffer a = {0}, b = {0};
		audit_line_key(&a, &one);
		audit_line_key(&b, &other);
		assert_int_equal(str_eq(buffer_str(&a), buffer_str(&b)), rows[i].like);
		buffer_fini(&a);
		buffer_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_full_record_reads_like_the_contracts_example),
	        cmocka_unit_test(what_does_not_apply_is_left_out),
	        cmocka_unit_test(text_from_the_network_forges_nothing),
	        cmocka_unit_test(every_text_is_bounded_and_cut_between_characters),
	        cmocka_unit_test(the_worst_record_stays_below_a_megabyte),
	        cmocka_unit_test(a_certificates_names_end_in_an_ellipsis_when_there_are_too_many),
	        cmocka_unit_test(likeness_is_reason_principal_listener_policy_rule_and_host),
	        cmocka_unit_test(the_port_is_what_follows_the_last_colon),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
