// The exporter of spans: a thread of its own that takes what the workers' lanes hold and sends it
// to a collector in batches, over OTLP/HTTP. Made by the main thread before the sandbox closes. No
// request ever waits for it: what it cannot send in time is dropped or failed, and counted. A batch
// that a collector is too busy for is tried again, later each time (OTLP's rules, Retry-After
// included), for a minute at most; meanwhile the queue fills, and no further. At the end what is
// there gets two seconds.
#ifndef GATEWAY_TRACING_H
#define GATEWAY_TRACING_H

#include "conf/config.h"
#include "gateway/trace_lane.h"

struct tracing;

enum tracing_result {
	TRACING_EXPORTED,
	TRACING_DROPPED,  // the queue was full
	TRACING_FAILED,   // the collector would not have them
	TRACING_RESULT_COUNT,
};

// One lane a worker. Takes a reference on the configuration, which says `tracing`.
MUST_USE struct tracing *tracing_open(struct config *config, size_t lanes);
struct trace_lane *tracing_lane_of(struct tracing *tracing, size_t index);

// Another configuration, which says `tracing` too, is in force.
void tracing_follow(struct tracing *tracing, struct config *config);

uint64_t tracing_total(const struct tracing *tracing, enum tracing_result result);
const char *tracing_result_name(enum tracing_result result);

// After the workers are gone: sends what waits, stops the thread, frees. `hurried`: in no time to
// speak of. NULL is nothing.
void tracing_close(struct tracing *tracing, bool hurried);

#endif
