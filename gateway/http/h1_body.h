// Where the body of an HTTP/1.1 message ends (RFC 9112, 6 and 7.1), byte by byte and by the letter:
// chunk sizes are hex digits, line ends are CRLF, extensions are bounded and dropped. What comes
// out is content; re-framing is the sender's. Embedded in the codec; one thread; keeps no bytes but
// a trailer section in the making.
#ifndef GATEWAY_HTTP_H1_BODY_H
#define GATEWAY_HTTP_H1_BODY_H

#include "gateway/http/h1_head.h"
#include "gateway/http/h1_scan.h"

enum h1_body_state {
	H1_BODY_DATA,  // `left` bytes of content (a whole message or one chunk)
	H1_BODY_SIZE,
	H1_BODY_EXTENSION,
	H1_BODY_SIZE_LF,
	H1_BODY_DATA_CR,
	H1_BODY_DATA_LF,
	H1_BODY_TRAILERS,
	H1_BODY_WHOLE,
	H1_BODY_FAULTY,
};

struct h1_body {
	enum h1_framing framing;
	enum h1_body_state state;
	uint64_t left;
	unsigned line_len;  // of the chunk-size line so far
	unsigned digits;
	struct h1_scanner scanner;
	const char *fault;
};

void h1_body_init(struct h1_body *body, enum h1_framing framing, int64_t content_length);

// Takes from the front of *bytes what it can: the next run of content in *data, empty when there is
// none yet. In H1_BODY_TRAILERS nothing is taken: the caller collects the block and calls
// h1_body_trailers_end.
void h1_body_next(struct h1_body *body, struct str *bytes, struct str *data);
void h1_body_trailers_end(struct h1_body *body);

#endif
