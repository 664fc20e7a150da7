#include "gateway/status_report.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "gateway/metrics_series.h"
#include "gateway/version.h"

struct metrics **status_counters(const struct gateway *gateway, size_t *count)
{
	struct metrics **counters = must_alloc((gateway->worker_count + 1) * sizeof(*counters));
	for (size_t i = 0; i < gateway->worker_count; i++)
		counters[i] = gateway->workers[i].metrics;
	counters[gateway->worker_count] = gateway->metrics;
	*count = gateway->worker_count + 1;
	return counters;
}

static struct str take_line(struct str *text)
{
	const char *end = str_find_byte(*text, '\n');
	struct str line = str_of(text->at, end ? (size_t)(end - text->at) : text->len);
	*text = str_skip(*text, line.len + (end ? 1 : 0));
	return line;
}

// A file may hold any bytes, and a comment ends where its line does.
static void append_comment(struct buffer *out, struct str line)
{
	buffer_append_str(out, STR("#   "));
	for (size_t i = 0; i < line.len; i++) {
		unsigned char byte = (unsigned char)line.at[i];
		buffer_append(out, byte < 0x20 || byte == 0x7f ? "?" : &line.at[i], 1);
	}
	buffer_append_str(out, STR("\n"));
}

static void append_comments(struct buffer *out, const char *title, const struct buffer *problems)
{
	struct str text = buffer_str(problems);
	if (text.len == 0)
		return;
	buffer_printf(out, "# %s\n", title);
	while (text.len)
		append_comment(out, take_line(&text));
}

void status_refused_reload(const struct gateway *gateway, struct buffer *out)
{
	append_comments(out, "The last reload was refused; what stands below is still in force.",
	        &gateway->last_reload_problems);
	append_comments(out, "Files on disk do not load; those from before are still in force.",
	        &gateway->watch_problems);
}

static void member_time(struct json *json, const char *key, int64_t wall_ns)
{
	char text[CLOCK_TEXT_SIZE];
	clock_text(wall_ns, text);
	json_member_str(json, key, str_from(text));
}

static void write_problems(struct json *json, const struct buffer *problems)
{
	struct str text = buffer_str(problems);
	while (text.len)
		json_str(json, take_line(&text));
}

// `success` is what tollgate_config_last_reload_success says.
static void write_reload(struct json *json, const struct gateway *gateway)
{
	json_key(json, "reload");
	json_open(json, '{');
	json_member_bool(json, "success", gateway->last_reload_good && !gateway->watch_failed);
	if (gateway->last_reload_ns)
		member_time(json, "at", gateway->last_reload_ns);
	json_key(json, "problems");
	json_open(json, '[');
	write_problems(json, &gateway->last_reload_problems);
	write_problems(json, &gateway->watch_problems);
	json_close(json, ']');
	json_close(json, '}');
}

static void write_process(struct json *json, const struct gateway *gateway)
{
	int64_t now_ns = clock_wall_ns(), up_ns = clock_monotonic_ns() - gateway->started_ns;
	json_member_str(json, "version", str_from(version_text()));
	json_member_str(json, "state", gateway->draining ? STR("draining") : STR("serving"));
	member_time(json, "now", now_ns);
	member_time(json, "started", now_ns - up_ns);
	json_member_int(json, "uptime_seconds", up_ns / NS_PER_S);
	json_member_int(json, "workers", (int64_t)gateway->worker_count);
	json_member_int(json, "generation", (int64_t)gateway->snapshot->generation);
	write_reload(json, gateway);
	json_key(json, "memory");
	json_open(json, '{');
	json_member_int(json, "resident_bytes", (int64_t)gateway->memory.resident_bytes);
	json_member_int(json, "ceiling_bytes", (int64_t)gateway->snapshot->config->memory);
	json_close(json, '}');
	json_key(json, "audit");
	json_open(json, '{');
	json_member_int(json, "records", (int64_t)audit_records_total(gateway->audit));
	json_member_int(
	        json, "write_failures", (int64_t)audit_write_failures_total(gateway->audit));
	json_member_bool(json, "failing", audit_failing(gateway->audit));
	json_close(json, '}');
}

static void write_listeners(struct json *json, const struct config *config)
{
	json_key(json, "listeners");
	json_open(json, '[');
	for (size_t i = 0; i < config->listener_count; i++) {
		json_open(json, '{');
		json_member_str(json, "name", config->listeners[i].name.text);
		json_member_str(json, "address", config->listeners[i].address.text);
		json_close(json, '}');
	}
	json_close(json, ']');
}

static void write_backends(struct json *json, const struct config *config)
{
	json_key(json, "backends");
	json_open(json, '[');
	for (size_t i = 0; i < config->backend_count; i++) {
		const struct config_backend *backend = &config->backends[i];
		json_open(json, '{');
		json_member_str(json, "name", backend->name.text);
		json_member_str(json, "protocol",
		        backend->protocol == PROTOCOL_H2 ? STR("h2") : STR("http1"));
		json_member_bool(json, "tls", backend->tls.tls.mark.line > 0);
		json_key(json, "endpoints");
		json_open(json, '[');
		for (size_t k = 0; k < backend->endpoint_count; k++)
			json_str(json, backend->endpoints[k].text);
		json_close(json, ']');
		json_close(json, '}');
	}
	json_close(json, ']');
}

static void write_upper_bounds(struct json *json)
{
	json_key(json, "bucket_upper_seconds");
	json_open(json, '[');
	for (size_t i = 0; i < METRIC_BUCKETS; i++)
		json_str(json, str_from(metric_buckets[i].upper_s));
	json_close(json, ']');
}

struct series_writer {
	struct json json;
	enum metric metric;  // whose array is open
};

static void open_metric(struct series_writer *writer, enum metric metric)
{
	static const struct str prefix = {"tollgate_", 9};
	if (writer->metric == metric)
		return;
	if (writer->metric != METRIC_COUNT)
		json_close(&writer->json, ']');
	writer->metric = metric;
	json_key(&writer->json, metric_rows[metric].name + prefix.len);
	json_open(&writer->json, '[');
}

static void write_series(const struct series *series, const struct metric_sum *sum, void *argument)
{
	struct series_writer *writer = argument;
	struct json *json = &writer->json;
	const struct metric_row *row = &metric_rows[series->metric];
	open_metric(writer, series->metric);
	json_open(json, '{');
	for (size_t i = 0; i < METRIC_LABELS_MAX && row->labels[i]; i++)
		json_member_str(json, row->labels[i], str_from(series->labels[i]));
	if (row->type != METRIC_TYPE_HISTOGRAM) {
		json_member_int(json, "value", (int64_t)sum->values[0]);
	} else {
		json_key(json, "buckets");
		json_open(json, '[');
		for (size_t i = 0; i <= METRIC_BUCKETS; i++)
			json_int(json, (int64_t)sum->values[i]);
		json_close(json, ']');
		json_member_int(json, "sum_ns", (int64_t)sum->sum_ns);
	}
	json_close(json, '}');
}

void status_report(const struct gateway *gateway, struct buffer *out)
{
	const struct config *config = gateway->snapshot->config;
	struct series_writer writer = {.metric = METRIC_COUNT};
	struct json *json = &writer.json;
	size_t count;
	json_init(json, out);
	json_open(json, '{');
	write_process(json, gateway);
	write_listeners(json, config);
	write_backends(json, config);
	write_upper_bounds(json);
	json_key(json, "series");
	json_open(json, '{');
	struct metrics **counters = status_counters(gateway, &count);
	metrics_each(counters, count, write_series, &writer);
	free(counters);
	if (writer.metric != METRIC_COUNT)
		json_close(json, ']');
	json_close(json, '}');
	json_close(json, '}');
	buffer_append_str(out, STR("\n"));
}
