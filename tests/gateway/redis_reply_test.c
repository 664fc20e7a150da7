// Replies out of bytes: the same however they come, and nothing that is too much.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/redis_reply.h"

// What is read of a stream, as text: `1,2`, `"OK"`, `!"ERR no"`, `-` for what says nothing.
struct reading {
	struct buffer replies;
	bool sound;
};

static void note(struct buffer *out, const struct redis_reply *reply)
{
	if (buffer_len(out))
		buffer_append(out, " ", 1);
	if (!reply->number_count && !reply->text_len && !reply->error)
		buffer_append(out, "-", 1);
	for (size_t i = 0; i < reply->number_count; i++)
		buffer_printf(out, "%s%lld", i ? "," : "", (long long)reply->numbers[i]);
	if (reply->text_len || reply->error)
		buffer_printf(out, "%s\"%.*s\"", reply->error ? "!" : "", (int)reply->text_len,
		        reply->text);
}

static void feed(struct redis_replies *replies, struct str bytes, struct reading *reading)
{
	const struct redis_reply *reply;
	if (!reading->sound)
		return;
	reading->sound = redis_replies_feed(replies, bytes);
	while (reading->sound) {
		reading->sound = redis_replies_next(replies, &reply);
		if (!reading->sound || !reply)
			return;
		note(&reading->replies, reply);
	}
}

static void assert_reads(const struct reading *reading, const char *expected, bool sound)
{
	assert_true(str_eq(buffer_str(&reading->replies), str_from(expected)));
	assert_int_equal(reading->sound, sound);
}

// In two pieces, split at `at`.
static void assert_split(struct str bytes, size_t at, const char *expected, bool sound)
{
	struct redis_replies *replies = redis_replies_new();
	struct reading reading = {.sound = true};
	feed(replies, str_of(bytes.at, at), &reading);
	feed(replies, str_skip(bytes, at), &reading);
	assert_reads(&reading, expected, sound);
	buffer_fini(&reading.replies);
	redis_replies_free(replies);
}

static void assert_in_pieces(struct str bytes, size_t size, const char *expected, bool sound)
{
	struct redis_replies *replies = redis_replies_new();
	struct reading reading = {.sound = true};
	for (size_t at = 0; at < bytes.len; at += size)
		feed(replies, str_of(bytes.at + at, bytes.len - at < size ? bytes.len - at : size),
		        &reading);
	assert_reads(&reading, expected, sound);
	buffer_fini(&reading.replies);
	redis_replies_free(replies);
}

#define LIST32                                                                                     \
	"*32\r\n"                                                                                  \
	":0\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n:8\r\n:9\r\n:10\r\n"                      \
	":11\r\n:12\r\n:13\r\n:14\r\n:15\r\n:16\r\n:17\r\n:18\r\n:19\r\n:20\r\n"                   \
	":21\r\n:22\r\n:23\r\n:24\r\n:25\r\n:26\r\n:27\r\n:28\r\n:29\r\n:30\r\n:31\r\n"
#define NUMBERS32                                                                                  \
	"0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"

static const struct {
	const char *name, *bytes, *replies;
	bool sound;
} streams[] = {
        {"nothing", "", "", true},
        {"status", "+OK\r\n", "\"OK\"", true},
        {"an empty status", "+\r\n", "-", true},
        {"bulk", "$3\r\nabc\r\n", "\"abc\"", true},
        {"bulk with the protocol's own bytes", "$7\r\n\r\n:1\r\n+\r\n", "\"\r\n:1\r\n+\"", true},
        {"an empty bulk", "$0\r\n\r\n", "-", true},
        {"nil", "$-1\r\n", "-", true},
        {"a list that is none", "*-1\r\n", "-", true},
        {"an empty list", "*0\r\n", "-", true},
        {"number", ":42\r\n", "42", true},
        {"the largest and smallest numbers", ":9223372036854775807\r\n:-9223372036854775808\r\n",
                "9223372036854775807 -9223372036854775808", true},
        {"error", "-ERR unknown command\r\n", "!\"ERR unknown command\"", true},
        {"an error without a word", "-\r\n", "!\"\"", true},
        {"a grant", "*3\r\n:1\r\n:5\r\n:1\r\n", "1,5,1", true},
        {"a refusal", "*3\r\n:0\r\n:2\r\n:180000\r\n", "0,2,180000", true},
        {"a long list of numbers", LIST32, NUMBERS32, true},
        {"a text among numbers", "*3\r\n:1\r\n+a\r\n:2\r\n", "1,2\"a\"", true},
        {"an error in a list is none of the whole", "*2\r\n:1\r\n-ERR x\r\n", "1\"ERR x\"", true},
        {"many in a row", "+OK\r\n:1\r\n*2\r\n:1\r\n:1\r\n-NOSCRIPT no\r\n:2\r\n",
                "\"OK\" 1 1,1 !\"NOSCRIPT no\" 2", true},
        {"nothing is left of the one before", "*2\r\n:7\r\n+x\r\n$-1\r\n", "7\"x\" -", true},
        {"half a reply", "+OK\r\n*2\r\n:1\r\n", "\"OK\"", true},
        {"a list in a list", "*1\r\n*1\r\n:1\r\n", "", false},
        {"an empty list in a list", "*1\r\n*0\r\n", "", false},
        {"a list that is too long", "*65\r\n:1\r\n", "", false},
        {"a list of absurd length", "*2147483648\r\n", "", false},
        {"of a length beyond all", "*99999999999999999999\r\n", "", false},
        {"a list of negative length", "*-2\r\n", "", false},
        {"bulk of negative length", "$-2\r\n", "", false},
        {"bulk of a length that is no number", "$x\r\nabc\r\n", "", false},
        {"bulk of a length beyond all", "$99999999999999999999\r\n", "", false},
        {"a number that is none", ":1x\r\n", "", false},
        {"a number that is too large", ":9223372036854775808\r\n", "", false},
        {"an empty number", ":\r\n", "", false},
        {"another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n", "", false},
        {"TLS", "\x15\x03\x03\x02\x02\x28\r\n", "", false},
        {"good, then garbage", ":1\r\n?\r\n:2\r\n", "1", false},
};

static void replies_are_the_same_however_they_come(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
		struct str bytes = str_from(streams[i].bytes);
		print_message("%s\n", streams[i].name);
		for (size_t at = 0; at <= bytes.len; at++)
			assert_split(bytes, at, streams[i].replies, streams[i].sound);
		for (size_t size = 1; size < 4; size++)
			assert_in_pieces(bytes, size, streams[i].replies, streams[i].sound);
	}
}

static void a_long_text_is_cut_off(void **state)
{
	struct redis_replies *replies = redis_replies_new();
	const struct redis_reply *reply;
	char text[REDIS_TEXT_MAX + 100];
	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "-ERR ", 5);
	memcpy(text + sizeof(text) - 2, "\r\n", 2);
	assert_true(redis_replies_feed(replies, str_of(text, sizeof(text))));
	assert_true(redis_replies_next(replies, &reply) && reply);
	assert_int_equal(reply->text_len, REDIS_TEXT_MAX);
	assert_memory_equal(reply->text, text + 1, REDIS_TEXT_MAX);
	assert_true(redis_reply_is(reply, "ERR"));
	redis_replies_free(replies);
}

// How much of `begin`, then `x` without end, is taken before it is too much; 0: no end in sight.
static size_t taken_of(const char *begin, size_t piece)
{
	struct redis_replies *replies = redis_replies_new();
	struct reading reading = {.sound = true};
	char pieces[4096];
	size_t taken = strlen(begin);
	memset(pieces, 'x', sizeof(pieces));
	feed(replies, str_from(begin), &reading);
	while (reading.sound && taken < 4 * (size_t)REDIS_REPLY_BYTES_MAX) {
		feed(replies, str_of(pieces, piece), &reading);
		taken += piece;
	}
	redis_replies_free(replies);
	buffer_fini(&reading.replies);
	return reading.sound ? 0 : taken;
}

static void what_never_ends_is_refused_at_the_bound(void **state)
{
	static const char *const begins[] = {
	        "$1000000000\r\n", "+", "-ERR ", "*2\r\n:1\r\n$70000\r\n"};
	static const size_t pieces[] = {1, 100, 4096};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(begins); i++)
		for (size_t j = i ? 1 : 0; j < ARRAY_LEN(pieces); j++) {
			size_t taken = taken_of(begins[i], pieces[j]);
			assert_true(taken > REDIS_REPLY_BYTES_MAX);
			assert_true(taken <= REDIS_REPLY_BYTES_MAX + pieces[j]);
		}
}

// `$LEN`, LEN bytes: of exactly so many bytes in all.
static void add_bulk(struct buffer *out, size_t size)
{
	size_t len = size - strlen("$65000\r\n\r\n");
	buffer_printf(out, "$%zu\r\n", len);
	for (size_t i = 0; i < len; i++)
		buffer_append(out, "x", 1);
	buffer_append(out, "\r\n", 2);
}

static void the_bound_is_of_one_reply_and_the_same_in_one_piece(void **state)
{
	static const size_t pieces[] = {1000, 65536, 200000};
	(void)state;
	for (int over = 0; over < 2; over++) {
		struct buffer bytes = {0}, expected = {0};
		// Two in a row are no longer than each.
		buffer_printf(&bytes, ":1\r\n:2\r\n");
		add_bulk(&bytes, REDIS_REPLY_BYTES_MAX);
		add_bulk(&bytes, REDIS_REPLY_BYTES_MAX + over);
		buffer_printf(&bytes, ":3\r\n");
		buffer_printf(&expected, "1 2 \"%0*d\"", REDIS_TEXT_MAX, 0);
		if (!over)
			buffer_printf(&expected, " \"%0*d\" 3", REDIS_TEXT_MAX, 0);
		for (char *at = buffer_data(&expected); (at = strstr(at, "0"));)
			*at = 'x';
		buffer_append(&expected, "", 1);
		for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
			assert_in_pieces(
			        buffer_str(&bytes), pieces[i], buffer_data(&expected), !over);
		buffer_fini(&bytes);
		buffer_fini(&expected);
	}
}

static const struct {
	bool error;
	const char *text, *code;
	bool is;
} codes[] = {
        {true, "NOSCRIPT No matching script.", "NOSCRIPT", true},
        {true, "NOSCRIPTS of mine", "NOSCRIPT", false},
        {true, "NOSCRIPT", "NOSCRIPT", false},  // says nothing more: not the server's
        {true, "ERR NOSCRIPT", "NOSCRIPT", false},
        {true, "", "NOSCRIPT", false},
        {false, "NOSCRIPT No matching script.", "NOSCRIPT", false},
};

static void an_error_is_known_by_its_code(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		struct redis_reply reply = {
		        .error = codes[i].error, .text_len = strlen(codes[i].text)};
		memcpy(reply.text, codes[i].text, reply.text_len);
		assert_int_equal(redis_reply_is(&reply, codes[i].code), codes[i].is);
	}
}

static void commands_are_framed_by_length_whatever_is_in_them(void **state)
{
	static const char expected[] = "+before*4\r\n$7\r\nEVALSHA\r\n$0\r\n\r\n$6\r\n"
	                               "a\0\r\n$1\r\n$3\r\n\xff\xfe:\r\n";
	const struct str words[] = {STR("EVALSHA"), STR(""), STR("a\0\r\n$1"), STR("\xff\xfe:")};
	struct buffer out = {0};
	(void)state;
	buffer_append_str(&out, STR("+before"));
	redis_command_append(&out, words, ARRAY_LEN(words));
	assert_true(str_eq(buffer_str(&out), str_of(expected, sizeof(expected) - 1)));
	buffer_fini(&out);
}

static void a_command_has_as_many_words_as_may_be(void **state)
{
	struct str words[REDIS_WORDS_MAX];
	struct buffer out = {0};
	(void)state;
	for (size_t i = 0; i < REDIS_WORDS_MAX; i++)
		words[i] = STR("w");
	redis_command_append(&out, words, REDIS_WORDS_MAX);
	assert_int_equal(buffer_len(&out), strlen("*100\r\n") + 100 * strlen("$1\r\nw\r\n"));
	buffer_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(replies_are_the_same_however_they_come),
	        cmocka_unit_test(a_long_text_is_cut_off),
	        cmocka_unit_test(what_never_ends_is_refused_at_the_bound),
	        cmocka_unit_test(the_bound_is_of_one_reply_and_the_same_in_one_piece),
	        cmocka_unit_test(an_error_is_known_by_its_code),
	        cmocka_unit_test(commands_are_framed_by_length_whatever_is_in_them),
	        cmocka_unit_test(a_command_has_as_many_words_as_may_be),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
