// An audit record as JSON members (CONTRACT section 3), without the braces and without what the
// writer adds: `timestamp` and `seq` before, `previous` behind. Pure functions; run on the worker,
// straight into its lane. A record is bounded whatever the peer sends: a text is told up to
// AUDIT_TEXT_BYTES and then ends in an ellipsis, a certificate's names up to AUDIT_NAMES_BYTES
// together, so a line stays far below the 1 MiB that `audit verify` reads.
#ifndef GATEWAY_AUDIT_LINE_H
#define GATEWAY_AUDIT_LINE_H

#include "base/buffer.h"
#include "gateway/audit.h"

enum { AUDIT_TEXT_BYTES = 4096, AUDIT_NAMES_BYTES = 8192 };

void audit_line_body(struct buffer *out, const struct audit_record *record);

// What may be said of callers that are counted together for want of room: the reason alone.
void audit_line_reason_body(struct buffer *out, const struct audit_record *record);

// What makes two records like each other: event, reason, principal, listener, policy name and the
// client's address without its port.
void audit_line_key(struct buffer *out, const struct audit_record *record);

#endif
