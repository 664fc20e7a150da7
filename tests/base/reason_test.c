#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/reason.h"

static void every_row_has_a_name_and_a_title(void **state)
{
	(void)state;
	assert_string_equal(reason_name(REASON_NONE), "none");
	for (enum reason reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
		const char *name = reason_name(reason);
		assert_true(strlen(name) > 3);
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
		assert_true(strlen(reason_title(reason)) > 10);
		assert_null(strpbrk(reason_title(reason), "\"\\\r\n%"));
	}
}

static void names_are_unique(void **state)
{
	(void)state;
	for (enum reason a = REASON_NONE; a < REASON_COUNT; a++)
		for (enum reason b = a + 1; b < REASON_COUNT; b++)
			assert_string_not_equal(reason_name(a), reason_name(b));
}

static void answers_are_those_of_the_contract(void **state)
{
	(void)state;
	static const struct {
		enum reason reason;
		int http, grpc;
	} rows[] = {
	        {REASON_certificate_missing, 403, 16},
	        {REASON_certificate_revoked, 403, 16},
	        {REASON_identity_ambiguous, 403, 16},
	        {REASON_identity_not_allowed, 403, 7},
	        {REASON_route_not_allowed, 403, 7},
	        {REASON_no_route, 404, 12},
	        {REASON_rate_limited, 429, 8},
	        {REASON_malformed_request, 400, 13},
	        {REASON_request_too_large, 413, 8},
	        {REASON_request_timeout, 408, 4},
	        {REASON_overloaded, 503, 14},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(reason_http_status(rows[i].reason), rows[i].http);
		assert_int_equal(reason_grpc_status(rows[i].reason), rows[i].grpc);
	}
	assert_int_equal(reason_http_status(REASON_tls_failed), 0);
	assert_int_equal(reason_http_status(REASON_protocol_violation), 0);
	assert_string_equal(reason_title(REASON_rate_limited), "rate limit exceeded");
}

// A refusal tells the caller nothing of the gateway's trust or policy.
static void titles_name_no_trust_and_no_policy(void **state)
{
	(void)state;
	static const char *const words[] = {"issuer", "depth", "pattern", "CA ", "root", "burst"};
	for (enum reason reason = REASON_NONE; reason < REASON_COUNT; reason++)
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			assert_null(strstr(reason_title(reason), words[i]));
}

// Answers are put together of them without another look.
static void words_are_as_json_has_them(void **state)
{
	(void)state;
	for (enum reason reason = REASON_NONE; reason < REASON_COUNT; reason++) {
		const char *const words[] = {reason_title(reason), reason_name(reason)};
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			for (const char *at = words[i]; *at; at++)
				assert_true(*at >= ' ' && *at < 0x7f && *at != '"' && *at != '\\');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_row_has_a_name_and_a_title),
	        cmocka_unit_test(names_are_unique),
	        cmocka_unit_test(answers_are_those_of_the_contract),
	        cmocka_unit_test(titles_name_no_trust_and_no_policy),
	        cmocka_unit_test(words_are_as_json_has_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
