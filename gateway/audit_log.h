// The audit log proper: the file and the chain through it. Opening one goes on where it ended, or
// where its rotated predecessor did, and mends the line a crash tore: the fragment is cut off, and
// a record of event "torn_line_mended" names its length and hash. Owned by the audit writer's
// thread once that runs.
#ifndef GATEWAY_AUDIT_LOG_H
#define GATEWAY_AUDIT_LOG_H

#include "gateway/audit_chain.h"
#include "gateway/audit_file.h"
#include "gateway/audit_lane.h"

struct audit_log {
	struct audit_file file;
	struct audit_chain chain;
};

// False with the reason in `why`; nothing is left open then.
MUST_USE bool audit_log_open(
        struct audit_log *log, const struct config_output *output, char why[AUDIT_WHY_SIZE]);

// Numbers and chains the record, into the file's pending bytes.
void audit_log_append(struct audit_log *log, const struct audit_taken *taken);

// For logrotate. The chain goes on in the file that now has the path; where that is not possible,
// the old file is kept and the process log says why.
void audit_log_reopen(struct audit_log *log);

uint64_t audit_log_pending_lines(const struct audit_log *log);
void audit_log_close(struct audit_log *log);

#endif
