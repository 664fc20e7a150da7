// The last lines of the audit log, kept for /audit: whoever looks at the admin page wants to see
// who was refused just now, also where the log goes to a pipe or to a disk that refuses. Written by
// the audit writer's thread, read by the main thread; each holds the lock for one copy, no worker
// ever does. Bounded in bytes, whatever a line is like; with it off nothing is kept.
#ifndef GATEWAY_AUDIT_RECENT_H
#define GATEWAY_AUDIT_RECENT_H

#include <pthread.h>

#include "base/buffer.h"

enum { AUDIT_RECENT_BYTES = 256 * 1024 };

struct audit_recent {
	pthread_mutex_t lock;
	struct buffer lines;  // whole ones, each with its newline, oldest first
	bool on;
};

void audit_recent_init(struct audit_recent *recent, bool on);
void audit_recent_fini(struct audit_recent *recent);

// With its newline. The oldest lines make room.
void audit_recent_add(struct audit_recent *recent, struct str line);

// The last `most` lines as one JSON array, the newest first.
void audit_recent_write(struct audit_recent *recent, size_t most, struct buffer *out);

#endif
