// The way of spans from workers to the exporter: one lane a worker, and what they share. A worker
// appends under its lane's mutex; the exporter holds that mutex only to swap pointers, so a worker
// never waits for the network. How many spans wait is bounded over all lanes: beyond it they are
// dropped and counted. Spans come encoded, each a field of the message they will be sent in. What
// is named `taken` is the exporter's. Allocates nothing once the buffers have grown.
#ifndef GATEWAY_TRACE_LANE_H
#define GATEWAY_TRACE_LANE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/buffer.h"
#include "gateway/audit_bell.h"

enum { TRACE_BATCH_BYTES = 4 << 20 };  // what collectors take in one piece is bounded too

struct trace_queue {
	struct audit_bell bell;
	atomic_uint_fast64_t most;   // spans that may wait
	atomic_uint_fast64_t batch;  // as many are worth sending at once
	atomic_uint_fast64_t waiting, dropped;
};

struct trace_lane {
	struct trace_queue *queue;
	struct buffer scratch;  // the worker's
	pthread_mutex_t mutex;
	struct buffer spans;
	struct buffer taken;
};

void trace_queue_init(struct trace_queue *queue);
void trace_queue_fini(struct trace_queue *queue);
void trace_lane_init(struct trace_lane *lane, struct trace_queue *queue);
void trace_lane_fini(struct trace_lane *lane);

// The worker's side: `count` spans as they stand in `scratch`, all or none.
void trace_lane_put(struct trace_lane *lane, size_t count);
// The exporter's: moves spans to `out`, at most `most`, and none once it holds TRACE_BATCH_BYTES;
// how many.
size_t trace_lane_take(struct trace_lane *lane, size_t most, struct buffer *out);

#endif
