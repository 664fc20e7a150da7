// The Prometheus text format, version 0.0.4: what every worker counted, added up and put in order.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "gateway/metrics.h"
#include "gateway/metrics_series.h"

#define LABELS(...)                                                                                \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}
const struct metric_row metric_rows[METRIC_COUNT] = {
#define METRIC(name, type, labels, help)                                                           \
	[METRIC_##name] = {"tollgate_" #name, METRIC_TYPE_##type, help, labels},
#define PROCESS_METRIC(name, type, labels, help)                                                   \
	[METRIC_##name] = {#name, METRIC_TYPE_##type, help, labels},
#include "base/metric.def"
#undef PROCESS_METRIC
#undef METRIC
};

enum { PREFIX_LEN = sizeof("tollgate_") - 1 };

void metrics_append_label_value(struct buffer *out, struct str value)
{
	for (size_t i = 0; i < value.len; i++) {
		char byte = value.at[i];
		if (byte == '\n')
			buffer_append_str(out, STR("\\n"));
		else if (byte == '\\' || byte == '"')
			buffer_append(out, (char[]){'\\', byte}, 2);
		else
			buffer_append(out, &byte, 1);
	}
}

struct collection {
	const struct series **items;
	size_t count;
};

static size_t count_series(
        struct metrics *const workers[], size_t worker_count, const struct series **newest)
{
	size_t count = 0;
	for (size_t i = 0; i < worker_count; i++) {
		newest[i] = atomic_load_explicit(&workers[i]->newest, memory_order_acquire);
		for (const struct series *series = newest[i]; series; series = series->next)
			count++;
	}
	return count;
}

static int compare_labels(const struct series *a, const struct series *b)
{
	for (size_t i = 0; i < METRIC_LABELS_MAX && metric_rows[a->metric].labels[i]; i++) {
		int order = strcmp(a->labels[i], b->labels[i]);
		if (order)
			return order;
	}
	return 0;
}

static int compare_series(const void *left, const void *right)
{
	const struct series *a = *(const struct series *const *)left;
	const struct series *b = *(const struct series *const *)right;
	if (a->metric != b->metric)
		return a->metric < b->metric ? -1 : 1;
	return compare_labels(a, b);
}

// Nothing is pruned meanwhile; counting goes on.
static void hold_still(struct metrics *const workers[], size_t worker_count)
{
	for (size_t i = 0; i < worker_count; i++)
		pthread_mutex_lock(&workers[i]->lock);
}

static void let_go(struct metrics *const workers[], size_t worker_count)
{
	for (size_t i = 0; i < worker_count; i++)
		pthread_mutex_unlock(&workers[i]->lock);
}

static struct collection collect(struct metrics *const workers[], size_t worker_count)
{
	const struct series **newest = must_alloc(worker_count * sizeof(const struct series *));
	struct collection all = {.count = count_series(workers, worker_count, newest)};
	all.items = must_alloc(all.count * sizeof(const struct series *));
	size_t at = 0;
	for (size_t i = 0; i < worker_count; i++)
		for (const struct series *series = newest[i]; series; series = series->next)
			if (series_is_told(series))
				all.items[at++] = series;
	all.count = at;
	qsort(all.items, all.count, sizeof(const struct series *), compare_series);
	free(newest);
	return all;
}

static void add_up(struct metric_sum *sum, const struct series *series)
{
	for (size_t i = 0; i < metric_value_count(series->metric); i++)
		sum->values[i] += atomic_load_explicit(&series->values[i], memory_order_relaxed);
	sum->sum_ns += atomic_load_explicit(&series->sum_ns, memory_order_relaxed);
}

// `{a="b",c="d"` without the closing brace, or nothing when there is no label at all.
static void append_labels(struct buffer *out, const struct series *series, const char *upper)
{
	const char *const *names = metric_rows[series->metric].labels;
	char before = '{';
	for (size_t i = 0; i < METRIC_LABELS_MAX && names[i]; i++) {
		buffer_printf(out, "%c%s=\"", before, names[i]);
		metrics_append_label_value(out, str_from(series->labels[i]));
		buffer_append_str(out, STR("\""));
		before = ',';
	}
	if (upper)
		buffer_printf(out, "%cle=\"%s\"", before, upper);
	if (upper || before == ',')
		buffer_append_str(out, STR("}"));
}

static void append_line(struct buffer *out, const struct series *series, const char *suffix,
        const char *upper, uint64_t value)
{
	buffer_printf(out, "%s%s", metric_rows[series->metric].name, suffix);
	append_labels(out, series, upper);
	buffer_printf(out, " %llu\n", (unsigned long long)value);
}

// The count is the sum of the buckets as read, so that it always equals the last of them whatever
// was counted meanwhile.
static void append_histogram(
        struct buffer *out, const struct series *series, const struct metric_sum *sum)
{
	uint64_t count = 0;
	for (size_t i = 0; i < METRIC_BUCKETS; i++) {
		count += sum->values[i];
		append_line(out, series, "_bucket", metric_buckets[i].upper_s, count);
	}
	count += sum->values[METRIC_BUCKETS];
	append_line(out, series, "_bucket", "+Inf", count);
	buffer_printf(out, "%s_sum", metric_rows[series->metric].name);
	append_labels(out, series, NULL);
	buffer_printf(out, " %llu.%09llu\n", (unsigned long long)(sum->sum_ns / NS_PER_S),
	        (unsigned long long)(sum->sum_ns % NS_PER_S));
	append_line(out, series, "_count", NULL, count);
}

static void append_series(
        struct buffer *out, const struct series *series, const struct metric_sum *sum)
{
	switch (metric_rows[series->metric].type) {
	case METRIC_TYPE_COUNTER:
		append_line(out, series, "", NULL, sum->values[0]);
		break;
	case METRIC_TYPE_GAUGE:
		buffer_printf(out, "%s", metric_rows[series->metric].name);
		append_labels(out, series, NULL);
		buffer_printf(out, " %lld\n", (long long)(int64_t)sum->values[0]);
		break;
	case METRIC_TYPE_HISTOGRAM:
		append_histogram(out, series, sum);
		break;
	}
}

// Equal series of several workers, which stand side by side from *at on, as one.
static const struct series *next_series(
        const struct collection *all, size_t *at, struct metric_sum *sum)
{
	const struct series *first = all->items[*at];
	*sum = (struct metric_sum){0};
	while (*at < all->count && compare_series(&all->items[*at], &first) == 0)
		add_up(sum, all->items[(*at)++]);
	return first;
}

static void append_counted(
        struct buffer *out, enum metric metric, const struct collection *all, size_t *at)
{
	while (*at < all->count && all->items[*at]->metric == metric) {
		struct metric_sum sum;
		const struct series *series = next_series(all, at, &sum);
		append_series(out, series, &sum);
	}
}

void metrics_each(struct metrics *const workers[], size_t worker_count,
        void (*visit)(const struct series *series, const struct metric_sum *sum, void *argument),
        void *argument)
{
	hold_still(workers, worker_count);
	struct collection all = collect(workers, worker_count);
	for (size_t at = 0; at < all.count;) {
		struct metric_sum sum;
		const struct series *series = next_series(&all, &at, &sum);
		visit(series, &sum, argument);
	}
	let_go(workers, worker_count);
	free(all.items);
}

static void append_value(struct buffer *out, double value)
{
	const double exact_below = 9007199254740992.0;  // 2^53
	if (isnan(value))
		buffer_append_str(out, STR("NaN"));
	else if (isinf(value))
		buffer_append_str(out, value > 0 ? STR("+Inf") : STR("-Inf"));
	else if (fabs(value) < exact_below && value == (double)(int64_t)value)
		buffer_printf(out, "%lld", (long long)value);
	else
		buffer_printf(out, "%.17g", value);
}

static int compare_gauges(const void *left, const void *right)
{
	const struct metrics_gauge *a = left, *b = right;
	return strcmp(a->labels, b->labels);
}

static bool is_of(const struct metrics_gauge *gauge, enum metric metric)
{
	const char *name = metric_rows[metric].name;
	return strcmp(gauge->name, name) == 0 ||
	       (str_starts(str_from(name), STR("tollgate_")) &&
	               strcmp(gauge->name, name + PREFIX_LEN) == 0);
}

static void append_gauges(struct buffer *out, enum metric metric,
        const struct metrics_gauge *gauges, size_t gauge_count)
{
	for (size_t i = 0; i < gauge_count; i++) {
		if (!is_of(&gauges[i], metric))
			continue;
		buffer_printf(out, "%s%s ", metric_rows[metric].name, gauges[i].labels);
		append_value(out, gauges[i].value);
		buffer_append_str(out, STR("\n"));
	}
}

static struct metrics_gauge *sorted_gauges(const struct metrics_gauge *gauges, size_t count)
{
	struct metrics_gauge *sorted = must_alloc(count * sizeof(*sorted));
	if (count == 0)
		return sorted;
	memcpy(sorted, gauges, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_gauges);
	return sorted;
}

void metrics_expose(struct metrics *const workers[], size_t worker_count,
        const struct metrics_gauge *gauges, size_t gauge_count, struct buffer *out)
{
	static const char *const types[] = {[METRIC_TYPE_COUNTER] = "counter",
	        [METRIC_TYPE_GAUGE] = "gauge",
	        [METRIC_TYPE_HISTOGRAM] = "histogram"};
	hold_still(workers, worker_count);
	struct collection all = collect(workers, worker_count);
	struct metrics_gauge *sorted = sorted_gauges(gauges, gauge_count);
	size_t at = 0;
	for (enum metric metric = 0; metric < METRIC_COUNT; metric++) {
		const struct metric_row *row = &metric_rows[metric];
		buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
		        types[row->type]);
		append_counted(out, metric, &all, &at);
		append_gauges(out, metric, sorted, gauge_count);
	}
	let_go(workers, worker_count);
	free(sorted);
	free(all.items);
}
