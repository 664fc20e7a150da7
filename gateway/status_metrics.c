// What /metrics tells beyond what workers count: of certificates, reloads, logs, and the process.
// The main thread, at a scrape.
#include <stdlib.h>

#include "gateway/gateway.h"
#include "gateway/status_report.h"
#include "gateway/version.h"

struct gauges {
	struct arena arena;
	struct metrics_gauge *items;
	size_t count, capacity;
	const char *listener;
};

static void add_gauge(struct gauges *gauges, const char *name, const char *labels, double value)
{
	if (gauges->count == gauges->capacity) {
		gauges->capacity = gauges->capacity ? 2 * gauges->capacity : 32;
		gauges->items = must_realloc(
		        gauges->items, gauges->capacity * sizeof(*gauges->items));
	}
	gauges->items[gauges->count++] = (struct metrics_gauge){name, labels, value};
}

static const char *labels_of(struct gauges *gauges, struct buffer *labels)
{
	struct str text = arena_str(&gauges->arena, buffer_str(labels));
	buffer_fini(labels);
	return text.at;
}

static void append_label(struct buffer *labels, const char *name, struct str value)
{
	buffer_printf(labels, "%c%s=\"", buffer_len(labels) ? ',' : '{', name);
	metrics_append_label_value(labels, value);
	buffer_append_str(labels, STR("\""));
}

// One file may hold a certificate twice, and a scrape with one series twice is refused whole.
static void add_once(struct gauges *gauges, const char *name, const char *labels, double value)
{
	for (size_t i = 0; i < gauges->count; i++)
		if (strcmp(gauges->items[i].labels, labels) == 0 &&
		        strcmp(gauges->items[i].name, name) == 0)
			return;
	add_gauge(gauges, name, labels, value);
}

// The hash, since CAs choose serials, and numbers of lists, as they like.
static void add_expiry(const struct tls_expiry *what, void *argument)
{
	struct gauges *gauges = argument;
	struct buffer labels = {0};
	bool list = strcmp(what->role, "crl") == 0;
	append_label(&labels, "listener", str_from(gauges->listener));
	if (list) {
		append_label(&labels, "issuer", what->name);
	} else {
		append_label(&labels, "role", str_from(what->role));
		append_label(&labels, "serial", what->serial);
	}
	append_label(&labels, "sha256", what->sha256);
	buffer_append_str(&labels, STR("}"));
	const char *text = labels_of(gauges, &labels);
	if (list) {
		add_once(gauges, "crl_next_update_timestamp_seconds", text, (double)what->ends_s);
		return;
	}
	add_once(gauges, "certificate_expiry_timestamp_seconds", text, (double)what->ends_s);
	add_once(gauges, "certificate_lifetime_seconds", text,
	        (double)(what->ends_s - what->begins_s));
}

static void add_expiries(const char *label, const struct tls_context *tls, void *argument)
{
	struct gauges *gauges = argument;
	gauges->listener = label;
	tls_context_expiries(tls, add_expiry, gauges);
}

static void add_reloads(struct gauges *gauges, const struct gateway *gateway)
{
	static const char *const results[] = {"{result=\"failure\"}", "{result=\"success\"}"};
	const struct reloads *reloads = &gateway->reloads;
	for (size_t i = 0; i < ARRAY_LEN(results); i++) {
		add_gauge(gauges, "config_reloads_total", results[i], (double)reloads->config[i]);
		add_gauge(gauges, "certificate_reloads_total", results[i],
		        (double)reloads->certificates[i]);
	}
	add_gauge(gauges, "config_last_reload_success", "",
	        gateway->last_reload_good && !gateway->watch_failed);
	add_gauge(gauges, "config_last_reload_success_timestamp_seconds", "",
	        (double)reloads->last_success_s);
}

static void add_lookups(struct gauges *gauges, const struct names *names)
{
	static const char *const results[NAMES_RESULTS] = {[NAMES_UNCHANGED] = "unchanged",
	        [NAMES_CHANGED] = "changed",
	        [NAMES_FAILED] = "failed"};
	for (size_t i = 0; i < NAMES_RESULTS; i++)
		add_gauge(gauges, "dns_lookups_total",
		        arena_printf(&gauges->arena, "{result=\"%s\"}", results[i]).at,
		        (double)names->lookups[i]);
}

static void add_records(struct gauges *gauges, const struct gateway *gateway)
{
	add_gauge(gauges, "access_lines_dropped_total", "",
	        (double)audit_access_dropped_total(gateway->audit));
	add_gauge(gauges, "audit_records_total", "", (double)audit_records_total(gateway->audit));
	add_gauge(gauges, "audit_write_failures_total", "",
	        (double)audit_write_failures_total(gateway->audit));
}

static void add_spans(struct gauges *gauges, const struct tracing *tracing)
{
	for (enum tracing_result i = 0; tracing && i < TRACING_RESULT_COUNT; i++)
		add_gauge(gauges, "trace_spans_total",
		        arena_printf(&gauges->arena, "{result=\"%s\"}", tracing_result_name(i)).at,
		        (double)tracing_total(tracing, i));
}

static void add_process(struct gauges *gauges, const struct gateway *gateway)
{
	struct process_facts process;
	process_read(&gateway->process, &process);
	add_gauge(gauges, "process_cpu_seconds_total", "", process.cpu_s);
	add_gauge(gauges, "process_max_fds", "", (double)process.max_fds);
	add_gauge(gauges, "process_open_fds", "", (double)process.open_fds);
	add_gauge(gauges, "process_resident_memory_bytes", "", (double)process.resident_bytes);
	add_gauge(gauges, "process_start_time_seconds", "", gateway->process.start_s);
	add_gauge(gauges, "process_virtual_memory_bytes", "", (double)process.virtual_bytes);
	add_gauge(gauges, "memory_bytes", "{kind=\"resident\"}", (double)process.resident_bytes);
	add_gauge(gauges, "memory_bytes", "{kind=\"ceiling\"}",
	        (double)gateway->snapshot->config->memory);
	add_gauge(gauges, "workers", "", (double)gateway->worker_count);
	add_gauge(gauges, "build_info",
	        arena_printf(&gauges->arena, "{version=\"%s\"}", version_text()).at, 1);
}

void status_metrics(const struct gateway *gateway, struct buffer *out)
{
	struct gauges gauges = {0};
	size_t counter_count;
	struct metrics **counters = status_counters(gateway, &counter_count);
	snapshot_each_tls(gateway->snapshot, add_expiries, &gauges);
	add_reloads(&gauges, gateway);
	add_lookups(&gauges, &gateway->names);
	add_records(&gauges, gateway);
	add_spans(&gauges, gateway->tracing);
	add_process(&gauges, gateway);
	metrics_expose(counters, counter_count, gauges.items, gauges.count, out);
	arena_fini(&gauges.arena);
	free(gauges.items);
	free(counters);
}
