// The unrest of an HTTP/2 client (h2_calm.h): floods are told from busy peaceful clients, however
// the bytes are cut.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <nghttp2/nghttp2.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "gateway/http/h2_calm.h"

enum { END = NGHTTP2_FLAG_END_STREAM, PADDED = NGHTTP2_FLAG_PADDED, STEP = 1000 };

struct frame {
	uint8_t type, flags;
	uint32_t len;
	uint8_t first;  // byte of the payload: the pad length, where there is one
};

static void put(struct buffer *out, const struct frame *frame)
{
	char head[9] = {(char)(frame->len >> 16), (char)(frame->len >> 8), (char)frame->len,
	        (char)frame->type, (char)frame->flags, 0, 0, 0, 1};
	buffer_append(out, head, sizeof(head));
	for (uint32_t i = 0; i < frame->len; i++)
		buffer_append(out, i ? "\0" : (const char *)&frame->first, 1);
}

// How many times the frames can be repeated at one moment, in pieces of `piece` bytes; at most STEP
// times ten.
static int patience(const struct frame *frames, size_t count, size_t piece)
{
	struct h2_calm calm;
	struct buffer bytes = {0};
	int repeats = 0;
	clock_fake(NS_PER_S, NS_PER_S);
	h2_calm_init(&calm);
	h2_calm_watch(&calm, STR(NGHTTP2_CLIENT_MAGIC));
	for (size_t i = 0; i < count; i++)
		put(&bytes, &frames[i]);
	for (; !calm.lost && repeats < 10 * STEP; repeats++)
		for (struct str rest = buffer_str(&bytes); rest.len;) {
			size_t len = rest.len < piece ? rest.len : piece;
			h2_calm_watch(&calm, str_of(rest.at, len));
			rest = str_skip(rest, len);
		}
	buffer_fini(&bytes);
	clock_real();
	return repeats;
}

static void floods_have_their_price_however_they_are_cut(void **state)
{
	static const struct {
		const char *name;
		struct frame frames[2];
		int repeats;
	} rows[] = {
	        {"PING", {{.type = NGHTTP2_PING, .len = 8}}, 2001},
	        {"PRIORITY", {{.type = NGHTTP2_PRIORITY, .len = 5}}, 2001},
	        {"WINDOW_UPDATE", {{.type = NGHTTP2_WINDOW_UPDATE, .len = 4}}, 2001},
	        {"unknown", {{.type = 0xfa, .len = 0}}, 2001},
	        {"large unknown", {{.type = 0xfa, .len = 16384}}, 118},
	        {"too large, and PINGs",
	                {{.type = 0xfa, .len = 16385}, {.type = NGHTTP2_PING, .len = 8}},
	                10 * STEP},
	        {"SETTINGS", {{.type = NGHTTP2_SETTINGS, .len = 6}}, 401},
	        {"RST_STREAM", {{.type = NGHTTP2_RST_STREAM, .len = 4}}, 201},
	        {"empty DATA", {{.type = NGHTTP2_DATA}}, 2001},
	        {"nothing but padding",
	                {{.type = NGHTTP2_DATA, .flags = PADDED, .len = 256, .first = 255}}, 2001},
	        {"padding of nothing", {{.type = NGHTTP2_DATA, .flags = PADDED, .len = 1}}, 2001},
	        {"a PADDED frame too short for it", {{.type = NGHTTP2_DATA, .flags = PADDED}},
	                2001},
	        {"content", {{.type = NGHTTP2_DATA, .len = 1}}, 10 * STEP},
	        {"content, padded", {{.type = NGHTTP2_DATA, .flags = PADDED, .len = 3, .first = 1}},
	                10 * STEP},
	        {"the end of a body", {{.type = NGHTTP2_DATA, .flags = END}}, 10 * STEP},
	        {"requests", {{.type = NGHTTP2_HEADERS, .flags = END, .len = 30}}, 10 * STEP},
	        {"windows and content",
	                {{.type = NGHTTP2_WINDOW_UPDATE, .len = 4},
	                        {.type = NGHTTP2_DATA, .len = 9}},
	                10 * STEP},
	};
	static const size_t pieces[] = {1, 7, 10, 1 << 20};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		for (size_t k = 0; k < sizeof(pieces) / sizeof(*pieces); k++) {
			size_t count = rows[i].frames[1].len ? 2 : 1;
			int repeats = patience(rows[i].frames, count, pieces[k]);
			if (repeats != rows[i].repeats)
				fail_msg("%s in pieces of %zu: %d times, not %d", rows[i].name,
				        pieces[k], repeats, rows[i].repeats);
		}
}

static void time_forgives_and_work_pays_back(void **state)
{
	(void)state;
	struct h2_calm calm;
	int64_t now_ns = NS_PER_S;
	clock_fake(now_ns, now_ns);
	h2_calm_init(&calm);
	for (int second = 0; second < 100; second++) {  // a hundred cancelled calls a second
		for (int i = 0; i < 100; i++)
			h2_calm_spend(&calm, H2_PRICE_RESET);
		clock_fake(now_ns += NS_PER_S, NS_PER_S);
	}
	assert_null(calm.lost);
	for (int i = 0; i < 100000; i++) {  // every one cancelled beside one that was answered
		h2_calm_reward(&calm, H2_REWARD_ANSWER);
		h2_calm_spend(&calm, H2_PRICE_RESET);
	}
	assert_null(calm.lost);
	for (int i = 0; i < 1000; i++)  // good work is no credit for later
		h2_calm_reward(&calm, H2_REWARD_ANSWER);
	for (int i = 0; i < 201; i++)
		h2_calm_spend(&calm, H2_PRICE_RESET);
	assert_non_null(calm.lost);
	clock_real();
}

static void another_protocol_is_no_flood(void **state)
{
	(void)state;
	struct h2_calm calm;
	h2_calm_init(&calm);
	h2_calm_watch(&calm, STR("PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n"));
	for (int i = 0; i < 10000; i++)
		h2_calm_watch(&calm, STR("GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n"));
	assert_null(calm.lost);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(floods_have_their_price_however_they_are_cut),
	        cmocka_unit_test(another_protocol_is_no_flood),
	        cmocka_unit_test(time_forgives_and_work_pays_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
