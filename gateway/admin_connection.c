#include "gateway/admin_connection.h"

#include <stdlib.h>

#include "base/clock.h"
#include "gateway/admin_caller.h"
#include "gateway/http/h1.h"
#include "gateway/net/socket.h"

static struct admin_connection *connection_of(struct link *link)
{
	return CONTAINER_OF(link, struct admin_connection, link);
}

static void set_deadline(struct admin_connection *connection, int64_t after_ns)
{
	struct turn *turn = connection->admin->turn;
	turn_stop_timer(turn, &connection->deadline);
	turn_set_timer(turn, &connection->deadline, after_ns);
}

// --- one request and its answer

static void let_go(struct admin_connection *connection)
{
	struct stream *stream = connection->stream;
	connection->stream = NULL;
	buffer_fini(&connection->body.bytes);
	stream_release(stream);
}

static void add_field(struct stream *stream, struct head *head, struct str name, const char *value)
{
	if (value)
		fields_add(&head->fields, &stream->arena, name, str_from(value));
}

static void answer_with(struct stream *stream, struct admin_answer *answer)
{
	struct admin_connection *connection = stream->codec->owner;
	struct head head;
	head_answer(&head, answer->status);
	head.content_length = (int64_t)buffer_len(&answer->body);
	add_field(stream, &head, STR("content-type"), answer->type);
	add_field(stream, &head, STR("allow"), answer->allow);
	add_field(stream, &head, STR("content-security-policy"), answer->policy);
	add_field(stream, &head, STR("x-content-type-options"), "nosniff");
	add_field(stream, &head, STR("referrer-policy"), "no-referrer");
	add_field(stream, &head, STR("cross-origin-resource-policy"), "same-origin");
	add_field(stream, &head, STR("cache-control"), "no-store");
	date_field_add(&connection->admin->date, connection->admin->turn->now_ns, &head.fields,
	        &stream->arena);
	connection->body = (struct body){.bytes = answer->body, .ended = true};
	stream->source = &connection->body;
	stream_send_head(stream, &head, false);
}

static void attach(struct admin_connection *connection, struct stream *stream)
{
	connection->stream = stream;
	stream->user = connection;
}

static void on_head(struct stream *stream, bool end)
{
	struct admin_connection *connection = stream->codec->owner;
	struct admin_answer answer;
	(void)end;  // nothing here takes a body: it is skipped while and after the answer goes out
	attach(connection, stream);  // before the hooks: they may close the listener
	struct admin_gate gate = connection->admin->gate;
	gate.tls = connection->tls != NULL;
	enum reason reason = admin_caller_judge(connection, &stream->head);
	if (reason == REASON_NONE) {
		admin_answer(&gate, &stream->head, &answer);
	} else {
		connection->codec->ops->shutdown(connection->codec);
		admin_answer_refusal(&answer, reason);
	}
	answer_with(stream, &answer);
}

static void on_faulty(struct stream *stream, enum reason reason, int status, const char *why)
{
	struct admin_answer answer;
	(void)reason;
	if (stream->head_sent)
		return;  // the fault is in a body that nobody waits for; the codec reads no further
	attach(stream->codec->owner, stream);
	enum reason refusal = admin_caller_judge(stream->user, &stream->head);
	if (refusal == REASON_NONE)
		admin_answer_text(&answer, status, why);
	else
		admin_answer_refusal(&answer, refusal);
	answer_with(stream, &answer);
}

static void on_body(struct stream *stream, struct str bytes)
{
	stream_credit(stream, bytes.len);
}

static void on_body_end(struct stream *stream, const struct fields *trailers)
{
	(void)stream;
	(void)trailers;
}

static void on_aborted(struct stream *stream, enum stream_abort why)
{
	(void)why;
	let_go(stream->user);
}

static void on_sent(struct stream *stream)
{
	struct admin_connection *connection = stream->user;
	struct admin *admin = connection->admin;
	let_go(connection);
	if (admin->closing)
		return;
	set_deadline(connection, admin->deadline_ns);
	connection->since_ns = admin->turn->now_ns;
	list_remove(&connection->node);
	list_push(&admin->connections, &connection->node);
}

static void on_violated(struct codec *codec, enum reason reason, const char *why)
{
	struct admin_connection *connection = codec->owner;
	(void)reason;
	(void)why;
	link_finish(&connection->link);
}

static void on_dirty(struct codec *codec)
{
	struct admin_connection *connection = codec->owner;
	link_mark_dirty(&connection->link);
}

static const struct codec_events codec_events = {
        .head = on_head,
        .data = on_body,
        .end = on_body_end,
        .aborted = on_aborted,
        .faulty = on_faulty,
        .sent = on_sent,
        .violated = on_violated,
        .dirty = on_dirty,
};

// --- the connection

static void read_on(struct admin_connection *connection)
{
	struct link *link = &connection->link;
	if (!link->closing && !link->finishing && !connection->peer_ended)
		link_set_reading(link, connection->codec->ops->wants_bytes(connection->codec));
}

static void on_opened(struct link *link)
{
	(void)link;
}

static void on_data(struct link *link, struct str bytes)
{
	struct admin_connection *connection = connection_of(link);
	codec_feed(connection->codec, bytes);
	read_on(connection);
	link_mark_dirty(link);
}

static void on_ended(struct link *link, enum link_end why)
{
	struct admin_connection *connection = connection_of(link);
	admin_caller_left(connection, why);
	if (why == LINK_TLS_FAILED || (why == LINK_PEER_ENDED && !link->open)) {
		link_finish(link);  // the alert still has to leave
		return;
	}
	if (why != LINK_PEER_ENDED) {
		link_close(link);
		return;
	}
	connection->peer_ended = true;
	link_mark_dirty(link);
}

static void on_pull(struct link *link)
{
	struct admin_connection *connection = connection_of(link);
	codec_pull(connection->codec, LINK_MARK);
	read_on(connection);
}

// A peer that closed its sending side (`nc -N`) still hears the answers to all it had asked.
static void on_settled(struct link *link)
{
	struct admin_connection *connection = connection_of(link);
	struct codec *codec = connection->codec;
	if (connection->peer_ended && !connection->stream && !link_pending(link))
		codec->ops->feed_end(codec);
	if (codec->finished)
		link_finish(link);
}

static void bury(struct grave *grave)
{
	struct admin_connection *connection = CONTAINER_OF(grave, struct admin_connection, grave);
	struct admin *admin = connection->admin;
	connection->codec->ops->free(connection->codec);
	arena_fini(&connection->arena);
	list_remove(&connection->node);
	free(connection);
	admin_connection_gone(admin);
}

static void on_closed(struct link *link)
{
	struct admin_connection *connection = connection_of(link);
	struct turn *turn = connection->admin->turn;
	turn_stop_timer(turn, &connection->deadline);
	connection->codec->ops->fail(connection->codec, ABORT_CANCELLED);
	connection->grave.bury = bury;
	turn_mark_dead(turn, &connection->grave);
}

static const struct link_events link_events = {
        .opened = on_opened,
        .data = on_data,
        .ended = on_ended,
        .pull = on_pull,
        .settled = on_settled,
        .closed = on_closed,
};

// Half a request gets its 408; whoever was idle or does not take the answer gets nothing.
static void on_deadline(struct timer *timer)
{
	struct admin_connection *connection = CONTAINER_OF(
	        timer, struct admin_connection, deadline);
	struct codec *codec = connection->codec;
	admin_caller_left(connection, LINK_BROKEN);
	if (codec->head_pending && !connection->stream && !link_pending(&connection->link))
		codec->ops->stall(codec, "the request took too long");
	else
		link_close(&connection->link);
}

void admin_connection_accept(struct admin *admin, int descriptor)
{
	static const struct codec_limits limits = {
	        .header_bytes = 16 * 1024, .header_fields = 100, .concurrent_streams = 1};
	struct admin_connection *connection = must_alloc(sizeof(*connection));
	connection->admin = admin;
	list_push(&admin->connections, &connection->node);
	admin->connection_count++;
	link_init(&connection->link, admin->turn, &link_events, admin->gate.unix_socket);
	connection->codec = h1_new(
	        true, &codec_events, connection, &connection->link.plain, &limits);
	timer_init(&connection->deadline, on_deadline);
	if (link_accept(&connection->link, descriptor) < 0) {
		link_close(&connection->link);
		return;
	}
	socket_peer_text(&connection->link.handle.any, connection->address);
	set_deadline(connection, admin->deadline_ns);
	connection->since_ns = admin->turn->now_ns;
	connection->tls = admin_tls(admin);
	link_start(&connection->link, connection->tls ? tls_session_new(connection->tls,
	                                                        &connection->link.wire, NULL, NULL)
	                                              : NULL);
}

void admin_connection_leave(struct admin_connection *connection)
{
	struct link *link = &connection->link;
	bool idle = !connection->stream && !link_pending(link);
	if (link->closing)
		return;
	if (!idle) {
		connection->codec->ops->shutdown(connection->codec);
	} else if (connection->tls && link->open) {
		set_deadline(connection, (int64_t)ADMIN_CLOSE_S * NS_PER_S);
		link_finish(link);  // with TLS's goodbye
	} else {
		link_close(link);
	}
}

void admin_connection_drain(struct admin_connection *connection)
{
	admin_connection_leave(connection);
	if (!connection->link.closing)
		set_deadline(connection, (int64_t)ADMIN_CLOSE_S * NS_PER_S);
}
