#include "base/digits.h"

#include <string.h>

static const char hex[] = "0123456789abcdef";

size_t digits_decimal(char out[DIGITS_MAX], uint64_t value)
{
	char backwards[DIGITS_MAX];
	size_t len = 0;
	do
		backwards[len++] = (char)('0' + value % 10);
	while (value /= 10);
	for (size_t i = 0; i < len; i++)
		out[i] = backwards[len - 1 - i];
	return len;
}

void digits_hex_padded(char out[DIGITS_HEX], uint64_t value)
{
	for (int i = DIGITS_HEX - 1; i >= 0; i--, value >>= 4)
		out[i] = hex[value & 15];
}

size_t digits_hex(char out[DIGITS_HEX], uint64_t value)
{
	char padded[DIGITS_HEX];
	digits_hex_padded(padded, value);
	size_t zeros = 0;
	while (zeros < DIGITS_HEX - 1 && padded[zeros] == '0')
		zeros++;
	memcpy(out, padded + zeros, DIGITS_HEX - zeros);
	return DIGITS_HEX - zeros;
}
