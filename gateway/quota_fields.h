// What an answer tells its caller of the limits the call was held against, where the listener's
// `rate_limit_headers` says so: RateLimit-Policy and RateLimit
// (draft-ietf-httpapi-ratelimit-headers, sections 3 and 4, structured fields of RFC 9651), and the
// X-RateLimit fields that went before. Over gRPC they are metadata like any other. It never says
// whose limit it is, nor by what it is split. The worker's thread.
#ifndef GATEWAY_QUOTA_FIELDS_H
#define GATEWAY_QUOTA_FIELDS_H

#include "gateway/exchange.h"

enum { QUOTA_FIELDS_MAX = 5 };
void quota_fields_add(struct exchange *exchange, struct fields *fields);
// Whether a backend's field is left out, for ours say the same of another gate.
bool quota_field_is_ours(const struct exchange *exchange, struct str name);

#endif
