// Whom we call: every flaw of a server's certificate, over TLS 1.2 and 1.3, towards servers known
// by name and by SPIFFE ID. Whoever is refused hears the right alert and not a word else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/tls/alerts.h"
#include "tests/tls/camp.h"

enum { BY_NAME = 1, BY_ID = 2, EITHER = BY_NAME | BY_ID };

struct flaw {
	const char *name;
	enum reason reason;
	struct draft leaf, between;  // an intermediate, where it has a cn
	int ways;                    // 0: either
	bool withhold;               // the intermediate
	bool by_itself;              // self-signed
	const char *host;            // NULL: SERVER_NAME
	const char *detail;          // words the log must have
};

static const struct flaw flaws[] = {
        {"a good leaf", REASON_NONE},
        {"a good leaf of an intermediate", REASON_NONE, .between = {.cn = "i", .ca = true}},
        {"RSA-2048", REASON_NONE, {.key = "RSA-2048"}},
        {"P-384", REASON_NONE, {.key = "P-384"}},
        {"P-521", REASON_NONE, {.key = "P-521"}},
        {"Ed25519", REASON_NONE, {.key = "ED25519"}},
        {"no extended key usage", REASON_NONE, {.extended = ""}},
        {"client and server authentication", REASON_NONE, {.extended = "clientAuth,serverAuth"}},
        {"any extended key usage", REASON_NONE, {.extended = "anyExtendedKeyUsage"}},
        {"an intermediate for any usage", REASON_NONE,
                .between = {.cn = "i", .ca = true, .extended = "anyExtendedKeyUsage"}},

        {"self-signed", REASON_certificate_untrusted, .by_itself = true},
        {"the intermediate is withheld", REASON_certificate_untrusted,
                .between = {.cn = "i", .ca = true}, .withhold = true},
        {"a broken signature", REASON_certificate_untrusted, {.broken_signature = true},
                .detail = "at depth 0, subject CN=server"},
        {"of another issuer than it says", REASON_certificate_untrusted, {.issuer_cn = "somebody"}},
        {"ended a second ago", REASON_certificate_expired, {.to_s = -1},
                .detail = "certificate has expired at depth 0"},
        {"an intermediate that ended", REASON_certificate_expired,
                .between = {.cn = "i", .ca = true, .to_s = -1}},
        {"begins in a second", REASON_certificate_not_yet_valid, {.from_s = 1}},
        {"RSA-1024", REASON_certificate_weak, {.key = "RSA-1024"}},
        {"RSA-2047", REASON_certificate_weak, {.key = "RSA-2047"}},
        {"signed over SHA-1", REASON_certificate_weak, {.digest = "SHA1"}},
        {"an intermediate signed over SHA-1", REASON_certificate_weak,
                .between = {.cn = "i", .ca = true, .digest = "SHA1"}},
        {"for clients only", REASON_certificate_wrong_usage, {.extended = "clientAuth"},
                .detail = "the extended key usage lacks serverAuth at depth 0"},
        {"for code only", REASON_certificate_wrong_usage, {.extended = "codeSigning"}},
        {"an intermediate for clients only", REASON_certificate_wrong_usage,
                .between = {.cn = "i", .ca = true, .extended = "clientAuth"},
                .detail = "lacks serverAuth at depth 1, subject CN=i"},
        {"a CA", REASON_certificate_wrong_usage, {.constraints = "critical,CA:TRUE"},
                .detail = "the leaf is a CA certificate"},
        // With this kind of key some servers would still serve it.
        {"no digitalSignature", REASON_certificate_wrong_usage,
                {.key = "RSA-2048", .usage = "keyEncipherment"},
                .detail = "the leaf's key usage lacks digitalSignature"},
        {"issued by a leaf", REASON_certificate_invalid, .between = {.cn = "i"}},
        {"an unknown critical extension", REASON_certificate_invalid, {.unknown_critical = true}},
        {"outside the permitted DNS names", REASON_certificate_invalid,
                .between = {.cn = "i",
                        .ca = true,
                        .name_constraints = "critical,permitted;DNS:good.test"}},
        {"two SAN extensions", REASON_identity_ambiguous,
                {.key = "RSA-2048", .second_names = "DNS:users.internal"}},

        {"no key usage", REASON_NONE, {.usage = ""}, .ways = BY_NAME},
        {"no key usage is no SVID", REASON_certificate_wrong_usage, {.usage = ""}, .ways = BY_ID},
        {"no URI", REASON_identity_missing, {.names = "DNS:users.internal"}, .ways = BY_ID},
        {"no SAN", REASON_identity_missing, {.names = ""}, .ways = BY_ID},
        {"the ID as common name", REASON_identity_missing, {.cn = SERVER_ID, .names = ""},
                .ways = BY_ID},
        {"two URIs", REASON_identity_ambiguous, {.names = "URI:" SERVER_ID ",URI:spiffe://a/b"},
                .ways = BY_ID},
        {"a NUL in the URI", REASON_identity_malformed,
                {.raw_uri = {"spiffe://cluster.local/ns\0.evil.test", 36}}, .ways = BY_ID},
        {"an empty URI", REASON_identity_malformed, {.raw_uri = {"", 0}}, .ways = BY_ID},
        {"known by ID it may have any name", REASON_NONE, .ways = BY_ID, .host = "elsewhere.test"},
        {"known by ID it needs none", REASON_NONE, {.names = "URI:" SERVER_ID}, .ways = BY_ID,
                .host = ""},

#define NAMED(what, reason, san, asked)                                                            \
	{                                                                                          \
		what, reason, {.names = san}, .ways = BY_NAME, .host = asked                       \
	}
#define GOOD(what, san, asked) NAMED(what, REASON_NONE, san, asked)
#define BAD(what, san, asked) NAMED(what, REASON_identity_not_allowed, san, asked)
        GOOD("by name, without a URI", "DNS:users.internal", NULL),
        GOOD("by name, with two URIs", "DNS:users.internal,URI:spiffe://a/b,URI:spiffe://a/c",
                NULL),
        GOOD("the last of several names", "DNS:a.test,IP:10.0.0.1,DNS:users.internal", NULL),
        GOOD("capitals asked for", "DNS:users.internal", "USERS.Internal"),
        GOOD("capitals certified", "DNS:Users.INTERNAL", NULL),
        GOOD("a dot at the end", "DNS:users.internal", "users.internal."),
        GOOD("a name of one label", "DNS:localhost", "localhost"),
        GOOD("a wildcard for one label", "DNS:*.users.internal", "a.users.internal"),
        GOOD("a wildcard in capitals", "DNS:*.USERS.internal", "A.users.Internal"),
        GOOD("an international name", "DNS:xn--bcher-kva.test", "xn--bcher-kva.test"),
        BAD("another name", "DNS:orders.internal", NULL),
        BAD("a name above", "DNS:users.internal", "a.users.internal"),
        BAD("a name below", "DNS:a.users.internal", NULL),
        BAD("a name that begins like it", "DNS:users.internal.evil.test", NULL),
        BAD("a name that ends like it", "DNS:evilusers.internal", NULL),
        BAD("a wildcard for two labels", "DNS:*.users.internal", "b.a.users.internal"),
        BAD("a wildcard for no label", "DNS:*.users.internal", NULL),
        BAD("a wildcard at a label's end", "DNS:u*.users.internal", "u1.users.internal"),
        BAD("a wildcard at a label's beginning", "DNS:*1.users.internal", "u1.users.internal"),
        BAD("a wildcard further on", "DNS:a.*.internal", "a.users.internal"),
        BAD("two wildcards", "DNS:*.*.internal", "a.users.internal"),
        BAD("a wildcard for everything", "DNS:*", "localhost"),
        BAD("a wildcard for a whole top", "DNS:*.internal", NULL),
        BAD("a URI with the host", "URI:https://users.internal/", NULL),
        BAD("an address of mail", "email:root@users.internal", NULL),
        BAD("no name asked for", "DNS:users.internal", ""),
        GOOD("IPv4", "IP:10.0.0.1", "10.0.0.1"),
        GOOD("IPv6", "IP:fd00::1", "fd00::1"),
        GOOD("IPv6, written out", "IP:fd00::1", "FD00:0:0:0:0:0:0:1"),
        GOOD("an address among names", "DNS:users.internal,IP:10.0.0.2,IP:10.0.0.1", "10.0.0.1"),
        BAD("another IPv4 address", "IP:10.0.0.2", "10.0.0.1"),
        BAD("another IPv6 address", "IP:fd00::2", "fd00::1"),
        BAD("an IPv4 address as DNS name", "DNS:10.0.0.1", "10.0.0.1"),
        BAD("an IPv6 address as DNS name", "DNS:fd00::1", "fd00::1"),
        BAD("a wildcard for addresses", "DNS:*.0.0.1", "10.0.0.1"),
        BAD("IPv4 for IPv6 that holds it", "IP:10.0.0.1", "::ffff:10.0.0.1"),
        BAD("an address for a name", "IP:10.0.0.1", NULL),
        {"a common name alone", REASON_identity_not_allowed, {.cn = "users.internal", .names = ""},
                .ways = BY_NAME,
                .detail = "the certificate is not for users.internal; its subject is "
                          "CN=users.internal, its first name no DNS name"},
        {"a common name beside a URI", REASON_identity_not_allowed,
                {.cn = "users.internal", .names = "URI:" SERVER_ID}, .ways = BY_NAME},
        {"an address as common name", REASON_identity_not_allowed,
                {.cn = "10.0.0.1", .names = "DNS:a.test"}, .ways = BY_NAME, .host = "10.0.0.1"},
        {"a NUL in the name", REASON_identity_not_allowed,
                {.raw_san = {"\x30\x16\x82\x14users.internal\0.evil", 24}}, .ways = BY_NAME},
        {"an empty name", REASON_identity_not_allowed, {.raw_san = {"\x30\x02\x82\x00", 4}},
                .ways = BY_NAME, .host = ""},
        {"untrusted before anything else", REASON_certificate_untrusted, {.names = "DNS:a.test"},
                .ways = BY_NAME, .by_itself = true},
};

static enum reason allow(void *asked, const struct tls_peer *peer)
{
	assert_int_equal(peer->reason, REASON_NONE);
	assert_true(peer->uri.len > 0);
	++*(int *)asked;
	return REASON_NONE;
}

// Who is good is heard and hears us; to who is not nothing opened, be it for a moment, and nothing
// was said but the alert.
static bool is_as_expected(struct errand *errand, enum reason expected, const char *words)
{
	struct str detail;
	enum reason fault = tls_fault(errand->session, &detail);
	const struct tls_peer *peer = tls_session_peer(errand->session);
	if (expected == REASON_NONE)
		return tls_status(errand->session) == TLS_OPEN && fault == REASON_NONE &&
		       peer->reason == REASON_NONE && peer->expires_s == NOW_S + DAY &&
		       errand->server_alert == -1 && errand_ask(errand, STR("hello")) &&
		       errand_hear(errand, STR("hello"));
	bool silent = !errand->opened && !tls_write(errand->session, STR("GET /")) &&
	              buffer_len(&errand->out) == 0 && buffer_len(&errand->server_plain) == 0 &&
	              buffer_len(&errand->plain) == 0;
	return silent && tls_status(errand->session) == TLS_FAILED && fault == expected &&
	       peer->presented && peer->reason == expected && errand->server_failed &&
	       errand->server_alert == alert_for(expected) &&
	       tls_session_alert(errand->session).len > 0 && detail.len > 0 &&
	       (!words || memmem(detail.at, detail.len, words, strlen(words)));
}

static bool meet(const struct camp *camp, const struct flaw *flaw,
        const struct errand_server *server, bool by_id)
{
	struct errand errand;
	struct str detail;
	int asked = 0;
	struct tls_server to = {.name = str_from(flaw->host ? flaw->host : SERVER_NAME)};
	errand_init(&errand, by_id ? camp->by_id : camp->by_name, &to, by_id ? allow : NULL, &asked,
	        server);
	errand_pump(&errand);
	bool good = is_as_expected(&errand, flaw->reason, flaw->detail) &&
	            asked == (by_id && flaw->reason == REASON_NONE);
	if (!good)
		print_error("%s, TLS 1.%d, by %s: expected %s, status %d, fault %s (%.*s), "
		            "alert %.*s, server saw %d, asked %d\n",
		        flaw->name, server->version - TLS1_VERSION, by_id ? "ID" : "name",
		        reason_name(flaw->reason), tls_status(errand.session),
		        reason_name(tls_fault(errand.session, &detail)), STR_FMT(detail),
		        STR_FMT(tls_session_alert(errand.session)), errand.server_alert, asked);
	errand_fini(&errand);
	return good;
}

static int count_failures(const struct camp *camp, const struct flaw *flaw)
{
	int failures = 0, ways = flaw->ways ? flaw->ways : EITHER;
	bool has_between = flaw->between.cn;
	struct paper between = {0};
	const struct paper *chain[] = {&between};
	if (has_between)
		between = forge(&flaw->between, &camp->root);
	const struct paper *issuer = has_between ? &between : &camp->root;
	struct paper leaf = camp_forge(&flaw->leaf, flaw->by_itself ? NULL : issuer);
	for (size_t v = 0; v < ARRAY_LEN(camp_versions); v++) {
		struct errand_server server = {.version = camp_versions[v],
		        .paper = &leaf,
		        .chain = chain,
		        .chain_count = has_between && !flaw->withhold};
		if (ways & BY_NAME)
			failures += !meet(camp, flaw, &server, false);
		if (ways & BY_ID)
			failures += !meet(camp, flaw, &server, true);
	}
	paper_fini(&leaf);
	paper_fini(&between);
	return failures;
}

static void every_flaw_ends_the_handshake(void **state)
{
	int failures = 0;
	for (size_t i = 0; i < ARRAY_LEN(flaws); i++)
		failures += count_failures(*state, &flaws[i]);
	assert_int_equal(failures, 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, camp_pitch, camp_strike)

int main(void)
{
	const struct CMUnitTest tests[] = {test(every_flaw_ends_the_handshake)};
	return cmocka_run_group_tests_name("dial_verify", tests, NULL, NULL);
}
