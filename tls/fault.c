#include "tls/fault.h"

#include <openssl/ssl.h>

#include "base/check.h"

// Signatures that do not verify mean "untrusted": that is what a look-alike of a trusted root
// gives.
static const enum reason reasons[] = {
        [X509_V_ERR_UNSPECIFIED] = REASON_certificate_invalid,
        [X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT] = REASON_certificate_untrusted,
        [X509_V_ERR_UNABLE_TO_GET_CRL] = REASON_certificate_invalid,
        [X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE] = REASON_certificate_untrusted,
        [X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE] = REASON_certificate_invalid,
        [X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY] = REASON_certificate_invalid,
        [X509_V_ERR_CERT_SIGNATURE_FAILURE] = REASON_certificate_untrusted,
        [X509_V_ERR_CRL_SIGNATURE_FAILURE] = REASON_certificate_invalid,
        [X509_V_ERR_CERT_NOT_YET_VALID] = REASON_certificate_not_yet_valid,
        [X509_V_ERR_CERT_HAS_EXPIRED] = REASON_certificate_expired,
        [X509_V_ERR_CRL_NOT_YET_VALID] = REASON_certificate_invalid,
        [X509_V_ERR_CRL_HAS_EXPIRED] = REASON_certificate_invalid,
        [X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD] = REASON_certificate_invalid,
        [X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD] = REASON_certificate_invalid,
        [X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD] = REASON_certificate_invalid,
        [X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD] = REASON_certificate_invalid,
        [X509_V_ERR_OUT_OF_MEM] = REASON_certificate_invalid,
        [X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT] = REASON_certificate_untrusted,
        [X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN] = REASON_certificate_untrusted,
        [X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY] = REASON_certificate_untrusted,
        [X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE] = REASON_certificate_untrusted,
        [X509_V_ERR_CERT_CHAIN_TOO_LONG] = REASON_certificate_invalid,
        [X509_V_ERR_CERT_REVOKED] = REASON_certificate_revoked,
        [X509_V_ERR_NO_ISSUER_PUBLIC_KEY] = REASON_certificate_invalid,
        [X509_V_ERR_PATH_LENGTH_EXCEEDED] = REASON_certificate_invalid,
        [X509_V_ERR_INVALID_PURPOSE] = REASON_certificate_wrong_usage,
        [X509_V_ERR_CERT_UNTRUSTED] = REASON_certificate_untrusted,
        [X509_V_ERR_CERT_REJECTED] = REASON_certificate_untrusted,
        [X509_V_ERR_SUBJECT_ISSUER_MISMATCH] = REASON_certificate_untrusted,
        [X509_V_ERR_AKID_SKID_MISMATCH] = REASON_certificate_untrusted,
        [X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH] = REASON_certificate_untrusted,
        [X509_V_ERR_KEYUSAGE_NO_CERTSIGN] = REASON_certificate_invalid,
        [X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER] = REASON_certificate_invalid,
        [X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION] = REASON_certificate_invalid,
        [X509_V_ERR_KEYUSAGE_NO_CRL_SIGN] = REASON_certificate_invalid,
        [X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION] = REASON_certificate_invalid,
        [X509_V_ERR_INVALID_NON_CA] = REASON_certificate_wrong_usage,
        [X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED] = REASON_certificate_invalid,
        [X509_V_ERR_KEYUSAGE_NO_DIGITAL_SIGNATURE] = REASON_certificate_wrong_usage,
        [X509_V_ERR_PROXY_CERTIFICATES_NOT_ALLOWED] = REASON_certificate_invalid,
        [X509_V_ERR_INVALID_EXTENSION] = REASON_certificate_invalid,
        [X509_V_ERR_INVALID_POLICY_EXTENSION] = REASON_certificate_invalid,
        [X509_V_ERR_NO_EXPLICIT_POLICY] = REASON_certificate_invalid,
        [X509_V_ERR_DIFFERENT_CRL_SCOPE] = REASON_certificate_invalid,
        [X509_V_ERR_UNSUPPORTED_EXTENSION_FEATURE] = REASON_certificate_invalid,
        [X509_V_ERR_UNNESTED_RESOURCE] = REASON_certificate_invalid,
        [X509_V_ERR_PERMITTED_VIOLATION] = REASON_certificate_invalid,
        [X509_V_ERR_EXCLUDED_VIOLATION] = REASON_certificate_invalid,
        [X509_V_ERR_SUBTREE_MINMAX] = REASON_certificate_invalid,
        [X509_V_ERR_APPLICATION_VERIFICATION] = REASON_certificate_invalid,
        [X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE] = REASON_certificate_invalid,
        [X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX] = REASON_certificate_invalid,
        [X509_V_ERR_UNSUPPORTED_NAME_SYNTAX] = REASON_certificate_invalid,
        [X509_V_ERR_CRL_PATH_VALIDATION_ERROR] = REASON_certificate_invalid,
        [X509_V_ERR_PATH_LOOP] = REASON_certificate_invalid,
        [X509_V_ERR_SUITE_B_INVALID_VERSION] = REASON_certificate_weak,
        [X509_V_ERR_SUITE_B_INVALID_ALGORITHM] = REASON_certificate_weak,
        [X509_V_ERR_SUITE_B_INVALID_CURVE] = REASON_certificate_weak,
        [X509_V_ERR_SUITE_B_INVALID_SIGNATURE_ALGORITHM] = REASON_certificate_weak,
        [X509_V_ERR_SUITE_B_LOS_NOT_ALLOWED] = REASON_certificate_weak,
        [X509_V_ERR_SUITE_B_CANNOT_SIGN_P_384_WITH_P_256] = REASON_certificate_weak,
        [X509_V_ERR_HOSTNAME_MISMATCH] = REASON_certificate_invalid,
        [X509_V_ERR_EMAIL_MISMATCH] = REASON_certificate_invalid,
        [X509_V_ERR_IP_ADDRESS_MISMATCH] = REASON_certificate_invalid,
        [X509_V_ERR_DANE_NO_MATCH] = REASON_certificate_untrusted,
        [X509_V_ERR_EE_KEY_TOO_SMALL] = REASON_certificate_weak,
        [X509_V_ERR_CA_KEY_TOO_SMALL] = REASON_certificate_weak,
        [X509_V_ERR_CA_MD_TOO_WEAK] = REASON_certificate_weak,
        [X509_V_ERR_INVALID_CALL] = REASON_certificate_invalid,
        [X509_V_ERR_STORE_LOOKUP] = REASON_certificate_untrusted,
        [X509_V_ERR_NO_VALID_SCTS] = REASON_certificate_invalid,
        [X509_V_ERR_PROXY_SUBJECT_NAME_VIOLATION] = REASON_certificate_invalid,
        [X509_V_ERR_OCSP_VERIFY_NEEDED] = REASON_certificate_invalid,
        [X509_V_ERR_OCSP_VERIFY_FAILED] = REASON_certificate_invalid,
        [X509_V_ERR_OCSP_CERT_UNKNOWN] = REASON_certificate_invalid,
        [X509_V_ERR_UNSUPPORTED_SIGNATURE_ALGORITHM] = REASON_certificate_invalid,
        [X509_V_ERR_SIGNATURE_ALGORITHM_MISMATCH] = REASON_certificate_invalid,
        [X509_V_ERR_SIGNATURE_ALGORITHM_INCONSISTENCY] = REASON_certificate_invalid,
        [X509_V_ERR_INVALID_CA] = REASON_certificate_invalid,
        [X509_V_ERR_PATHLEN_INVALID_FOR_NON_CA] = REASON_certificate_invalid,
        [X509_V_ERR_PATHLEN_WITHOUT_KU_KEY_CERT_SIGN] = REASON_certificate_invalid,
        [X509_V_ERR_KU_KEY_CERT_SIGN_INVALID_FOR_NON_CA] = REASON_certificate_wrong_usage,
        [X509_V_ERR_ISSUER_NAME_EMPTY] = REASON_certificate_invalid,
        [X509_V_ERR_SUBJECT_NAME_EMPTY] = REASON_certificate_invalid,
        [X509_V_ERR_MISSING_AUTHORITY_KEY_IDENTIFIER] = REASON_certificate_invalid,
        [X509_V_ERR_MISSING_SUBJECT_KEY_IDENTIFIER] = REASON_certificate_invalid,
        [X509_V_ERR_EMPTY_SUBJECT_ALT_NAME] = REASON_certificate_invalid,
        [X509_V_ERR_EMPTY_SUBJECT_SAN_NOT_CRITICAL] = REASON_certificate_invalid,
        [X509_V_ERR_CA_BCONS_NOT_CRITICAL] = REASON_certificate_invalid,
        [X509_V_ERR_AUTHORITY_KEY_IDENTIFIER_CRITICAL] = REASON_certificate_invalid,
        [X509_V_ERR_SUBJECT_KEY_IDENTIFIER_CRITICAL] = REASON_certificate_invalid,
        [X509_V_ERR_CA_CERT_MISSING_KEY_USAGE] = REASON_certificate_invalid,
        [X509_V_ERR_EXTENSIONS_REQUIRE_VERSION_3] = REASON_certificate_invalid,
        [X509_V_ERR_EC_KEY_EXPLICIT_PARAMS] = REASON_certificate_invalid,
};

enum reason fault_reason(int x509_error)
{
	if (x509_error < 0 || (size_t)x509_error >= ARRAY_LEN(reasons) ||
	        reasons[x509_error] == REASON_NONE)
		return REASON_certificate_invalid;  // X509_V_OK of a check that failed, too
	return reasons[x509_error];
}

int fault_x509_error(enum reason reason)
{
	switch (reason) {
	case REASON_certificate_untrusted:
		return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;  // unknown_ca
	case REASON_certificate_expired:
	case REASON_certificate_not_yet_valid:
		// RFC 8446, 6.2: certificate_expired is "expired or is not currently valid".
		return X509_V_ERR_CERT_HAS_EXPIRED;
	case REASON_certificate_revoked:
		return X509_V_ERR_CERT_REVOKED;  // certificate_revoked
	case REASON_certificate_wrong_usage:
		return X509_V_ERR_INVALID_PURPOSE;  // unsupported_certificate
	case REASON_certificate_weak:
	case REASON_certificate_invalid:
	case REASON_identity_missing:
	case REASON_identity_ambiguous:
	case REASON_identity_malformed:
		return X509_V_ERR_CERT_REJECTED;  // bad_certificate
	case REASON_NONE:
	case REASON_certificate_missing:
	case REASON_identity_not_allowed:
	case REASON_route_not_allowed:
	case REASON_no_route:
	case REASON_rate_limited:
	case REASON_malformed_request:
	case REASON_request_too_large:
	case REASON_request_timeout:
	case REASON_overloaded:
	case REASON_protocol_violation:
	case REASON_tls_failed:
	case REASON_COUNT:
		break;
	}
	return X509_V_ERR_PERMITTED_VIOLATION;  // none of its own: certificate_unknown
}

// RFC 8446, 6; the last column of IANA's TLS Alerts registry for the older ones.
static const char *const alerts[] = {
        [0] = "close_notify",
        [10] = "unexpected_message",
        [20] = "bad_record_mac",
        [21] = "decryption_failed",
        [22] = "record_overflow",
        [30] = "decompression_failure",
        [40] = "handshake_failure",
        [41] = "no_certificate",
        [42] = "bad_certificate",
        [43] = "unsupported_certificate",
        [44] = "certificate_revoked",
        [45] = "certificate_expired",
        [46] = "certificate_unknown",
        [47] = "illegal_parameter",
        [48] = "unknown_ca",
        [49] = "access_denied",
        [50] = "decode_error",
        [51] = "decrypt_error",
        [60] = "export_restriction",
        [70] = "protocol_version",
        [71] = "insufficient_security",
        [80] = "internal_error",
        [86] = "inappropriate_fallback",
        [90] = "user_canceled",
        [100] = "no_renegotiation",
        [109] = "missing_extension",
        [110] = "unsupported_extension",
        [111] = "certificate_unobtainable",
        [112] = "unrecognized_name",
        [113] = "bad_certificate_status_response",
        [114] = "bad_certificate_hash_value",
        [115] = "unknown_psk_identity",
        [116] = "certificate_required",
        [120] = "no_application_protocol",
};

struct str fault_alert_name(int description)
{
	if (description < 0 || (size_t)description >= ARRAY_LEN(alerts) || !alerts[description])
		return STR("alert");
	return str_from(alerts[description]);
}
