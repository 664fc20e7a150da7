// How metrics are kept: one list of series a worker, newest first, each with its values. Between
// metrics.c, which counts, and metrics_text.c, which reads. The worker publishes a finished series
// by a release store of the list's head and never changes anything of it but its values, one writer
// each, relaxed; whoever loads the head with acquire may walk the list.
#ifndef GATEWAY_METRICS_SERIES_H
#define GATEWAY_METRICS_SERIES_H

#include <stdatomic.h>
#include <stdint.h>

enum metric {
#define METRIC(name, type, labels, help) METRIC_##name,
#include "base/metric.def"
#undef METRIC
	METRIC_COUNT
};

enum metric_type { METRIC_TYPE_COUNTER, METRIC_TYPE_GAUGE, METRIC_TYPE_HISTOGRAM };

enum {
	METRIC_LABELS_MAX = 4,
	METRIC_BUCKETS = 14,  // with an upper bound; one more takes the rest
};

struct metric_bucket {
	int64_t upper_ns;     // inclusive
	const char *upper_s;  // the same in seconds, as the label `le`
};
extern const struct metric_bucket metric_buckets[METRIC_BUCKETS];

struct metric_row {
	const char *name;  // with the prefix
	enum metric_type type;
	const char *help;
	const char *labels[METRIC_LABELS_MAX];  // NULL behind the last
};
extern const struct metric_row metric_rows[METRIC_COUNT];

struct series {
	struct series *next;  // the one published before
	enum metric metric;
	const char *labels[METRIC_LABELS_MAX];  // their values, which live for ever
	_Atomic uint64_t sum_ns;                // of a histogram
	_Atomic uint64_t values[];              // one, or a histogram's buckets, not cumulated
};

struct metrics {
	_Atomic(struct series *) newest;
	// The worker's alone: where its series are found, by what they are (open addressing, a
	// power of two).
	struct series **index;
	size_t index_size, series_count;
};

// One series as all workers counted it.
struct metric_sum {
	uint64_t values[METRIC_BUCKETS + 1];  // one, or a histogram's buckets, not cumulated
	uint64_t sum_ns;
};
// Every series that was counted, in the order of the exposition and from the same values.
void metrics_each(struct metrics *const workers[], size_t worker_count,
        void (*visit)(const struct series *series, const struct metric_sum *sum, void *argument),
        void *argument);

static inline size_t metric_value_count(enum metric metric)
{
	return metric_rows[metric].type == METRIC_TYPE_HISTOGRAM ? METRIC_BUCKETS + 1 : 1;
}

#endif
