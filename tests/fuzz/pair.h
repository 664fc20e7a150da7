// The data path in memory: our server codec in front, and for every request it lets through an
// HTTP/1.1 client codec behind, joined as exchange.c and exchange_events.c join them, with the real
// forward.c in between. What goes to the backend must be exactly the request that was judged, to a
// strict reader and to our own; what was not whole must not look whole. One backend connection a
// request. Single thread.
#ifndef TESTS_FUZZ_PAIR_H
#define TESTS_FUZZ_PAIR_H

#include "gateway/forward.h"
#include "policy/host.h"
#include "tests/fuzz/peer.h"
#include "tests/fuzz/reference.h"

#define OUR_WORD "By=spiffe://gw;Hash=00;Subject=\"CN=web\";URI=spiffe://cluster.local/web"

struct pump {
	struct codec *front;
	struct buffer out;  // to the client
	struct list lanes;
	struct str answers;  // what backends say, one flight a request
	size_t told;         // bytes of `out` that belong to answers already checked
	bool allows_websocket;
	struct downstream downstream;
	struct worker worker;
};

struct lane {
	struct list node;
	struct pump *pump;
	struct exchange exchange;
	struct codec *back;
	struct buffer out;              // to the backend
	struct buffer request, answer;  // bodies, as the codecs told them
	struct str flight;
	bool refused, broken, fed, whole_answer, answer_lost;
	bool to_head;
	int64_t content_length;
	struct head judged;  // copies: the client's stream may be gone when it is looked at
};

uint64_t worker_random(struct worker *worker)
{
	(void)worker;
	return 4;
}

// The one route everything takes.
const struct config_route *exchange_route(const struct exchange *exchange)
{
	static const struct config_route route;
	(void)exchange;
	return &route;
}

const struct config_listener *downstream_config(const struct downstream *downstream)
{
	static const struct config_listener listener;
	(void)downstream;
	return &listener;
}

const struct config_backend *exchange_backend(const struct exchange *exchange)
{
	static const struct config_backend backend = {.name = {.text = {"backend", 7}}};
	(void)exchange;
	return &backend;
}

static inline struct str next_flight(struct str *bytes)
{
	static const char mark[] = "\n~~\n";
	const char *end = bytes->len ? memmem(bytes->at, bytes->len, mark, strlen(mark)) : NULL;
	struct str flight = str_of(bytes->at, end ? (size_t)(end - bytes->at) : bytes->len);
	*bytes = str_skip(*bytes, end ? flight.len + strlen(mark) : flight.len);
	return flight;
}

static inline struct lane *lane_of(struct stream *stream)
{
	return CONTAINER_OF((struct exchange *)stream->user, struct lane, exchange);
}

static inline void up_taken(struct body *body, size_t count)
{
	struct exchange *exchange = CONTAINER_OF(body, struct exchange, up);
	if (exchange->client)
		stream_credit(exchange->client, count);
}

static inline void down_taken(struct body *body, size_t count)
{
	struct exchange *exchange = CONTAINER_OF(body, struct exchange, down);
	if (exchange->backend)
		stream_credit(exchange->backend, count);
}

static inline void lane_drop_backend(struct lane *lane)
{
	struct stream *backend = lane->exchange.backend;
	lane->exchange.backend = NULL;
	if (backend)
		stream_release(backend);
}

static inline void lane_drop_client(struct lane *lane)
{
	struct stream *client = lane->exchange.client;
	lane->exchange.client = NULL;
	if (client)
		stream_release(client);
}

static inline void lane_answer(struct lane *lane, int status, struct str body)
{
	struct exchange *exchange = &lane->exchange;
	struct head head;
	head_answer(&head, status);
	head.content_length = (int64_t)body.len;
	if (!lane->to_head)
		body_add(&exchange->down, body);
	buffer_clear(&lane->answer);
	buffer_append_str(&lane->answer, buffer_str(&exchange->down.bytes));
	exchange->status = status;
	lane->whole_answer = exchange->down.ended = true;
	exchange->client->source = &exchange->down;
	stream_send_head(exchange->client, &head, body_done(&exchange->down));
}

static inline void lane_refuse(struct lane *lane, int status)
{
	lane->refused = true;
	lane_drop_backend(lane);
	if (!lane->exchange.client->head_sent)
		lane_answer(lane, status, STR("refused"));
	else
		stream_reset(lane->exchange.client, ABORT_CLOSED);
}

static inline struct lane *lane_new(struct pump *pump, struct stream *client)
{
	struct lane *lane = must_alloc(sizeof(*lane));
	lane->pump = pump;
	lane->exchange.client = client;
	lane->exchange.downstream = &pump->downstream;
	lane->exchange.downstream->worker = &pump->worker;
	lane->exchange.grpc = head_is_grpc(&client->head);
	lane->exchange.up.taken = up_taken;
	lane->exchange.down.taken = down_taken;
	lane->to_head = str_eq(client->head.method, STR("HEAD"));
	lane->content_length = client->head.content_length;
	client->user = &lane->exchange;
	list_push(&pump->lanes, &lane->node);
	return lane;
}

static const struct codec_events back_events;

static inline void front_head(struct stream *stream, bool end)
{
	struct pump *pump = stream->codec->owner;
	CHECK(!stream->user);
	check_head(&stream->head, true);
	struct lane *lane = lane_new(pump, stream);
	struct exchange *exchange = &lane->exchange;
	const char *why;
	exchange->request_whole = exchange->up.ended = end;
	forward_identify(exchange, &stream->head);
	bool plain = path_normalise(stream->head.target, &exchange->arena, &exchange->path, &why) &&
	             (!stream->head.authority.len || host_normalise(stream->head.authority,
	                                                     &exchange->arena, &exchange->host));
	if (!plain || (stream->head.websocket && !pump->allows_websocket)) {
		lane_refuse(lane, plain ? 403 : 400);
		return;
	}
	exchange->tunnel = stream->head.websocket;
	lane->back = h1_new(false, &back_events, lane, &lane->out, &limits_table[0]);
	exchange->backend = lane->back->ops->open(lane->back);
	exchange->backend->user = exchange;
	exchange->backend->source = &exchange->up;
	forward_request(exchange, &exchange->request);
	lane->judged = exchange->request;
	lane->judged.method = arena_str(&exchange->arena, exchange->request.method);
	lane->judged.target = arena_str(&exchange->arena, exchange->request.target);
	lane->judged.authority = arena_str(&exchange->arena, exchange->request.authority);
	stream_send_head(exchange->backend, &exchange->request, end && !exchange->tunnel);
}

static inline void front_data(struct stream *stream, struct str bytes)
{
	struct lane *lane = lane_of(stream);
	if (!lane->exchange.backend) {
		stream_credit(stream, bytes.len);
		return;
	}
	buffer_append_str(&lane->request, bytes);
	body_add(&lane->exchange.up, bytes);
	stream_wake(lane->exchange.backend);
}

static inline void front_end(struct stream *stream, const struct fields *trailers)
{
	struct lane *lane = lane_of(stream);
	check_fields(trailers, true);
	lane->exchange.request_whole = lane->exchange.up.ended = true;
	forward_trailers(&lane->exchange, trailers, true, &lane->exchange.up.trailers);
	if (lane->exchange.backend)
		stream_wake(lane->exchange.backend);
}

static inline void front_aborted(struct stream *stream, enum stream_abort why)
{
	struct lane *lane = lane_of(stream);
	(void)why;
	lane->broken = true;
	lane_drop_backend(lane);
	lane_drop_client(lane);
}

static inline void front_faulty(
        struct stream *stream, enum reason reason, int status, const char *why)
{
	CHECK(reason != REASON_NONE && why);
	if (!stream->user && status == 0)
		return;
	struct lane *lane = stream->user ? lane_of(stream) : lane_new(stream->codec->owner, stream);
	lane->broken = true;
	if (status)
		lane_refuse(lane, status);
	else
		front_aborted(stream, ABORT_BROKEN);
}

// The same answer to our own client as the backend gave.
static inline void check_answer(struct lane *lane, struct str bytes)
{
	struct side side;
	struct head head;
	side_open(&side, CLIENT | H1, HABIT_WATCH, &limits_table[0]);
	side.keeps_streams = true;
	struct user *user = user_new(&side, side.codec->ops->open(side.codec));
	head_request(&head);
	head.method = lane->to_head ? STR("HEAD") : STR("GET");
	head.authority = STR("a");
	head.target = STR("/");
	user->to_head = lane->to_head;
	stream_send_head(user->stream, &head, true);
	side_settle(&side);
	side_feed(&side, bytes);
	side_end(&side);
	CHECK(user->whole && !user->aborted && user->stream->head.status == lane->exchange.status);
	bool bodiless = lane->to_head || lane->exchange.status == 204 ||
	                lane->exchange.status == 304;
	CHECK(user->received == (bodiless ? 0 : buffer_len(&lane->answer)));
	side_close(&side);
}

static inline void front_sent(struct stream *stream)
{
	struct lane *lane = lane_of(stream);
	struct pump *pump = lane->pump;
	if (!stream->head_sent)
		return;
	if (!pump->front->h2 && !lane->exchange.tunnel) {
		CHECK(lane->whole_answer);
		check_answer(lane, str_skip(buffer_str(&pump->out), pump->told));
	}
	pump->told = buffer_len(&pump->out);
	lane_drop_backend(lane);
	lane_drop_client(lane);
}

static inline void back_head(struct stream *stream, bool end)
{
	struct lane *lane = lane_of(stream);
	struct exchange *exchange = &lane->exchange;
	struct head head;
	check_head(&stream->head, false);
	if (stream->head.status == 100)
		return;
	forward_answer(exchange, &stream->head, &head);
	exchange->tunnel = stream->head.status == 101;
	if (stream->head.status < 200 && !exchange->tunnel) {
		stream_send_head(exchange->client, &head, false);
		return;
	}
	exchange->status = stream->head.status;
	lane->whole_answer = exchange->down.ended = end;
	exchange->client->source = &exchange->down;
	stream_send_head(exchange->client, &head, end);
}

static inline void back_data(struct stream *stream, struct str bytes)
{
	struct lane *lane = lane_of(stream);
	buffer_append_str(&lane->answer, bytes);
	body_add(&lane->exchange.down, bytes);
	stream_wake(lane->exchange.client);
}

static inline void back_end(struct stream *stream, const struct fields *trailers)
{
	struct lane *lane = lane_of(stream);
	lane->whole_answer = lane->exchange.down.ended = true;
	forward_trailers(&lane->exchange, trailers, false, &lane->exchange.down.trailers);
	stream_wake(lane->exchange.client);
}

static inline void back_aborted(struct stream *stream, enum stream_abort why)
{
	struct lane *lane = lane_of(stream);
	(void)why;
	lane_drop_backend(lane);
	if (lane->whole_answer)
		return;
	lane->answer_lost = true;
	if (!lane->exchange.client->head_sent)
		lane_answer(lane, 502, STR("failed"));
	else
		stream_reset(lane->exchange.client, ABORT_CLOSED);
}

static inline void back_sent(struct stream *stream)
{
	(void)stream;
}

static const struct codec_events back_events = {
        .head = back_head,
        .data = back_data,
        .end = back_end,
        .aborted = back_aborted,
        .sent = back_sent,
        .violated = saw_violated,
        .dirty = saw_dirty,
};

static inline void front_violated(struct codec *codec, enum reason reason, const char *why)
{
	CHECK(codec && reason != REASON_NONE && why);
}

static const struct codec_events front_events = {
        .head = front_head,
        .data = front_data,
        .end = front_end,
        .aborted = front_aborted,
        .faulty = front_faulty,
        .sent = front_sent,
        .violated = front_violated,
        .dirty = saw_dirty,
};

#endif
