// Cuts what a client sends into whole TLS records before OpenSSL sees it. Given half a record the
// library would set 50 KiB of buffers aside for the rest; here a half costs the bytes that came.
// Part of its session. It looks at the five header bytes alone and never holds more than one
// record.
#ifndef TLS_RECORDS_H
#define TLS_RECORDS_H

#include <stdbool.h>

#include "base/buffer.h"

struct records {
	struct buffer held;  // the beginning of a record
};

// Takes whole records off the front of *bytes, as many as there are; what is left of a last one is
// held. The answer is empty when more must come first. It is good until records_done. What can be
// no TLS record comes through as it is, for OpenSSL to refuse.
struct str records_next(struct records *records, struct str *bytes);
void records_done(struct records *records);
void records_fini(struct records *records);

#endif
