#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "policy/host.h"

static const struct {
	struct str authority;
	const char *host;  // NULL: refused
} authorities[] = {
        {STR("example.com"), "example.com"},
        {STR("API.Example.COM"), "api.example.com"},
        {STR("example.com."), "example.com"},
        {STR("example.com:443"), "example.com"},
        {STR("example.com.:443"), "example.com"},
        {STR("example.com:"), "example.com"},
        {STR("example.com:0"), "example.com"},
        {STR("example.com:65535"), "example.com"},
        {STR("example.com:00443"), "example.com"},
        {STR("example.com:65536"), NULL},
        {STR("example.com:99999999999999999999"), NULL},
        {STR("example.com:+1"), NULL},
        {STR("example.com:-1"), NULL},
        {STR("example.com:80:80"), NULL},
        {STR("example.com:http"), NULL},
        {STR("a_b-c~d.1"), "a_b-c~d.1"},
        {STR("127.0.0.1:8443"), "127.0.0.1"},
        {STR("localhost"), "localhost"},
        {STR("[::1]"), "[::1]"},
        {STR("[::1]:8443"), "[::1]"},
        {STR("[::1]:"), "[::1]"},
        {STR("[0:0:0:0:0:0:0:1]"), "[::1]"},
        {STR("[2001:DB8::A]"), "[2001:db8::a]"},
        {STR("[::ffff:1.2.3.4]"), "[::ffff:1.2.3.4]"},
        {STR("[::1"), NULL},
        {STR("::1"), NULL},
        {STR("[]"), NULL},
        {STR("[::1]x"), NULL},
        {STR("[::1]:x"), NULL},
        {STR("[::1%25eth0]"), NULL},
        {STR("[::1%eth0]"), NULL},
        {STR("[v1.a]"), NULL},
        {STR("[1.2.3.4]"), NULL},
        {STR("[::1\0]"), NULL},
        {STR("[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]"), NULL},
        {STR(""), NULL},
        {{NULL, 0}, NULL},
        {STR("."), NULL},
        {STR(".."), NULL},
        {STR("a.."), NULL},
        {STR(":80"), NULL},
        {STR("user@example.com"), NULL},
        {STR("user:pw@example.com"), NULL},
        {STR("exa mple.com"), NULL},
        {STR(" example.com"), NULL},
        {STR("example.com "), NULL},
        {STR("example.com/"), NULL},
        {STR("example.com?x"), NULL},
        {STR("example.com#x"), NULL},
        {STR("example.com\\x"), NULL},
        {STR("a,b"), NULL},
        {STR("a%2eb"), NULL},
        {STR("a\0b"), NULL},
        {STR("a\r\nb"), NULL},
        {STR("\xc3\xa4.example"), NULL},
        {STR("http://example.com"), NULL},
};

static void spellings_of_a_host_become_one_and_the_rest_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(authorities); i++) {
		struct arena arena = {0};
		struct str host;
		if (host_normalise(authorities[i].authority, &arena, &host) !=
		        (authorities[i].host != NULL))
			fail_msg("%s", authorities[i].authority.at ? authorities[i].authority.at
			                                           : "nothing");
		if (authorities[i].host && !str_eq(host, str_from(authorities[i].host)))
			fail_msg("%s: %.*s", authorities[i].authority.at, STR_FMT(host));
		arena_fini(&arena);
	}
}

static void names_are_at_most_255_bytes(void **state)
{
	(void)state;
	char text[257];
	struct arena arena = {0};
	struct str host;
	memset(text, 'a', sizeof(text));
	assert_true(host_normalise(str_of(text, 255), &arena, &host));
	assert_int_equal(host.len, 255);
	assert_false(host_normalise(str_of(text, 256), &arena, &host));
	text[255] = '.';
	assert_true(host_normalise(str_of(text, 256), &arena, &host));
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(spellings_of_a_host_become_one_and_the_rest_is_refused),
	        cmocka_unit_test(names_are_at_most_255_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
