#include "gateway/health_probe.h"

#include <stdlib.h>

#include "base/proto.h"
#include "gateway/backend_tls.h"
#include "gateway/http/grpc.h"
#include "gateway/http/h1.h"
#include "gateway/http/h2.h"
#include "gateway/net/link.h"
#include "gateway/upstream_proxy.h"

enum {
	ANSWER_BYTES_MAX = 64 * 1024,  // of a GET's answer: more is not waited for
	MESSAGE_BYTES_MAX = 1024,      // of gRPC's, which is two
	MESSAGE_PREFIX = 5,
	FIELD_SERVICE = 1,  // of HealthCheckRequest
	FIELD_STATUS = 1,   // of HealthCheckResponse
	SERVING = 1,
};

struct health_probe {
	struct link link;
	struct grave grave;
	struct worker *worker;
	const struct pool *pool;  // while there is somebody to tell
	size_t endpoint;
	enum config_health_check_kind kind;
	struct codec *codec;    // NULL: the connection is all that is asked for
	struct stream *stream;  // NULL once let go of
	struct body question;
	struct buffer answer;
	size_t answer_bytes;
	struct arena arena;
	void (*concluded)(void *owner, bool good, const char *why);  // NULL once told, or dropped
	void *owner;
	bool closing;
};

static struct health_probe *probe_of(struct link *link)
{
	return CONTAINER_OF(link, struct health_probe, link);
}

static void conclude(struct health_probe *probe, bool good, const char *why)
{
	void (*concluded)(void *, bool, const char *) = probe->concluded;
	probe->concluded = NULL;
	if (concluded)
		concluded(probe->owner, good, why);
}

static void close_probe(struct health_probe *probe)
{
	struct stream *stream = probe->stream;
	if (probe->closing)
		return;
	probe->closing = true;
	probe->stream = NULL;
	if (stream)
		stream_release(stream);
	if (probe->codec)
		probe->codec->ops->fail(probe->codec, ABORT_CLOSED);
	link_part(&probe->link);
}

// After anything that the codec or the link did: whether there is more to wait for.
static void settle(struct health_probe *probe)
{
	if (probe->codec && probe->codec->finished)
		conclude(probe, false, "closed");
	if (!probe->concluded)
		close_probe(probe);
	else if (probe->link.open)
		link_set_reading(&probe->link, probe->codec->ops->wants_bytes(probe->codec));
}

static void on_opened(struct link *link)
{
	struct health_probe *probe = probe_of(link);
	if (link->tls)
		backend_tls_opened(probe->worker, pool_labels(probe->pool), probe->endpoint);
	if (!probe->codec) {
		conclude(probe, true, NULL);
		close_probe(probe);
		return;
	}
	link_mark_dirty(link);
}

static void on_data(struct link *link, struct str bytes)
{
	struct health_probe *probe = probe_of(link);
	if (probe->closing)
		return;
	codec_feed(probe->codec, bytes);
	settle(probe);
	link_mark_dirty(link);
}

static void on_ended(struct link *link, enum link_end why)
{
	struct health_probe *probe = probe_of(link);
	bool cut = link->tls && tls_status(link->tls) != TLS_ENDED;
	if (why == LINK_PEER_ENDED && !cut && probe->codec && !probe->closing)
		probe->codec->ops->feed_end(probe->codec);
	if (!probe->closing && backend_tls_is_failure(link)) {
		backend_tls_failed(
		        probe->worker, pool_labels(probe->pool), probe->endpoint, link, link->open);
		conclude(probe, false, "tls_failed");
	}
	conclude(probe, false, why == LINK_CONNECT_FAILED ? "connect_failed" : "closed");
	close_probe(probe);
}

static void on_pull(struct link *link)
{
	struct health_probe *probe = probe_of(link);
	if (probe->codec)
		codec_pull(probe->codec, LINK_MARK);
}

static void on_settled(struct link *link)
{
	struct health_probe *probe = probe_of(link);
	if (probe->codec && !probe->closing)
		settle(probe);
}

static void bury(struct grave *grave)
{
	struct health_probe *probe = CONTAINER_OF(grave, struct health_probe, grave);
	struct worker *worker = probe->worker;
	if (probe->codec)
		probe->codec->ops->free(probe->codec);
	buffer_fini(&probe->question.bytes);
	buffer_fini(&probe->answer);
	arena_fini(&probe->arena);
	free(probe);
	worker->upstream_count--;
	worker_settle(worker);
}

static void on_closed(struct link *link)
{
	struct health_probe *probe = probe_of(link);
	probe->grave.bury = bury;
	turn_mark_dead(&probe->worker->turn, &probe->grave);
}

static const struct link_events link_events = {
        .opened = on_opened,
        .data = on_data,
        .ended = on_ended,
        .pull = on_pull,
        .settled = on_settled,
        .closed = on_closed,
};

static bool says_ok(const struct fields *fields)
{
	return str_eq(fields_get(fields, STR("grpc-status")), STR("0"));
}

static void on_head(struct stream *stream, bool end)
{
	struct health_probe *probe = stream->user;
	int status = stream->head.status;
	if (status < 200)
		return;
	if (status > 299)
		conclude(probe, false, "status");
	else if (end)
		conclude(probe, probe->kind == HEALTH_CHECK_HTTP, "grpc_status");
}

static void on_body(struct stream *stream, struct str bytes)
{
	struct health_probe *probe = stream->user;
	probe->answer_bytes += bytes.len;
	stream_credit(stream, bytes.len);
	if (probe->kind == HEALTH_CHECK_HTTP) {
		if (probe->answer_bytes > ANSWER_BYTES_MAX)
			conclude(probe, true, NULL);
		return;
	}
	if (probe->answer_bytes > MESSAGE_BYTES_MAX)
		conclude(probe, false, "message");
	else
		buffer_append_str(&probe->answer, bytes);
}

// One HealthCheckResponse, uncompressed.
static bool says_serving(struct str message)
{
	unsigned field;
	uint64_t value, status = 0;
	struct str content;
	if (message.len < MESSAGE_PREFIX || message.at[0] != 0)
		return false;
	message = str_skip(message, MESSAGE_PREFIX);
	while (message.len) {
		if (!proto_take(&message, &field, &value, &content))
			return false;
		if (field == FIELD_STATUS)
			status = value;
	}
	return status == SERVING;
}

static void on_end(struct stream *stream, const struct fields *trailers)
{
	struct health_probe *probe = stream->user;
	if (probe->kind == HEALTH_CHECK_HTTP)
		conclude(probe, true, NULL);
	else if (!says_ok(trailers))
		conclude(probe, false, "grpc_status");
	else
		conclude(probe, says_serving(buffer_str(&probe->answer)), "not_serving");
}

static void on_aborted(struct stream *stream, enum stream_abort why)
{
	struct health_probe *probe = stream->user;
	probe->stream = NULL;
	stream_release(stream);
	conclude(probe, false, why == ABORT_BROKEN ? "protocol_error" : "closed");
}

static void on_sent(struct stream *stream)
{
	(void)stream;
}

static void on_violated(struct codec *codec, enum reason reason, const char *why)
{
	(void)reason, (void)why;
	conclude(codec->owner, false, "protocol_error");
}

static void on_dirty(struct codec *codec)
{
	struct health_probe *probe = codec->owner;
	link_mark_dirty(&probe->link);
}

static const struct codec_events codec_events = {
        .head = on_head,
        .data = on_body,
        .end = on_end,
        .aborted = on_aborted,
        .sent = on_sent,
        .violated = on_violated,
        .dirty = on_dirty,
};

static void put_grpc_question(struct health_probe *probe, struct str service)
{
	struct buffer message = {0};
	if (service.len)
		proto_bytes(&message, FIELD_SERVICE, service);
	size_t len = buffer_len(&message);
	const char prefix[MESSAGE_PREFIX] = {0, 0, 0, (char)(len >> 8), (char)len};
	body_add(&probe->question, str_of(prefix, sizeof(prefix)));
	body_add(&probe->question, buffer_str(&message));
	buffer_fini(&message);
}

static void ask(struct health_probe *probe, const struct config_backend *backend, struct str host)
{
	const struct config_health_check *config = &backend->health_check;
	bool grpc = probe->kind == HEALTH_CHECK_GRPC;
	struct head head;
	head_request(&head);
	head.method = grpc ? STR("POST") : STR("GET");
	head.scheme = backend_tls_scheme(backend);
	head.authority = host;
	head.target = grpc ? STR("/grpc.health.v1.Health/Check") : config->path.text;
	fields_add(&head.fields, &probe->arena, STR("user-agent"), STR("tollgate-health-check"));
	if (grpc) {
		put_grpc_question(probe, config->service);
		fields_add(
		        &head.fields, &probe->arena, STR("content-type"), STR("application/grpc"));
		fields_add(&head.fields, &probe->arena, STR("te"), STR("trailers"));
		fields_add(&head.fields, &probe->arena, STR("grpc-timeout"),
		        grpc_timeout_format(config->timeout_ns, &probe->arena));
	}
	probe->question.ended = true;
	probe->stream->user = probe;
	probe->stream->source = &probe->question;
	stream_send_head(probe->stream, &head, !grpc);
	if (grpc)
		stream_wake(probe->stream);
}

static struct codec *speak(struct health_probe *probe, enum config_protocol protocol)
{
	const struct codec_limits limits = {
	        .header_bytes = 64 * 1024, .header_fields = 200, .concurrent_streams = 1};
	struct buffer *out = &probe->link.plain;
	return protocol == PROTOCOL_H2 ? h2_new(false, &codec_events, probe, out, &limits)
	                               : h1_new(false, &codec_events, probe, out, &limits);
}

struct health_probe *health_probe_start(const struct pool *pool, size_t endpoint,
        void (*concluded)(void *owner, bool good, const char *why), void *owner)
{
	struct health_probe *probe = must_alloc(sizeof(*probe));
	struct worker *worker = pool->worker;
	const struct config_backend *backend = pool_config(pool);
	const struct config_address *address = &backend->endpoints[endpoint];
	bool local = address->kind == ADDRESS_UNIX;
	probe->worker = worker;
	probe->pool = pool;
	probe->endpoint = endpoint;
	probe->kind = backend->health_check.kind;
	probe->concluded = concluded;
	probe->owner = owner;
	worker->upstream_count++;
	link_init(&probe->link, &worker->turn, &link_events, local);
	probe->link.last_words = true;
	if (upstream_proxy_wanted(pool))
		upstream_proxy_greet(pool, &probe->link, NULL);
	if (probe->kind != HEALTH_CHECK_TCP) {
		probe->codec = speak(probe, backend->protocol);
		probe->stream = probe->codec->ops->open(probe->codec);
		CHECK(probe->stream);
		ask(probe, backend, local ? STR("localhost") : address->text);
	}
	struct tls_session *tls = backend_tls_begin(
	        pool->snapshot, pool->backend, endpoint, &probe->link);
	if (link_connect(&probe->link, address, tls) == 0)
		return probe;
	health_probe_drop(probe);
	return NULL;
}

void health_probe_drop(struct health_probe *probe)
{
	probe->concluded = NULL;
	close_probe(probe);
}
