// One connection to a peer: a TCP or unix socket, TLS on it or none, what waits to be sent, and one
// write in flight. Embedded in its owner (a downstream, upstream or admin connection), which hears
// of everything through link_events. After link_close the owner hears `closed` and nothing else;
// only then may it free the link. It never blocks, never looks at what passes through, and knows
// nothing of HTTP. One thread: its turn's.
#ifndef GATEWAY_NET_LINK_H
#define GATEWAY_NET_LINK_H

#include "conf/config.h"
#include "gateway/net/turn.h"
#include "tls/tls.h"

enum {
	LINK_MARK = 64 * 1024,  // plaintext gathered for one write
	LINK_LINGER_MS = 2000,  // for the peer to hang up, once all is with the kernel
	LINK_FLUSH_MS =
	        10000,  // before that: for the kernel to take a write, however slow the peer
};

enum link_end {
	LINK_PEER_ENDED,  // the peer will send nothing more
	LINK_BROKEN,      // reset, or a write failed
	LINK_TLS_FAILED,  // see link_tls; the alert is on its way
	LINK_CONNECT_FAILED,
};

struct link;

struct link_events {
	// What comes before TLS, while `prefaced`: gives what is left of `raw` once that is whole.
	struct str (*preface)(struct link *link, struct str raw);
	void (*opened)(struct link *link);  // connected, or the handshake is over
	void (*data)(struct link *link, struct str plain);
	void (*ended)(
	        struct link *link, enum link_end why);  // once, but BROKEN may follow PEER_ENDED
	void (*pull)(struct link *link);  // append to link->plain what can be sent, up to LINK_MARK
	void (*settled)(
	        struct link *link);         // after each flush, whether or not all could be written
	void (*closed)(struct link *link);  // the last call
};

struct link {
	union {
		uv_handle_t any;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} handle;
	uv_write_t write;
	union {
		uv_connect_t connect;
		uv_shutdown_t shutdown;
	} request;
	struct turn *turn;
	const struct link_events *events;
	struct tls_session *tls;    // owned; NULL: plaintext
	struct tls_session *dials;  // owned; what `tls` is once it is connected
	struct buffer plain;        // from the owner, to be encrypted or sent
	struct buffer wire;         // ciphertext to be sent (TLS only)
	struct buffer flight;       // being written by libuv
	struct dirty dirty, pause, step;
	struct timer linger;
	bool open, writing, reading, wants_reading, ended, finishing, shut, closing;
	bool last_words;  // by the owner, at init: what the peer said before a write failed still
	                  // counts
	bool prefaced;    // by the owner: something comes first that is for `preface` alone
	bool called;      // it has waited for its step of the handshake, and may read
	bool sated;       // brought much, as others did: nothing more is read in this turn
	bool waits;       // what is in `wire` goes with the first answer: it is but a ticket
	bool mute;  // a write failed: nothing more is written, the rest is heard out, then BROKEN
	bool cut_short;  // by the owner, before link_finish or link_close: what was written is not
	                 // whole, so the connection ends in a reset
	uint64_t bytes_in, bytes_out;  // on the wire
	struct turn_traffic *traffic;  // the turn's, where they are added up
};

// Storage is the owner's and zeroed. After init one of accept or connect; after any failure still
// link_close.
void link_init(
        struct link *link, struct turn *turn, const struct link_events *events, bool unix_socket);
MUST_USE int link_accept(struct link *link, int descriptor);  // 0 or a libuv error
// `tls` is handed over; with it the link opens once the handshake is over.
void link_start(struct link *link, struct tls_session *tls);
// `tls` likewise, of the client's side; NULL: plaintext.
MUST_USE int link_connect(
        struct link *link, const struct config_address *address, struct tls_session *tls);

void link_mark_dirty(struct link *link);  // there is something to pull or to write
// Off takes effect at once, but is told to the kernel at the end of the turn: a reader that waits
// for another connection to take what it has is mostly on again by then.
void link_set_reading(struct link *link, bool on);
void link_finish(
        struct link *link);  // send what is there, announce the end, wait for the peer's, close
void link_close(struct link *link);  // now; idempotent
// Likewise, but what TLS has left to say, an alert or close_notify, goes out first if the kernel
// takes it at once.
void link_part(struct link *link);

bool link_pending(const struct link *link);  // bytes are still waiting for the kernel

#endif
