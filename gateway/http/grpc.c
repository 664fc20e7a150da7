#include "gateway/http/grpc.h"

#include "base/clock.h"

static const struct {
	char unit;
	int64_t ns;
} units[] = {
        // finest first
        {'n', 1},
        {'u', NS_PER_US},
        {'m', NS_PER_MS},
        {'S', NS_PER_S},
        {'M', (int64_t)60 * NS_PER_S},
        {'H', (int64_t)3600 * NS_PER_S},
};

bool grpc_timeout_parse(struct str text, int64_t *timeout_ns)
{
	uint64_t count;
	if (text.len < 2 || text.len > 9)
		return false;
	if (!str_to_u64(str_of(text.at, text.len - 1), 99999999, &count))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (units[i].unit != text.at[text.len - 1])
			continue;
		if (__builtin_mul_overflow((int64_t)count, units[i].ns, timeout_ns))
			*timeout_ns = INT64_MAX;
		return true;
	}
	return false;
}

struct str grpc_timeout_format(int64_t timeout_ns, struct arena *arena)
{
	if (timeout_ns < 1)
		timeout_ns = 1;
	size_t i = 0;
	while (i + 1 < ARRAY_LEN(units) && timeout_ns / units[i].ns > 99999999)
		i++;
	struct str count = arena_digits(arena, (uint64_t)(timeout_ns / units[i].ns));
	return arena_join(arena, (struct str[]){count, str_of(&units[i].unit, 1)}, 2);
}

int grpc_status_of_http(int status)
{
	static const struct {
		int http, grpc;
	} rows[] = {
	        {400, GRPC_INTERNAL},
	        {401, 16},
	        {403, 7},
	        {404, GRPC_UNIMPLEMENTED},
	        {429, GRPC_UNAVAILABLE},
	        {502, GRPC_UNAVAILABLE},
	        {503, GRPC_UNAVAILABLE},
	        {504, GRPC_UNAVAILABLE},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].http == status)
			return rows[i].grpc;
	return GRPC_UNKNOWN;
}

static char *escape(char *out, unsigned char byte)
{
	static const char hex[] = "0123456789ABCDEF";
	*out++ = '%';
	*out++ = hex[byte >> 4];
	*out++ = hex[byte & 15];
	return out;
}

struct str grpc_message_encode(struct str message, struct arena *arena)
{
	char *start = arena_alloc(arena, message.len * 3 + 1), *out = start;
	for (size_t i = 0; i < message.len; i++) {
		unsigned char byte = (unsigned char)message.at[i];
		if (byte >= 0x20 && byte < 0x7f && byte != '%')
			*out++ = (char)byte;
		else
			out = escape(out, byte);
	}
	return str_of(start, (size_t)(out - start));
}

struct str grpc_message_escape_ends(struct str encoded, struct arena *arena)
{
	struct str inner = str_trim(encoded);
	const char *end = encoded.at + encoded.len, *inner_end = inner.at + inner.len;
	char *start = arena_alloc(arena, encoded.len * 3 + 1), *out = start;
	for (const char *at = encoded.at; at < end; at++) {
		if (at >= inner.at && at < inner_end)
			*out++ = *at;
		else
			out = escape(out, (unsigned char)*at);
	}
	return str_of(start, (size_t)(out - start));
}

size_t grpc_scan_message(struct grpc_scan *scan, struct str bytes)
{
	enum { PREFIX = 5 };
	size_t at = 0;
	for (; scan->prefix < PREFIX && at < bytes.len; at++, scan->prefix++)
		scan->length = scan->prefix ? scan->length << 8 | (unsigned char)bytes.at[at] : 0;
	if (scan->prefix < PREFIX)
		return at;
	if (at)
		scan->left = scan->length;
	uint64_t rest = bytes.len - at;
	uint64_t own = rest < scan->left ? rest : scan->left;
	scan->left -= own;
	if (!scan->left)
		scan->prefix = 0;
	return at + (size_t)own;
}
