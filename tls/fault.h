// Turns OpenSSL's numbers into our words, by tables: an X.509 error into a reason, a reason into
// the error that makes OpenSSL send the right alert, an alert into RFC 8446's name. Constant data;
// any thread. No error is ever REASON_NONE: what these tables do not know is refused.
#ifndef TLS_FAULT_H
#define TLS_FAULT_H

#include "base/reason.h"
#include "base/str.h"

enum reason fault_reason(int x509_error);

// The library offers no call to send an alert, but looks one up by the verification's error.
// access_denied (49) is none of those it knows: identity_not_allowed is certificate_unknown (46),
// "some other issue arose in processing the certificate", which is what Envoy sends too.
int fault_x509_error(enum reason reason);

struct str fault_alert_name(int description);  // "unknown_ca"; "alert" for a number nobody assigned

#endif
