// What the admin listener tells of the running gateway: its hooks, nothing else. The main thread.
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "gateway/gateway.h"
#include "gateway/status_report.h"

static bool ready(void *argument)
{
	const struct gateway *gateway = argument;
	return !gateway->draining;
}

static void metrics(void *argument, struct buffer *out)
{
	status_metrics(argument, out);
}

static void config(void *argument, struct buffer *out)
{
	const struct gateway *gateway = argument;
	status_refused_reload(gateway, out);
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

static void write_certificates(const char *label, const struct tls_context *tls, void *argument)
{
	struct json *json = argument;
	json_key(json, label);
	json_open(json, '[');
	tls_context_each(tls, write_certificate, json);
	json_close(json, ']');
}

static void certificates(void *argument, struct buffer *out)
{
	const struct gateway *gateway = argument;
	struct json json;
	json_init(&json, out);
	json_open(&json, '{');
	snapshot_each_tls(gateway->snapshot, write_certificates, &json);
	json_close(&json, '}');
	buffer_append_str(out, STR("\n"));
}

static void write_limit(const struct bucket_view *view, void *argument)
{
	struct json *json = argument;
	json_open(json, '{');
	json_member_str(json, "limit", view->name);
	json_member_str(json, "store", view->shared ? STR("redis") : STR("local"));
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

static void status(void *argument, struct buffer *out)
{
	status_report(argument, out);
}

static void audit(void *argument, size_t most, struct buffer *out)
{
	const struct gateway *gateway = argument;
	audit_write_recent(gateway->audit, most, out);
}

static struct tls_context *tls(void *argument)
{
	const struct gateway *gateway = argument;
	return gateway->snapshot->admin_tls;
}

static void identify(void *argument, const struct policy_peer *peer, struct arena *arena,
        struct policy_identity *identity)
{
	const struct gateway *gateway = argument;
	policy_identify(gateway->snapshot->policy, POLICY_ADMIN, peer, arena, identity);
}

// By the lane that is main's own.
static void refused(void *argument, const struct audit_record *record)
{
	const struct gateway *gateway = argument;
	audit_submit(audit_lane_of(gateway->audit, gateway->worker_count), record);
	metrics_rejection(gateway->metrics, "admin", record->reason);
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
        .status = status,
        .audit = audit,
        .reload = reload,
        .drain = drain,
        .tls = tls,
        .identify = identify,
        .refused = refused,
};
