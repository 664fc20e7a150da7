// One client's connection: handshake, who it is, its codec, and the exchanges under way on it.
// The caller's certificate is judged once, when the handshake is over, and again when another
// configuration comes into force. A connection whose caller is refused stays open for one answer
// (`standing`) and no longer. Every wait has a deadline here: handshake, idle, request head; what a
// request waits for is its exchange's. Owned by the worker, its thread only; dies through the grave
// list after the link has closed.
#ifndef GATEWAY_DOWNSTREAM_H
#define GATEWAY_DOWNSTREAM_H

#include "gateway/http/codec.h"
#include "gateway/net/link.h"
#include "gateway/worker.h"

enum downstream_phase {
	DOWNSTREAM_HANDSHAKE,
	DOWNSTREAM_IDLE,  // no request under way
	DOWNSTREAM_HEAD,  // part of a request head is there
	DOWNSTREAM_BUSY,  // exchanges under way: they keep time
	DOWNSTREAM_CLOSING,
};

struct downstream {
	struct link link;
	struct grave grave;
	struct list node;  // in worker->downstreams
	struct worker *worker;
	struct worker_listener *listener;
	struct snapshot *snapshot;  // under which `identity` was judged
	size_t listener_index;      // which of its listeners
	struct codec *codec;        // NULL until the handshake is over
	struct arena arena;
	struct arena identity_arena;  // of `identity`
	enum downstream_phase phase;
	uint32_t head;        // which head it waits for (codec.h)
	struct timer timer;   // of the phase
	struct timer expiry;  // of its right to be here
	int64_t ends_s;       // when that ends: not_after, or when trust was withdrawn
	int64_t drains_ns;    // since when it is drained, monotonic; 0: it is not
	struct timer report;  // a refusal that no request has made visible yet
	struct list exchanges;
	struct list upstreams;  // connections to backends in its name (upstream_proxy.h)
	size_t exchange_count;
	struct policy_identity identity;
	struct tally_place address_place, identity_place;  // among connections of the same
	atomic_size_t *count;                              // of the listener; NULL: nowhere
	enum reason standing;  // why every request of this connection is refused; REASON_NONE: it
	                       // is not
	struct str standing_detail;
	bool reported;         // the standing refusal has its record
	enum reason violated;  // why it was cut, with all its calls; REASON_NONE: it was not
	bool asked;            // a request came
	bool draining;
	int64_t accepted_ns, handshake_ns;  // when it came; how long the handshake took
	struct sockaddr_in6 client;         // who the client is, of whichever family
	char address[64], source_ip[64];
	char proxy[64];                        // the balancer that said so; empty: nobody did
	struct buffer preface;                 // as much of a PROXY header as has come
	uint64_t probe_bytes;                  // whoever ends after so many only looked in
	struct str client_certificate_header;  // X-Forwarded-Client-Cert, built once; empty until
	                                       // needed
};

void downstream_accept(struct worker_listener *listener, int descriptor);
// No new requests; closes when those under way are over, or drain_timeout is.
void downstream_drain(struct downstream *downstream);
void downstream_close(struct downstream *downstream);      // now
void downstream_wait_anew(struct downstream *downstream);  // idle ones, by another number
// Each phase has its deadline.
void downstream_enter(struct downstream *downstream, enum downstream_phase phase);
// Each head has its own, also one that begins with the last bytes of another.
void downstream_enter_head(struct downstream *downstream);
void downstream_set_deadline(struct downstream *downstream, int64_t after_ns);  // 0: none
struct codec_limits downstream_limits(const struct downstream *downstream);     // as configured now

// Where it comes from, as far as the socket says; whether somebody will say more.
void downstream_note_address(struct downstream *downstream);
struct str downstream_preface(struct link *link, struct str raw);
// Past a ceiling a few more are let in to be told so; beyond those the door is shut: false. They
// are counted apart, or who comes again and again would fill with them the room that others have
// left.
bool downstream_is_let_in(struct downstream *downstream);
// From now on it is one of those. False where there are too many of them.
bool downstream_tell(struct downstream *downstream, struct str detail);
void downstream_fail_handshake(
        struct downstream *downstream, enum reason reason, struct str detail);

// Another configuration is in force: is the caller still let in? Else what is under way may finish,
// within drain_timeout.
void downstream_review(struct downstream *downstream);
void downstream_watch_expiry(struct downstream *downstream);  // sets `expiry`
void downstream_on_expiry(struct timer *timer);
void downstream_last_call(struct downstream *downstream);  // the first step of a drain

const struct config_listener *downstream_config(const struct downstream *downstream);
// Judges the caller again if another configuration came into force since.
void downstream_identify(struct downstream *downstream);
// In the handshake of `alert` mode: may this peer pass? `owner` is the downstream.
enum reason downstream_judge(void *owner, const struct tls_peer *presented);
// Why a handshake failed, with the words for the record.
enum reason downstream_fault(const struct downstream *downstream, struct str *detail);

#endif
