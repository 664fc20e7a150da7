// Whether an endpoint may have requests, and how many beside the others: what its answers said of
// it (ejection, as Envoy's outlier detection has it), what checks said, and how long it has been
// back. Plain state and arithmetic: the time is given, nobody is told. Each worker judges for
// itself. Owned by the endpoint; the worker's thread.
#ifndef GATEWAY_HEALTH_H
#define GATEWAY_HEALTH_H

#include "conf/config.h"

struct health {
	uint32_t failures;   // in a row
	uint32_t ejections;  // of late: each makes the next one longer
	bool nowhere;        // it is a name without an address
	bool ejected;
	bool sick;                         // as checks say
	uint32_t checks_bad, checks_good;  // in a row
	int64_t back_ns;                   // when the last ejection ends, or ended
	int64_t began_ns;  // when it last began to have requests beside others; 0: it always had
};

enum {
	HEALTH_GROWTH_MAX = 10,  // an ejection is at most so many times the first
	HEALTH_WEIGHT = 100,     // what one of the configuration's weights is
	HEALTH_WARMTH_MIN = 10,  // of a hundred: what slow start begins with
};

void health_succeeded(struct health *health);
// True when it has failed often enough to be ejected, if the others can do without it.
bool health_failed(struct health *health, const struct config_ejection *ejection);
// How long it is out. Each ejection adds `base` to the next; each `base` without one takes that
// back.
int64_t health_eject(struct health *health, const struct config_ejection *ejection, int64_t now_ns);
void health_return(struct health *health, int64_t now_ns);
void health_join(struct health *health, int64_t now_ns);  // comes beside others, whatever it was
void health_unejected(struct health *health);             // nobody ejects any more

// A check said so. Whether it takes the endpoint out or in, as far as checks go.
bool health_checked(
        struct health *health, const struct config_health_check *config, bool good, int64_t now_ns);
// Nobody checks any more.
void health_unchecked(struct health *health);

// Whether one more of `count` may be ejected beside `ejected` others, when `in` may have requests
// now: at most the share, but one in any case, and never the last.
bool health_may_eject(
        const struct config_ejection *ejection, size_t count, size_t ejected, size_t in);

bool health_in(const struct health *health);
// Still growing to its weight.
bool health_warming(const struct health *health, int64_t slow_start_ns, int64_t now_ns);
// What it weighs now; 0: it is out.
uint32_t health_weight(
        const struct health *health, uint32_t weight, int64_t slow_start_ns, int64_t now_ns);

#endif
