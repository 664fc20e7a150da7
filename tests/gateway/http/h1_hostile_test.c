// Requests that two readers might read differently, each with the refusal it must meet (RFC 9112;
// BEHAVIOUR 4). After every one of them follows a smuggled request that must never be seen.
#include "tests/gateway/http/h1_hostile.h"

#define FIRST "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"

static const struct hostile heads[] = {
        // Framing.
        {"CL.TE", BYTES(POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"TE.CL", BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n")},
        {"CL.TE with no body",
                BYTES(POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n")},
        {"CL twice, alike", BYTES(POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx")},
        {"CL twice, different", BYTES(POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx")},
        {"CL listed", BYTES(POST "Content-Length: 1, 1\r\n\r\nx")},
        {"CL listed, different", BYTES(POST "Content-Length: 1,2\r\n\r\nx")},
        {"CL with plus", BYTES(POST "Content-Length: +1\r\n\r\nx")},
        {"CL with minus", BYTES(POST "Content-Length: -1\r\n\r\nx")},
        {"CL minus nought", BYTES(POST "Content-Length: -0\r\n\r\n")},
        {"CL hexadecimal", BYTES(POST "Content-Length: 0x1\r\n\r\nx")},
        {"CL bare hexadecimal", BYTES(POST "Content-Length: a\r\n\r\nx")},
        {"CL with a space inside", BYTES(POST "Content-Length: 1 1\r\n\r\nx")},
        {"CL empty", BYTES(POST "Content-Length:\r\n\r\nx")},
        {"CL blank", BYTES(POST "Content-Length: \t\r\n\r\nx")},
        {"CL fractional", BYTES(POST "Content-Length: 1.0\r\n\r\nx")},
        {"CL exponent", BYTES(POST "Content-Length: 1e1\r\n\r\nx")},
        {"CL underscored", BYTES(POST "Content-Length: 1_0\r\n\r\nx")},
        {"CL over 2^64", BYTES(POST "Content-Length: 18446744073709551617\r\n\r\nx")},
        {"CL 2^64", BYTES(POST "Content-Length: 18446744073709551616\r\n\r\nx")},
        {"CL 2^63", BYTES(POST "Content-Length: 9223372036854775808\r\n\r\nx")},
        {"CL of fifty digits", BYTES(POST "Content-Length: "
                                          "99999999999999999999999999999999999999999999999999"
                                          "\r\n\r\nx")},
        {"CL with a semicolon", BYTES(POST "Content-Length: 1;\r\n\r\nx")},
        {"CL quoted", BYTES(POST "Content-Length: \"1\"\r\n\r\nx")},
        {"CL with a vertical tab", BYTES(POST "Content-Length:\v1\r\n\r\nx")},
        {"CL in Arabic digits", BYTES(POST "Content-Length: \xd9\xa1\r\n\r\nx")},
        {"TE chunked twice in a list",
                BYTES(POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n")},
        {"TE twice", BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: "
                                "chunked\r\n\r\n0\r\n\r\n")},
        {"TE chunked then identity", BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: "
                                                "identity\r\n\r\n0\r\n\r\n")},
        {"TE identity", BYTES(POST "Transfer-Encoding: identity\r\n\r\n")},
        {"TE identity with CL",
                BYTES(POST "Content-Length: 1\r\nTransfer-Encoding: identity\r\n\r\nx")},
        {"TE gzip, chunked", BYTES(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")},
        {"TE chunked, gzip", BYTES(POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n")},
        {"TE xchunked", BYTES(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")},
        {"TE chunkedx", BYTES(POST "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n")},
        {"TE chunke", BYTES(POST "Transfer-Encoding: chunke\r\n\r\n0\r\n\r\n")},
        {"TE chunk", BYTES(POST "Transfer-Encoding: chunk\r\n\r\n0\r\n\r\n")},
        {"TE x chunked", BYTES(POST "Transfer-Encoding: x chunked\r\n\r\n0\r\n\r\n")},
        {"TE chunked with a parameter",
                BYTES(POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n")},
        {"TE with an empty element", BYTES(POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n")},
        {"TE with a last comma", BYTES(POST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n")},
        {"TE quoted", BYTES(POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n")},
        {"TE single-quoted", BYTES(POST "Transfer-Encoding: 'chunked'\r\n\r\n0\r\n\r\n")},
        {"TE after a vertical tab", BYTES(POST "Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n")},
        {"TE after a form feed", BYTES(POST "Transfer-Encoding:\fchunked\r\n\r\n0\r\n\r\n")},
        {"TE before a vertical tab", BYTES(POST "Transfer-Encoding: chunked\v\r\n\r\n0\r\n\r\n")},
        {"TE after a NUL", BYTES(POST "Transfer-Encoding: \0chunked\r\n\r\n0\r\n\r\n")},
        {"TE after a no-break space", BYTES(POST "Transfer-Encoding: \xa0"
                                                 "chunked\r\n\r\n0\r\n\r\n")},
        {"TE empty", BYTES(POST "Transfer-Encoding:\r\n\r\n")},
        {"TE empty with CL", BYTES(POST "Transfer-Encoding:\r\nContent-Length: 1\r\n\r\nx")},
        {"TE with a space before the colon",
                BYTES(POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n")},
        {"TE with a tab before the colon",
                BYTES(POST "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n")},
        {"TE folded", BYTES(POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n")},
        {"TE with a space in its name", BYTES(POST "Transfer Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"TE with a space before its name",
                BYTES(POST " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"TE behind a bare CR", BYTES(POST "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"TE behind a bare LF", BYTES(POST "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"TE with a NUL in its name", BYTES(POST "Transfer-\0Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"TE in HTTP/1.0",
                BYTES("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"TE and CL in HTTP/1.0", BYTES("POST / HTTP/1.0\r\nContent-Length: "
                                        "1\r\nTransfer-Encoding: chunked\r\n\r\nx")},
        // Lines and names.
        {"white space before the first field", BYTES("GET / HTTP/1.1\r\n Host: a\r\n\r\n")},
        {"white space before a colon", BYTES(FIRST "X : y\r\n\r\n")},
        {"Host with a space before its colon", BYTES("GET / HTTP/1.1\r\nHost : a\r\n\r\n")},
        {"a folded line", BYTES(FIRST "X: y\r\n z\r\n\r\n")},
        {"a line folded with a tab", BYTES(FIRST "X: y\r\n\tz\r\n\r\n")},
        {"a folded Content-Length", BYTES(POST "Content-Length:\r\n 1\r\n\r\nx")},
        {"an empty name", BYTES(FIRST ": y\r\n\r\n")},
        {"an empty name and value", BYTES(FIRST ":\r\n\r\n")},
        {"no colon", BYTES(FIRST "X\r\n\r\n")},
        {"no colon but spaces", BYTES(FIRST "X y z\r\n\r\n")},
        {"a bracket in a name", BYTES(FIRST "X(y): z\r\n\r\n")},
        {"an at sign in a name", BYTES(FIRST "X@y: z\r\n\r\n")},
        {"a slash in a name", BYTES(FIRST "X/y: z\r\n\r\n")},
        {"a byte beyond ASCII in a name", BYTES(FIRST "X\xc3\xa9: z\r\n\r\n")},
        {"a control byte in a name", BYTES(FIRST "X\x01: z\r\n\r\n")},
        {"DEL in a name", BYTES(FIRST "X\x7f: z\r\n\r\n")},
        {"NUL in a value", BYTES(FIRST "X: y\0z\r\n\r\n")},
        {"SOH in a value", BYTES(FIRST "X: y\x01z\r\n\r\n")},
        {"DEL in a value", BYTES(FIRST "X: y\x7fz\r\n\r\n")},
        {"escape in a value", BYTES(FIRST "X: \x1b[31m\r\n\r\n")},
        {"a bare CR in a value", BYTES(FIRST "X: y\rz\r\n\r\n")},
        {"a bare CR at the end of a value", BYTES(FIRST "X: y\r\r\n\r\n")},
        {"a bare CR in a name", BYTES(FIRST "X\rY: z\r\n\r\n")},
        {"a line that ends in a bare LF", BYTES(FIRST "X: y\n\r\n")},
        {"a head that ends in a bare LF", BYTES(FIRST "X: y\r\n\n")},
        {"a head that ends in two bare LF", BYTES("GET / HTTP/1.1\nHost: a\n\n")},
        {"a head that ends in a bare CR",
                BYTES(FIRST "\rGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")},
        // The request line.
        {"a lower-case version", BYTES("GET / http/1.1\r\nHost: a\r\n\r\n")},
        {"HTTP/0.9", BYTES("GET /\r\n\r\n")},
        {"HTTP/0.9 by name", BYTES("GET / HTTP/0.9\r\nHost: a\r\n\r\n")},
        {"HTTP/1.2", BYTES("GET / HTTP/1.2\r\nHost: a\r\n\r\n")},
        {"HTTP/2.0", BYTES("GET / HTTP/2.0\r\nHost: a\r\n\r\n")},
        {"HTTP/3", BYTES("GET / HTTP/3\r\nHost: a\r\n\r\n")},
        {"HTTP/1.10", BYTES("GET / HTTP/1.10\r\nHost: a\r\n\r\n")},
        {"HTTP/01.1", BYTES("GET / HTTP/01.1\r\nHost: a\r\n\r\n")},
        {"HTTP/11", BYTES("GET / HTTP/11\r\nHost: a\r\n\r\n")},
        {"ICE/1.0", BYTES("GET / ICE/1.0\r\nHost: a\r\n\r\n")},
        {"RTSP/1.0", BYTES("OPTIONS / RTSP/1.0\r\nHost: a\r\n\r\n")},
        {"no protocol name", BYTES("GET / 1.1\r\nHost: a\r\n\r\n")},
        {"the HTTP/2 preface", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
        {"two spaces after the method", BYTES("GET  / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"two spaces before the version", BYTES("GET /  HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a space in the target", BYTES("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a tab in the target", BYTES("GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a tab for a space", BYTES("GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a space after the version", BYTES("GET / HTTP/1.1 \r\nHost: a\r\n\r\n")},
        {"a second version", BYTES("GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a control byte in the target", BYTES("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"NUL in the target", BYTES("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"DEL in the target", BYTES("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a bare CR in the target", BYTES("GET /\rX HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a byte beyond ASCII in the target", BYTES("GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a relative target", BYTES("GET index.html HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a target of a query alone", BYTES("GET ?x HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"an asterisk for GET", BYTES("GET * HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"an asterisk and more", BYTES("OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"an authority for a target", BYTES("GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a method that is no token", BYTES("G(T / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a method with a colon", BYTES("GET: / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a lower-case method", BYTES("get / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a control byte in the method", BYTES("GE\x02T / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"no method", BYTES(" / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a space before the method", BYTES(" GET / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"two empty lines first", BYTES("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a bare LF first", BYTES("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a bare CR first", BYTES("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"a TLS record", BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")},
        {"CONNECT", BYTES("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")},
        {"CONNECT with a path", BYTES("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n")},
        // Host.
        {"no Host", BYTES("GET / HTTP/1.1\r\n\r\n")},
        {"Host twice", BYTES(FIRST "Host: b\r\n\r\n")},
        {"Host twice, alike", BYTES(FIRST "Host: a\r\n\r\n")},
        {"Host twice in two cases", BYTES(FIRST "HOST: a\r\n\r\n")},
        {"Host twice in HTTP/1.0", BYTES("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n")},
        {"Host empty", BYTES("GET / HTTP/1.1\r\nHost:\r\n\r\n")},
        {"Host blank", BYTES("GET / HTTP/1.1\r\nHost: \r\n\r\n")},
        {"Host with a space", BYTES("GET / HTTP/1.1\r\nHost: a b\r\n\r\n")},
        {"Host listed", BYTES("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n")},
        {"Host with a path", BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n")},
        {"Host with user information", BYTES("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n")},
        {"Host with a bad port", BYTES("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n")},
        {"Host with two ports", BYTES("GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n")},
        {"Host that is a URI", BYTES("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n")},
        {"absolute form without Host", BYTES("GET http://a/ HTTP/1.1\r\n\r\n")},
        {"absolute form with two Hosts",
                BYTES("GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")},
        {"absolute form and a Host that is none",
                BYTES("GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n")},
        {"absolute form with no host", BYTES("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"absolute form with user information",
                BYTES("GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"absolute form of another scheme", BYTES("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"absolute form without slashes", BYTES("GET http:a HTTP/1.1\r\nHost: a\r\n\r\n")},
        // Expect.
        {"Expect something else", BYTES(POST "Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx"), 417},
        {"Expect 100-continue and something else",
                BYTES(POST "Expect: 100-continue, x\r\nContent-Length: 1\r\n\r\nx"), 417},
        {"Expect twice",
                BYTES(POST "Expect: 100-continue\r\nExpect: x\r\nContent-Length: 1\r\n\r\nx"), 417},
};

static void a_hostile_head_is_refused_and_nothing_after_it_is_read(void **state)
{
	(void)state;
	struct buffer bytes = {0};
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		char expected[80];
		snprintf(expected, sizeof(expected), "1 faulty malformed_request %d\n1 sent\n",
		        heads[i].status ? heads[i].status : 400);
		assert_refused(heads[i].what,
		        joined(&bytes, STR(""), heads[i].bytes, STR(SMUGGLED)), expected);
	}
	buffer_fini(&bytes);
}

static void a_hostile_head_in_a_pipeline_is_refused_after_the_good_request(void **state)
{
	(void)state;
	struct buffer bytes = {0};
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		// After a finished request one empty line is forgiven again: not these.
		char expected[160];
		snprintf(expected, sizeof(expected),
		        "1 head GET a /first end\n1 sent\n2 faulty malformed_request %d\n2 sent\n",
		        heads[i].status ? heads[i].status : 400);
		assert_refused(heads[i].what,
		        joined(&bytes, STR("GET /first HTTP/1.1\r\nHost: a\r\n\r\n"),
		                heads[i].bytes, STR(SMUGGLED)),
		        expected);
	}
	buffer_fini(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_hostile_head_is_refused_and_nothing_after_it_is_read),
	        cmocka_unit_test(a_hostile_head_in_a_pipeline_is_refused_after_the_good_request),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
