#include "gateway/trace_lane.h"

#include "base/proto.h"

void trace_queue_init(struct trace_queue *queue)
{
	*queue = (struct trace_queue){0};
	audit_bell_init(&queue->bell);
}

void trace_queue_fini(struct trace_queue *queue)
{
	audit_bell_fini(&queue->bell);
}

void trace_lane_init(struct trace_lane *lane, struct trace_queue *queue)
{
	*lane = (struct trace_lane){.queue = queue};
	CHECK(pthread_mutex_init(&lane->mutex, NULL) == 0);
}

void trace_lane_fini(struct trace_lane *lane)
{
	pthread_mutex_destroy(&lane->mutex);
	buffer_fini(&lane->scratch);
	buffer_fini(&lane->spans);
	buffer_fini(&lane->taken);
}

void trace_lane_put(struct trace_lane *lane, size_t count)
{
	struct trace_queue *queue = lane->queue;
	uint64_t before = atomic_fetch_add_explicit(&queue->waiting, count, memory_order_relaxed);
	uint64_t most = atomic_load_explicit(&queue->most, memory_order_relaxed);
	uint64_t batch = atomic_load_explicit(&queue->batch, memory_order_relaxed);
	if (before + count > most) {
		atomic_fetch_sub_explicit(&queue->waiting, count, memory_order_relaxed);
		atomic_fetch_add_explicit(&queue->dropped, count, memory_order_relaxed);
		return;
	}
	pthread_mutex_lock(&lane->mutex);
	buffer_append_str(&lane->spans, buffer_str(&lane->scratch));
	pthread_mutex_unlock(&lane->mutex);
	bool full = before < batch && before + count >= batch;
	audit_bell_ring(&queue->bell, full ? AUDIT_BELL_URGENT : AUDIT_BELL_WANTED);
}

static size_t first_span(const struct buffer *spans)
{
	struct str rest = buffer_str(spans), content;
	unsigned field;
	uint64_t value;
	CHECK(proto_take(&rest, &field, &value, &content));
	return buffer_len(spans) - rest.len;
}

size_t trace_lane_take(struct trace_lane *lane, size_t most, struct buffer *out)
{
	size_t count = 0;
	if (!buffer_len(&lane->taken)) {
		pthread_mutex_lock(&lane->mutex);
		struct buffer empty = lane->taken;
		lane->taken = lane->spans;
		lane->spans = empty;
		pthread_mutex_unlock(&lane->mutex);
	}
	for (; count < most && buffer_len(&lane->taken) && buffer_len(out) < TRACE_BATCH_BYTES;
	        count++) {
		size_t len = first_span(&lane->taken);
		buffer_append(out, buffer_data(&lane->taken), len);
		buffer_take(&lane->taken, len);
	}
	atomic_fetch_sub_explicit(&lane->queue->waiting, count, memory_order_relaxed);
	return count;
}
