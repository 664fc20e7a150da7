#include "base/proto.h"

#include <endian.h>

#include "base/utf8.h"

static size_t put_varint(char out[PROTO_VARINT_MAX], uint64_t value)
{
	size_t len = 0;
	while (value >= 0x80) {
		out[len++] = (char)(value | 0x80);
		value >>= 7;
	}
	out[len++] = (char)value;
	return len;
}

void proto_varint(struct buffer *out, uint64_t value)
{
	char *room = buffer_room(out, PROTO_VARINT_MAX);
	buffer_added(out, put_varint(room, value));
}

void proto_tag(struct buffer *out, unsigned field, enum proto_wire wire)
{
	proto_varint(out, (uint64_t)field << 3 | wire);
}

void proto_uint(struct buffer *out, unsigned field, uint64_t value)
{
	proto_tag(out, field, PROTO_VARINT);
	proto_varint(out, value);
}

void proto_fixed64(struct buffer *out, unsigned field, uint64_t value)
{
	value = htole64(value);
	proto_tag(out, field, PROTO_FIXED64);
	buffer_append(out, &value, sizeof(value));
}

void proto_fixed32(struct buffer *out, unsigned field, uint32_t value)
{
	value = htole32(value);
	proto_tag(out, field, PROTO_FIXED32);
	buffer_append(out, &value, sizeof(value));
}

void proto_bytes(struct buffer *out, unsigned field, struct str bytes)
{
	proto_tag(out, field, PROTO_BYTES);
	proto_varint(out, bytes.len);
	buffer_append_str(out, bytes);
}

// How many bytes from the front are whole characters, at most `most`.
static size_t whole_characters(struct str text, size_t most)
{
	size_t len = 0;
	for (size_t step; len < text.len; len += step) {
		step = (unsigned char)text.at[len] < 0x80
		               ? 1
		               : utf8_sequence(
		                         (const unsigned char *)text.at + len, text.len - len);
		if (!step || len + step > most)
			break;
	}
	return len;
}

void proto_text(struct buffer *out, unsigned field, struct str text, size_t most)
{
	static const struct str instead = {"\xEF\xBF\xBD", 3};
	size_t good = whole_characters(text, most), room = most - good;
	if (good == text.len) {
		proto_bytes(out, field, text);
		return;
	}
	size_t opened = proto_open(out, field);
	for (;;) {
		buffer_append_str(out, str_of(text.at, good));
		text = str_skip(text, good);
		// What stopped there either does not fit or is no character.
		bool cut = !text.len || room < instead.len ||
		           utf8_sequence((const unsigned char *)text.at, text.len) > room;
		if (cut)
			break;
		if ((unsigned char)text.at[0] >= 0x80) {
			buffer_append_str(out, instead);
			room -= instead.len;
			text = str_skip(text, 1);
		}
		good = whole_characters(text, room);
		room -= good;
	}
	proto_close(out, opened);
}

size_t proto_open(struct buffer *out, unsigned field)
{
	proto_tag(out, field, PROTO_BYTES);
	return buffer_len(out);
}

void proto_close(struct buffer *out, size_t opened)
{
	char length[PROTO_VARINT_MAX];
	size_t len = buffer_len(out) - opened, width = put_varint(length, len);
	CHECK(buffer_room(out, width));
	char *message = buffer_data(out) + opened;
	memmove(message + width, message, len);
	memcpy(message, length, width);
	buffer_added(out, width);
}

bool proto_take_varint(struct str *bytes, uint64_t *value)
{
	uint64_t read = 0;
	for (size_t i = 0; i < bytes->len && i < PROTO_VARINT_MAX; i++) {
		unsigned char byte = (unsigned char)bytes->at[i];
		read |= (uint64_t)(byte & 0x7f) << 7 * i;
		if (byte & 0x80)
			continue;
		*value = read;
		*bytes = str_skip(*bytes, i + 1);
		return true;
	}
	return false;
}

static bool take_fixed(struct str *bytes, size_t size, uint64_t *value)
{
	uint64_t read = 0;
	if (bytes->len < size)
		return false;
	memcpy(&read, bytes->at, size);
	*value = le64toh(read);
	*bytes = str_skip(*bytes, size);
	return true;
}

bool proto_take(struct str *bytes, unsigned *field, uint64_t *value, struct str *content)
{
	uint64_t tag;
	*value = 0;
	*content = STR("");
	if (!proto_take_varint(bytes, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
		return false;
	*field = (unsigned)(tag >> 3);
	switch (tag & 7) {
	case PROTO_VARINT:
		return proto_take_varint(bytes, value);
	case PROTO_FIXED64:
		return take_fixed(bytes, 8, value);
	case PROTO_FIXED32:
		return take_fixed(bytes, 4, value);
	case PROTO_BYTES:
		break;
	default:
		return false;
	}
	uint64_t len;
	if (!proto_take_varint(bytes, &len) || len > bytes->len)
		return false;
	*content = str_of(bytes->at, (size_t)len);
	*bytes = str_skip(*bytes, (size_t)len);
	return true;
}
