// Writes one JSON value into a buffer, strictly forwards; commas and colons come by themselves. One
// thread. Text is taken as bytes from the network: quotes, backslashes, control bytes and whatever
// is not valid UTF-8 leave as escapes, so that one value can never end a line or forge another.
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"

struct json {
	struct buffer *out;
	bool comma;  // the next key or element needs one before it
};

void json_init(struct json *json, struct buffer *out);
void json_open(struct json *json, char bracket);   // '{' or '['
void json_close(struct json *json, char bracket);  // '}' or ']'
void json_name(
        struct json *json, struct str name);  // of a member; one of our own words, not escaped
void json_str(struct json *json,
        struct str value);  // an invalid UTF-8 byte becomes U+FFFD; DEL and C1 are escaped too
void json_int(struct json *json, int64_t value);
void json_bool(struct json *json, bool value);

// Members of an object; the length of a word that is written out is known when this is compiled.
// The _if forms leave the member out when the value is empty.
static inline void json_key(struct json *json, const char *key)
{
	json_name(json, str_from(key));
}

static inline void json_member_str(struct json *json, const char *key, struct str value)
{
	json_key(json, key);
	json_str(json, value);
}

static inline void json_member_str_if(struct json *json, const char *key, struct str value)
{
	if (value.len)
		json_member_str(json, key, value);
}

static inline void json_member_int(struct json *json, const char *key, int64_t value)
{
	json_key(json, key);
	json_int(json, value);
}

static inline void json_member_bool(struct json *json, const char *key, bool value)
{
	json_key(json, key);
	json_bool(json, value);
}

#endif
