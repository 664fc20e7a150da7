#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "policy/fingerprint.h"

// The reference's key 00..0f over messages 00, 01, 02 ... of each length; the values are those of
// its vectors, and `openssl mac -macopt size:16 SIPHASH` says the same.
static void fingerprints_are_siphash_2_4_of_128_bits(void **state)
{
	(void)state;
	static const struct {
		size_t len;
		struct fingerprint print;
	} rows[] = {
	        {0, {0xe6a825ba047f81a3u, 0x930255c71472f66du}},
	        {1, {0x44af996bd8c187dau, 0x45fc229b11597634u}},
	        {7, {0x53c1dbd8beebf1a1u, 0x3982f01fa64ab8c0u}},
	        {8, {0x61f55862baa9623bu, 0xb49714f364e2830fu}},
	        {15, {0x11a8b03399e99354u, 0xd9c3cf970fec087eu}},
	        {16, {0xbb54b067caa4e26eu, 0x77052385bf1533fdu}},
	        {63, {0x4a83502f77d15051u, 0x7cbd3f979a063e50u}},
	};
	char message[64];
	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (char)i;
	struct fingerprint seed = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fingerprint print = fingerprint_of(str_of(message, rows[i].len), seed);
		assert_true(fingerprint_eq(print, rows[i].print));
	}
}

static void the_seed_decides(void **state)
{
	(void)state;
	struct fingerprint one = fingerprint_of(STR("key"), (struct fingerprint){1, 2});
	assert_false(fingerprint_eq(one, fingerprint_of(STR("key"), (struct fingerprint){1, 3})));
	assert_false(fingerprint_eq(one, fingerprint_of(STR("key"), (struct fingerprint){0, 2})));
	assert_false(fingerprint_eq(one, fingerprint_of(STR("kez"), (struct fingerprint){1, 2})));
	assert_true(fingerprint_eq(one, fingerprint_of(STR("key"), (struct fingerprint){1, 2})));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(fingerprints_are_siphash_2_4_of_128_bits),
	        cmocka_unit_test(the_seed_decides),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
