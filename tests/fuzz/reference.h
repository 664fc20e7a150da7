// A second reader of HTTP/1.1 requests, for what our client side writes: it takes only the one
// spelling a careful sender uses (lower-case names, one space behind the colon, exact chunk sizes),
// so whatever it takes every other reader ends at the same byte. Shares no code with the codec.
// Single thread.
#ifndef TESTS_FUZZ_REFERENCE_H
#define TESTS_FUZZ_REFERENCE_H

#include "tests/fuzz/fuzz.h"

enum verdict { WHOLE, PARTIAL, BAD };

enum { REFERENCE_FIELDS = 256 };

struct reference {
	struct str method, target;
	struct {
		struct str name, value;
	} fields[REFERENCE_FIELDS];
	size_t count, trailers_from;
	struct buffer body;
	struct str rest;
};

static inline enum verdict reference_line(struct reference *reference, struct str *line)
{
	struct str rest = reference->rest;
	for (size_t i = 0; i < rest.len; i++) {
		unsigned char byte = (unsigned char)rest.at[i];
		if (byte == '\r' && i + 1 == rest.len)
			return PARTIAL;
		if (byte == '\r' && rest.at[i + 1] == '\n') {
			*line = str_of(rest.at, i);
			reference->rest = str_skip(rest, i + 2);
			return WHOLE;
		}
		if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
			return BAD;
	}
	return PARTIAL;
}

static inline bool reference_token(struct str text, bool lower)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];
		bool letter = (c >= 'a' && c <= 'z') || (!lower && c >= 'A' && c <= 'Z');
		if (!letter && !(c >= '0' && c <= '9') && (!c || !strchr("!#$%&'*+-.^_`|~", c)))
			return false;
	}
	return text.len > 0;
}

static inline bool reference_request_line(struct reference *reference, struct str line)
{
	const char *one = str_find_byte(line, ' ');
	if (!one || !str_ends(line, STR(" HTTP/1.1")))
		return false;
	reference->method = str_of(line.at, (size_t)(one - line.at));
	size_t before = reference->method.len + 1, behind = strlen(" HTTP/1.1");
	if (line.len < before + behind + 1)
		return false;
	reference->target = str_of(line.at + before, line.len - before - behind);
	for (size_t i = 0; i < reference->target.len; i++) {
		unsigned char byte = (unsigned char)reference->target.at[i];
		if (byte <= 0x20 || byte >= 0x7f || byte == '#')
			return false;
	}
	return *reference->target.at == '/' && reference_token(reference->method, false);
}

static inline enum verdict reference_fields(struct reference *reference)
{
	for (;;) {
		struct str line;
		enum verdict verdict = reference_line(reference, &line);
		if (verdict != WHOLE || line.len == 0)
			return verdict;
		const char *colon = str_find_byte(line, ':');
		struct str name = str_of(line.at, colon ? (size_t)(colon - line.at) : 0);
		if (!reference_token(name, true) || line.len < name.len + 2 || colon[1] != ' ')
			return BAD;
		struct str value = str_skip(line, name.len + 2);
		if (reference->count == REFERENCE_FIELDS || !str_eq(str_trim(value), value))
			return BAD;
		reference->fields[reference->count].name = name;
		reference->fields[reference->count++].value = value;
	}
}

// How often, and the last value.
static inline size_t reference_find(
        const struct reference *reference, const char *name, struct str *value)
{
	size_t found = 0;
	for (size_t i = 0; i < reference->trailers_from; i++) {
		if (!str_eq(reference->fields[i].name, str_from(name)))
			continue;
		*value = reference->fields[i].value;
		found++;
	}
	return found;
}

static inline bool reference_number(struct str text, unsigned base, uint64_t *value)
{
	static const char digits[] = "0123456789abcdef";
	*value = 0;
	for (size_t i = 0; i < text.len; i++) {
		const char *digit = text.at[i] ? strchr(digits, text.at[i]) : NULL;
		if (!digit || (unsigned)(digit - digits) >= base || *value > UINT64_MAX / 32)
			return false;
		*value = *value * base + (unsigned)(digit - digits);
	}
	return text.len == 1 || (text.len && *text.at != '0');
}

static inline enum verdict reference_take(struct reference *reference, uint64_t size)
{
	if (reference->rest.len < size)
		return PARTIAL;
	buffer_append(&reference->body, reference->rest.at, (size_t)size);
	reference->rest = str_skip(reference->rest, (size_t)size);
	return WHOLE;
}

static inline enum verdict reference_chunks(struct reference *reference)
{
	for (;;) {
		struct str line;
		uint64_t size;
		enum verdict verdict = reference_line(reference, &line);
		if (verdict != WHOLE)
			return verdict;
		if (!reference_number(line, 16, &size))
			return BAD;
		if (size == 0)
			return reference_fields(reference);
		verdict = reference_take(reference, size);
		if (verdict == WHOLE)
			verdict = reference_line(reference, &line);
		if (verdict != WHOLE)
			return verdict;
		if (line.len)
			return BAD;
	}
}

// One request from the front; `rest` is what follows it. The caller frees `body`.
static inline enum verdict reference_request(struct reference *reference, struct str bytes)
{
	struct str line, length, coding;
	uint64_t size;
	*reference = (struct reference){.rest = bytes};
	enum verdict verdict = reference_line(reference, &line);
	if (verdict != WHOLE)
		return verdict;
	if (!reference_request_line(reference, line))
		return BAD;
	verdict = reference_fields(reference);
	if (verdict != WHOLE)
		return verdict;
	reference->trailers_from = reference->count;
	size_t lengths = reference_find(reference, "content-length", &length);
	size_t codings = reference_find(reference, "transfer-encoding", &coding);
	if (lengths + codings > 1)
		return BAD;
	if (codings)
		return str_eq(coding, STR("chunked")) ? reference_chunks(reference) : BAD;
	if (lengths)
		return reference_number(length, 10, &size) ? reference_take(reference, size) : BAD;
	return WHOLE;
}

#endif
