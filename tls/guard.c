#include "tls/guard.h"

#include "base/check.h"

enum {
	RECORD_CHANGE_CIPHER_SPEC = 20,
	RECORD_ALERT = 21,
	RECORD_HANDSHAKE = 22,
	MESSAGE_CLIENT_HELLO = 1,
};

static uint8_t next_byte(struct str *bytes)
{
	uint8_t byte = (uint8_t)*bytes->at;
	*bytes = str_skip(*bytes, 1);
	return byte;
}

static uint32_t skip(struct str *bytes, uint32_t left)
{
	uint32_t count = bytes->len < left ? (uint32_t)bytes->len : left;
	*bytes = str_skip(*bytes, count);
	return count;
}

// The clear part ends with TLS 1.3's first application_data record, or with TLS 1.2's
// ChangeCipherSpec; in TLS 1.3 that one means nothing and may stand before a second hello (RFC
// 8446, D.4), which only a hello can precede.
static void begin_record(struct guard *guard)
{
	guard->header_len = 0;
	guard->record_left = (uint32_t)guard->header[3] << 8 | guard->header[4];
	uint8_t type = guard->header[0];
	if (type == RECORD_CHANGE_CIPHER_SPEC)
		guard->over = guard->message[0] != MESSAGE_CLIENT_HELLO;
	else if (type != RECORD_HANDSHAKE && type != RECORD_ALERT)
		guard->over = true;
}

static enum guard_verdict begin_message(struct guard *guard)
{
	const uint8_t *head = guard->message;
	guard->message_len = 0;
	guard->message_left = (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
	bool huge = head[0] == MESSAGE_CLIENT_HELLO && guard->message_left > GUARD_HELLO_MAX;
	return huge ? GUARD_HUGE : GUARD_PASS;
}

static enum guard_verdict look_at_handshake(struct guard *guard, struct str *bytes)
{
	if (guard->message_left) {
		uint32_t most = guard->message_left < guard->record_left ? guard->message_left
		                                                         : guard->record_left;
		uint32_t count = skip(bytes, most);
		guard->message_left -= count;
		guard->record_left -= count;
		return GUARD_PASS;
	}
	guard->message[guard->message_len++] = next_byte(bytes);
	guard->record_left--;
	return guard->message_len == sizeof(guard->message) ? begin_message(guard) : GUARD_PASS;
}

enum guard_verdict guard_look(struct guard *guard, struct str bytes)
{
	if (bytes.len && !guard->started) {
		guard->started = true;
		// The two-byte length of an SSL 2 record has its top bit set; no TLS record begins
		// so.
		if ((uint8_t)bytes.at[0] & 0x80)
			return GUARD_SSL2;
	}
	enum guard_verdict verdict = GUARD_PASS;
	while (bytes.len && !guard->over && verdict == GUARD_PASS) {
		if (!guard->record_left) {
			guard->header[guard->header_len++] = next_byte(&bytes);
			if (guard->header_len == sizeof(guard->header))
				begin_record(guard);
		} else if (guard->header[0] == RECORD_HANDSHAKE) {
			verdict = look_at_handshake(guard, &bytes);
		} else {
			guard->record_left -= skip(&bytes, guard->record_left);
		}
	}
	return verdict;
}
