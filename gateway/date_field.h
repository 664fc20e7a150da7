// The Date of answers (RFC 9110, 6.6.1): of those that begin here, and of a backend's without one,
// which whoever passes it on has to give one. Written once a second. Embedded, zeroed at first, in
// what outlives the answers; one thread.
#ifndef GATEWAY_DATE_FIELD_H
#define GATEWAY_DATE_FIELD_H

#include "base/clock.h"
#include "gateway/http/head.h"

struct date_field {
	int64_t until_ns;  // monotonic
	char text[CLOCK_HTTP_SIZE];
};

// Unless there is one. The value is borrowed from `date`: by the time it leaves it may be a second
// on.
void date_field_add(
        struct date_field *date, int64_t now_ns, struct fields *fields, struct arena *arena);

#endif
