#include "gateway/forward.h"

#include "base/clock.h"
#include "base/digits.h"
#include "gateway/backend_tls.h"
#include "gateway/client_certificate.h"
#include "gateway/http/grpc.h"
#include "gateway/http/trace.h"
#include "gateway/quota_fields.h"
#include "gateway/rewrite.h"

static bool is_mark(char c)
{
	return !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9');
}

// Headers that carry the gateway's own word, in any spelling a CGI-like backend might fold into
// theirs: most make `_` of `-`, lighttpd makes it of every mark.
static bool claims_our_word(struct str name)
{
	static const struct str ours[] = {
	        {"x-forwarded-client-cert", 23},
	        {"x-forwarded-proto", 17},
	        {"x-forwarded-for", 15},
	        {"x-forwarded-host", 16},
	        {"x-request-id", 12},
	};
	if (name.len == 0 || *name.at != 'x')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		if (name.len != ours[i].len)
			continue;
		size_t at = 0;
		while (at < name.len && (name.at[at] == ours[i].at[at] ||
		                                (ours[i].at[at] == '-' && is_mark(name.at[at]))))
			at++;
		if (at == name.len)
			return true;
	}
	return false;
}

static bool passes_upstream(struct str name)
{
	return !claims_our_word(name) && !str_eq(name, STR("traceparent")) &&
	       !str_eq(name, STR("tracestate")) && !str_eq(name, STR("grpc-timeout")) &&
	       !field_is_hop_by_hop(name);
}

static bool request_id_usable(struct str id)
{
	return id.len > 0 && id.len <= 128 && field_name_valid(id);
}

static struct str random_hex(struct worker *worker, struct arena *arena, unsigned words)
{
	char text[2 * DIGITS_HEX];
	for (unsigned i = 0; i < words; i++)
		digits_hex_padded(text + i * DIGITS_HEX, worker_random(worker));
	return arena_str(arena, str_of(text, (size_t)words * DIGITS_HEX));
}

// The caller's trace goes on, sampled or not as it says; else one begins.
static void identify_trace(struct exchange *exchange, const struct fields *fields)
{
	struct worker *worker = exchange->downstream->worker;
	struct arena *arena = &exchange->arena;
	struct trace_parent parent;
	if (trace_parent_of(fields, arena, &parent)) {
		exchange->trace_id = parent.trace_id;
		exchange->parent_id = parent.parent_id;
		exchange->trace_flags = parent.flags;
		exchange->trace_state = trace_state_of(fields, arena);
	} else {
		exchange->trace_id = random_hex(worker, arena, 2);
		exchange->trace_flags = TRACE_RANDOM;
		if (worker->spans && trace_id_sampled(exchange->trace_id,
		                             exchange->snapshot->config->tracing.sample))
			exchange->trace_flags |= TRACE_SAMPLED;
	}
	exchange->traced = worker->spans && exchange->trace_flags & TRACE_SAMPLED;
}

void forward_identify(struct exchange *exchange, const struct head *request)
{
	struct worker *worker = exchange->downstream->worker;
	struct arena *arena = &exchange->arena;
	struct str id = fields_get(&request->fields, STR("x-request-id"));
	exchange->request_id = request_id_usable(id) ? id : random_hex(worker, arena, 2);
	identify_trace(exchange, &request->fields);
	exchange->span_id = random_hex(worker, arena, 1);
	exchange->call_id = exchange->traced ? random_hex(worker, arena, 1) : exchange->span_id;
}

static struct str caller(struct downstream *downstream)
{
	if (!downstream->client_certificate_header.len)
		downstream->client_certificate_header = client_certificate_header(
		        tls_session_peer(downstream->link.tls),
		        tls_session_gateway_uri(downstream->link.tls), &downstream->arena);
	return downstream->client_certificate_header;
}

static void add_our_word(struct exchange *exchange, const struct head *request, struct head *out)
{
	struct arena *arena = &exchange->arena;
	struct downstream *downstream = exchange->downstream;
	struct str before = fields_joined(&request->fields, STR("x-forwarded-for"), arena);
	struct str from = str_from(downstream->source_ip);
	fields_add(&out->fields, arena, STR("x-forwarded-client-cert"), caller(downstream));
	fields_add(&out->fields, arena, STR("x-forwarded-for"),
	        before.len ? arena_join(arena, (struct str[]){before, STR(", "), from}, 3) : from);
	fields_add(&out->fields, arena, STR("x-forwarded-proto"), STR("https"));
	fields_add(&out->fields, arena, STR("x-request-id"), exchange->request_id);
	fields_add(&out->fields, arena, STR("traceparent"),
	        arena_join(arena,
	                (struct str[]){STR("00-"), exchange->trace_id, STR("-"), exchange->call_id,
	                        STR("-0"), str_of(&"0123"[exchange->trace_flags], 1)},
	                6));
	if (exchange->trace_state.len)
		fields_add(&out->fields, arena, STR("tracestate"), exchange->trace_state);
}

// A refused request, whose trailers are still to come, may have no route.
static bool passes_as_trailer(const struct exchange *exchange, bool request, struct str name)
{
	const struct config_route *route = exchange_route(exchange);
	const struct config_field_rules *rules = !route    ? NULL
	                                         : request ? &route->request_headers
	                                                   : &route->response_headers;
	return !field_forbidden_in_trailers(name) && !(request && claims_our_word(name)) &&
	       !(rules && rules->any && rewrite_takes(exchange, rules, name));
}

// The announcement of trailers names only those that will pass. In one piece of memory: a head has
// room for tens of thousands of names.
static struct str announced_trailers(struct exchange *exchange, struct str list)
{
	struct arena *arena = &exchange->arena;
	struct str left = arena_lower(arena, list), name;
	char *kept = arena_alloc(arena, 2 * list.len), *at = kept;
	while (str_next_element(&left, &name)) {
		if (!passes_as_trailer(exchange, true, name))
			continue;
		if (at > kept)
			at = mempcpy(at, ", ", 2);
		at = mempcpy(at, name.at, name.len);
	}
	return str_of(kept, (size_t)(at - kept));
}

static void pass_field(struct exchange *exchange, const struct field *field, struct fields *out)
{
	if (!passes_upstream(field->name))
		return;
	struct str value = field->value;
	if (str_eq(field->name, STR("trailer")))
		value = announced_trailers(exchange, value);
	if (value.len || !field->value.len)
		fields_add(out, &exchange->arena, field->name, value);
}

void forward_deadline(struct exchange *exchange, struct head *out)
{
	if (!exchange->grpc || !exchange->time.deadline_ns)
		return;
	int64_t left_ns = exchange->time.deadline_ns - clock_monotonic_ns();
	fields_remove(&out->fields, STR("grpc-timeout"));
	fields_add(&out->fields, &exchange->arena, STR("grpc-timeout"),
	        grpc_timeout_format(left_ns > 0 ? left_ns : 1, &exchange->arena));
}

// A length of 0 whose end is yet to come (HTTP/2) may prove false: told as it is, the message would
// look whole at once.
static int64_t length_to_tell(const struct head *head, bool whole)
{
	return head->content_length == 0 && !whole ? -1 : head->content_length;
}

void forward_request(struct exchange *exchange, struct head *out)
{
	struct arena *arena = &exchange->arena;
	const struct head *request = &exchange->client->head;
	const struct config_route *route = exchange_route(exchange);
	head_request(out);
	out->method = request->method;
	out->scheme = backend_tls_scheme(exchange_backend(exchange));
	// HTTP/1.0 may name no host; an empty one is not for us to pass on.
	out->authority = request->authority.len ? request->authority
	                                        : exchange_backend(exchange)->name.text;
	out->target = exchange->path.query.len
	                      ? arena_join(arena,
	                                (struct str[]){exchange->path.path, exchange->path.query},
	                                2)
	                      : exchange->path.path;
	out->content_length = length_to_tell(request, exchange->request_whole);
	out->websocket = exchange->tunnel;
	out->fields.capacity = request->fields.count + 8;
	out->fields.items = arena_alloc(arena, out->fields.capacity * sizeof(*out->fields.items));
	for (size_t i = 0; i < request->fields.count; i++)
		pass_field(exchange, &request->fields.items[i], &out->fields);
	add_our_word(exchange, request, out);
	if (route->rewrites)
		rewrite_target(exchange, out);
	if (route->request_headers.any)
		rewrite_fields(exchange, &route->request_headers, false, &out->fields);
	if (!exchange->grpc)
		return;
	fields_add(&out->fields, arena, STR("te"), STR("trailers"));
	forward_deadline(exchange, out);
}

void forward_answer(struct exchange *exchange, const struct head *answer, struct head *out)
{
	head_answer(out, answer->status);
	out->content_length = length_to_tell(answer, exchange->backend->receive_done);
	// Go's client and Python's h2 wait for as many bytes, which a 304 never has.
	if (answer->status == 304 && exchange->downstream->codec->h2)
		out->content_length = -1;
	out->websocket = answer->websocket;
	out->fields.capacity = answer->fields.count + 3 + QUOTA_FIELDS_MAX;
	out->fields.items = arena_alloc(
	        &exchange->arena, out->fields.capacity * sizeof(*out->fields.items));
	bool told = exchange->decision.quota_count && answer->status >= 200;
	for (size_t i = 0; i < answer->fields.count; i++) {
		const struct field *field = &answer->fields.items[i];
		if (!field_is_hop_by_hop(field->name) &&
		        !(told && quota_field_is_ours(exchange, field->name)))
			fields_add(&out->fields, &exchange->arena, field->name, field->value);
	}
	if (told)
		quota_fields_add(exchange, &out->fields);
	if (answer->status >= 200)
		date_field_add(&exchange->downstream->worker->date, exchange_turn(exchange)->now_ns,
		        &out->fields, &exchange->arena);
	const struct config_field_rules *rules = &exchange_route(exchange)->response_headers;
	if (rules->any)
		rewrite_fields(exchange, rules, answer->status < 200 && answer->status != 101,
		        &out->fields);
}

void forward_trailers(
        struct exchange *exchange, const struct fields *trailers, bool request, struct fields *out)
{
	for (size_t i = 0; i < trailers->count; i++) {
		struct str name = trailers->items[i].name;
		if (!passes_as_trailer(exchange, request, name))
			continue;
		fields_add(out, &exchange->arena, arena_str(&exchange->arena, name),
		        arena_str(&exchange->arena, trailers->items[i].value));
	}
}
