// Reads along in the clear part of a handshake and stops what OpenSSL would still take: a hello of
// SSL 2, and a ClientHello that announces so much that the library, which makes room for what is
// announced and not for what came, would spend 128 KiB on nine bytes. Plain state, part of its
// session; it looks at every byte once and keeps none.
#ifndef TLS_GUARD_H
#define TLS_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

// Hellos with post-quantum shares and tickets stay below 4 KiB.
enum { GUARD_HELLO_MAX = 16384 };

struct guard {
	uint8_t header[5], message[4];
	uint8_t header_len, message_len;
	uint32_t record_left, message_left;
	bool started, over;
};

enum guard_verdict { GUARD_PASS, GUARD_SSL2, GUARD_HUGE };

enum guard_verdict guard_look(struct guard *guard, struct str ciphertext);

#endif
