// HMAC as RFC 4231 has it, with either digest, in one piece or many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "tls/hmac.h"

static void is_hex(const unsigned char *bytes, size_t size, const char *expected)
{
	char hex[2 * HASH_SIZE_MAX + 1] = "";
	for (size_t i = 0; i < size; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	assert_string_equal(hex, expected);
}

static const struct {
	const char *name;
	size_t key_len;
	char key_byte;  // 0: the key is "Jefe"
	const char *message, *sha256, *sha384;
} rows[] = {
        {"4.2, a short key", 20, 0x0b, "Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
                "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
                "faea9ea9076ede7f4af152e8b2fa9cb6"},
        {"4.3, shorter than the sum", 4, 0, "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
                "8e2240ca5e69e2c78b3239ecfab21649"},
        {"4.7, longer than a block", 131, (char)0xaa,
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
                "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6"
                "0c2ef6ab4030fe8296248df163f44952"},
};

static void sign(const struct hash_kind *kind, struct str key, struct str message, size_t stride,
        unsigned char *out)
{
	struct hmac hmac;
	hmac_begin(&hmac, kind, key);
	while (message.len) {
		size_t cut = stride < message.len ? stride : message.len;
		hmac_add(&hmac, str_of(message.at, cut));
		message = str_skip(message, cut);
	}
	hmac_end(&hmac, out);
	static const struct hmac wiped;
	assert_memory_equal(&hmac, &wiped, sizeof(hmac));
}

static void known_messages_have_their_known_sums(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char key[131] = "Jefe";
		unsigned char sum[HASH_SIZE_MAX];
		struct str message = str_from(rows[i].message);
		print_message("%s\n", rows[i].name);
		if (rows[i].key_byte)
			memset(key, rows[i].key_byte, rows[i].key_len);
		for (size_t stride = 1; stride <= message.len; stride += message.len - 1) {
			sign(hash_kind_of("SHA256"), str_of(key, rows[i].key_len), message, stride,
			        sum);
			is_hex(sum, 32, rows[i].sha256);
			sign(hash_kind_of("SHA384"), str_of(key, rows[i].key_len), message, stride,
			        sum);
			is_hex(sum, 48, rows[i].sha384);
		}
	}
}

static void no_other_digest_is_known(void **state)
{
	(void)state;
	assert_ptr_equal(hash_kind_of("SHA2-256"), hash_kind_of("SHA256"));
	assert_ptr_equal(hash_kind_of("SHA2-384"), hash_kind_of("SHA384"));
	assert_null(hash_kind_of("SHA1"));
	assert_null(hash_kind_of("sha256"));
	assert_null(hash_kind_of(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(known_messages_have_their_known_sums),
	        cmocka_unit_test(no_other_digest_is_known),
	};
	return cmocka_run_group_tests_name("hmac", tests, NULL, NULL);
}
