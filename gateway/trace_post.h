// One way to a collector over HTTP, by libcurl (libcurl.h). Made by the main thread before the
// sandbox closes, then the exporter's; only trace_post_wake is for anybody. Names are resolved by
// libc here, on the exporter's thread: libcurl would begin a thread for each, which seccomp does
// not let it. It follows no redirect, uses no proxy and no store of the system, and reads no
// environment. A wait ends at its deadline, or when it is woken.
#ifndef GATEWAY_TRACE_POST_H
#define GATEWAY_TRACE_POST_H

#include "base/buffer.h"
#include "conf/config.h"

struct trace_post;

// Loads libcurl where the configuration says `tracing`: at the start, before anything is closed
// behind the process. False after adding a problem.
MUST_USE bool trace_post_prepare(
        const struct config_tracing *config, struct config_problems *problems);
// Once it is prepared.
MUST_USE struct trace_post *trace_post_new(void);
void trace_post_free(struct trace_post *post);

// Where to from now on; borrows `config`.
void trace_post_aim(struct trace_post *post, const struct config_tracing *config);

enum trace_post_result {
	TRACE_POST_TAKEN,
	TRACE_POST_AGAIN,    // worth another try: no answer, or one that says so
	TRACE_POST_REFUSED,  // never will be taken
};

struct trace_post_answer {
	enum trace_post_result result;
	int64_t retry_after_ns;  // 0: the collector did not say
	struct str body;         // until the next send
	char why[256];           // for the log, where it was not taken
};

// `until_ns`: the monotonic time by which it ends whatever happens; asked again whenever it is
// woken.
void trace_post_send(struct trace_post *post, struct str body, int64_t (*until_ns)(void *argument),
        void *argument, struct trace_post_answer *answer);
void trace_post_wake(struct trace_post *post);

#endif
