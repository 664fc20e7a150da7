// One request and its answer: the middle of the data path.
//
//   client stream ──head──▶ judge ──▶ forward ──▶ backend stream
//        ▲                    │                        │
//        └──── answer ◀── refuse / respond ◀───────────┘      bodies: up ▶, down ◀
//
// Made when a request's head has arrived, owned by its downstream connection, dead (grave list)
// once the answer has left or either side is lost; every way out passes exchange_finish, which cuts
// all pointers across, writes the access line and counts. Refusals go through reject.c only. One
// thread: the connection's.
#ifndef GATEWAY_EXCHANGE_H
#define GATEWAY_EXCHANGE_H

#include "gateway/admission.h"
#include "gateway/downstream.h"
#include "gateway/pool.h"
#include "gateway/replay.h"
#include "policy/path.h"

enum { EXCHANGE_TRIES_MAX = POOL_TRIES_MAX };

// An answer of ours waits for the end of a request that is still coming: so long since its last
// bytes, so long and for so much in all. Some clients hear nothing before they have sent all (curl
// 7.88 over HTTP/2).
enum { HOLD_MS = 100, HOLD_MS_MAX = 1000, HOLD_BYTES_MAX = 4 * 1024 * 1024 };

enum exchange_state {
	EXCHANGE_JUDGED,     // made; nothing sent anywhere yet
	EXCHANGE_ASKING,     // the fleet's limits are being asked; the request may go on coming
	EXCHANGE_FORWARDED,  // asked a backend, no answer yet
	EXCHANGE_HELD,       // our own answer waits a moment for the request's end
	EXCHANGE_ANSWERING,  // the answer's head has been sent to the client
	EXCHANGE_OVER,
};

// That a call has with a backend whose concurrency is limited (admission.h).
struct place {
	struct admission *admission;  // NULL: none
	struct list coming;           // among those whose request is not whole
	uint64_t ticket;              // 0 until it is
	int64_t since_ns;
	bool counts;
};

struct exchange {
	struct list node;  // in downstream->exchanges
	struct grave grave;
	struct downstream *downstream;
	struct snapshot *snapshot;
	size_t listener;  // which of the snapshot's
	struct arena arena;
	enum exchange_state state;
	struct stream *client;    // NULL once cut
	struct stream *backend;   // NULL before forwarding and once cut
	struct body up, down;     // the request's body, the answer's
	struct pending *pending;  // waits for a connection; NULL: it does not
	struct mirror *mirror;    // gathers a copy of the request; NULL: none is made
	struct flow *flow;        // NULL: what comes passes at once
	bool grpc;
	bool tunnel;  // after a 101
	bool request_whole, answer_whole;
	struct head held;  // the answer while it is held
	struct path path;
	struct str host;
	struct policy_decision decision;
	struct limit_ask *ask;  // while EXCHANGE_ASKING, else NULL
	size_t backend_index;   // whom it is for, once it is known to be let in
	struct place place;     // there, where it has a concurrency limit
	struct head request;    // as sent to the backend, kept for another try
	unsigned attempts;
	struct replay replay;        // what of `up` such a try can send again
	struct retry *retry;         // NULL: the route has none, or it is over
	struct pool_request choice;  // of endpoints
	struct {
		int64_t at_ns;
		const char *cause;
	} retries[EXCHANGE_TRIES_MAX - 1];  // what each further attempt was made for
	struct timer progress;              // stream_idle
	struct timer deadline;              // grpc-timeout, route timeout
	struct timer arrival;               // the whole request
	struct {
		int64_t start_ns, forwarded_ns, held_ns, answered_ns;
		int64_t tried_ns;      // the last attempt; what comes before is its wait
		int64_t connected_ns;  // when that connection was made; 0: it was not
		int64_t done_ns;       // the last byte of the backend's answer
		int64_t deadline_ns;   // 0: none
	} time;
	struct str request_id, trace_id;
	struct str parent_id;  // the caller's span; empty: the trace begins here
	struct str span_id;    // ours
	struct str call_id;    // that of the call to the backend, which it is told as its parent
	struct str trace_state;
	unsigned trace_flags;
	bool traced;              // spans are exported
	bool first;               // of its connection
	int status, grpc_status;  // of the answer; -1: none
	int backend_status;
	const char *endpoint;  // label of the one asked last
	const char *cause;     // why a backend's answer failed; NULL: it did not
	bool backend_failed;   // and that it was the backend's doing, however much had come by then
	enum reason refused;
};

static inline struct turn *exchange_turn(const struct exchange *exchange)
{
	return &exchange->downstream->worker->turn;
}

static inline const struct config_timeouts *exchange_timeouts(const struct exchange *exchange)
{
	return &exchange->snapshot->config->listeners[exchange->listener].timeouts;
}

// Client side: what the downstream codec tells.
void exchange_client_head(struct stream *stream, bool end);
void exchange_client_data(struct stream *stream, struct str bytes);
void exchange_client_end(struct stream *stream, const struct fields *trailers);
void exchange_client_aborted(struct stream *stream, enum stream_abort why);
void exchange_client_faulty(struct stream *stream, enum reason reason, int status, const char *why);
void exchange_client_sent(struct stream *stream);

// Backend side: what the upstream codec tells.
void exchange_backend_head(struct stream *stream, bool end);
void exchange_backend_data(struct stream *stream, struct str bytes);
void exchange_backend_end(struct stream *stream, const struct fields *trailers);
void exchange_backend_aborted(struct stream *stream, enum stream_abort why);
void exchange_backend_sent(struct stream *stream);

// Steps, in the order they happen.
struct exchange *exchange_new(struct downstream *downstream, struct stream *client);
// Whether the verdict stands now; false: it comes later, to `verdict`.
MUST_USE bool exchange_ask_fleet(struct exchange *exchange, void (*verdict)(void *exchange));
void exchange_stop_asking(struct exchange *exchange);         // idempotent
void exchange_count_limits(const struct exchange *exchange);  // once the verdict is whole
void exchange_forward(struct exchange *exchange);
// Sends an answer of our own; `body` empty for none. Trailers-only for gRPC is the caller's
// business (head fields).
void exchange_answer(struct exchange *exchange, struct head *head, struct str body);
// The backend failed us: `http` and `grpc` are the statuses, `cause` a fixed word for log and
// metrics.
void exchange_fail(struct exchange *exchange, int http, int grpc, const char *cause);
// The client misbehaves after it was let in: a refusal while it can still be answered, else the
// answer is broken off and the record written.
void exchange_refuse_late(struct exchange *exchange, enum reason reason, struct str detail);
void exchange_let_go_of_backend(struct exchange *exchange);  // or of the wait for one
void exchange_init_timers(struct exchange *exchange);
void exchange_progress(struct exchange *exchange);  // something moved: stream_idle begins anew
void exchange_send_held(struct exchange *exchange);
void exchange_leave_limits(struct exchange *exchange);  // idempotent; it is over
void exchange_finish(struct exchange *exchange);        // idempotent

// Whom the route gives this request to; for all its attempts.
void exchange_choose_backend(struct exchange *exchange);
const struct config_backend *exchange_backend(const struct exchange *exchange);

const struct config_route *exchange_route(
        const struct exchange *exchange);  // NULL when none matched

#endif
