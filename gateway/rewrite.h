// What a route changes of the heads that pass: fields set, added and removed (`request_headers`,
// `response_headers`), the path and the host asked for (`rewrite`), and where clients are sent
// (`redirect`). Builds in the exchange's arena, or lends what the snapshot holds; sends nothing.
// Only called where the route has such a rule. What the gateway vouches for or frames is no rule's
// to change: conf/check_headers.c refuses such names. The connection's thread.
#ifndef GATEWAY_REWRITE_H
#define GATEWAY_REWRITE_H

#include "gateway/exchange.h"

// Of a head; an `interim` one (1xx) only loses fields.
void rewrite_fields(struct exchange *exchange, const struct config_field_rules *rules, bool interim,
        struct fields *fields);
// Whether the rules take a field of that name away, in a head or among trailers.
bool rewrite_takes(
        const struct exchange *exchange, const struct config_field_rules *rules, struct str name);

// The target and the authority of the request that goes upstream; the query stays.
void rewrite_target(struct exchange *exchange, struct head *out);
// Where `redirect` sends the client. Made of checked parts only: the file's, the normalised path,
// the host and the query as they passed the checks of target and host.
struct str rewrite_location(struct exchange *exchange);

#endif
