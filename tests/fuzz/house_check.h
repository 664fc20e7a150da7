// What must be true of a house at any time and when all is over. Single thread.
#ifndef TESTS_FUZZ_HOUSE_CHECK_H
#define TESTS_FUZZ_HOUSE_CHECK_H

#include <jansson.h>

#include "gateway/exchange.h"
#include "tests/fuzz/house.h"
#include "tests/fuzz/reference.h"

#define SHOP_ID "spiffe://cluster.local/ns/shop/sa/cart"

static const struct caller callers[] = {
        {.uri = {WEB_ID, sizeof(WEB_ID) - 1}},
        {.uri = {SHOP_ID, sizeof(SHOP_ID) - 1}},
        {.uri = {"spiffe://elsewhere/x", 20}},
        {.uri = {"spiffe://cluster.local/%2e", 26}},
        {.uri = {WEB_ID, sizeof(WEB_ID) - 1}, .reason = REASON_certificate_expired},
        {.reason = REASON_certificate_missing},
};

static inline bool is_refused(const struct caller *caller)
{
	return caller->reason != REASON_NONE ||
	       !str_starts(caller->uri, STR("spiffe://cluster.local/ns/"));
}

// "By=…;Hash=…;Subject=…;URI=spiffe://cluster.local/ns/…": someone who was let in, and there.
static inline void check_passage(struct str certificate, struct str path)
{
	bool web = str_ends(certificate, STR(";URI=" WEB_ID));
	bool shop = str_ends(certificate, STR(";URI=" SHOP_ID));
	CHECK(web || shop);
	CHECK(shop || !str_starts(path, STR("/shop/")));
	CHECK(str_starts(path, STR("/shop/")) || str_starts(path, STR("/web/")) ||
	        str_starts(path, STR("/limited/")) || str_starts(path, STR("/ws/")) ||
	        str_starts(path, STR("/rpc/")) || str_starts(path, STR("/a.B/")) ||
	        str_starts(path, STR("/slow/")) || str_starts(path, STR("/tight/")) ||
	        str_starts(path, STR("/c.D/")) || str_starts(path, STR("/narrow/")) ||
	        str_starts(path, STR("/strait/")));
}

// Ceilings hold, of a configuration that was replaced too (one lets two in), and who waits is
// counted.
static inline void check_queues(const struct house *house)
{
	const struct list *pools = &house->worker.pools;
	size_t waiting = 0;
	for (const struct list *node = pools->next; node != pools; node = node->next) {
		const struct pool *pool = LIST_ITEM(node, struct pool, node);
		const struct endpoint *endpoint = pool->endpoints[0].endpoint;
		CHECK(endpoint->closing <= endpoint->connections);
		CHECK(!pool->ceiling || endpoint->connections <= 2);
		CHECK(pool->pending_count <= pool->pending_most + endpoint->connections);
		size_t count = 0;
		for (const struct list *call = pool->pending.next; call != &pool->pending;
		        call = call->next)
			count++;
		CHECK(count == pool->pending_count);
		waiting += count;
	}
	CHECK(waiting == house->worker.pending_count);
}

// All that came over an HTTP/1.1 connection, to a strict reader; how many asked for /limited/.
static inline size_t check_requests(const struct backend *backend)
{
	struct str left = buffer_str(&backend->got), value;
	size_t limited = 0;
	while (left.len) {
		struct reference reference;
		enum verdict verdict = reference_request(&reference, left);
		buffer_fini(&reference.body);
		CHECK(verdict != BAD);
		if (verdict == PARTIAL)
			break;
		CHECK(reference_find(&reference, "x-forwarded-client-cert", &value) == 1);
		check_passage(value, reference.target);
		limited += str_starts(reference.target, STR("/limited/"));
		if (reference_find(&reference, "upgrade", &value))
			break;  // a tunnel from here on
		left = reference.rest;
	}
	return limited;
}

static inline void check_helper(const struct backend *backend)
{
	const struct side *side = backend->helper;
	if (backend->kind != RPC)
		return;  // our HTTP/1.1 server knows fewer methods than a client may use
	for (const struct list *node = side->users.next; node != &side->users; node = node->next)
		CHECK(!LIST_ITEM(node, struct user, node)->faulty);
}

static inline void check_backends(const struct house *house, size_t limited_at_most)
{
	size_t limited = 0;
	bool anyone = false;
	for (size_t i = 0; i < house->client_count; i++)
		anyone |= !is_refused(&house->clients[i].caller);
	CHECK(anyone || house->backend_count == 0);
	for (size_t i = 0; i < house->backend_count; i++) {
		const struct backend *backend = &house->backends[i];
		if (backend->kind == WEB)
			limited += check_requests(backend);
		if (backend->helper)
			check_helper(backend);
	}
	CHECK(limited <= limited_at_most);
}

// The frames a client got: whole ones, and every stream that was answered came to an end unless the
// connection was cut, which a drain does that has no time left: of the gateway, or of whoever is no
// longer let in.
static inline void check_frames(const struct client *client, bool drained)
{
	struct str left = buffer_str(&client->got);
	unsigned char open[256] = {0};
	// A connection does not outlive its certificate, whatever is under way.
	bool cut = drained || client->hung_up ||
	           client->caller.expires_s <= NOW_S + street.now_ns / NS_PER_S;
	while (left.len >= 9) {
		const unsigned char *header = (const unsigned char *)left.at;
		size_t len = (size_t)header[0] << 16 | (size_t)header[1] << 8 | header[2];
		uint32_t stream = (uint32_t)header[5] << 24 | (uint32_t)header[6] << 16 |
		                  (uint32_t)header[7] << 8 | header[8];
		CHECK(len <= 16384 && header[3] != NGHTTP2_PUSH_PROMISE);
		if (left.len < 9 + len)
			break;
		bool data = header[3] == NGHTTP2_HEADERS || header[3] == NGHTTP2_DATA;
		CHECK(!data || stream % 2);
		if (data && stream < sizeof(open))
			open[stream] = !(header[4] & NGHTTP2_FLAG_END_STREAM);
		if (header[3] == NGHTTP2_RST_STREAM && stream < sizeof(open))
			open[stream] = 0;
		cut |= header[3] == NGHTTP2_GOAWAY && memcmp(header + 13, "\0\0\0\0", 4) != 0;
		left = str_skip(left, 9 + len);
	}
	CHECK(cut || left.len == 0);
	for (size_t i = 0; !cut && i < sizeof(open); i++)
		CHECK(!open[i]);
}

static inline bool lost_trust(const struct house *house, const struct client *client)
{
	return house->stricter && !str_eq(client->caller.uri, STR(SHOP_ID));
}

static inline void check_client(const struct client *client, bool drained)
{
	struct str got = buffer_str(&client->got);
	CHECK(client->hung_up || client->ended);
	if (client->caller.h2)
		check_frames(client, drained);
	else if (got.len)
		CHECK(str_starts(got, STR("HTTP/1.1 ")));
}

static inline size_t count_of(json_t *counts, const char *id, int more)
{
	json_int_t count = json_integer_value(json_object_get(counts, id)) + more;
	json_object_set_new(counts, id, json_integer(count));
	return (size_t)count;
}

static inline json_t *read_line(struct str line)
{
	CHECK(!has_control_bytes(line));
	json_t *object = json_loadb(
	        line.at, line.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	CHECK(json_is_object(object));
	return object;
}

// An access line of a request that was refused stands against one audit record, by its id.
static inline void count_access(struct str lines, json_t *counts)
{
	while (lines.len) {
		const char *end = str_find_byte(lines, '\n');
		struct str line = str_of(lines.at, (size_t)(end - lines.at));
		json_t *object = read_line(line);
		const char *id = json_string_value(json_object_get(object, "request_id"));
		CHECK(id && json_is_integer(json_object_get(object, "status")));
		if (json_object_get(object, "reason"))
			count_of(counts, id, -1);
		json_decref(object);
		lines = str_skip(lines, line.len + 1);
	}
}

// What a trial would have done to a call, which passed, is no refusal.
static inline bool is_shadow(json_t *object)
{
	bool shadow = strcmp(json_string_value(json_object_get(object, "event")), "shadowed") == 0;
	CHECK(shadow == json_is_true(json_object_get(object, "authorized")));
	return shadow;
}

// Every refusal once. Returns how many there were.
static inline size_t check_records(void)
{
	size_t records = 0, refusals = 0;
	struct audit_taken taken;
	json_t *counts = json_object(), *count;
	const char *id;
	audit_lane_take(&lane, true);
	for (; audit_lane_peek(&lane, &taken); audit_lane_pop(&lane)) {
		struct buffer line = {0};
		CHECK(!taken.fold);
		buffer_printf(&line, "{%.*s}", STR_FMT(taken.body));
		json_t *object = read_line(buffer_str(&line));
		CHECK(json_is_string(json_object_get(object, "reason")));
		id = json_string_value(json_object_get(json_object_get(object, "request"), "id"));
		bool refusal = !is_shadow(object);
		if (id && refusal)
			count_of(counts, id, 1);
		json_decref(object);
		buffer_fini(&line);
		records++;
		refusals += refusal;
	}
	CHECK(records == lane.submitted);
	count_access(buffer_str(&lane.taken_access), counts);
	buffer_clear(&lane.taken_access);
	json_object_foreach(counts, id, count) CHECK(json_integer_value(count) == 0);
	json_decref(counts);
	return refusals;
}

// Whoever was refused has at least the one record, unless all ended before it was looked at.
static inline void check_audit(const struct house *house, bool drained)
{
	size_t refused = 0, refusals = check_records();
	for (size_t i = 0; i < house->client_count; i++)
		refused += is_refused(&house->clients[i].caller);
	CHECK(drained || refusals >= refused);
}

static inline size_t check_ages(const struct house *house, int64_t since_ns)
{
	// stream_idle, the answer that says so, and stream_idle for that; who is paused gets on
	// with each step of ours.
	enum { LONGEST_S = 80, PAUSED_S = 1000 };
	const struct worker *worker = &house->worker;
	size_t count = 0;
	for (const struct list *d = worker->downstreams.next; d != &worker->downstreams;
	        d = d->next) {
		const struct downstream *downstream = LIST_ITEM(d, struct downstream, node);
		const struct list *e = downstream->exchanges.next;
		for (; e != &downstream->exchanges; e = e->next, count++) {
			const struct exchange *exchange = LIST_ITEM(e, struct exchange, node);
			int64_t start_ns = exchange->time.start_ns;
			int64_t from_ns = start_ns > since_ns ? start_ns : since_ns;
			int64_t most_s = exchange->flow ? PAUSED_S : LONGEST_S;
			CHECK(house->now_ns - from_ns <= most_s * NS_PER_S);
		}
	}
	return count;
}

// Both sides silent: no request is held for long (one that was pipelined behind it comes next), and
// then no connection.
static inline void check_nothing_stays(struct house *house)
{
	struct worker *worker = &house->worker;
	house_turns(house);
	house_wait(house, (int64_t)100 * NS_PER_MS, 1);  // who came before a reload is looked at
	int64_t since_ns = house->now_ns;
	while (check_ages(house, since_ns))
		house_wait(house, (int64_t)8 * NS_PER_S, 1);
	house_wait(house, (int64_t)61 * NS_PER_S, 1);  // idle
	house_wait(house, (int64_t)44 * NS_PER_S, 4);  // a goodbye, a shutdown, a linger
	CHECK(worker->downstream_count == 0);
	house_wait(house, (int64_t)124 * NS_PER_S, 2);
	CHECK(worker->upstream_count == 0);
}

#endif
