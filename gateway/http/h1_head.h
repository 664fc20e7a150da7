// The head of an HTTP/1.1 message: a whole block of lines in, fields and framing out (RFC 9112).
// llhttp reads the grammar; what it lets pass and another reader might read differently is refused
// here. The block is given whole (h1.c waits for its end), so every name and value is one run of
// bytes. Pure; any thread.
#ifndef GATEWAY_HTTP_H1_HEAD_H
#define GATEWAY_HTTP_H1_HEAD_H

#include "base/reason.h"
#include "gateway/http/head.h"

enum h1_framing {
	H1_NO_BODY,
	H1_LENGTH,  // content_length bytes
	H1_CHUNKED,
	H1_TO_END,  // until the connection ends (answers and tunnels)
};

struct h1_head {
	struct head head;
	enum h1_framing framing;
	bool keep_alive;
	bool http_1_0;
	// Where parsing failed: what the peer did, and the status to answer a client with.
	const char *fault;
	int fault_status;
};

struct h1_limits {
	size_t bytes, fields;
};

// `block` ends with its empty line and was passed by h1_scan. False: see parsed->fault;
// parsed->head holds what was understood. Text lives in `arena`.
MUST_USE bool h1_request_parse(struct str block, const struct h1_limits *limits,
        struct arena *arena, struct h1_head *parsed);
// `to_head`: the answer to a HEAD request has no body whatever its fields say.
MUST_USE bool h1_answer_parse(struct str block, const struct h1_limits *limits, bool to_head,
        struct arena *arena, struct h1_head *parsed);
MUST_USE bool h1_trailers_parse(struct str block, const struct h1_limits *limits,
        struct arena *arena, struct fields *trailers);

const char *h1_library_version(void);

#endif
