// X-Forwarded-Client-Cert in Envoy's format: By=…;Hash=…;Subject="…";URI=… made from the verified
// certificate alone. Pure.
#ifndef GATEWAY_CLIENT_CERTIFICATE_H
#define GATEWAY_CLIENT_CERTIFICATE_H

#include "base/arena.h"
#include "tls/tls.h"

// One element with exactly one URI=; text in `arena`. `by` is the gateway's own URI, left out when
// empty.
struct str client_certificate_header(
        const struct tls_peer *peer, struct str by, struct arena *arena);

#endif
