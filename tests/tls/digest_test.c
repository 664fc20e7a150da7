// SHA-256 in hex as everybody else writes it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/digest.h"

static void known_texts_have_their_known_digests(void **state)
{
	(void)state;
	char hex[DIGEST_HEX_SIZE];
	digest_hex(STR(""), hex);
	assert_string_equal(
	        hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_hex((struct str){0}, hex);
	assert_string_equal(
	        hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_hex(STR("abc"), hex);
	assert_string_equal(
	        hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void the_same_in_base64(void **state)
{
	(void)state;
	char text[DIGEST_BASE64_SIZE];
	digest_base64(STR(""), text);
	assert_string_equal(text, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
	digest_base64(STR("abc"), text);
	assert_string_equal(text, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
}

static void random_bytes_are_not_the_same_twice(void **state)
{
	(void)state;
	char a[32] = {0}, b[32] = {0};
	digest_random(a, sizeof(a));
	digest_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	digest_random(a, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(known_texts_have_their_known_digests),
	        cmocka_unit_test(the_same_in_base64),
	        cmocka_unit_test(random_bytes_are_not_the_same_twice),
	};
	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
