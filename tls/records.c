#include "tls/records.h"

#include <stdint.h>

enum {
	HEADER = 5,
	MAJOR = 3,
	FRAGMENT_MAX = 16384 + 2048,  // RFC 5246, 6.2.3
};

// How many bytes the record at the front lacks; 0 when it is whole, or no record.
static size_t missing(struct str bytes)
{
	if (bytes.len < HEADER)
		return HEADER - bytes.len;
	const uint8_t *header = (const uint8_t *)bytes.at;
	size_t fragment = (size_t)header[3] << 8 | header[4];
	if (header[1] != MAJOR || fragment > FRAGMENT_MAX)
		return 0;
	return HEADER + fragment > bytes.len ? HEADER + fragment - bytes.len : 0;
}

static size_t record_len(struct str bytes)  // of a record that is whole
{
	const uint8_t *header = (const uint8_t *)bytes.at;
	size_t len = HEADER + ((size_t)header[3] << 8 | header[4]);
	return len < bytes.len ? len : bytes.len;
}

static struct str finish_held(struct records *records, struct str *bytes)
{
	size_t lack;
	while ((lack = missing(buffer_str(&records->held))) && bytes->len) {
		size_t count = lack < bytes->len ? lack : bytes->len;
		buffer_append(&records->held, bytes->at, count);
		*bytes = str_skip(*bytes, count);
	}
	return lack ? str_of(NULL, 0) : buffer_str(&records->held);
}

struct str records_next(struct records *records, struct str *bytes)
{
	if (buffer_len(&records->held))
		return finish_held(records, bytes);
	struct str whole = *bytes;
	while (bytes->len && !missing(*bytes))
		*bytes = str_skip(*bytes, record_len(*bytes));
	whole.len -= bytes->len;
	buffer_append_str(&records->held, *bytes);
	*bytes = str_of(NULL, 0);
	return whole;
}

void records_done(struct records *records)
{
	if (!missing(buffer_str(&records->held)))
		buffer_fini(&records->held);
}

void records_fini(struct records *records)
{
	buffer_fini(&records->held);
}
