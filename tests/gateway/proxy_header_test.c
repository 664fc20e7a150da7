// A PROXY header, cut in every way: what is whole is told once the last byte is there and no
// sooner, what is broken as soon as that is certain.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/check.h"
#include "gateway/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(literal)                                                                             \
	{                                                                                          \
		literal, sizeof(literal) - 1                                                       \
	}

static void assert_client(const struct proxy_header *header, const char *host, unsigned port)
{
	char text[INET6_ADDRSTRLEN];
	const struct sockaddr_in *four = (const struct sockaddr_in *)&header->client;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&header->client;
	bool is_four = header->client.ss_family == AF_INET;
	assert_true(header->told);
	inet_ntop(header->client.ss_family,
	        is_four ? (const void *)&four->sin_addr : (const void *)&six->sin6_addr, text,
	        sizeof(text));
	assert_string_equal(text, host);
	assert_int_equal(ntohs(is_four ? four->sin_port : six->sin6_port), port);
}

static void a_header_is_whole_with_its_last_byte(void **state)
{
	static const struct {
		struct str bytes;
		const char *host;  // NULL: it is not told
		unsigned port;
	} rows[] = {
	        {BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"), "192.0.2.7", 56324},
	        {BYTES("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"), "0.0.0.0", 0},
	        {BYTES("PROXY TCP6 2001:db8::7 ::1 1 2\r\n"), "2001:db8::7", 1},
	        {BYTES("PROXY UNKNOWN\r\n"), NULL, 0},
	        {BYTES("PROXY UNKNOWN whatever follows\r\n"), NULL, 0},
	        {BYTES(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\7\xc6\x33\x64\1\xdc\4\1\xbb"), "192.0.2.7",
	                56324},
	        {BYTES(SIGNATURE "\x21\x11\0\x0f\xc0\0\2\7\xc6\x33\x64\1\xdc\4\1\xbb\4\0\0"),
	                "192.0.2.7", 56324},
	        {BYTES(SIGNATURE
	                 "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7\x20\1\x0d\xb8\0\0\0"
	                 "\0\0\0\0\0\0\0\0\1\xdc\4\1\xbb"),
	                "2001:db8::7", 56324},
	        {BYTES(SIGNATURE "\x20\0\0\0"), NULL, 0},
	        {BYTES(SIGNATURE "\x20\x11\0\x0c\xc0\0\2\7\xc6\x33\x64\1\xdc\4\1\xbb"), NULL, 0},
	        {BYTES(SIGNATURE "\x21\0\0\0"), NULL, 0},
	        {BYTES(SIGNATURE "\x21\x12\0\1x"), NULL, 0},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct proxy_header header;
		const char *why;
		for (size_t len = 1; len < rows[i].bytes.len; len++)
			assert_int_equal(
			        proxy_header_read(str_of(rows[i].bytes.at, len), &header, &why),
			        PROXY_MORE);
		assert_int_equal(proxy_header_read(rows[i].bytes, &header, &why), PROXY_WHOLE);
		assert_int_equal(header.len, rows[i].bytes.len);
		if (rows[i].host)
			assert_client(&header, rows[i].host, rows[i].port);
		else
			assert_false(header.told);
	}
}

static void what_follows_is_left_alone(void **state)
{
	const struct str line = STR("PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n\x16\x03\x01");
	struct proxy_header header;
	const char *why;
	(void)state;
	assert_int_equal(proxy_header_read(line, &header, &why), PROXY_WHOLE);
	assert_int_equal(header.len, line.len - 3);
}

static void what_is_broken_is_told_at_once(void **state)
{
	static const struct {
		struct str bytes;
		size_t certain;  // with so many bytes
	} rows[] = {
	        {BYTES("\x16\x03\x01"), 1},
	        {BYTES("PROXX"), 5},
	        {BYTES("\r\n\r\nGET"), 5},
	        {BYTES(SIGNATURE "\x31\x11\0\x0c"), 16},
	        {BYTES(SIGNATURE "\x21\x11\x08\0"), 16},
	        {BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n"), 38},
	        {BYTES("PROXY \n"), 7},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct proxy_header header;
		const char *why = NULL;
		for (size_t len = 1; len < rows[i].certain; len++)
			assert_int_equal(
			        proxy_header_read(str_of(rows[i].bytes.at, len), &header, &why),
			        PROXY_MORE);
		assert_int_equal(
		        proxy_header_read(str_of(rows[i].bytes.at, rows[i].certain), &header, &why),
		        PROXY_BROKEN);
		assert_non_null(why);
	}
}

static struct sockaddr_storage address_of(const char *host, unsigned port)
{
	struct sockaddr_storage address = {.ss_family = AF_UNIX};
	struct sockaddr_in *four = (struct sockaddr_in *)&address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address;
	if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons((uint16_t)port);
	} else if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)port);
	}
	return address;
}

static const struct {
	const char *client, *gateway;
	struct str line, block;
} written[] = {
        {"192.0.2.7", "198.51.100.1", BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"),
                BYTES(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\7\xc6\x33\x64\1\xdc\4\1\xbb")},
        {"2001:db8::7", "2001:db8::1", BYTES("PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n"),
                BYTES(SIGNATURE "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7\x20\1\x0d\xb8"
                                "\0\0\0\0\0\0\0\0\0\0\0\1\xdc\4\1\xbb")},
        // As a socket for both families gives them.
        {"::ffff:192.0.2.7", "::ffff:198.51.100.1",
                BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"),
                BYTES(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\7\xc6\x33\x64\1\xdc\4\1\xbb")},
        // A balancer's client and the balancer's way to us may differ in it.
        {"2001:db8::7", "198.51.100.1",
                BYTES("PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 56324 443\r\n"),
                BYTES(SIGNATURE "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0"
                                "\0\0\0\xff\xff\xc6\x33\x64\1\xdc\4\1\xbb")},
        {"", "198.51.100.1", BYTES("PROXY UNKNOWN\r\n"), BYTES(SIGNATURE "\x20\0\0\0")},
        {"192.0.2.7", "", BYTES("PROXY UNKNOWN\r\n"), BYTES(SIGNATURE "\x20\0\0\0")},
};

static void assert_writes(int version, const struct sockaddr_storage *client,
        const struct sockaddr_storage *gateway, struct str expected)
{
	struct buffer out = {0};
	proxy_header_write(version, client, gateway, &out);
	assert_int_equal(buffer_len(&out), expected.len);
	assert_memory_equal(buffer_data(&out), expected.at, expected.len);
	struct proxy_header header;
	const char *why;
	assert_int_equal(proxy_header_read(buffer_str(&out), &header, &why), PROXY_WHOLE);
	assert_int_equal(header.len, expected.len);
	buffer_fini(&out);
}

static void what_is_written_is_what_the_protocol_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(written); i++) {
		const struct sockaddr_storage client = address_of(written[i].client, 56324);
		const struct sockaddr_storage gateway = address_of(written[i].gateway, 443);
		assert_writes(1, &client, &gateway, written[i].line);
		assert_writes(2, &client, &gateway, written[i].block);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_header_is_whole_with_its_last_byte),
	        cmocka_unit_test(what_follows_is_left_alone),
	        cmocka_unit_test(what_is_broken_is_told_at_once),
	        cmocka_unit_test(what_is_written_is_what_the_protocol_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
