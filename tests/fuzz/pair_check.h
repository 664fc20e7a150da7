// Runs the pump of pair.h and judges what it sent to the backends. Single thread.
#ifndef TESTS_FUZZ_PAIR_CHECK_H
#define TESTS_FUZZ_PAIR_CHECK_H

#include "tests/fuzz/pair.h"

static inline void pump_open(struct pump *pump, int kind, const struct codec_limits *limits)
{
	*pump = (struct pump){.downstream = {.source_ip = "192.0.2.1"}};
	pump->downstream.client_certificate_header = STR(OUR_WORD);
	list_init(&pump->lanes);
	pump->front = kind & H2 ? h2_new(true, &front_events, pump, &pump->out, limits)
	                        : h1_new(true, &front_events, pump, &pump->out, limits);
}

// Pulls everywhere until nothing moves; a backend speaks once its request is there, or at once.
static inline void pump_turn(struct pump *pump, bool eager)
{
	for (bool moved = true; moved;) {
		size_t before = buffer_len(&pump->out);
		codec_pull(pump->front, before + 64 * 1024);
		moved = buffer_len(&pump->out) != before;
		for (struct list *node = pump->lanes.next; node != &pump->lanes;
		        node = node->next) {
			struct lane *lane = LIST_ITEM(node, struct lane, node);
			if (!lane->back)
				continue;
			before = buffer_len(&lane->out);
			codec_pull(lane->back, before + 64 * 1024);
			moved |= buffer_len(&lane->out) != before;
			if (lane->fed || !lane->exchange.backend ||
			        !(eager || lane->exchange.request_whole))
				continue;
			lane->fed = moved = true;
			struct str answer = own_copy(next_flight(&pump->answers));
			codec_feed(lane->back, answer);
			own_free(answer);
			codec_pull(lane->back, buffer_len(&lane->out) + 64 * 1024);
			if (lane->exchange.backend)
				lane->back->ops->feed_end(lane->back);
		}
	}
}

static inline void pump_feed(struct pump *pump, struct str bytes, bool eager)
{
	struct str copy = own_copy(bytes);
	codec_feed(pump->front, copy);
	own_free(copy);
	pump_turn(pump, eager);
}

// As a CGI-like backend would fold it into the genuine one.
static inline bool misspells_our_word(struct str name)
{
	char folded[32];
	bool any = false;
	if (name.len >= sizeof(folded))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		folded[i] = name.at[i] == '_' ? '-' : name.at[i];
		any |= name.at[i] == '_';
	}
	struct str plain = str_of(folded, name.len);
	return any && (str_eq(plain, STR("x-forwarded-client-cert")) ||
	                      str_eq(plain, STR("x-forwarded-for")) ||
	                      str_eq(plain, STR("x-forwarded-host")) ||
	                      str_eq(plain, STR("x-forwarded-proto")));
}

static inline void check_our_word(const struct lane *lane, const struct reference *reference)
{
	struct str value = {0};
	CHECK(reference_find(reference, "x-forwarded-client-cert", &value) == 1);
	CHECK(str_eq(value, STR(OUR_WORD)));
	CHECK(reference_find(reference, "x-forwarded-proto", &value) == 1);
	CHECK(str_eq(value, STR("https")));
	CHECK(reference_find(reference, "x-forwarded-for", &value) == 1);
	CHECK(str_ends(value, STR("192.0.2.1")));
	CHECK(reference_find(reference, "x-request-id", &value) == 1);
	CHECK(reference_find(reference, "traceparent", &value) == 1);
	CHECK(reference_find(reference, "host", &value) == 1);
	CHECK(str_eq(value, lane->judged.authority));
	for (size_t i = 0; i < reference->count; i++) {
		struct str name = reference->fields[i].name;
		CHECK(!misspells_our_word(name));
		bool ours = i < reference->trailers_from &&
		            (str_eq(name, STR("te")) || str_eq(name, STR("transfer-encoding")) ||
		                    lane->judged.websocket);
		CHECK(ours || !field_is_hop_by_hop(name));
		CHECK(i < reference->trailers_from || !field_forbidden_in_trailers(name));
	}
}

// Over HTTP/2 any token is a method; llhttp, which our server reads with, knows those of a list.
static inline bool own_server_takes(const struct lane *lane)
{
	static const char *const methods[] = {
	        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"};
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (str_eq(lane->judged.method, str_from(methods[i])))
			return true;
	return false;
}

// Our own server reads what our client wrote: one request, the same one, and nothing behind it.
static inline void check_own_reading(const struct lane *lane, const struct reference *reference)
{
	static const struct codec_limits wide = {.header_bytes = 256 * 1024, .header_fields = 300};
	struct side side;
	side_open(&side, SERVER | H1, HABIT_WATCH, &wide);
	side.keeps_streams = true;
	side_feed(&side, buffer_str(&lane->out));
	CHECK(side.user_count == 1 && !side.codec->finished);
	const struct user *user = LIST_ITEM(side.users.next, struct user, node);
	const struct head *head = &user->stream->head;
	if (!user->whole)
		fprintf(stderr, "sent:\n%.*s\nread:\n%.*s\n", STR_FMT(buffer_str(&lane->out)),
		        STR_FMT(buffer_str(&side.log)));
	CHECK(user->whole && !user->faulty && str_eq(head->method, reference->method));
	CHECK(str_eq(head->target, reference->target));
	CHECK(str_eq(head->authority, lane->judged.authority));
	CHECK(user->received == buffer_len(&reference->body));
	side_close(&side);
}

static inline void check_lane(const struct lane *lane)
{
	struct reference reference = {0};
	struct str out = buffer_str(&lane->out);
	enum verdict verdict = reference_request(&reference, out);
	const struct exchange *exchange = &lane->exchange;
	CHECK(!lane->refused || lane->back || !out.len);
	CHECK(verdict != BAD);
	bool promised = lane->content_length >= 0 &&
	                buffer_len(&lane->request) == (uint64_t)lane->content_length;
	if (verdict == WHOLE) {
		CHECK(exchange->request_whole || promised || lane->judged.websocket);
		CHECK(lane->judged.websocket || reference.rest.len == 0);
		CHECK(str_eq(reference.method, lane->judged.method));
		CHECK(str_eq(reference.target, lane->judged.target));
		check_our_word(lane, &reference);
		if (!lane->judged.websocket) {
			CHECK(str_eq(buffer_str(&reference.body), buffer_str(&lane->request)));
			if (own_server_takes(lane))
				check_own_reading(lane, &reference);
		}
	} else if (lane->back && exchange->request_whole && !lane->broken && !lane->fed) {
		CHECK(!"a whole request reaches its backend whole");
	}
	buffer_fini(&reference.body);
}

static inline void lane_free(struct lane *lane)
{
	lane_drop_backend(lane);
	lane_drop_client(lane);
	if (lane->back)
		lane->back->ops->free(lane->back);
	buffer_fini(&lane->out);
	buffer_fini(&lane->request);
	buffer_fini(&lane->answer);
	buffer_fini(&lane->exchange.up.bytes);
	buffer_fini(&lane->exchange.down.bytes);
	arena_fini(&lane->exchange.arena);
	free(lane);
}

static inline void pump_close(struct pump *pump)
{
	pump->front->ops->fail(pump->front, ABORT_CANCELLED);
	for (struct list *node = pump->lanes.next; node != &pump->lanes; node = node->next)
		check_lane(LIST_ITEM(node, struct lane, node));
	for (struct list *node; (node = list_pop(&pump->lanes));)
		lane_free(LIST_ITEM(node, struct lane, node));
	pump->front->ops->free(pump->front);
	buffer_fini(&pump->out);
}

#endif
