// Time, from one place so that tests can set it. Monotonic for waits and buckets, wall for
// certificates and logs. Any thread. clock_fake is for tests: while a fake is set both clocks stand
// at it.
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

enum { NS_PER_US = 1000, NS_PER_MS = 1000000, NS_PER_S = 1000000000, MS_PER_S = 1000 };

int64_t clock_monotonic_ns(void);
int64_t clock_wall_ns(void);  // since 1970 UTC

void clock_fake(int64_t monotonic_ns, int64_t wall_ns);
void clock_real(void);

// RFC 3339 with microseconds and Z, e.g. 2026-11-23T16:40:00.123456Z; 27 bytes and the NUL.
enum { CLOCK_TEXT_SIZE = 28 };
void clock_text(int64_t wall_ns, char text[CLOCK_TEXT_SIZE]);

// IMF-fixdate (RFC 9110, 5.6.7), e.g. Mon, 23 Nov 2026 16:40:00 GMT; 29 bytes and the NUL; not
// before 1970.
enum { CLOCK_HTTP_SIZE = 30 };
void clock_http(int64_t wall_ns, char text[CLOCK_HTTP_SIZE]);

#endif
