// Collects what of a tls_context ends some day, and when: for warnings, metrics and the summary at
// the start. Done once, when the context is built; the texts live in its arena. An expired CA or
// list is no reason not to serve (it lets nobody in, and still revokes), so nothing here complains:
// the gateway's expiry.h does, as long as it serves.
#ifndef TLS_EXPIRY_H
#define TLS_EXPIRY_H

#include "tls/context.h"

void expiry_collect(struct tls_context *context, const struct config_tls *tls);

#endif
