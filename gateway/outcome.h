// What an ended exchange tells, worked out once for everybody who tells it on: the access line, the
// metrics, the spans. Times are durations of stages, one after the other; -1 is a stage it never
// came to. Text is the exchange's, its snapshot's or its session's: for the moment of the record
// only. The worker's thread.
#ifndef GATEWAY_OUTCOME_H
#define GATEWAY_OUTCOME_H

#include "gateway/exchange.h"

enum response_flag {
#define RESPONSE_FLAG(letters, words, meaning) RESPONSE_FLAG_##letters,
#include "base/response_flag.def"
#undef RESPONSE_FLAG
	RESPONSE_FLAG_COUNT
};

struct outcome {
	int64_t now_ns;  // the end, monotonic
	int64_t total_ns, handshake_ns, decide_ns, connect_ns, first_byte_ns, body_ns;
	struct str route, backend, reason;
	struct {
		struct str version, cipher, sni;
		int resumed;  // -1: no handshake
	} tls;
	int reused, retries, backend_status;  // -1: no backend was asked, or it said nothing
	char flags[16];                       // "UF,URX"
};

void outcome_of(const struct exchange *exchange, int64_t now_ns, struct outcome *outcome);

#endif
