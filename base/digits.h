// Numbers as digits, for the request path: printf reads a format each time and took a fifth of the
// instructions of a proxied request. Writes no terminator. Pure; any thread.
#ifndef BASE_DIGITS_H
#define BASE_DIGITS_H

#include <stddef.h>
#include <stdint.h>

enum { DIGITS_MAX = 20, DIGITS_HEX = 16 };

size_t digits_decimal(char out[DIGITS_MAX], uint64_t value);  // how many
size_t digits_hex(char out[DIGITS_HEX], uint64_t value);      // how many; no leading zeros
void digits_hex_padded(char out[DIGITS_HEX], uint64_t value);

#endif
