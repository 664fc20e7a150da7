// HTTP/1.1 heads and trailers without end: refused at their limit, in bounded memory
// (BEHAVIOUR 4.8).
#include "tests/gateway/http/side.h"

#define FIRST "GET / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED                                                                                    \
	"POST / HTTP/1.1\r\nHost: a\r\n"                                                           \
	"Transfer-Encoding: chunked\r\n\r\n"
#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

struct flood {
	const char *what;
	const char *before, *repeated, *after;
	size_t times;
	const char *expected;
};

static const struct flood floods[] = {
        {"100 fields are allowed", FIRST, "x: y\r\n", "\r\n", 99, NULL},
        {"101 fields are not", FIRST, "x: y\r\n", "\r\n", 100,
                "1 faulty request_too_large 431\n1 sent\n"},
        {"101 empty fields", FIRST, "x:\r\n", "\r\n", 100,
                "1 faulty request_too_large 431\n1 sent\n"},
        {"59 KiB of one value are allowed", FIRST "x: ", "xxxxxxxxxxxxxxxx", "\r\n\r\n", 59 * 64,
                NULL},
        {"60 KiB of one value", FIRST "x: ", "xxxxxxxxxxxxxxxx", "\r\n\r\n", 60 * 64,
                "1 faulty request_too_large 431\n1 sent\n"},
        {"60 KiB of one name", FIRST, "xxxxxxxxxxxxxxxx", ": y\r\n\r\n", 60 * 64,
                "1 faulty request_too_large 431\n1 sent\n"},
        {"60 KiB of target", "GET /", "xxxxxxxxxxxxxxxx", " HTTP/1.1\r\nHost: a\r\n\r\n", 60 * 64,
                "1 faulty request_too_large 431\n1 sent\n"},
        {"60 KiB of method", "G", "GGGGGGGGGGGGGGGG", " / HTTP/1.1\r\nHost: a\r\n\r\n", 60 * 64,
                "1 faulty request_too_large 431\n1 sent\n"},
        {"60 KiB of fields", FIRST, "x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", "\r\n", 60 * 64,
                "1 faulty request_too_large 431\n1 sent\n"},
        {"an endless head", FIRST "x: ", "xxxxxxxxxxxxxxxx", "", 1024 * 64,
                "1 faulty request_too_large 431\n1 sent\n"},
        {"a fault beyond the limit is not looked for", FIRST "x: ", "xxxxxxxxxxxxxxxx",
                "\x01\r\n\r\n", 60 * 64, "1 faulty request_too_large 431\n1 sent\n"},
        {"100 connection options are allowed", FIRST "connection: ", "a,", "a\r\n\r\n", 99, NULL},
        {"101 are not", FIRST "connection: ", "a,", "a\r\n\r\n", 100,
                "1 faulty request_too_large 431\n1 sent\n"},
        {"an endless chunk extension", CHUNKED "1;", "xxxxxxxxxxxxxxxx", "\r\n", 64,
                "1 head POST a /\n1 faulty malformed_request 400\n1 sent\n"},
        {"endless trailers", CHUNKED "0\r\n", "x: yyyyyyyyyyyyyyyy\r\n", "\r\n", 8 * 1024,
                "1 head POST a /\n1 faulty request_too_large 431\n1 sent\n"},
        {"an endless trailer", CHUNKED "0\r\nx: ", "xxxxxxxxxxxxxxxx", "\r\n\r\n", 8 * 1024,
                "1 head POST a /\n1 faulty request_too_large 431\n1 sent\n"},
        {"101 trailers", CHUNKED "0\r\n", "x: y\r\n", "\r\n", 101,
                "1 head POST a /\n1 faulty malformed_request 400\n1 sent\n"},
};

static void a_head_or_trailer_section_over_its_limit_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(floods); i++) {
		const struct flood *flood = &floods[i];
		struct buffer bytes = {0};
		buffer_append_str(&bytes, str_from(flood->before));
		for (size_t k = 0; k < flood->times; k++)
			buffer_append_str(&bytes, str_from(flood->repeated));
		buffer_append_str(&bytes, str_from(flood->after));
		if (flood->expected)
			buffer_append_str(&bytes, STR(SMUGGLED));
		for (unsigned seed = 0; seed < 2; seed++) {
			struct side side;
			side_open(&side, SERVER | H1, HABIT_ANSWER);
			side_feed_split(&side, buffer_str(&bytes), seed ? 2000 : buffer_len(&bytes),
			        seed, true);
			if (flood->expected && strcmp(transcript(&side), flood->expected) != 0)
				fail_msg("%s:\n%s", flood->what, transcript(&side));
			if (!flood->expected && !strstr(transcript(&side), "1 sent\n"))
				fail_msg("%s:\n%s", flood->what, transcript(&side));
			assert_int_equal(side.codec->finished, flood->expected != NULL);
			side_close(&side);
		}
		buffer_fini(&bytes);
	}
}

static void memory_stays_bounded_while_a_head_drips_in(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_ANSWER);
	side_say(&side, FIRST "x: ");
	for (size_t i = 0; i < 64 * 1024 && !strstr(transcript(&side), "faulty"); i++) {
		side_say(&side, "xxxx");
		assert_true(buffer_len(&h1_of(side.codec)->in) <= 60 * 1024 + 4);
	}
	assert_string_equal(transcript(&side), "1 faulty request_too_large 431\n");
	assert_int_equal(buffer_len(&h1_of(side.codec)->in), 0);
	side_close(&side);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_head_or_trailer_section_over_its_limit_is_refused),
	        cmocka_unit_test(memory_stays_bounded_while_a_head_drips_in),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
