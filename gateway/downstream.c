#include "gateway/downstream.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "gateway/exchange.h"
#include "gateway/http/h1.h"
#include "gateway/http/h2.h"
#include "gateway/reject.h"
#include "gateway/upstream_proxy.h"

enum {
	REFUSED_REPORT_MS = 1000,  // until its refusal is recorded even without a request
};

static struct downstream *downstream_of(struct link *link)
{
	return CONTAINER_OF(link, struct downstream, link);
}

const struct config_listener *downstream_config(const struct downstream *downstream)
{
	return &downstream->snapshot->config->listeners[downstream->listener_index];
}

static void report_standing(struct downstream *downstream)
{
	if (downstream->standing == REASON_NONE || downstream->reported)
		return;
	downstream->reported = true;
	reject_connection(downstream, downstream->standing, downstream->standing_detail);
}

// Of a newcomer who was refused when it came one record is enough.
void downstream_fail_handshake(struct downstream *downstream, enum reason reason, struct str detail)
{
	if (downstream->standing == REASON_NONE)
		reject_connection(downstream, reason, detail);
	report_standing(downstream);
}

static void finish(struct downstream *downstream)
{
	report_standing(downstream);  // whoever leaves without a request was refused all the same
	downstream_enter(downstream, DOWNSTREAM_CLOSING);
	downstream->link.cut_short = downstream->codec && downstream->codec->cut_short;
	link_finish(&downstream->link);
}

void downstream_close(struct downstream *downstream)
{
	report_standing(downstream);
	downstream_enter(downstream, DOWNSTREAM_CLOSING);
	if (downstream->codec)
		downstream->codec->ops->fail(downstream->codec, ABORT_CANCELLED);
	downstream->link.cut_short = downstream->codec && downstream->codec->cut_short;
	link_close(&downstream->link);
}

// What happened may be its end, or call for another deadline.
static void settle(struct downstream *downstream)
{
	struct codec *codec = downstream->codec;
	if (downstream->phase == DOWNSTREAM_CLOSING || !codec)
		return;
	if (codec->finished) {
		finish(downstream);
		return;
	}
	if (downstream->draining && !codec->shutting_down)
		codec->ops->shutdown(codec);
	if (codec->head_pending)
		downstream_enter_head(downstream);
	else
		downstream_enter(
		        downstream, downstream->exchange_count ? DOWNSTREAM_BUSY : DOWNSTREAM_IDLE);
}

void downstream_last_call(struct downstream *downstream)
{
	downstream->draining = true;
	downstream_wait_anew(downstream);
	settle(downstream);
	link_mark_dirty(&downstream->link);
}

// Says goodbye first, so that the client knows what was not acted on; but does not wait for ever.
// HTTP/1.1 has no word for it.
static void leave(struct downstream *downstream)
{
	struct codec *codec = downstream->codec;
	bool told = codec->shutting_down || !codec->h2;
	codec->ops->shutdown(codec);
	if (told || codec->finished) {
		finish(downstream);
		return;
	}
	downstream_set_deadline(downstream, (int64_t)LINK_LINGER_MS * NS_PER_MS);
	link_mark_dirty(&downstream->link);
}

static void on_timer(struct timer *timer)
{
	struct downstream *downstream = CONTAINER_OF(timer, struct downstream, timer);
	switch (downstream->phase) {
	case DOWNSTREAM_HANDSHAKE:
		downstream_fail_handshake(
		        downstream, REASON_tls_failed, STR("the handshake took too long"));
		downstream_close(downstream);
		break;
	case DOWNSTREAM_IDLE:
		report_standing(downstream);
		if (!downstream->asked && downstream->standing == REASON_NONE &&
		        !downstream->codec->shutting_down)
			reject_connection(downstream, REASON_request_timeout,
			        STR("no request came in all the time that a connection may be "
			            "idle"));
		leave(downstream);
		break;
	case DOWNSTREAM_HEAD:
		downstream->codec->ops->stall(downstream->codec, "the request head took too long");
		settle(downstream);
		break;
	case DOWNSTREAM_BUSY:
	case DOWNSTREAM_CLOSING:
		break;
	}
}

static void on_report(struct timer *timer)
{
	report_standing(CONTAINER_OF(timer, struct downstream, report));
}

static void on_dirty(struct codec *codec)
{
	struct downstream *downstream = codec->owner;
	link_mark_dirty(&downstream->link);
}

static void on_violated(struct codec *codec, enum reason reason, const char *why)
{
	struct downstream *downstream = codec->owner;
	downstream->violated = reason;
	reject_connection(downstream, reason, str_from(why));
}

static const struct codec_events codec_events = {
        .head = exchange_client_head,
        .data = exchange_client_data,
        .end = exchange_client_end,
        .aborted = exchange_client_aborted,
        .faulty = exchange_client_faulty,
        .sent = exchange_client_sent,
        .violated = on_violated,
        .dirty = on_dirty,
};

static void open_codec(struct downstream *downstream)
{
	struct codec_limits limits = downstream_limits(downstream);
	downstream->codec = tls_session_is_h2(downstream->link.tls)
	                            ? h2_new(true, &codec_events, downstream,
	                                      &downstream->link.plain, &limits)
	                            : h1_new(true, &codec_events, downstream,
	                                      &downstream->link.plain, &limits);
}

static void on_opened(struct link *link)
{
	struct downstream *downstream = downstream_of(link);
	struct worker *worker = downstream->worker;
	downstream->handshake_ns = clock_monotonic_ns() - downstream->accepted_ns;
	buffer_fini(&downstream->preface);
	downstream_identify(downstream);
	open_codec(downstream);
	metrics_handshake(worker->metrics, downstream->listener->label,
	        downstream->standing == REASON_NONE ? "ok" : reason_name(downstream->standing));
	if (downstream->standing != REASON_NONE)
		turn_set_timer(
		        &worker->turn, &downstream->report, (int64_t)REFUSED_REPORT_MS * NS_PER_MS);
	else
		downstream_watch_expiry(downstream);
	if (downstream->draining || downstream->listener->removed)
		downstream_drain(downstream);
	settle(downstream);
	link_mark_dirty(link);
}

static void on_data(struct link *link, struct str bytes)
{
	struct downstream *downstream = downstream_of(link);
	codec_feed(downstream->codec, bytes);
	if (downstream->phase == DOWNSTREAM_CLOSING)
		return;
	link_set_reading(link, downstream->codec->ops->wants_bytes(downstream->codec));
	settle(downstream);
	link_mark_dirty(link);
}

// Behind the handshake: renegotiation, a flood of key updates, broken records.
static void report_broken_tls(struct downstream *downstream)
{
	struct str detail;
	(void)tls_fault(downstream->link.tls, &detail);
	if (downstream->standing == REASON_NONE && !tls_session_peer_gave_up(downstream->link.tls))
		reject_connection(downstream, REASON_protocol_violation, detail);
}

static void on_ended(struct link *link, enum link_end why)
{
	struct downstream *downstream = downstream_of(link);
	report_standing(downstream);
	if (!downstream->codec && why == LINK_PEER_ENDED &&
	        link->bytes_in == downstream->probe_bytes) {
		finish(downstream);  // a probe that looks whether the port is open
		return;
	}
	if (!downstream->codec) {
		struct str detail = STR("the client hung up during the handshake");
		enum reason reason = REASON_tls_failed;
		if (why == LINK_TLS_FAILED)
			reason = downstream_fault(downstream, &detail);
		downstream_fail_handshake(downstream, reason, detail);
		finish(downstream);
		return;
	}
	if (why == LINK_TLS_FAILED)
		report_broken_tls(downstream);
	// It may still read what is there already: the whole answer to its last request.
	if (why == LINK_PEER_ENDED)
		codec_pull(downstream->codec, LINK_MARK);
	downstream->codec->ops->feed_end(downstream->codec);
	if (why == LINK_BROKEN)
		downstream_close(downstream);
	else
		finish(downstream);
}

static void on_pull(struct link *link)
{
	struct downstream *downstream = downstream_of(link);
	if (!downstream->codec)
		return;
	codec_pull(downstream->codec, LINK_MARK);
	if (!link->closing)
		link_set_reading(link, downstream->codec->ops->wants_bytes(downstream->codec));
}

static void on_settled(struct link *link)
{
	struct downstream *downstream = downstream_of(link);
	settle(downstream);
	// While a write waits nothing is pulled, yet what was read may have been taken meanwhile.
	if (downstream->codec && !link->finishing && !link->closing)
		link_set_reading(link, downstream->codec->ops->wants_bytes(downstream->codec));
}

static void bury(struct grave *grave)
{
	struct downstream *downstream = CONTAINER_OF(grave, struct downstream, grave);
	struct worker *worker = downstream->worker;
	struct worker_listener *listener = downstream->listener;
	if (downstream->codec)
		downstream->codec->ops->free(downstream->codec);
	CHECK(list_empty(&downstream->exchanges));
	list_remove(&downstream->node);
	worker->downstream_count--;
	listener->downstream_count--;
	arena_fini(&downstream->arena);
	arena_fini(&downstream->identity_arena);
	buffer_fini(&downstream->preface);
	snapshot_unref(downstream->snapshot);
	free(downstream);
	worker_listener_settle(listener);
	worker_settle(worker);
}

static void on_closed(struct link *link)
{
	struct downstream *downstream = downstream_of(link);
	struct worker *worker = downstream->worker;
	turn_stop_timer(&worker->turn, &downstream->timer);
	turn_stop_timer(&worker->turn, &downstream->expiry);
	turn_stop_timer(&worker->turn, &downstream->report);
	listening_leave(&downstream->count);
	tally_leave(&downstream->address_place);
	tally_leave(&downstream->identity_place);
	metrics_connections(worker->metrics, downstream->listener->label, -1);
	if (downstream->codec)
		downstream->codec->ops->fail(downstream->codec, ABORT_CANCELLED);
	upstream_proxy_end(downstream);
	downstream->grave.bury = bury;
	turn_mark_dead(&worker->turn, &downstream->grave);
}

static const struct link_events link_events = {
        .preface = downstream_preface,
        .opened = on_opened,
        .data = on_data,
        .ended = on_ended,
        .pull = on_pull,
        .settled = on_settled,
        .closed = on_closed,
};

void downstream_accept(struct worker_listener *listener, int descriptor)
{
	struct worker *worker = listener->worker;
	struct snapshot *snapshot = worker->snapshot;
	struct downstream *downstream = must_alloc(sizeof(*downstream));
	downstream->worker = worker;
	downstream->listener = listener;
	downstream->snapshot = snapshot_ref(snapshot);
	downstream->listener_index = listener->index;
	downstream->phase = DOWNSTREAM_IDLE;
	downstream->accepted_ns = worker->turn.now_ns;
	timer_init(&downstream->timer, on_timer);
	timer_init(&downstream->expiry, downstream_on_expiry);
	timer_init(&downstream->report, on_report);
	list_init(&downstream->exchanges);
	list_init(&downstream->upstreams);
	list_push(&worker->downstreams, &downstream->node);
	worker->downstream_count++;
	listener->downstream_count++;
	metrics_connections(worker->metrics, downstream->listener->label, 1);
	link_init(&downstream->link, &worker->turn, &link_events,
	        listener->listening->address.kind == ADDRESS_UNIX);
	if (link_accept(&downstream->link, descriptor) < 0) {
		link_close(&downstream->link);
		return;
	}
	downstream_note_address(downstream);
	if (!downstream_is_let_in(downstream)) {
		report_standing(downstream);
		link_close(&downstream->link);
		return;
	}
	struct tls_context *tls = snapshot->listeners[listener->index].tls;
	downstream_enter(downstream, DOWNSTREAM_HANDSHAKE);
	link_start(&downstream->link,
	        tls_session_new(tls, &downstream->link.wire, downstream_judge, downstream));
}
