#include "gateway/upstream.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/backend_tls.h"
#include "gateway/exchange.h"
#include "gateway/http/h1.h"
#include "gateway/http/h2.h"
#include "gateway/mirror.h"
#include "gateway/upstream_proxy.h"

static struct upstream *upstream_of(struct link *link)
{
	return CONTAINER_OF(link, struct upstream, link);
}

static void count_connection(const struct upstream *upstream, int change)
{
	const struct pool *pool = upstream->pool;
	const struct snapshot_backend *labels = pool_labels(pool);
	metrics_upstream_connections(pool->worker->metrics, labels->label,
	        labels->endpoint_labels[upstream->endpoint], change);
}

static bool idle(const struct upstream *upstream)
{
	return upstream->codec->stream_count == 0;
}

// Over HTTP/2 a backend reads whatever its streams do: one that takes nothing is dead to all of
// them.
static bool stuck(const struct upstream *upstream)
{
	return upstream->codec->h2 && upstream->link.writing;
}

static struct endpoint *endpoint_of(const struct upstream *upstream)
{
	return upstream->pool->endpoints[upstream->endpoint].endpoint;
}

void upstream_close(struct upstream *upstream, enum stream_abort why)
{
	if (upstream->closing)
		return;
	upstream->closing = true;
	endpoint_of(upstream)->closing++;
	list_remove(&upstream->node);
	list_remove(&upstream->roomy);
	list_remove(&upstream->own);
	turn_stop_timer(&upstream->pool->worker->turn, &upstream->timer);
	upstream->codec->ops->fail(upstream->codec, why);
	link_part(&upstream->link);
}

// Who looks for a connection passes by none that is full, however many there are.
static void sort_in(struct upstream *upstream)
{
	bool room = upstream->codec->ops->room(upstream->codec) > 0;
	if (room)
		worker_has_room(upstream->pool->worker);
	if (!room)
		list_remove(&upstream->roomy);
	else if (!list_linked(&upstream->roomy))
		list_push(&upstream->pool->endpoints[upstream->endpoint].roomy, &upstream->roomy);
}

// After anything that may have freed or finished the connection: keep it, rest it, or close it.
static void settle(struct upstream *upstream)
{
	struct codec *codec = upstream->codec;
	struct turn *turn = &upstream->pool->worker->turn;
	if (upstream->closing)
		return;
	bool expired = turn->now_ns >= upstream->ends_ns;
	if (upstream->link.mute || expired || (upstream->pool->retired && idle(upstream)))
		codec->shutting_down = true;
	if (codec->finished || (codec->shutting_down && idle(upstream))) {
		upstream_close(upstream, ABORT_CLOSED);
		return;
	}
	sort_in(upstream);
	if (!upstream->link.open)
		return;
	if (stuck(upstream)) {
		if (upstream->stuck_ns)
			return;
		upstream->stuck_ns = turn->now_ns;
		upstream->bytes_out = upstream->link.bytes_out;
		turn_set_timer(turn, &upstream->timer, (int64_t)UPSTREAM_STUCK_MS * NS_PER_MS);
		return;
	}
	upstream->stuck_ns = 0;
	if (!idle(upstream))
		turn_stop_timer(turn, &upstream->timer);
	else if (!timer_armed(&upstream->timer))
		turn_set_timer(turn, &upstream->timer, (int64_t)UPSTREAM_IDLE_MS * NS_PER_MS);
}

// New calls keep away from a connection whose backend has taken nothing for a while.
bool upstream_welcomes(const struct upstream *upstream)
{
	int64_t now_ns = upstream->pool->worker->turn.now_ns;
	return upstream->codec->ops->room(upstream->codec) > 0 && now_ns < upstream->ends_ns &&
	       (!upstream->stuck_ns ||
	               now_ns - upstream->stuck_ns < (int64_t)UPSTREAM_WARY_MS * NS_PER_MS);
}

// No new calls go to a server whose certificate has ended.
static void note_server(struct upstream *upstream)
{
	const struct pool *pool = upstream->pool;
	int64_t now_ns = pool->worker->turn.now_ns;
	int64_t left_ns = backend_tls_left_ns(&upstream->link);
	upstream->ends_ns = left_ns < INT64_MAX - now_ns ? now_ns + left_ns : INT64_MAX;
	backend_tls_opened(pool->worker, pool_labels(pool), upstream->endpoint);
}

static void on_opened(struct link *link)
{
	struct upstream *upstream = upstream_of(link);
	upstream->connected_ns = clock_monotonic_ns();
	if (link->tls)
		note_server(upstream);
	turn_stop_timer(&upstream->pool->worker->turn, &upstream->timer);
	link_mark_dirty(link);
}

// How many streams the backend takes: the next connection begins with that.
static void learn(struct upstream *upstream)
{
	if (upstream->codec->peer_streams)
		upstream->pool->peer_streams = upstream->codec->peer_streams;
}

static void on_data(struct link *link, struct str bytes)
{
	struct upstream *upstream = upstream_of(link);
	upstream->heard_ns = link->turn->now_ns;
	codec_feed(upstream->codec, bytes);
	learn(upstream);
	settle(upstream);
	if (!upstream->closing)
		link_set_reading(link, upstream->codec->ops->wants_bytes(upstream->codec));
	link_mark_dirty(link);
}

static void tell_tls_failed(const struct upstream *upstream)
{
	const struct pool *pool = upstream->pool;
	backend_tls_failed(pool->worker, pool_labels(pool), upstream->endpoint, &upstream->link,
	        upstream->heard_ns > 0);
}

static void lose(struct upstream *upstream)
{
	bool heard = upstream->heard_ns > 0, failed = backend_tls_is_failure(&upstream->link);
	if (failed)
		tell_tls_failed(upstream);
	upstream_close(upstream, failed && !heard ? ABORT_TLS_FAILED : ABORT_CLOSED);
}

static void on_ended(struct link *link, enum link_end why)
{
	struct upstream *upstream = upstream_of(link);
	switch (why) {
	case LINK_CONNECT_FAILED:
		upstream_close(upstream, ABORT_UNPROCESSED);
		break;
	case LINK_PEER_ENDED:
		// Without close_notify anybody may have cut the connection.
		if (!link->tls || tls_status(link->tls) == TLS_ENDED)
			upstream->codec->ops->feed_end(upstream->codec);
		lose(upstream);
		break;
	case LINK_BROKEN:  // not the end of anything, least of all of a body that only the end
	                   // delimits
	case LINK_TLS_FAILED:
		lose(upstream);
		break;
	}
}

static void on_pull(struct link *link)
{
	struct upstream *upstream = upstream_of(link);
	codec_pull(upstream->codec, LINK_MARK);
	if (!upstream->closing)
		link_set_reading(link, upstream->codec->ops->wants_bytes(upstream->codec));
}

static void on_settled(struct link *link)
{
	struct upstream *upstream = upstream_of(link);
	settle(upstream);
	// While a write waits nothing is pulled, yet what was read may have been taken meanwhile.
	if (!upstream->closing && link->open)
		link_set_reading(link, upstream->codec->ops->wants_bytes(upstream->codec));
}

static void bury(struct grave *grave)
{
	struct upstream *upstream = CONTAINER_OF(grave, struct upstream, grave);
	struct pool *pool = upstream->pool;
	struct worker *worker = pool->worker;
	upstream->codec->ops->free(upstream->codec);
	free(upstream);
	worker->upstream_count--;
	pool->upstream_count--;
	if (pool->retired)
		pool_free_if_empty(pool);
	worker_settle(worker);
}

static void on_closed(struct link *link)
{
	struct upstream *upstream = upstream_of(link);
	count_connection(upstream, -1);
	endpoint_of(upstream)->connections--;
	endpoint_of(upstream)->closing--;
	worker_has_room(upstream->pool->worker);
	upstream->grave.bury = bury;
	turn_mark_dead(&upstream->pool->worker->turn, &upstream->grave);
}

static const struct link_events link_events = {
        .opened = on_opened,
        .data = on_data,
        .ended = on_ended,
        .pull = on_pull,
        .settled = on_settled,
        .closed = on_closed,
};

static void on_timer(struct timer *timer)
{
	struct upstream *upstream = CONTAINER_OF(timer, struct upstream, timer);
	if (!upstream->link.open) {
		if (backend_tls_is_failure(&upstream->link))
			tell_tls_failed(upstream);
		upstream_close(upstream, ABORT_DEADLINE);
	} else if (idle(upstream) ||
	           (stuck(upstream) && upstream->bytes_out == upstream->link.bytes_out)) {
		upstream_close(upstream, ABORT_CLOSED);
	} else {
		upstream->stuck_ns = 0;
		settle(upstream);
	}
}

static void on_dirty(struct codec *codec)
{
	struct upstream *upstream = codec->owner;
	link_mark_dirty(&upstream->link);
}

static void on_aborted(struct stream *stream, enum stream_abort why)
{
	learn(stream->codec->owner);  // before the call is tried elsewhere
	exchange_backend_aborted(stream, why);
}

static void on_violated(struct codec *codec, enum reason reason, const char *why)
{
	const struct upstream *upstream = codec->owner;
	const struct snapshot_backend *labels = pool_labels(upstream->pool);
	(void)reason;
	log_event(LOG_WARN, "backend broke the protocol", "backend=%s endpoint=%s error=\"%s\"",
	        labels->label, labels->endpoint_labels[upstream->endpoint], why);
}

static const struct codec_events codec_events = {
        .head = exchange_backend_head,
        .data = exchange_backend_data,
        .end = exchange_backend_end,
        .aborted = on_aborted,
        .sent = exchange_backend_sent,
        .violated = on_violated,
        .dirty = on_dirty,
};

static const struct codec_events mirror_events = {
        .head = mirror_backend_head,
        .data = mirror_backend_data,
        .end = mirror_backend_end,
        .aborted = mirror_backend_aborted,
        .sent = mirror_backend_sent,
        .violated = on_violated,
        .dirty = on_dirty,
};

static struct upstream *dial(struct pool *pool, size_t endpoint, struct downstream *client)
{
	const struct config_backend *backend = pool_config(pool);
	const struct config_address *address = &backend->endpoints[endpoint];
	if (address->unknown)
		return NULL;  // nor a connection that takes a place until it is closed
	struct codec_limits limits = {.header_bytes = 64 * 1024,
	        .header_fields = 200,
	        .concurrent_streams = pool->peer_streams};
	struct upstream *upstream = must_alloc(sizeof(*upstream));
	upstream->pool = pool;
	upstream->endpoint = endpoint;
	upstream->ends_ns = INT64_MAX;
	timer_init(&upstream->timer, on_timer);
	link_init(
	        &upstream->link, &pool->worker->turn, &link_events, address->kind == ADDRESS_UNIX);
	upstream->link.last_words = true;
	if (upstream_proxy_wanted(pool)) {
		upstream_proxy_greet(pool, &upstream->link, client);
		list_push(&client->upstreams, &upstream->own);
	}
	const struct codec_events *events = pool->use == POOL_OF_MIRROR ? &mirror_events
	                                                                : &codec_events;
	upstream->codec = backend->protocol == PROTOCOL_H2
	                          ? h2_new(false, events, upstream, &upstream->link.plain, &limits)
	                          : h1_new(false, events, upstream, &upstream->link.plain, &limits);
	pool->worker->upstream_count++;
	pool->upstream_count++;
	count_connection(upstream, 1);
	endpoint_of(upstream)->connections++;
	list_push(&pool->connections, &upstream->node);
	list_push(&pool->endpoints[endpoint].roomy, &upstream->roomy);
	struct tls_session *tls = backend_tls_begin(
	        pool->snapshot, pool->backend, endpoint, &upstream->link);
	if (link_connect(&upstream->link, address, tls) < 0) {
		upstream_close(upstream, ABORT_UNPROCESSED);
		return NULL;
	}
	if (backend->connect_timeout_ns)
		turn_set_timer(&pool->worker->turn, &upstream->timer, backend->connect_timeout_ns);
	return upstream;
}

struct stream *upstream_open(struct pool *pool, struct pool_request *request, const char **label)
{
	size_t endpoint = pool_choose(pool, request);
	if (request->full)
		return NULL;
	struct upstream *upstream = upstream_find(pool, endpoint, request);
	*label = pool_labels(pool)->endpoint_labels[endpoint];
	if (!upstream)
		upstream = dial(pool, endpoint, request->client);
	if (!upstream) {
		pool_report(pool, endpoint, false);
		if (pool->retired)
			pool_free_if_empty(pool);  // it may have been opened for this attempt
		return NULL;
	}
	struct stream *stream = upstream->codec->ops->open(upstream->codec);
	if (stream)
		pool->endpoints[endpoint].endpoint->active++;
	sort_in(upstream);
	return stream;
}

struct stream *upstream_open_mirror(
        struct worker *worker, struct snapshot *snapshot, size_t backend, bool *full)
{
	struct pool_request anybody = {0};
	const char *label;
	struct pool *pool = pool_of(worker, snapshot, backend, POOL_OF_MIRROR);
	struct stream *stream = upstream_open(pool, &anybody, &label);
	*full = anybody.full;
	if (*full && pool->retired)
		pool_free_if_empty(pool);  // it may have been opened for this copy
	return stream;
}

void upstream_report(const struct stream *stream, bool good)
{
	const struct upstream *upstream = stream->codec->owner;
	pool_report(upstream->pool, upstream->endpoint, good);
}

void upstream_release(struct stream *stream)
{
	const struct upstream *upstream = stream->codec->owner;
	upstream->pool->endpoints[upstream->endpoint].endpoint->active--;
	stream_release(stream);
}

void upstream_suspect(struct stream *stream, int64_t asked_ns)
{
	struct upstream *upstream = stream->codec->owner;
	int64_t now_ns = clock_monotonic_ns();
	int64_t since_ns = upstream->heard_ns ? upstream->heard_ns : upstream->connected_ns;
	int64_t silent_ns = now_ns - since_ns;
	if (stream->codec->h2 && silent_ns > (now_ns - asked_ns) / 4 * 3 &&
	        silent_ns > (int64_t)UPSTREAM_MOMENT_MS * NS_PER_MS)
		stream->codec->shutting_down = true;
}

int64_t upstream_connected_ns(const struct stream *stream)
{
	const struct upstream *upstream = stream->codec->owner;
	return upstream->connected_ns;
}
