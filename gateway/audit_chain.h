// The hash chain: every line carries `seq` and `previous`, the SHA-256 of the whole line before
// without its newline. The first line of a chain has seq 1 and 64 zeros. Owned by the writer
// thread. It makes and reads single lines; files are audit_file and audit_tail.
#ifndef GATEWAY_AUDIT_CHAIN_H
#define GATEWAY_AUDIT_CHAIN_H

#include "base/buffer.h"
#include "base/str.h"
#include "tls/digest.h"

enum { AUDIT_LINE_BYTES = 1 << 20 };  // no line is longer; what is, is none of ours

struct audit_chain {
	uint64_t seq;                // of the last line; 0: none yet
	char hash[DIGEST_HEX_SIZE];  // of the last line
};

void audit_chain_init(struct audit_chain *chain);
void audit_chain_step(struct audit_chain *chain, uint64_t seq, struct str line);

// Appends one whole line: the body's members between timestamp, seq and previous. `extra` is more
// members, with their leading comma, or empty.
void audit_chain_append(struct audit_chain *chain, struct buffer *out, int64_t wall_ns,
        struct str body, struct str extra);

enum audit_link_kind {
	AUDIT_LINK_OURS,
	AUDIT_LINK_FOREIGN,   // JSON, but without seq and previous as we write them
	AUDIT_LINK_NOT_JSON,  // torn, or never was one
};

struct audit_link {
	uint64_t seq;
	char previous[DIGEST_HEX_SIZE];
};

enum audit_link_kind audit_link_read(struct str line, struct audit_link *link);

#endif
