// The audit log proper: the file and the chain through it. Opening one goes on where it ended, or
// where its rotated predecessor did, and mends the line a crash tore: the fragment is cut off, and
// a record of event "torn_line_mended" names its length and hash. While one binary takes the place
// of another (SIGUSR2) both write the same chain: the log is shared, and each claims it for one
// batch of records, going on from wherever the other has come to. Whoever has the claim has no line
// pending when it yields, so that the end of the chain is always in a file. The claim is a lock on
// a file of its own, for the log's may be rotated meanwhile. Owned by the audit writer's thread
// once that runs.
#ifndef GATEWAY_AUDIT_LOG_H
#define GATEWAY_AUDIT_LOG_H

#include "gateway/audit_chain.h"
#include "gateway/audit_file.h"
#include "gateway/audit_lane.h"

enum audit_sharing { AUDIT_ALONE, AUDIT_SHARED };

struct audit_log {
	struct audit_file file;
	struct audit_chain chain;
	enum audit_sharing sharing;
	int claim_file;  // of a shared one; its owner's, and one description a process
	bool claimed;    // until what is pending is written
	int64_t complained_ns;
};

// False with the reason in `why`; nothing is left open then.
// `claim_file`: another process writes it too; -1: nobody does.
MUST_USE bool audit_log_open(struct audit_log *log, const struct config_output *output,
        int claim_file, char why[AUDIT_WHY_SIZE]);

// Before records are appended, and after they were written. A log that is not shared is ours
// anyway. False while the other has it: soon again.
MUST_USE bool audit_log_claim(struct audit_log *log);
void audit_log_yield(struct audit_log *log);
// The other comes, or is gone. Alone again only once the claim was had: false means soon again.
void audit_log_share(struct audit_log *log, int claim_file);
MUST_USE bool audit_log_own(struct audit_log *log);

// Numbers and chains the record, into the file's pending bytes.
void audit_log_append(struct audit_log *log, const struct audit_taken *taken);

// For logrotate. The chain goes on in the file that now has the path; where that is not possible,
// the old file is kept and the process log says why.
void audit_log_reopen(struct audit_log *log);

uint64_t audit_log_pending_lines(const struct audit_log *log);
void audit_log_close(struct audit_log *log);

#endif
