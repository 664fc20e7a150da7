// Where a chain stands, read from the end of an existing file (never the whole of it): to go on
// after a restart, to mend the line a crash tore, to refuse a file that is not ours. Runs when the
// log is opened or reopened; blocking.
#ifndef GATEWAY_AUDIT_TAIL_H
#define GATEWAY_AUDIT_TAIL_H

#include "base/check.h"
#include "gateway/audit_chain.h"
#include "gateway/audit_file.h"

struct audit_tail {
	struct audit_chain chain;  // as the last whole line has it; seq 0: the file has none
	uint64_t torn_bytes;       // behind that line; 0: the file ends well
	char torn_hash[DIGEST_HEX_SIZE];
};

// False with the reason in `why` when the file cannot be read or its end is not ours.
MUST_USE bool audit_tail_read(int descriptor, struct audit_tail *tail, char why[AUDIT_WHY_SIZE]);

// Cuts the torn line off. False with the reason in `why`.
MUST_USE bool audit_tail_cut(
        int descriptor, const struct audit_tail *tail, char why[AUDIT_WHY_SIZE]);

// The end of the newest rotated file beside `path` (path.1, path-20261123, ...): for a path that is
// empty because somebody rotated it while nothing was written, or just before a crash. A line torn
// by that is cut off there; `name` is the file it was cut off. seq 0: there is no such file.
void audit_tail_inherit(const char *path, struct audit_tail *tail, struct buffer *name);

#endif
