// What a route changes of the heads that pass: fields set, added and removed (`request_headers`,
// `response_headers`). Builds in the exchange's arena, or lends what the snapshot holds; sends
// nothing. Only called where the route has such a rule. What the gateway vouches for or frames is
// no rule's to change: conf/check_headers.c refuses such names. The connection's thread.
#ifndef GATEWAY_REWRITE_H
#define GATEWAY_REWRITE_H

#include "gateway/exchange.h"

// Of a head; an `interim` one (1xx) only loses fields.
void rewrite_fields(struct exchange *exchange, const struct config_field_rules *rules, bool interim,
        struct fields *fields);
// Whether the rules take a field of that name away, in a head or among trailers.
bool rewrite_takes(
        const struct exchange *exchange, const struct config_field_rules *rules, struct str name);

#endif
