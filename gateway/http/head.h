// The head of a message, protocol-neutral: what HTTP/1.1 and HTTP/2 have in common (RFC 9110).
// Made by a codec in its stream's arena, or by the exchange in its own; text is borrowed from
// there. Names are lower case; framing fields (content-length, transfer-encoding) and what belongs
// to one hop never stand among the fields: framing is `content_length`, the rest is dropped when a
// codec reads.
#ifndef GATEWAY_HTTP_HEAD_H
#define GATEWAY_HTTP_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

struct field {
	struct str name, value;
};

struct fields {
	struct field *items;
	size_t count, capacity;
};

struct head {
	struct str method;     // requests
	struct str scheme;     // "https" or "http"
	struct str authority;  // host and port as asked for
	struct str target;     // origin-form, with the query
	int status;            // answers
	struct fields fields;
	int64_t content_length;  // -1: not known
	bool expects_continue;   // the client waits for a 100
	bool websocket;          // asks for, or agrees to, an upgrade to websocket (HTTP/1.1)
};

void fields_add(struct fields *fields, struct arena *arena, struct str name, struct str value);
const struct field *fields_find(const struct fields *fields, struct str name);  // the first or NULL
struct str fields_get(const struct fields *fields, struct str name);            // empty when absent
// All values of a name joined with ", " (RFC 9110, 5.2), or with something else; in `arena` where
// there are several.
struct str fields_joined(const struct fields *fields, struct str name, struct arena *arena);
struct str fields_joined_with(
        const struct fields *fields, struct str name, struct str between, struct arena *arena);
void fields_remove(struct fields *fields, struct str name);

void head_request(struct head *head);             // empty, content_length -1
void head_answer(struct head *head, int status);  // likewise

bool head_is_grpc(const struct head *head);  // content-type begins with application/grpc

// Token characters (RFC 9110, 5.6.2) and field values (5.5): no CR, LF, NUL or other control bytes.
bool field_name_valid(struct str name);
bool field_value_valid(struct str value);

// As far as two readers could differ on where it ends: no white space, control bytes, fragments,
// non-ASCII; begins with a slash. Whether the path is a safe one is the policy's question.
bool target_valid(struct str target);
// A name or address and perhaps a port (RFC 3986, 3.2), without user information, escapes and
// lists.
bool authority_valid(struct str authority);

// Belongs to one hop only (RFC 9110, 7.6.1) and is never passed on.
bool field_is_hop_by_hop(struct str name);
// May not stand in a trailer section that is passed on: framing, routing, authentication (RFC
// 9110, 6.5.1).
bool field_forbidden_in_trailers(struct str name);

#endif
