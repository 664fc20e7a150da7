// How producers wake the audit writer. Any thread may ring; one thread (the writer) waits and
// clears. Ringing is one atomic load when the bell has rung already, which is the common case under
// load; otherwise a mutex held for a store. Protocol: a producer changes its lane, then rings; the
// writer clears, then looks at the lanes. So nothing that was handed over can sleep unseen.
#ifndef GATEWAY_AUDIT_BELL_H
#define GATEWAY_AUDIT_BELL_H

#include <pthread.h>

enum audit_bell_level {
	AUDIT_BELL_QUIET,
	AUDIT_BELL_WANTED,  // there is something to write, no hurry: ends an idle wait
	AUDIT_BELL_URGENT,  // a lane fills up, or reopen, or close: ends every wait
};

struct audit_bell {
	pthread_mutex_t mutex;
	pthread_cond_t rung;
	_Atomic enum audit_bell_level level;  // written under the mutex
};

enum { AUDIT_BELL_FOR_EVER = -1 };

void audit_bell_init(struct audit_bell *bell);
void audit_bell_fini(struct audit_bell *bell);
void audit_bell_ring(struct audit_bell *bell, enum audit_bell_level level);
void audit_bell_clear(struct audit_bell *bell);
// Until it has rung at least this loudly, or the time is over.
void audit_bell_wait(struct audit_bell *bell, enum audit_bell_level level, int at_most_ms);

#endif
