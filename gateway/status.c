// What the admin listener tells of the running gateway: its hooks, nothing else. The main thread.
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "gateway/gateway.h"
#include "gateway/version.h"

static bool ready(void *argument)
{
	const struct gateway *gateway = argument;
	return !gateway->draining;
}

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

// The hash, since CAs choose serials as they like and a scrape with one series twice is refused.
static struct str expiry_labels(
        struct gauges *gauges, const char *role, const struct tls_certificate_facts *facts)
{
	struct buffer labels = {0};
	buffer_append_str(&labels, STR("{listener=\""));
	metrics_append_label_value(&labels, str_from(gauges->listener));
	buffer_printf(&labels, "\",role=\"%s\",serial=\"", role);
	metrics_append_label_value(&labels, facts->serial);
	buffer_append_str(&labels, STR("\",sha256=\""));
	metrics_append_label_value(&labels, facts->sha256);
	buffer_append_str(&labels, STR("\"}"));
	struct str text = arena_str(&gauges->arena, buffer_str(&labels));
	buffer_fini(&labels);
	return text;
}

static void add_expiry(const char *role, const struct tls_certificate_facts *facts, void *argument)
{
	struct gauges *gauges = argument;
	struct str labels = expiry_labels(gauges, role, facts);
	for (size_t i = 0; i < gauges->count; i++)
		if (strcmp(gauges->items[i].labels, labels.at) == 0)
			return;  // a certificate that stands there twice
	add_gauge(gauges, "certificate_expiry_timestamp_seconds", labels.at,
	        (double)facts->not_after_s);
}

static void add_spans(struct gauges *gauges, const struct tracing *tracing)
{
	for (enum tracing_result i = 0; tracing && i < TRACING_RESULT_COUNT; i++)
		add_gauge(gauges, "trace_spans_total",
		        arena_printf(&gauges->arena, "{result=\"%s\"}", tracing_result_name(i)).at,
		        (double)tracing_total(tracing, i));
}

static void metrics(void *argument, struct buffer *out)
{
	const struct gateway *gateway = argument;
	struct gauges gauges = {0};
	struct metrics **workers = must_alloc(gateway->worker_count * sizeof(*workers));
	for (size_t i = 0; i < gateway->worker_count; i++)
		workers[i] = gateway->workers[i].metrics;
	for (size_t i = 0; i < gateway->snapshot->config->listener_count; i++) {
		gauges.listener = gateway->snapshot->listeners[i].label;
		tls_context_each(gateway->snapshot->listeners[i].tls, add_expiry, &gauges);
	}
	add_gauge(&gauges, "memory_bytes", "{kind=\"resident\"}",
	        (double)gateway->memory.resident_bytes);
	add_gauge(&gauges, "memory_bytes", "{kind=\"ceiling\"}",
	        (double)gateway->snapshot->config->memory);
	add_gauge(&gauges, "config_last_reload_success", "",
	        gateway->last_reload_good && !gateway->watch_failed);
	add_gauge(&gauges, "access_lines_dropped_total", "",
	        (double)audit_access_dropped_total(gateway->audit));
	add_gauge(&gauges, "audit_records_total", "", (double)audit_records_total(gateway->audit));
	add_gauge(&gauges, "audit_write_failures_total", "",
	        (double)audit_write_failures_total(gateway->audit));
	add_spans(&gauges, gateway->tracing);
	add_gauge(&gauges, "build_info",
	        arena_printf(&gauges.arena, "{version=\"%s\"}", version_text()).at, 1);
	metrics_expose(workers, gateway->worker_count, gauges.items, gauges.count, out);
	arena_fini(&gauges.arena);
	free(gauges.items);
	free(workers);
}

static void config(void *argument, struct buffer *out)
{
	const struct gateway *gateway = argument;
	config_dump(gateway->snapshot->config, out);
}

static void write_certificate(
        const char *role, const struct tls_certificate_facts *facts, void *argument)
{
	struct json *json = argument;
	int64_t left_s = facts->not_after_s - clock_wall_ns() / NS_PER_S;
	json_open(json, '{');
	json_member_str(json, "role", str_from(role));
	json_member_str(json, "subject", facts->subject);
	json_member_str(json, "issuer", facts->issuer);
	json_member_str(json, "serial", facts->serial);
	json_member_str(json, "sha256", facts->sha256);
	json_member_str(json, "not_before", facts->not_before);
	json_member_str(json, "not_after", facts->not_after);
	json_member_int(json, "days_left", left_s / 86400);
	json_close(json, '}');
}

static void certificates(void *argument, struct buffer *out)
{
	const struct gateway *gateway = argument;
	struct json json;
	json_init(&json, out);
	json_open(&json, '{');
	for (size_t i = 0; i < gateway->snapshot->config->listener_count; i++) {
		json_key(&json, gateway->snapshot->listeners[i].label);
		json_open(&json, '[');
		tls_context_each(gateway->snapshot->listeners[i].tls, write_certificate, &json);
		json_close(&json, ']');
	}
	json_close(&json, '}');
	buffer_append_str(out, STR("\n"));
}

static void write_limit(const struct bucket_view *view, void *argument)
{
	struct json *json = argument;
	json_open(json, '{');
	json_member_str(json, "limit", view->name);
	json_member_int(json, "burst", (int64_t)view->rate.burst);
	json_key(json, "rate_per_second");
	json->comma = true;
	buffer_printf(json->out, "%.6g",
	        (double)view->rate.count * NS_PER_S / (double)view->rate.period_ns);
	json_key(json, "lowest_fill");
	json->comma = true;
	buffer_printf(json->out, "%.3f", view->fill);
	json_member_int(json, "keys_used", (int64_t)view->keys_used);
	json_member_int(json, "max_keys", (int64_t)view->max_keys);
	json_member_int(json, "overflow_uses", (int64_t)view->overflow_uses);
	json_member_int(json, "granted", (int64_t)view->granted);
	json_member_int(json, "refused", (int64_t)view->refused);
	json_close(json, '}');
}

static void limits(void *argument, struct buffer *out)
{
	const struct gateway *gateway = argument;
	struct json json;
	json_init(&json, out);
	json_open(&json, '[');
	bucket_store_each(gateway->store, clock_monotonic_ns(), write_limit, &json);
	json_close(&json, ']');
	buffer_append_str(out, STR("\n"));
}

static bool reload(void *argument, struct buffer *out)
{
	return gateway_reload(argument, out);
}

static void drain(void *argument)
{
	gateway_drain(argument);
}

const struct admin_hooks gateway_status_hooks = {
        .ready = ready,
        .metrics = metrics,
        .config = config,
        .certificates = certificates,
        .limits = limits,
        .reload = reload,
        .drain = drain,
};
