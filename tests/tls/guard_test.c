// The guard reads along and is never wrong-footed by how the bytes are cut.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "tls/guard.h"

#define HELLO_OF_4                                                                                 \
	"\x16\x03\x01\x00\x08\x01\x00\x00\x04"                                                     \
	"abcd"
#define HUGE_HELLO "\x16\x03\x01\x00\x04\x01\x00\x40\x01"
#define CHANGE_CIPHER_SPEC "\x14\x03\x03\x00\x01\x01"
#define KEY_EXCHANGE "\x16\x03\x03\x00\x04\x10\x00\x00\x00"
#define APPLICATION_DATA                                                                           \
	"\x17\x03\x03\x00\x02"                                                                     \
	"ab"

static const struct {
	const char *name;
	struct str bytes;
	enum guard_verdict verdict;
} rows[] = {
        {"nothing", {"", 0}, GUARD_PASS},
        {"a hello", STR(HELLO_OF_4), GUARD_PASS},
        {"a hello of 16 KiB", STR("\x16\x03\x01\x00\x04\x01\x00\x40\x00"), GUARD_PASS},
        {"a hello of a byte more", STR(HUGE_HELLO), GUARD_HUGE},
        {"the same over two records",
                STR("\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x03\x00\x40\x01"), GUARD_HUGE},
        {"the same over four",
                STR("\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x01\x00"
                    "\x16\x03\x01\x00\x01\x40\x16\x03\x01\x00\x01\x01"),
                GUARD_HUGE},
        {"a huge second hello", STR(HELLO_OF_4 HUGE_HELLO), GUARD_HUGE},
        {"a huge second hello in the same record",
                STR("\x16\x03\x01\x00\x0c\x01\x00\x00\x04"
                    "abcd\x01\xff\xff\xff"),
                GUARD_HUGE},
        {"a huge second hello behind TLS 1.3's dummy",
                STR(HELLO_OF_4 CHANGE_CIPHER_SPEC HUGE_HELLO), GUARD_HUGE},
        {"a huge hello behind an alert", STR("\x15\x03\x01\x00\x02\x01\x00" HUGE_HELLO),
                GUARD_HUGE},
        {"what looks like one behind TLS 1.2's change is encrypted",
                STR(HELLO_OF_4 KEY_EXCHANGE CHANGE_CIPHER_SPEC HUGE_HELLO), GUARD_PASS},
        {"what looks like one behind application data is encrypted",
                STR(HELLO_OF_4 APPLICATION_DATA HUGE_HELLO), GUARD_PASS},
        {"a large certificate is OpenSSL's to refuse",
                STR(HELLO_OF_4 "\x16\x03\x01\x00\x04\x0b\xff\xff\xff"), GUARD_PASS},
        {"empty records in between", STR("\x16\x03\x01\x00\x00" HUGE_HELLO), GUARD_HUGE},
        {"SSL 2", STR("\x80\x2e\x01\x00\x02"), GUARD_SSL2},
        {"any top bit", STR("\xff"), GUARD_SSL2},
        {"plain HTTP", STR("GET / HTTP/1.1\r\n"), GUARD_PASS},
};

static void every_cut_gives_the_same_verdict(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		print_message("    %s\n", rows[i].name);
		for (size_t stride = 1; stride <= 64; stride++) {
			struct guard guard = {0};
			struct str bytes = rows[i].bytes;
			enum guard_verdict verdict = GUARD_PASS;
			while (bytes.len && verdict == GUARD_PASS) {
				size_t cut = stride < bytes.len ? stride : bytes.len;
				verdict = guard_look(&guard, str_of(bytes.at, cut));
				bytes = str_skip(bytes, cut);
			}
			assert_int_equal(verdict, rows[i].verdict);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_cut_gives_the_same_verdict)};
	return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
