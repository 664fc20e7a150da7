// Writes protocol buffers' wire format into a buffer, strictly forwards: what OTLP is made of, and
// no more. A message within a message is opened and closed; its length is put in front of it then.
// Numbers in the shortest form, fields of the default value only where the caller asks for them.
// Text must be UTF-8, or a receiver throws the whole message away: whatever is not becomes U+FFFD.
// One thread; allocates nothing but the buffer's own room.
#ifndef BASE_PROTO_H
#define BASE_PROTO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"

enum proto_wire { PROTO_VARINT = 0, PROTO_FIXED64 = 1, PROTO_BYTES = 2, PROTO_FIXED32 = 5 };

enum { PROTO_VARINT_MAX = 10 };

void proto_tag(struct buffer *out, unsigned field, enum proto_wire wire);
void proto_varint(struct buffer *out, uint64_t value);  // bare, without a tag

void proto_uint(struct buffer *out, unsigned field, uint64_t value);
void proto_fixed64(struct buffer *out, unsigned field, uint64_t value);
void proto_fixed32(struct buffer *out, unsigned field, uint32_t value);
void proto_bytes(struct buffer *out, unsigned field, struct str bytes);
// At most `most` bytes of it, cut between characters.
void proto_text(struct buffer *out, unsigned field, struct str text, size_t most);

// The place to give to proto_close once the message's fields are written.
MUST_USE size_t proto_open(struct buffer *out, unsigned field);
void proto_close(struct buffer *out, size_t opened);

// Takes the next number, or the next field with a length, off the front; false when it is torn.
MUST_USE bool proto_take_varint(struct str *bytes, uint64_t *value);
// A field of any kind; `content` of one with a length, `value` of the others.
MUST_USE bool proto_take(struct str *bytes, unsigned *field, uint64_t *value, struct str *content);

#endif
