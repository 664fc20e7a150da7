#include "gateway/admin_answer.h"

#include <netinet/in.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "conf/address.h"
#include "gateway/admin_page.h"
#include "policy/host.h"

enum { AUDIT_LINES = 20, AUDIT_LINES_MAX = 100 };

static const char plain_text[] = "text/plain; charset=utf-8";

void admin_answer_text(struct admin_answer *answer, int status, const char *text)
{
	*answer = (struct admin_answer){.status = status, .type = plain_text};
	buffer_printf(&answer->body, "%s\n", text);
}

void admin_answer_refusal(struct admin_answer *answer, enum reason reason)
{
	struct json json;
	*answer = (struct admin_answer){
	        .status = reason_http_status(reason), .type = "application/problem+json"};
	json_init(&json, &answer->body);
	json_open(&json, '{');
	json_member_int(&json, "status", answer->status);
	json_member_str(&json, "title", str_from(reason_title(reason)));
	json_member_str(&json, "reason", str_from(reason_name(reason)));
	json_close(&json, '}');
	buffer_append_str(&answer->body, STR("\n"));
}

static void serve_health(
        const struct admin_gate *gate, struct str query, struct admin_answer *answer)
{
	(void)gate, (void)query;
	admin_answer_text(answer, 200, "ok");
}

static void serve_readiness(
        const struct admin_gate *gate, struct str query, struct admin_answer *answer)
{
	(void)query;
	bool ready = gate->hooks->ready(gate->gateway);
	admin_answer_text(answer, ready ? 200 : 503, ready ? "ready" : "not ready");
}

static void serve_metrics(
        const struct admin_gate *gate, struct str query, struct admin_answer *answer)
{
	(void)query;
	answer->type = "text/plain; version=0.0.4; charset=utf-8";
	gate->hooks->metrics(gate->gateway, &answer->body);
}

static void serve_config(
        const struct admin_gate *gate, struct str query, struct admin_answer *answer)
{
	(void)query;
	answer->type = "application/yaml";
	gate->hooks->config(gate->gateway, &answer->body);
}

static void serve_certificates(
        const struct admin_gate *gate, struct str query, struct admin_answer *answer)
{
	(void)query;
	answer->type = "application/json";
	gate->hooks->certificates(gate->gateway, &answer->body);
}

static void serve_limits(
        const struct admin_gate *gate, struct str query, struct admin_answer *answer)
{
	(void)query;
	answer->type = "application/json";
	gate->hooks->limits(gate->gateway, &answer->body);
}

static void serve_status(
        const struct admin_gate *gate, struct str query, struct admin_answer *answer)
{
	(void)query;
	answer->type = "application/json";
	gate->hooks->status(gate->gateway, &answer->body);
}

// `?limit=N`; what is no number between 1 and the cap is the default or the cap.
static void serve_audit(
        const struct admin_gate *gate, struct str query, struct admin_answer *answer)
{
	static const struct str limit = {"limit=", 6};
	uint64_t most = AUDIT_LINES;
	if (str_starts(query, limit) &&
	        (!str_to_u64(str_skip(query, limit.len), UINT32_MAX, &most) || most == 0))
		most = AUDIT_LINES;
	answer->type = "application/json";
	gate->hooks->audit(
	        gate->gateway, most < AUDIT_LINES_MAX ? most : AUDIT_LINES_MAX, &answer->body);
}

static void serve_page(const struct admin_gate *gate, struct str query, struct admin_answer *answer)
{
	(void)query;
	struct buffer metrics = {0};
	gate->hooks->metrics(gate->gateway, &metrics);
	answer->type = "text/html; charset=utf-8";
	answer->policy = admin_page_policy();
	admin_page(&answer->body, gate->hooks->ready(gate->gateway), buffer_str(&metrics),
	        clock_wall_ns() / NS_PER_S);
	buffer_fini(&metrics);
}

static void do_reload(const struct admin_gate *gate, struct str query, struct admin_answer *answer)
{
	(void)query;
	answer->type = plain_text;
	bool taken = gate->hooks->reload(gate->gateway, &answer->body);
	answer->status = taken ? 200 : 409;
	if (buffer_len(&answer->body) == 0)
		buffer_printf(&answer->body, "%s\n", taken ? "reloaded" : "refused");
}

static void do_drain(const struct admin_gate *gate, struct str query, struct admin_answer *answer)
{
	(void)query;
	gate->hooks->drain(gate->gateway);
	admin_answer_text(answer, 202, "draining");
}

enum endpoint_kind { ENDPOINT_SHOWS, ENDPOINT_ACTS };

static const struct endpoint {
	const char *path;
	enum endpoint_kind kind;
	void (*serve)(const struct admin_gate *gate, struct str query, struct admin_answer *answer);
} endpoints[] = {
        {"/", ENDPOINT_SHOWS, serve_page},
        {"/healthz", ENDPOINT_SHOWS, serve_health},
        {"/readyz", ENDPOINT_SHOWS, serve_readiness},
        {"/metrics", ENDPOINT_SHOWS, serve_metrics},
        {"/config", ENDPOINT_SHOWS, serve_config},
        {"/certificates", ENDPOINT_SHOWS, serve_certificates},
        {"/limits", ENDPOINT_SHOWS, serve_limits},
        {"/status", ENDPOINT_SHOWS, serve_status},
        {"/audit", ENDPOINT_SHOWS, serve_audit},
        {"/reload", ENDPOINT_ACTS, do_reload},
        {"/drain", ENDPOINT_ACTS, do_drain},
};

static const struct endpoint *find_endpoint(struct str target, struct str *query)
{
	const char *mark = str_find_byte(target, '?');
	struct str path = str_of(target.at, mark ? (size_t)(mark - target.at) : target.len);
	*query = mark ? str_skip(target, path.len + 1) : STR("");
	for (size_t i = 0; i < ARRAY_LEN(endpoints); i++)
		if (str_eq(path, str_from(endpoints[i].path)))
			return &endpoints[i];
	return NULL;
}

static bool method_fits(enum endpoint_kind kind, struct str method)
{
	switch (kind) {
	case ENDPOINT_SHOWS:
		return str_eq(method, STR("GET")) || str_eq(method, STR("HEAD"));
	case ENDPOINT_ACTS:
		return str_eq(method, STR("POST"));
	}
	return false;
}

// An address or `localhost`, which no foreign page's name can be rebound to: a browser led here by
// such a name still says that name. Without any Host it is no browser but a probe that speaks
// HTTP/1.0.
static bool host_is_local_name(struct str authority)
{
	struct arena arena = {0};
	struct in_addr four;
	struct str host;
	if (authority.len == 0)
		return true;
	bool good = host_normalise(authority, &arena, &host);
	if (good) {
		good = host.at[0] == '[' || str_eq(host, STR("localhost")) ||
		       address_numeric(host, AF_INET, &four);
	}
	arena_fini(&arena);
	return good;
}

// A browser names the page that sends a POST; only our own may (RFC 6454, 7).
static bool origin_is_own(const struct admin_gate *gate, const struct head *request)
{
	struct str scheme = gate->tls ? STR("https://") : STR("http://");
	for (size_t i = 0; i < request->fields.count; i++) {
		const struct field *field = &request->fields.items[i];
		if (!str_eq(field->name, STR("origin")))
			continue;
		if (!str_starts_nocase(field->value, scheme) ||
		        !str_eq_nocase(str_skip(field->value, scheme.len), request->authority))
			return false;
	}
	return true;
}

void admin_answer(
        const struct admin_gate *gate, const struct head *request, struct admin_answer *answer)
{
	struct str query;
	if (!gate->unix_socket && !gate->tls && !host_is_local_name(request->authority)) {
		admin_answer_text(answer, 403, "the Host must be an IP address or localhost");
		return;
	}
	const struct endpoint *endpoint = find_endpoint(request->target, &query);
	if (!endpoint) {
		admin_answer_text(answer, 404, "nothing is served here");
		return;
	}
	if (!method_fits(endpoint->kind, request->method)) {
		bool shows = endpoint->kind == ENDPOINT_SHOWS;
		admin_answer_text(answer, 405, shows ? "use GET" : "use POST");
		answer->allow = shows ? "GET, HEAD" : "POST";
		return;
	}
	if (endpoint->kind == ENDPOINT_ACTS && !origin_is_own(gate, request)) {
		admin_answer_text(answer, 403, "the Origin is another site");
		return;
	}
	*answer = (struct admin_answer){.status = 200};
	endpoint->serve(gate, query, answer);
}
