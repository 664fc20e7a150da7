// How metrics are kept: one list of series a worker, newest first, each with its values. Between
// metrics.c, which counts, and metrics_text.c, which reads. The worker publishes a finished series
// by a release store of the list's head and never changes anything of it but its values, one writer
// each, relaxed; whoever loads the head with acquire, under the lock, may walk the list.
#ifndef GATEWAY_METRICS_SERIES_H
#define GATEWAY_METRICS_SERIES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/metrics.h"

enum metric {
#define METRIC(name, type, labels, help) METRIC_##name,
#define PROCESS_METRIC METRIC
#include "base/metric.def"
#undef PROCESS_METRIC
#undef METRIC
	METRIC_COUNT
};

enum metric_type { METRIC_TYPE_COUNTER, METRIC_TYPE_GAUGE, METRIC_TYPE_HISTOGRAM };

enum {
	METRIC_LABELS_MAX = 4,
	// With an upper bound; one more takes the rest.
	METRIC_BUCKETS = 0
#define BUCKET(upper_ns, upper_s) +1
#include "base/metric_bucket.def"
#undef BUCKET
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

// A label's word that came from a configuration. It lives as long as anybody holds it, and nobody
// of a configuration does once none has it any more: then its series are not told, and pruned.
struct word {
	struct word *next;
	atomic_size_t holders;  // snapshots, mostly
	size_t series;          // that were made of it
	char text[];
};

// For a series: the word of this label, held; NULL for a constant.
struct word *metrics_word_take(const char *label);
void metrics_word_drop(struct word *word);  // may be NULL

struct series {
	struct series *next;  // the one published before
	enum metric metric;
	const char *labels[METRIC_LABELS_MAX];  // their values: constants, or texts of these words
	struct word *words[METRIC_LABELS_MAX];
	_Atomic uint64_t sum_ns;    // of a histogram
	_Atomic uint64_t values[];  // one, or a histogram's buckets, not cumulated
};

struct metrics {
	// Held by whoever walks the list for longer than it takes to look, and by its worker while
	// it takes series out; never on the way of a request.
	pthread_mutex_t lock;
	_Atomic(struct series *) newest;
	struct series *requests_active, *turns;  // of the list, as are these
	struct series *network[METRICS_SIDES][METRICS_DIRECTIONS];
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

static inline bool series_is_told(const struct series *series)
{
	for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
		if (series->words[i] &&
		        atomic_load_explicit(&series->words[i]->holders, memory_order_relaxed) == 0)
			return false;
	return true;
}

static inline size_t metric_value_count(enum metric metric)
{
	return metric_rows[metric].type == METRIC_TYPE_HISTOGRAM ? METRIC_BUCKETS + 1 : 1;
}

#endif
