// Which alert tells a peer what was found of its certificate, whichever side it is. For tests.
#ifndef TESTS_TLS_ALERTS_H
#define TESTS_TLS_ALERTS_H

#include <openssl/ssl.h>

#include "base/reason.h"

// -1: none.
static inline int alert_for(enum reason reason)
{
	static const int alerts[REASON_COUNT] = {
	        [REASON_certificate_untrusted] = SSL_AD_UNKNOWN_CA,
	        [REASON_certificate_expired] = SSL_AD_CERTIFICATE_EXPIRED,
	        [REASON_certificate_not_yet_valid] = SSL_AD_CERTIFICATE_EXPIRED,
	        [REASON_certificate_revoked] = SSL_AD_CERTIFICATE_REVOKED,
	        [REASON_certificate_wrong_usage] = SSL_AD_UNSUPPORTED_CERTIFICATE,
	        [REASON_certificate_weak] = SSL_AD_BAD_CERTIFICATE,
	        [REASON_certificate_invalid] = SSL_AD_BAD_CERTIFICATE,
	        [REASON_identity_missing] = SSL_AD_BAD_CERTIFICATE,
	        [REASON_identity_ambiguous] = SSL_AD_BAD_CERTIFICATE,
	        [REASON_identity_malformed] = SSL_AD_BAD_CERTIFICATE,
	        [REASON_identity_not_allowed] = SSL_AD_CERTIFICATE_UNKNOWN,
	};
	return reason == REASON_NONE ? -1 : alerts[reason];
}

#endif
