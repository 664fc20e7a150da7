#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "gateway/http/grpc.h"

enum { MS = NS_PER_MS };
#define SECOND ((int64_t)NS_PER_S)
#define HOUR (3600 * SECOND)

static void a_timeout_is_digits_and_a_unit(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ns;
	} rows[] = {
	        {"1n", 1},
	        {"1u", 1000},
	        {"1m", MS},
	        {"1S", SECOND},
	        {"1M", 60 * SECOND},
	        {"1H", HOUR},
	        {"0n", 0},
	        {"0H", 0},
	        {"00000001S", SECOND},
	        {"99999999n", 99999999},
	        {"99999999S", 99999999 * SECOND},
	        {"2562047H", 2562047 * HOUR},
	        {"2562048H", INT64_MAX},
	        {"99999999H", INT64_MAX},
	        {"99999999M", 99999999 * (60 * SECOND)},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t ns = -1;
		assert_true(grpc_timeout_parse(str_from(rows[i].text), &ns));
		assert_int_equal(ns, rows[i].ns);
	}
}

static void anything_else_is_no_timeout(void **state)
{
	(void)state;
	static const struct str rows[] = {
	        {"", 0},
	        {"S", 1},
	        {"1", 1},
	        {"10", 2},
	        {"1s", 2},
	        {"1h", 2},
	        {"1N", 2},
	        {"1U", 2},
	        {"1 S", 3},
	        {" 1S", 3},
	        {"1S ", 3},
	        {"-1S", 3},
	        {"+1S", 3},
	        {"1.5S", 4},
	        {"0x1S", 4},
	        {"1SS", 3},
	        {"1e3S", 4},
	        {"123456789S", 10},
	        {"000000001S", 10},
	        {"1\0S", 3},
	        {"\0", 1},
	        {"1\xc2\xb5", 3},
	        {"99999999999999999999H", 21},
	        {"1S,2S", 5},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t ns = -1;
		if (grpc_timeout_parse(rows[i], &ns))
			fail_msg("%s is no timeout", rows[i].at);
		assert_int_equal(ns, -1);
	}
}

static void a_timeout_is_written_in_the_finest_unit_that_fits_and_never_longer(void **state)
{
	(void)state;
	struct arena arena = {0};
	static const struct {
		int64_t ns;
		const char *text;
	} rows[] = {
	        {INT64_MIN, "1n"},
	        {-1, "1n"},
	        {0, "1n"},
	        {1, "1n"},
	        {99999999, "99999999n"},
	        {100000000, "100000u"},
	        {100000999, "100000u"},
	        {SECOND, "1000000u"},
	        {100 * SECOND, "100000m"},
	        {99999999 * SECOND, "99999999S"},
	        {100000000 * SECOND, "1666666M"},
	        {INT64_MAX, "2562047H"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str text = grpc_timeout_format(rows[i].ns, &arena);
		if (!str_eq(text, str_from(rows[i].text)))
			fail_msg("%lld gives %.*s", (long long)rows[i].ns, STR_FMT(text));
	}
	for (int64_t ns = 1; ns < INT64_MAX / 3; ns = ns * 3 + 1) {
		int64_t read;
		struct str text = grpc_timeout_format(ns, &arena);
		assert_true(grpc_timeout_parse(text, &read));
		assert_true(read <= ns && read >= ns - ns / 99999 - 1);
	}
	arena_fini(&arena);
}

static void http_statuses_map_as_grpc_says(void **state)
{
	(void)state;
	static const struct {
		int http, grpc;
	} rows[] = {
	        {400, 13},
	        {401, 16},
	        {403, 7},
	        {404, 12},
	        {429, 14},
	        {502, 14},
	        {503, 14},
	        {504, 14},
	        {200, 2},
	        {204, 2},
	        {302, 2},
	        {408, 2},
	        {413, 2},
	        {431, 2},
	        {500, 2},
	        {501, 2},
	        {0, 2},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(grpc_status_of_http(rows[i].http), rows[i].grpc);
}

static void a_message_is_percent_encoded(void **state)
{
	(void)state;
	struct arena arena = {0};
	static const struct {
		struct str plain;
		const char *encoded;
	} rows[] = {
	        {{"", 0}, ""},
	        {{"rate limit exceeded", 19}, "rate limit exceeded"},
	        {{"100%", 4}, "100%25"},
	        {{"a\r\nb", 4}, "a%0D%0Ab"},
	        {{"\0", 1}, "%00"},
	        {{"\x7f", 1}, "%7F"},
	        {{" ~", 2}, " ~"},
	        {{"\xc3\xa9", 2}, "%C3%A9"},
	        {{"\xff\t", 2}, "%FF%09"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str encoded = grpc_message_encode(rows[i].plain, &arena);
		assert_int_equal(encoded.len, strlen(rows[i].encoded));
		assert_memory_equal(encoded.at, rows[i].encoded, encoded.len);
	}
	arena_fini(&arena);
}

// Messages by their lengths as one body, each byte told apart.
static void add_message(struct buffer *body, uint32_t length, size_t content)
{
	const char prefix[] = {
	        1, (char)(length >> 24), (char)(length >> 16), (char)(length >> 8), (char)length};
	buffer_append(body, prefix, sizeof(prefix));
	for (size_t i = 0; i < content; i++)
		buffer_append(body, &(char){(char)(i * 7)}, 1);
}

// Passes over the body in these pieces; writes down where each message ended.
static size_t scan_pieces(
        struct grpc_scan *scan, struct str body, size_t first, size_t piece, size_t *ends)
{
	size_t count = 0, at = 0;
	while (at < body.len) {
		size_t len = at ? piece : first;
		struct str rest = str_of(body.at + at, len < body.len - at ? len : body.len - at);
		while (rest.len) {
			size_t own = grpc_scan_message(scan, rest);
			assert_true(own > 0 && own <= rest.len);
			at += own;
			rest = str_skip(rest, own);
			if (grpc_scan_between(scan))
				ends[count++] = at;
			else
				assert_int_equal(rest.len, 0);
		}
	}
	return count;
}

static void messages_are_told_apart_however_they_are_cut(void **state)
{
	(void)state;
	static const uint32_t lengths[] = {0, 1, 5, 0, 0, 300, 4, 70000, 0};
	size_t ends[ARRAY_LEN(lengths)], found[ARRAY_LEN(lengths) + 1];
	struct buffer body = {0};
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		add_message(&body, lengths[i], lengths[i]);
		ends[i] = buffer_len(&body);
	}
	for (size_t cut = 1; cut <= buffer_len(&body); cut += cut < 400 ? 1 : 997)
		for (size_t piece = 1; piece <= buffer_len(&body); piece = piece * 3 + 1) {
			struct grpc_scan scan = {0};
			assert_true(grpc_scan_between(&scan));
			assert_int_equal(scan_pieces(&scan, buffer_str(&body), cut, piece, found),
			        ARRAY_LEN(lengths));
			assert_memory_equal(found, ends, sizeof(ends));
		}
	buffer_fini(&body);
}

static void a_message_that_is_not_whole_goes_on(void **state)
{
	(void)state;
	static const struct {
		uint32_t length;
		size_t prefix, content, own;  // bytes there are; those that are the message's
		bool whole;
	} rows[] = {
	        {0, 0, 0, 0, true},  // nothing has begun
	        {0, 1, 0, 1, false},
	        {0, 4, 0, 4, false},
	        {0, 5, 0, 5, true},
	        {0, 5, 9, 5, true},
	        {1, 5, 0, 5, false},
	        {1, 5, 1, 6, true},
	        {1, 5, 2, 6, true},
	        {256, 5, 255, 260, false},
	        {256, 5, 256, 261, true},
	        {UINT32_MAX, 4, 0, 4, false},
	        {UINT32_MAX, 5, 0, 5, false},
	        {UINT32_MAX, 5, 100000, 100005, false},
	        {UINT32_MAX / 2 + 1, 5, 100000, 100005, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buffer body = {0};
		struct grpc_scan scan = {0};
		add_message(&body, rows[i].length, rows[i].content);
		struct str bytes = str_of(buffer_data(&body), rows[i].prefix + rows[i].content);
		assert_int_equal(grpc_scan_message(&scan, bytes), rows[i].own);
		assert_int_equal(grpc_scan_between(&scan), rows[i].whole);
		// Nothing more changes nothing.
		struct grpc_scan before = scan;
		assert_int_equal(grpc_scan_message(&scan, STR("")), 0);
		assert_memory_equal(&scan, &before, sizeof(scan));
		buffer_fini(&body);
	}
}

// 4 GiB of content, byte for byte what was announced.
static void the_longest_message_ends_where_it_says(void **state)
{
	(void)state;
	enum { PIECE = 1 << 20 };
	char *piece = calloc(1, PIECE);
	struct grpc_scan scan = {0};
	assert_int_equal(grpc_scan_message(&scan, str_of("\0\xff\xff\xff\xff", 5)), 5);
	for (int i = 0; i < 4095; i++)
		assert_int_equal(grpc_scan_message(&scan, str_of(piece, PIECE)), PIECE);
	assert_false(grpc_scan_between(&scan));
	assert_int_equal(grpc_scan_message(&scan, str_of(piece, PIECE)), PIECE - 1);
	assert_true(grpc_scan_between(&scan));
	free(piece);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_timeout_is_digits_and_a_unit),
	        cmocka_unit_test(anything_else_is_no_timeout),
	        cmocka_unit_test(
	                a_timeout_is_written_in_the_finest_unit_that_fits_and_never_longer),
	        cmocka_unit_test(http_statuses_map_as_grpc_says),
	        cmocka_unit_test(a_message_is_percent_encoded),
	        cmocka_unit_test(messages_are_told_apart_however_they_are_cut),
	        cmocka_unit_test(a_message_that_is_not_whole_goes_on),
	        cmocka_unit_test(the_longest_message_ends_where_it_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
