// Why a caller is refused: the enum and the words, all made from reason.def. Constant data; any
// thread.
#ifndef BASE_REASON_H
#define BASE_REASON_H

enum reason {
	REASON_NONE,
#define REASON(name, http, grpc, title) REASON_##name,
#include "base/reason.def"
#undef REASON
	REASON_COUNT
};

const char *reason_name(enum reason reason);   // "rate_limited"; "none" for REASON_NONE
const char *reason_title(enum reason reason);  // one sentence for the caller
int reason_http_status(enum reason reason);    // 0 where no answer is possible
int reason_grpc_status(enum reason reason);

#endif
