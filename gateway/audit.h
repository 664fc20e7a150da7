// The audit log: one JSON line for every refusal, hash-chained, written by a thread of its own
// (CONTRACT section 3). Workers hand over records and never wait for the disk: each has a lane (a
// bounded queue, 1 MiB); where the lane is full, or one caller repeats itself beyond
// audit.fold_after a second, like records become one with "count":N: exact, none vanishes. The
// writer numbers (`seq`), stamps and chains (`previous` = SHA-256 hex of the line before, without
// its newline), over restarts too: it reads the end of an existing file, mends a torn last line
// (moves it aside into a record of event "torn_line_mended" that names its length and hash) and
// goes on. A chain begins with seq 1 and 64 zeros. A folded record is the first of the folded in
// full, with "count", "first" and "last" added. Lines are not synced one by one: our death costs
// what was handed over in the last 50 ms, the machine's what the kernel had not written. The same
// thread writes the access log, unchained.
#ifndef GATEWAY_AUDIT_H
#define GATEWAY_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/reason.h"
#include "base/str.h"
#include "conf/config.h"
#include "tls/tls.h"

struct audit;       // the writer: thread, files, lanes
struct audit_lane;  // one producer's end; used by that producer's thread only

// Everything a record may say. Empty text and zero counts are left out of the line. Borrowed for
// the call.
struct audit_record {
	const char *event;   // "rejected"
	enum reason reason;  // REASON_NONE: no refusal, but what an auditor should know
	bool authorized;     // it passed all the same
	struct str detail, principal, rpc_method, policy_name, matched_rule, listener;
	struct {
		int status, grpc_status;  // 0 = none / -1 = none
		int64_t retry_after_ms;
		struct str tls_alert;  // where the answer was an alert
	} answer;
	struct {
		struct str address;
		struct str proxy;  // whose word that is (PROXY protocol); empty: the socket's
		const struct tls_certificate_facts *certificate;  // NULL: none presented
	} client;
	struct {
		struct str version, cipher, sni;
		bool resumed;
	} tls;  // version empty: no handshake
	struct {
		struct str id, trace_id, protocol, method, host, path;
	} request;  // protocol empty: no request
};

// Who speaks: certificate and session, as far as the handshake came. The session is borrowed with
// the record; NULL: none was begun.
void audit_record_caller(
        struct audit_record *record, const char *address, const struct tls_session *tls);

// Opens the logs and starts the thread; `lanes` is the number of producers. NULL after adding the
// problem (a path that cannot be opened or continued). With both outputs off records are only
// counted. `claim_file`: a predecessor still writes the same chain, and has it open too
// (audit_log.h); -1: nobody does.
MUST_USE struct audit *audit_open(const struct config *config, size_t lanes, int claim_file,
        struct config_problems *problems);
void audit_follow(struct audit *audit, const struct config *config);  // in force from now on
// Another process writes the same chain from now on, or (-1) does no more.
void audit_share(struct audit *audit, int claim_file);
struct audit_lane *audit_lane_of(struct audit *audit, size_t index);

void audit_submit(struct audit_lane *lane, const struct audit_record *record);
void audit_submit_access(struct audit_lane *lane,
        struct str line);  // a complete JSON object without newline; dropped and counted when full

bool audit_failing(const struct audit
                *audit);  // the disk refuses: with on_failure refuse, workers answer `overloaded`
void audit_reopen(
        struct audit *audit);  // after SIGHUP, for logrotate; the chain goes on in the new file
// For /audit: the last lines as a JSON array, newest first. The main thread, which may wait for the
// writer to copy one line.
void audit_write_recent(struct audit *audit, size_t most, struct buffer *out);
uint64_t audit_records_total(const struct audit *audit);
uint64_t audit_write_failures_total(const struct audit *audit);
uint64_t audit_access_dropped_total(const struct audit *audit);

void audit_close(
        struct audit *audit);  // writes what was handed over (at most 5 s), stops the thread, frees

// `tollgate audit verify FILE...`: 0, or 3 after naming the first broken line on stdout. A torn
// last line is said to be one.
MUST_USE int audit_verify(int file_count, char *const files[]);

#endif
