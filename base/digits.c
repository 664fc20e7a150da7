#include "base/digits.h"

#include <endian.h>
#include <string.h>

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

// All eight digits at once: a byte for each, in the order they are written.
static void put_eight(char out[8], uint32_t value)
{
	uint64_t x = __builtin_bswap32(value);
	x = (x | x << 16) & UINT64_C(0x0000FFFF0000FFFF);
	x = (x | x << 8) & UINT64_C(0x00FF00FF00FF00FF);
	x = (x >> 4 & UINT64_C(0x000F000F000F000F)) | (x & UINT64_C(0x000F000F000F000F)) << 8;
	uint64_t letters = (x + UINT64_C(0x0606060606060606)) >> 4 & UINT64_C(0x0101010101010101);
	x = htole64(x + UINT64_C(0x3030303030303030) + letters * ('a' - '0' - 10));
	memcpy(out, &x, sizeof(x));
}

void digits_hex_padded(char out[DIGITS_HEX], uint64_t value)
{
	put_eight(out, (uint32_t)(value >> 32));
	put_eight(out + 8, (uint32_t)value);
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
