// Finds the end of a block of lines (a head, or trailers) as it arrives, each byte looked at once,
// and refuses on the way what two readers could take for different lines (RFC 9112, 2.2 and 5.2).
// Keeps no bytes: the caller holds the block together. Pure; any thread.
#ifndef GATEWAY_HTTP_H1_SCAN_H
#define GATEWAY_HTTP_H1_SCAN_H

#include "base/str.h"

enum h1_scan { H1_SCAN_MORE, H1_SCAN_WHOLE, H1_SCAN_FAULTY };

struct h1_scanner {  // zeroed before each block
	size_t scanned, line_start;
};

// `bytes` is all of the block so far. WHOLE: *block_len is set. FAULTY: *fault says why.
enum h1_scan h1_scan(
        struct h1_scanner *scanner, struct str bytes, size_t *block_len, const char **fault);

#endif
