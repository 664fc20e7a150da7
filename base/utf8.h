// Where a character of UTF-8 ends: for writers that may pass on nothing else (JSON, protocol
// buffers). Pure; any thread. What a config file may hold is stricter and stands in conf/utf8.h.
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>

// The length of the well-formed sequence of several bytes at the front (Unicode table 3-7); 0 when
// there is none, ASCII included. `len` is at least 1.
size_t utf8_sequence(const unsigned char *at, size_t len);

#endif
