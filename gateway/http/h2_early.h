// Answers that were whole before their requests: the server then asks for no more, without blame,
// by RST_STREAM (RFC 9113, 8.1). Clients that read answer and reset at once, curl 7.88 among them,
// take the request for failed and never look at the answer. So a PING follows the answer, and the
// reset its ack, which tells that the client has been there; meanwhile the stream's window stays as
// it is, so no more comes than was on its way. One PING is under way at a time, for all streams
// answered before it left. Who does not ack keeps H2_EARLY_MAX streams open, at most, until the
// connection ends; those beyond are reset at once. Embedded in the codec, server only; one thread.
#ifndef GATEWAY_HTTP_H2_EARLY_H
#define GATEWAY_HTTP_H2_EARLY_H

#include <stdint.h>

#include "base/check.h"
#include "base/list.h"

enum { H2_EARLY_MAX = 100 };

struct h2;
struct h2_stream;

struct h2_early {
	struct list answered;  // no PING has followed yet
	struct list asked;     // its ack is waited for
	unsigned count;        // on both
};

void h2_early_init(struct h2_early *early);
void h2_early_stop(struct h2 *h2, struct h2_stream *stream);    // released, with its whole answer
void h2_early_forget(struct h2 *h2, struct h2_stream *stream);  // closed; idempotent
MUST_USE bool h2_early_ask(struct h2 *h2);                      // a PING is queued
MUST_USE bool h2_early_acked(struct h2 *h2, const uint8_t opaque[8]);  // the PING was one of these

#endif
