// TLS as a byte machine over OpenSSL: ciphertext in, plaintext out, and back. No sockets, no loop,
// no policy. This is the only folder that includes OpenSSL; base/ and gateway/ see these types
// alone.
//   tls_context   one listener's, or backend's, certificates, trust and settings; immutable once
//                 built; counted; any thread
//   tls_session   one connection's side of ours; owned by its link; that link's thread
//   tls_peer      what the peer's certificate says and whether its chain verified; its session's
// A session never decides who may pass: it verifies the chain, reads the names and reports. In
// `alert` mode, and towards servers always, it asks the judge inside the handshake and fails it
// with the right alert. A session taken up again is held to the same verdict, while it holds
// (resume.h).
#ifndef TLS_TLS_H
#define TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/reason.h"
#include "base/str.h"
#include "conf/config.h"

struct tls_context;
struct tls_session;

// Loads and checks what `tls:` names: chain and key parse and match, the chain's leaf is in its
// dates (else a problem that says so), trusted_ca has at least one CA, the CRL parses. Each problem
// names file and what was expected. One reference. NULL when there was any problem.
MUST_USE struct tls_context *tls_context_new(
        const struct config_tls *tls, struct str key_path, struct config_problems *problems);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context);

// Facts of a certificate for people, records and headers. Text lives in the owner's arena.
struct tls_certificate_facts {
	struct str subject, issuer;         // RFC 2253
	struct str serial;                  // lower-case hex
	struct str sha256;                  // lower-case hex of the DER
	struct str not_before, not_after;   // RFC 3339, seconds
	int64_t not_before_s, not_after_s;  // seconds since 1970
	struct str *uri_sans, *dns_sans;
	size_t uri_san_count, dns_san_count;
};

struct tls_peer {
	struct arena arena;
	bool presented;
	// REASON_NONE: chain verified, leaf is an X509-SVID, exactly one URI SAN, its syntax
	// unjudged.
	enum reason reason;
	struct str detail;  // X.509 error in words, its depth, the subject there; for the record
	                    // alone
	struct tls_certificate_facts leaf;
	struct str uri;  // the URI SAN where there is exactly one
	// When the last certificate of the verified chain begins and the first one ends, since
	// 1970; 0 unless the chain verified.
	int64_t begins_s, expires_s;
};

// For `alert` mode, which needs one, and for servers: may this peer pass? Called at most once, in
// the handshake, on the session's thread, and only for a peer whose own reason is REASON_NONE.
typedef enum reason (*tls_judge)(void *owner, const struct tls_peer *peer);

// `out` receives ciphertext; it belongs to the caller and outlives the session.
MUST_USE struct tls_session *tls_session_new(
        struct tls_context *context, struct buffer *out, tls_judge judge, void *owner);
void tls_session_free(struct tls_session *session);

// Whom a session dials.
struct tls_server {
	struct str name;  // host name or IP address, maybe empty; a name is sent as SNI
	bool h2;          // what is to be spoken; where it is, ALPN has to agree on it
};
// The client's side, of a backend's context; the ClientHello is in `out` already. It opens only
// behind a server that is whom the context says: by its certificate's SPIFFE ID, on which `judge`
// has the last word, or by the server's name; then `judge` is NULL.
MUST_USE struct tls_session *tls_session_dial(struct tls_context *context, struct buffer *out,
        const struct tls_server *server, tls_judge judge, void *owner);
// Whether servers are known by their certificate's SPIFFE ID.
bool tls_context_asks_judge(const struct tls_context *context);

enum tls_status {
	TLS_HANDSHAKING,  // wants more bytes
	TLS_OPEN,
	TLS_ENDED,   // the peer sent close_notify
	TLS_FAILED,  // see tls_fault; what is in `out` (an alert) still has to go to the peer
};

// Gives ciphertext to the session, which borrows it for this call only and appends what it decrypts
// to `plain`. Bytes after a fault or close_notify are ignored. Never blocks.
enum tls_status tls_feed(struct tls_session *session, struct str ciphertext, struct buffer *plain);

// Encrypts all of `plain` into `out`; full records of 16 KiB and a last one. False when the session
// has failed or said close_notify. Never before TLS_OPEN.
MUST_USE bool tls_write(struct tls_session *session, struct str plain);

void tls_close_notify(struct tls_session *session);  // appends it to `out`; idempotent

enum tls_status tls_status(const struct tls_session *session);
// Why it failed: a certificate_* or identity_* reason in `alert` mode, else tls_failed; and the
// words for the audit record.
enum reason tls_fault(const struct tls_session *session, struct str *detail);
// The fatal alert we sent, in RFC 8446's word ("unknown_ca"), for the audit record; empty when none
// was.
struct str tls_session_alert(const struct tls_session *session);
// Whether it failed by a fatal alert of the peer's: that leaves, and nothing was refused.
bool tls_session_peer_gave_up(const struct tls_session *session);

const struct tls_peer *tls_session_peer(
        const struct tls_session *session);  // good once the handshake is over or failed
// Judges the chain that the client once presented by the bundle and lists of another context. What
// tls_session_peer returned before is gone, with its words. Only once the handshake is over.
void tls_session_judge_again(struct tls_session *session, const struct tls_context *context);
bool tls_session_is_h2(
        const struct tls_session *session);  // what ALPN agreed on; http/1.1 without ALPN
// What the end of the handshake left in `out` is nothing that the client waits for (TLS 1.3's
// tickets), and may go with whatever is written next.
bool tls_session_may_wait(const struct tls_session *session);
bool tls_session_resumed(const struct tls_session *session);
struct str tls_session_version(const struct tls_session *session);  // "TLSv1.3"
struct str tls_session_cipher(const struct tls_session *session);
struct str tls_session_sni(const struct tls_session *session);  // empty when none was sent
struct str tls_session_gateway_uri(
        const struct tls_session *session);  // the gateway certificate's own URI SAN or empty

// For /certificates and metrics: each served certificate and trusted CA.
void tls_context_each(const struct tls_context *context,
        void (*visit)(const char *role, const struct tls_certificate_facts *facts, void *argument),
        void *argument);

// All that ends some day: certificates served and what is sent behind them, trusted CAs, and
// revocation lists, which their next update replaces.
struct tls_expiry {
	const char *role;  // `certificate`, `intermediate`, `trusted_ca`, `crl`
	struct str file;
	struct str name;    // the subject's, of a list the issuer's
	struct str serial;  // lower-case hex; of a list empty
	struct str sha256;
	struct str ends;           // RFC 3339, seconds
	int64_t begins_s, ends_s;  // seconds since 1970
};
void tls_context_expiries(const struct tls_context *context,
        void (*visit)(const struct tls_expiry *expiry, void *argument), void *argument);

// Whether the file holds certificates to trust, for those who read it themselves.
MUST_USE bool tls_roots_check(
        const struct config_text *file, struct str key, struct config_problems *problems);

const char *tls_library_version(void);

#endif
