#include "base/json.h"

#include "base/utf8.h"

static const char hex[] = "0123456789abcdef";

void json_init(struct json *json, struct buffer *out)
{
	*json = (struct json){.out = out};
}

static void before_value(struct json *json)
{
	if (json->comma)
		buffer_append(json->out, ",", 1);
	json->comma = true;
}

void json_open(struct json *json, char bracket)
{
	before_value(json);
	buffer_append(json->out, &bracket, 1);
	json->comma = false;
}

void json_close(struct json *json, char bracket)
{
	buffer_append(json->out, &bracket, 1);
	json->comma = true;
}

// Bytes that may stand as they are.
static bool plain(unsigned char byte)
{
	return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

// Eight bytes at a step: a byte's high bit is set in the result where that byte is below 0x20, is
// '"', '\\' or DEL, or has the high bit itself. (A borrow may mark one byte too many, which costs
// a look and no more.)
static uint64_t special_bytes(uint64_t word)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\'),
	         delete = word ^ (ones * 0x7f);
	uint64_t marks = (word - ones * 0x20) | (quote - ones) | (backslash - ones) |
	                 (delete - ones) | word;
	return marks & (ones * 0x80);
}

static uint64_t eight(const unsigned char *at)
{
	uint64_t word;
	memcpy(&word, at, sizeof(word));
	return word;
}

// How many bytes from the front may be copied. The end of a text is looked at together with bytes
// before it that were looked at already.
static size_t plain_run(const unsigned char *at, size_t len)
{
	size_t run = 0;
	while (run + 8 <= len && !special_bytes(eight(at + run)))
		run += 8;
	if (run + 8 > len && len >= 4 &&
	        !special_bytes(str_last_eight(str_of((const char *)at, len))))
		return len;
	while (run < len && plain(at[run]))
		run++;
	return run;
}

static size_t append_special(struct buffer *out, const unsigned char *at, size_t len)
{
	if (*at < 0x80) {
		char escape[6] = {'\\', 'u', '0', '0', hex[*at >> 4], hex[*at & 15]};
		if (*at == '"' || *at == '\\')
			buffer_append(out, (char[]){'\\', (char)*at}, 2);
		else
			buffer_append(out, escape, sizeof(escape));
		return 1;
	}
	size_t size = utf8_sequence(at, len);
	if (size == 0) {
		buffer_append(out, "\\ufffd", 6);
		return 1;
	}
	bool c1 = size == 2 && at[0] == 0xc2 && at[1] < 0xa0;
	bool line_separator = size == 3 && at[0] == 0xe2 && at[1] == 0x80 &&
	                      (at[2] == 0xa8 || at[2] == 0xa9);
	if (c1)
		buffer_append(
		        out, (char[]){'\\', 'u', '0', '0', hex[at[1] >> 4], hex[at[1] & 15]}, 6);
	else if (line_separator)
		buffer_append(out, (char[]){'\\', 'u', '2', '0', '2', hex[at[2] & 15]}, 6);
	else
		buffer_append(out, at, size);
	return size;
}

void json_str(struct json *json, struct str value)
{
	// The common case, plain text, takes one look at the buffer: records are made of forty of
	// these, on the worker's time.
	const unsigned char *text = (const unsigned char *)value.at;
	size_t run = plain_run(text, value.len);
	char *room = buffer_room(json->out, run + sizeof(",\"\"")), *at = room;
	if (json->comma)
		*at++ = ',';
	*at++ = '"';
	if (run)
		memcpy(at, text, run);
	at += run;
	if (run == value.len)
		*at++ = '"';
	buffer_added(json->out, (size_t)(at - room));
	json->comma = true;
	if (run == value.len)
		return;
	while (run < value.len) {
		run += append_special(json->out, text + run, value.len - run);
		size_t more = plain_run(text + run, value.len - run);
		buffer_append(json->out, text + run, more);
		run += more;
	}
	buffer_append(json->out, "\"", 1);
}

void json_name(struct json *json, struct str name)
{
	char *room = buffer_room(json->out, name.len + sizeof(",\"\":")), *at = room;
	if (json->comma)
		*at++ = ',';
	*at++ = '"';
	memcpy(at, name.at, name.len);
	at += name.len;
	*at++ = '"';
	*at++ = ':';
	buffer_added(json->out, (size_t)(at - room));
	json->comma = false;
}

void json_int(struct json *json, int64_t value)
{
	char digits[20];  // 19 of them and the sign
	char *at = digits + sizeof(digits);
	uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	do
		*--at = (char)('0' + rest % 10);
	while (rest /= 10);
	if (value < 0)
		*--at = '-';
	before_value(json);
	buffer_append(json->out, at, (size_t)(digits + sizeof(digits) - at));
}

void json_bool(struct json *json, bool value)
{
	before_value(json);
	buffer_append_str(json->out, value ? STR("true") : STR("false"));
}
