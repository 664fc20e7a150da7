// Chunked bodies that two readers might end at two places (RFC 9112, 7.1): refused, whether or not
// anybody still wants them.
#include "tests/gateway/http/h1_hostile.h"

#define CHUNKED                                                                                    \
	"POST / HTTP/1.1\r\nHost: a\r\n"                                                           \
	"Transfer-Encoding: chunked\r\n\r\n"

static const struct hostile bodies[] = {
        {"a chunk size with plus", BYTES("+1\r\nx\r\n0\r\n\r\n")},
        {"a chunk size with minus", BYTES("-1\r\nx\r\n0\r\n\r\n")},
        {"a chunk size with 0x", BYTES("0x1\r\nx\r\n0\r\n\r\n")},
        {"a chunk size behind a space", BYTES(" 1\r\nx\r\n0\r\n\r\n")},
        {"a chunk size behind a tab", BYTES("\t1\r\nx\r\n0\r\n\r\n")},
        {"a chunk size before a space", BYTES("1 \r\nx\r\n0\r\n\r\n")},
        {"a chunk size before a tab", BYTES("1\t\r\nx\r\n0\r\n\r\n")},
        {"a chunk size before a space and an extension", BYTES("1 ;x\r\nx\r\n0\r\n\r\n")},
        {"a chunk size in two words", BYTES("1 1\r\nx\r\n0\r\n\r\n")},
        {"a chunk size that is no number", BYTES("g\r\nx\r\n0\r\n\r\n")},
        {"a chunk size with an h", BYTES("1h\r\nx\r\n0\r\n\r\n")},
        {"an empty chunk size", BYTES("\r\nx\r\n0\r\n\r\n")},
        {"an empty chunk size with an extension", BYTES(";x\r\nx\r\n0\r\n\r\n")},
        {"a chunk size over 2^64", BYTES("10000000000000001\r\nx\r\n0\r\n\r\n")},
        {"a chunk size of 2^64-1", BYTES("ffffffffffffffff\r\nx\r\n0\r\n\r\n")},
        {"endless leading zeros", BYTES("0000000000000000000000000000000000001\r\nx\r\n0\r\n\r\n")},
        {"endless zeros at the end", BYTES("0000000000000000000000000000000000000\r\n\r\n")},
        {"a chunk size that ends in LF", BYTES("1\nx\r\n0\r\n\r\n")},
        {"a chunk size that ends in CR", BYTES("1\rx\r\n0\r\n\r\n")},
        {"a chunk size that ends in CR CR LF", BYTES("1\r\r\nx\r\n0\r\n\r\n")},
        {"an extension that ends in LF", BYTES("1;a\nx\r\n0\r\n\r\n")},
        {"an extension with a bare CR", BYTES("1;a\rb\r\nx\r\n0\r\n\r\n")},
        {"an extension with NUL", BYTES("1;a\0b\r\nx\r\n0\r\n\r\n")},
        {"an extension with a quoted LF", BYTES("1;a=\"\n\"\r\nx\r\n0\r\n\r\n")},
        {"a chunk size with NUL", BYTES("1\0\r\nx\r\n0\r\n\r\n")},
        {"a chunk size with a comma", BYTES("1,1\r\nx\r\n0\r\n\r\n")},
        {"a chunk size with a point", BYTES("1.0\r\nx\r\n0\r\n\r\n")},
        {"a chunk longer than its size", BYTES("1\r\nxy\r\n0\r\n\r\n")},
        {"a chunk shorter than its size", BYTES("2\r\nx\r\n0\r\n\r\n")},
        {"a chunk without line end", BYTES("1\r\nx0\r\n\r\n")},
        {"a chunk that ends in LF", BYTES("1\r\nx\n0\r\n\r\n")},
        {"a chunk that ends in CR", BYTES("1\r\nx\r0\r\n\r\n")},
        {"a chunk that ends in two CR", BYTES("1\r\nx\r\r\n0\r\n\r\n")},
        {"a last chunk that ends in LF", BYTES("0\n\r\n")},
        {"trailers that end in LF", BYTES("0\r\n\n")},
        {"a trailer that ends in LF", BYTES("0\r\nX: y\n\r\n")},
        {"a bare CR for the end", BYTES("0\r\n\rGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a trailer without colon", BYTES("0\r\nX\r\n\r\n")},
        {"a folded trailer", BYTES("0\r\nX: y\r\n z\r\n\r\n")},
        {"a trailer behind white space", BYTES("0\r\n X: y\r\n\r\n")},
        {"a trailer with a space before its colon", BYTES("0\r\nX : y\r\n\r\n")},
        {"a trailer with NUL", BYTES("0\r\nX: \0\r\n\r\n")},
        {"a trailer with an empty name", BYTES("0\r\n: y\r\n\r\n")},
        {"a trailer with a bad name", BYTES("0\r\nX@: y\r\n\r\n")},
        {"a request for a trailer", BYTES("0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")},
};

static void a_hostile_body_is_refused_and_nothing_after_it_is_read(void **state)
{
	(void)state;
	struct buffer bytes = {0};
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		joined(&bytes, STR(CHUNKED), bodies[i].bytes, STR(SMUGGLED));
		struct side side;
		char expected[160];
		side_open(&side, SERVER | H1, HABIT_ANSWER);
		side_feed(&side, buffer_str(&bytes));
		side_settle(&side);
		const char *data = strstr(transcript(&side), "1 data ");
		snprintf(expected, sizeof(expected),
		        "1 head POST a /\n%.*s1 faulty malformed_request 400\n1 sent\n",
		        data ? (int)(strchr(data, '\n') + 1 - data) : 0, data ? data : "");
		// What came before the fault may have been passed on, but it is one or two bytes.
		if (data && strcspn(data + strlen("1 data "), "\n") > strlen("x\\x0d"))
			fail_msg("%s: %s", bodies[i].what, data);
		side_close(&side);
		assert_refused(bodies[i].what, buffer_str(&bytes), expected);
	}
	buffer_fini(&bytes);
}

// The answer is long gone when the unwanted rest turns out broken: it is not refused a second time.
static void a_hostile_body_of_a_refused_request_just_ends_the_connection(void **state)
{
	(void)state;
	struct buffer bytes = {0};
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		struct side side;
		side_open(&side, SERVER | H1, HABIT_REFUSE);
		side_say(&side, CHUNKED);
		side_settle(&side);
		side_feed(&side, joined(&bytes, bodies[i].bytes, STR(SMUGGLED), STR("")));
		side_settle(&side);
		assert_string_equal(transcript(&side), "1 head POST a /\n1 sent\n");
		assert_true(side.codec->finished && side.codec->lingering);
		side_close(&side);
	}
	buffer_fini(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_hostile_body_is_refused_and_nothing_after_it_is_read),
	        cmocka_unit_test(a_hostile_body_of_a_refused_request_just_ends_the_connection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
