// Malformed requests and answers of HTTP/2 (RFC 9113, 8.1.1): none is ever shown as a request, none
// is ever whole, each is a stream error and leaves the connection to the others.
#include "tests/gateway/http/h2_wire.h"

#define BYTES(literal)                                                                             \
	{                                                                                          \
		(literal), sizeof(literal) - 1                                                     \
	}
#define PSEUDO GET_LINES

struct malformed {
	const char *what;
	struct str lines;
};

static const struct malformed heads[] = {
        // Names and values.
        {"an upper-case name", BYTES(PSEUDO "X-Y: z\n")},
        {"an upper-case letter at the end", BYTES(PSEUDO "x-Y: z\n")},
        {"an empty name", BYTES(PSEUDO "|z\n")},
        {"a space in a name", BYTES(PSEUDO "x y: z\n")},
        {"a colon in a name", BYTES(PSEUDO "x:y: z\n")},
        {"a CR in a name", BYTES(PSEUDO "x\ry: z\n")},
        {"a NUL in a name", BYTES(PSEUDO "x\0y: z\n")},
        {"DEL in a name", BYTES(PSEUDO "x\x7fy: z\n")},
        {"a bracket in a name", BYTES(PSEUDO "x(y: z\n")},
        {"a quote in a name", BYTES(PSEUDO "x\"y: z\n")},
        {"an at sign in a name", BYTES(PSEUDO "x@y: z\n")},
        {"a slash in a name", BYTES(PSEUDO "x/y: z\n")},
        {"a byte beyond ASCII in a name", BYTES(PSEUDO "x\xc3\xa9: z\n")},
        {"a CR in a value", BYTES(PSEUDO "x: y\rz\n")},
        {"a NUL in a value", BYTES(PSEUDO "x: y\0z\n")},
        {"a control byte in a value", BYTES(PSEUDO "x: y\x01z\n")},
        {"DEL in a value", BYTES(PSEUDO "x: y\x7fz\n")},
        {"a space before a value", BYTES(PSEUDO "x:  y\n")},
        {"a space after a value", BYTES(PSEUDO "x: y \n")},
        {"a tab before a value", BYTES(PSEUDO "x: \ty\n")},
        {"a tab after a value", BYTES(PSEUDO "x: y\t\n")},
        // Connection-specific fields.
        {"connection", BYTES(PSEUDO "connection: close\n")},
        {"keep-alive", BYTES(PSEUDO "keep-alive: 1\n")},
        {"proxy-connection", BYTES(PSEUDO "proxy-connection: close\n")},
        {"upgrade", BYTES(PSEUDO "upgrade: h2c\n")},
        {"transfer-encoding", BYTES(PSEUDO "transfer-encoding: chunked\n")},
        {"te other than trailers", BYTES(PSEUDO "te: gzip\n")},
        {"te with more than trailers", BYTES(PSEUDO "te: trailers, gzip\n")},
        // Pseudo fields.
        {"no :method", BYTES(":scheme: https\n:authority: a\n:path: /\n")},
        {"no :scheme", BYTES(":method: GET\n:authority: a\n:path: /\n")},
        {"no :path", BYTES(":method: GET\n:scheme: https\n:authority: a\n")},
        {"neither :authority nor host", BYTES(":method: GET\n:scheme: https\n:path: /\n")},
        {"no pseudo field at all", BYTES("host: a\n")},
        {":method twice", BYTES(PSEUDO ":method: GET\n")},
        {":scheme twice", BYTES(PSEUDO ":scheme: https\n")},
        {":authority twice", BYTES(PSEUDO ":authority: a\n")},
        {":path twice", BYTES(PSEUDO ":path: /\n")},
        {"an empty :method", BYTES(":method: \n:scheme: https\n:authority: a\n:path: /\n")},
        {"an empty :scheme", BYTES(":method: GET\n:scheme: \n:authority: a\n:path: /\n")},
        {"an empty :authority", BYTES(":method: GET\n:scheme: https\n:authority: \n:path: /\n")},
        {"an empty :path", BYTES(":method: GET\n:scheme: https\n:authority: a\n:path: \n")},
        {"an unknown pseudo field", BYTES(PSEUDO ":x: y\n")},
        {"an empty pseudo field name", BYTES(PSEUDO ":: y\n")},
        {":status in a request", BYTES(PSEUDO ":status: 200\n")},
        {":protocol without the setting", BYTES(":method: CONNECT\n:protocol: websocket\n:scheme: "
                                                "https\n:authority: a\n:path: /\n")},
        {"a late pseudo field",
                BYTES(":method: GET\n:scheme: https\n:authority: a\nx: y\n:path: /\n")},
        {"a late repeated pseudo field", BYTES(PSEUDO "x: y\n:path: /admin\n")},
        {"an upper-case pseudo field",
                BYTES(":Method: GET\n:scheme: https\n:authority: a\n:path: /\n")},
        // Their values, read as HTTP/1.1 would read them.
        {"a space in :method",
                BYTES(":method: GET /x HTTP/1.1\n:scheme: https\n:authority: a\n:path: /\n")},
        {"a CR in :method", BYTES(":method: GET\rX\n:scheme: https\n:authority: a\n:path: /\n")},
        {"a bracket in :method", BYTES(":method: G(T\n:scheme: https\n:authority: a\n:path: /\n")},
        {"CONNECT", BYTES(":method: CONNECT\n:authority: a:443\n")},
        {"CONNECT with a path",
                BYTES(":method: CONNECT\n:scheme: https\n:authority: a\n:path: /\n")},
        {"a space in :path",
                BYTES(":method: GET\n:scheme: https\n:authority: a\n:path: / HTTP/1.1\n")},
        {"a CR in :path", BYTES(":method: GET\n:scheme: https\n:authority: a\n:path: /\rx\n")},
        {"a NUL in :path", BYTES(":method: GET\n:scheme: https\n:authority: a\n:path: /\0x\n")},
        {"a tab in :path", BYTES(":method: GET\n:scheme: https\n:authority: a\n:path: /\tx\n")},
        {"a fragment in :path", BYTES(":method: GET\n:scheme: https\n:authority: a\n:path: /#x\n")},
        {"a byte beyond ASCII in :path",
                BYTES(":method: GET\n:scheme: https\n:authority: a\n:path: /\xe9\n")},
        {"a relative :path", BYTES(":method: GET\n:scheme: https\n:authority: a\n:path: x\n")},
        {"an absolute :path",
                BYTES(":method: GET\n:scheme: https\n:authority: a\n:path: https://a/\n")},
        {"an asterisk for GET", BYTES(":method: GET\n:scheme: https\n:authority: a\n:path: *\n")},
        {"a query alone", BYTES(":method: GET\n:scheme: https\n:authority: a\n:path: ?x\n")},
        {"another :scheme", BYTES(":method: GET\n:scheme: ftp\n:authority: a\n:path: /\n")},
        {"a bad :scheme", BYTES(":method: GET\n:scheme: ht tp\n:authority: a\n:path: /\n")},
        {"a space in :authority",
                BYTES(":method: GET\n:scheme: https\n:authority: a b\n:path: /\n")},
        {"a CR in :authority", BYTES(":method: GET\n:scheme: https\n:authority: a\rb\n:path: /\n")},
        {"user information in :authority",
                BYTES(":method: GET\n:scheme: https\n:authority: u@a\n:path: /\n")},
        {"a path in :authority",
                BYTES(":method: GET\n:scheme: https\n:authority: a/b\n:path: /\n")},
        {"a list for :authority",
                BYTES(":method: GET\n:scheme: https\n:authority: a,b\n:path: /\n")},
        {"a bad port in :authority",
                BYTES(":method: GET\n:scheme: https\n:authority: a:b\n:path: /\n")},
        {"host differs from :authority", BYTES(PSEUDO "host: b\n")},
        {"host twice", BYTES(PSEUDO "host: a\nhost: a\n")},
        {"host empty beside :authority", BYTES(PSEUDO "host: \n")},
        {"host with a path", BYTES(":method: GET\n:scheme: https\n:path: /\nhost: a/b\n")},
        // Lengths.
        {"two lengths", BYTES(PSEUDO "content-length: 0\ncontent-length: 0\n")},
        {"a length that is no number", BYTES(PSEUDO "content-length: x\n")},
        {"a negative length", BYTES(PSEUDO "content-length: -1\n")},
        {"a length with plus", BYTES(PSEUDO "content-length: +0\n")},
        {"a list of lengths", BYTES(PSEUDO "content-length: 0, 0\n")},
        {"an empty length", BYTES(PSEUDO "content-length: \n")},
        {"a length that overflows", BYTES(PSEUDO "content-length: 18446744073709551616\n")},
        {"a length without DATA", BYTES(PSEUDO "content-length: 1\n")},
};

// The bad request is stream 1; a good one follows as stream 3 and is served.
static void a_malformed_head_is_a_stream_error_and_never_a_request(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		for (unsigned seed = 0; seed < 4; seed++) {
			struct side side;
			struct wire wire;
			side_open(&side, SERVER | H2, HABIT_ANSWER);
			wire_open(&wire, &side);
			put_headers(&wire.say, 1, END_STREAM, heads[i].lines);
			put_headers(&wire.say, 3, END_STREAM, STR(GET_LINES));
			side_feed_split(&side, buffer_str(&wire.say),
			        seed == 1 ? 1
			        : seed    ? 30
			                  : 10000,
			        seed > 1 ? seed : 0, seed % 2);
			buffer_clear(&wire.say);
			wire_listen(&wire);
			assert_transcript(&side, heads[i].what,
			        "0 faulty malformed_request 0\n1 head GET a / end\n1 sent\n");
			if (!strstr(heard(&wire), "RST_STREAM 1 PROTOCOL_ERROR\n") ||
			        !strstr(heard(&wire), "DATA 3 ok end\n") ||
			        strstr(heard(&wire), "GOAWAY"))
				fail_msg("%s:\n%s", heads[i].what, heard(&wire));
			assert_false(side.codec->finished);
			assert_false(side.codec->head_pending);
			assert_int_equal(side.codec->stream_count, 0);
			wire_close(&wire);
			side_close(&side);
		}
}

static void a_length_that_differs_from_the_data_is_never_whole(void **state)
{
	(void)state;
	static const struct {
		const char *what, *lines, *data, *trailers;
	} rows[] = {
	        {"less DATA than promised", POST_LINES "content-length: 5\n", "abcd", NULL},
	        {"more DATA than promised", POST_LINES "content-length: 5\n", "abcdef", NULL},
	        {"DATA where none was promised", POST_LINES "content-length: 0\n", "a", NULL},
	        {"no DATA at all", POST_LINES "content-length: 5\n", "", NULL},
	        {"less DATA, then trailers", POST_LINES "content-length: 5\n", "abcd", "x: y\n"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct side side;
		struct wire wire;
		side_open(&side, SERVER | H2, HABIT_WATCH);
		wire_open(&wire, &side);
		put_headers(&wire.say, 1, 0, str_from(rows[i].lines));
		put_data(&wire.say, 1, rows[i].trailers ? 0 : END_STREAM, rows[i].data);
		if (rows[i].trailers)
			put_headers(&wire.say, 1, END_STREAM, str_from(rows[i].trailers));
		wire_say(&wire);
		const char *log = transcript(&side);
		if (strstr(log, "end") ||
		        !(strstr(log, "1 aborted broken\n") || strstr(log, "1 faulty")))
			fail_msg("%s:\n%s", rows[i].what, log);
		assert_non_null(strstr(heard(&wire), "RST_STREAM 1 PROTOCOL_ERROR\n"));
		assert_int_equal(side.codec->stream_count, 0);
		wire_close(&wire);
		side_close(&side);
	}
}

static void malformed_trailers_are_never_the_end(void **state)
{
	(void)state;
	static const char *const trailers[] = {":path: /x\n", "X: y\n", "x y: z\n",
	        "connection: x\n", "transfer-encoding: chunked\n", "x: y\rz\n", ":status: 200\n",
	        "|y\n"};
	for (size_t i = 0; i < ARRAY_LEN(trailers); i++)
		for (int answered = 0; answered < 2; answered++) {
			struct side side;
			struct wire wire;
			struct head head;
			side_open(&side, SERVER | H2, HABIT_WATCH);
			wire_open(&wire, &side);
			put_headers(&wire.say, 1, 0, STR(POST_LINES));
			put_data(&wire.say, 1, 0, "abc");
			wire_say(&wire);
			head_answer(&head, 200);
			if (answered)
				stream_send_head(user_at(&side, 1)->stream, &head, false);
			put_headers(&wire.say, 1, END_STREAM, str_from(trailers[i]));
			wire_say(&wire);
			assert_transcript(&side, trailers[i],
			        "1 head POST a /\n1 data abc\n1 faulty malformed_request 0\n");
			assert_non_null(strstr(heard(&wire), "RST_STREAM 1 PROTOCOL_ERROR\n"));
			assert_int_equal(side.codec->stream_count, 0);
			wire_close(&wire);
			side_close(&side);
		}
}

static void put_many(struct buffer *block, unsigned count, size_t value_len)
{
	char *value = malloc(value_len + 1);
	memset(value, 'v', value_len + 1);
	put_lines(block, STR(GET_LINES));
	for (unsigned i = 0; i < count; i++)
		put_field(block, STR("x"), str_of(value, value_len));
	free(value);
}

// As a HEADERS frame and as many CONTINUATIONs as it takes.
static void put_block(struct buffer *out, uint32_t stream, uint8_t flags, struct str block)
{
	uint8_t type = NGHTTP2_HEADERS;
	do {
		size_t len = block.len < 16384 ? block.len : 16384;
		put_frame(out, type, (uint8_t)(flags | (len == block.len ? END_HEADERS : 0)),
		        stream, str_of(block.at, len));
		block = str_skip(block, len);
		type = NGHTTP2_CONTINUATION;
		flags = 0;
	} while (block.len);
}

static void a_head_over_its_limit_is_answered_431(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		unsigned count;
		size_t len;
		bool good;
	} rows[] = {
	        {"100 fields", 100, 1, true},
	        {"101 fields", 101, 1, false},
	        {"5 fields of 10 KiB", 5, 10 * 1024, true},
	        {"6 fields of 10 KiB", 6, 10 * 1024, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int trailers = 0; trailers < 2; trailers++) {
			struct side side;
			struct wire wire;
			struct buffer block = {0};
			side_open(&side, SERVER | H2, HABIT_ANSWER);
			wire_open(&wire, &side);
			put_many(&block, rows[i].count, rows[i].len);
			put_block(&wire.say, 1, trailers ? 0 : END_STREAM, buffer_str(&block));
			if (trailers)
				put_headers(&wire.say, 1, END_STREAM, STR("x: y\n"));
			wire_say(&wire);
			const char *status = rows[i].good ? "{:status: 200" : "{:status: 431";
			if (!strstr(heard(&wire), status) ||
			        (strstr(transcript(&side), "faulty request_too_large 431") !=
			                NULL) == rows[i].good)
				fail_msg(
				        "%s:\n%s%s", rows[i].what, heard(&wire), transcript(&side));
			// HPACK's state is whole: the connection goes on.
			put_headers(&wire.say, 3, END_STREAM, STR(GET_LINES));
			wire_say(&wire);
			assert_non_null(strstr(heard(&wire), "DATA 3 ok end\n"));
			buffer_fini(&block);
			wire_close(&wire);
			side_close(&side);
		}
}

static void trailers_over_their_limit_end_the_stream(void **state)
{
	(void)state;
	struct side side;
	struct wire wire;
	struct buffer block = {0};
	side_open(&side, SERVER | H2, HABIT_ANSWER);
	wire_open(&wire, &side);
	put_headers(&wire.say, 1, 0, STR(POST_LINES));
	for (int i = 0; i < 101; i++)
		put_field(&block, STR("x"), STR("y"));
	put_block(&wire.say, 1, END_STREAM, buffer_str(&block));
	wire_say(&wire);
	assert_string_equal(transcript(&side), "1 head POST a /\n1 faulty request_too_large 0\n");
	assert_non_null(strstr(heard(&wire), "RST_STREAM 1"));
	buffer_fini(&block);
	wire_close(&wire);
	side_close(&side);
}

// A hundred crumbs of cookie are joined in memory of their own size, not of its square.
static void a_split_cookie_is_one_field_again(void **state)
{
	(void)state;
	struct side side;
	struct wire wire;
	side_open(&side, SERVER | H2, HABIT_WATCH);
	wire_open(&wire, &side);
	put_headers(&wire.say, 1, END_STREAM,
	        STR(GET_LINES "cookie: a=1\nx: y\ncookie: b=2\ncookie: c=3\n"));
	wire_say(&wire);
	assert_string_equal(
	        transcript(&side), "1 head GET a / {x: y; cookie: a=1; b=2; c=3} end\n");
	wire_close(&wire);
	side_close(&side);
}

static const struct malformed answers[] = {
        {"no :status", BYTES("x: y\n")},
        {"an empty :status", BYTES(":status: \n")},
        {"a :status of two digits", BYTES(":status: 20\n")},
        {"a :status that is no number", BYTES(":status: 2x0\n")},
        {"a :status of four digits", BYTES(":status: 2000\n")},
        {":status twice", BYTES(":status: 200\n:status: 200\n")},
        {":status 000", BYTES(":status: 000\n")},
        {":status 099", BYTES(":status: 099\n")},
        {":status 600", BYTES(":status: 600\n")},
        {":status 999", BYTES(":status: 999\n")},
        {"101", BYTES(":status: 101\n")},
        {":path in an answer", BYTES(":status: 200\n:path: /\n")},
        {"a late :status", BYTES("x: y\n:status: 200\n")},
        {"an upper-case name", BYTES(":status: 200\nX: y\n")},
        {"a bad name", BYTES(":status: 200\nx y: z\n")},
        {"an empty name", BYTES(":status: 200\n|z\n")},
        {"a CR in a value", BYTES(":status: 200\nx: y\rz\n")},
        {"a NUL in a value", BYTES(":status: 200\nx: y\0z\n")},
        {"connection", BYTES(":status: 200\nconnection: close\n")},
        {"transfer-encoding", BYTES(":status: 200\ntransfer-encoding: chunked\n")},
        {"upgrade", BYTES(":status: 200\nupgrade: websocket\n")},
        {"two lengths", BYTES(":status: 200\ncontent-length: 1\ncontent-length: 1\n")},
        {"a bad length", BYTES(":status: 200\ncontent-length: x\n")},
        {"a length without DATA", BYTES(":status: 200\ncontent-length: 5\n")},
        {"an interim answer that ends", BYTES(":status: 103\n")},
};

static void a_malformed_answer_is_broken_and_never_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct side side;
		struct wire wire;
		side_open(&side, CLIENT | H2, HABIT_WATCH);
		wire_open(&wire, &side);
		side_ask(&side, "GET", "/", -1, true);
		wire_say(&wire);
		put_headers(&wire.say, 1, END_STREAM, answers[i].lines);
		wire_say(&wire);
		assert_transcript(&side, answers[i].what, "1 sent\n1 aborted broken\n");
		assert_non_null(strstr(heard(&wire), "RST_STREAM 1 PROTOCOL_ERROR\n"));
		assert_int_equal(side.codec->stream_count, 0);
		assert_false(side.codec->finished);  // the others go on
		wire_close(&wire);
		side_close(&side);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_malformed_head_is_a_stream_error_and_never_a_request),
	        cmocka_unit_test(a_length_that_differs_from_the_data_is_never_whole),
	        cmocka_unit_test(malformed_trailers_are_never_the_end),
	        cmocka_unit_test(a_head_over_its_limit_is_answered_431),
	        cmocka_unit_test(trailers_over_their_limit_end_the_stream),
	        cmocka_unit_test(a_split_cookie_is_one_field_again),
	        cmocka_unit_test(a_malformed_answer_is_broken_and_never_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
