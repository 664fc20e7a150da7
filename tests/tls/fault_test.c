// Every number OpenSSL may give has a word of ours, and no error is ever "none".
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "base/check.h"
#include "tls/fault.h"

static void no_x509_error_is_none(void **state)
{
	(void)state;
	for (int error = -10; error <= 1000; error++) {
		enum reason reason = fault_reason(error);
		assert_true(reason >= REASON_certificate_untrusted);
		assert_true(reason <= REASON_certificate_invalid);
	}
}

static void x509_errors_have_their_reason(void **state)
{
	static const struct {
		int error;
		enum reason reason;
	} rows[] = {
	        {X509_V_OK, REASON_certificate_invalid},
	        {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, REASON_certificate_untrusted},
	        {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, REASON_certificate_untrusted},
	        {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, REASON_certificate_untrusted},
	        {X509_V_ERR_CERT_SIGNATURE_FAILURE, REASON_certificate_untrusted},
	        {X509_V_ERR_CERT_HAS_EXPIRED, REASON_certificate_expired},
	        {X509_V_ERR_CERT_NOT_YET_VALID, REASON_certificate_not_yet_valid},
	        {X509_V_ERR_CERT_REVOKED, REASON_certificate_revoked},
	        {X509_V_ERR_INVALID_PURPOSE, REASON_certificate_wrong_usage},
	        {X509_V_ERR_EE_KEY_TOO_SMALL, REASON_certificate_weak},
	        {X509_V_ERR_CA_KEY_TOO_SMALL, REASON_certificate_weak},
	        {X509_V_ERR_CA_MD_TOO_WEAK, REASON_certificate_weak},
	        {X509_V_ERR_PATH_LENGTH_EXCEEDED, REASON_certificate_invalid},
	        {X509_V_ERR_PERMITTED_VIOLATION, REASON_certificate_invalid},
	        {X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION, REASON_certificate_invalid},
	        {X509_V_ERR_INVALID_CA, REASON_certificate_invalid},
	        {X509_V_ERR_CERT_CHAIN_TOO_LONG, REASON_certificate_invalid},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(fault_reason(rows[i].error), rows[i].reason);
}

// What goes to OpenSSL to have an alert sent is never X509_V_OK: that would let the client in.
static void every_reason_is_an_error_to_openssl(void **state)
{
	(void)state;
	for (int reason = 0; reason < REASON_COUNT; reason++)
		assert_int_not_equal(fault_x509_error((enum reason)reason), X509_V_OK);
}

static void alerts_are_named_as_in_the_rfc(void **state)
{
	static const struct {
		int number;
		const char *name;
	} rows[] = {
	        {SSL_AD_CLOSE_NOTIFY, "close_notify"},
	        {SSL_AD_UNKNOWN_CA, "unknown_ca"},
	        {SSL_AD_ACCESS_DENIED, "access_denied"},
	        {SSL_AD_CERTIFICATE_REQUIRED, "certificate_required"},
	        {SSL_AD_NO_APPLICATION_PROTOCOL, "no_application_protocol"},
	        {1, "alert"},
	        {-1, "alert"},
	        {121, "alert"},
	        {255, "alert"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(fault_alert_name(rows[i].number).at, rows[i].name);
	// Every alert the library can word, we can.
	for (int number = 0; number < 256; number++)
		if (strcmp(SSL_alert_desc_string_long(number), "unknown") != 0)
			assert_string_not_equal(fault_alert_name(number).at, "alert");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(no_x509_error_is_none),
	        cmocka_unit_test(x509_errors_have_their_reason),
	        cmocka_unit_test(every_reason_is_an_error_to_openssl),
	        cmocka_unit_test(alerts_are_named_as_in_the_rfc),
	};
	return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
