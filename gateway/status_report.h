// What /status tells of the running gateway, as JSON: its state, how the last reload went, and
// every counted series, from the very values that a scrape of /metrics reads. The main thread.
#ifndef GATEWAY_STATUS_REPORT_H
#define GATEWAY_STATUS_REPORT_H

#include "gateway/gateway.h"

void status_report(const struct gateway *gateway, struct buffer *out);

// Why the last reload was refused, as comments for the head of /config; nothing when it was taken.
void status_refused_reload(const struct gateway *gateway, struct buffer *out);

// The counters of all workers and of main; the caller frees the array.
MUST_USE struct metrics **status_counters(const struct gateway *gateway, size_t *count);

#endif
