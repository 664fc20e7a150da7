// Who is let in: every flaw of a client certificate, over TLS 1.2 and 1.3, answered (`forbid`) and
// refused in the handshake (`alert`).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/tls/alerts.h"
#include "tests/tls/desk.h"
#include "tests/tls/duel.h"

static struct {
	struct desk desk;
	struct paper root, rsa_root, weak_root, impostor, gateway;
	struct tls_context *forbid, *alert;
} world;

enum issuer { BY_ROOT, BY_RSA_ROOT, BY_WEAK_ROOT, BY_IMPOSTOR, BY_ITSELF };

struct flaw {
	const char *name;
	enum reason reason;
	struct draft leaf;
	enum issuer issuer;
	struct draft between[3];  // intermediates from the root down, while they have a cn
	bool withhold;            // does not send them
	const char *detail;       // words the record must have
};

static char uri_2048[2048 + 1], uri_2049[2049 + 1];

// The names of a leaf in DER, for what OpenSSL would not write.
#define URI_A                                                                                      \
	"\x86\x0c"                                                                                 \
	"spiffe://a/b"

static const struct flaw flaws[] = {
        {"a good leaf of the root", REASON_NONE},
        {"a good leaf of an intermediate", REASON_NONE, .between = {{.cn = "i", .ca = true}}},
        {"a good leaf under three intermediates", REASON_NONE,
                .between = {{.cn = "i1", .ca = true}, {.cn = "i2", .ca = true},
                        {.cn = "i3", .ca = true}}},
        {"RSA-2048", REASON_NONE, {.key = "RSA-2048"}, BY_RSA_ROOT},
        {"RSA-4096", REASON_NONE, {.key = "RSA-4096"}},
        {"P-384", REASON_NONE, {.key = "P-384"}},
        {"P-521", REASON_NONE, {.key = "P-521"}},
        {"Ed25519", REASON_NONE, {.key = "ED25519"}},
        {"SHA-384 and SHA-512", REASON_NONE, {.digest = "SHA512"},
                .between = {{.cn = "i", .ca = true, .digest = "SHA384"}}},
        {"no key identifiers", REASON_NONE, {.no_key_ids = true},
                .between = {{.cn = "i", .ca = true, .no_key_ids = true}}},
        {"no extended key usage", REASON_NONE, {.extended = ""}},
        {"client and server authentication", REASON_NONE, {.extended = "serverAuth,clientAuth"}},
        {"any extended key usage", REASON_NONE, {.extended = "anyExtendedKeyUsage"}},
        {"more key usages than needed", REASON_NONE,
                {.usage = "digitalSignature,keyEncipherment,keyAgreement"}},
        {"names of other types beside the URI", REASON_NONE,
                {.names = "DNS:a.test,email:a@b.test,IP:10.0.0.1,URI:" WEB_ID}},
        {"a DNS constraint does not bind a common name", REASON_NONE, {.cn = "www.evil.test"},
                .between = {{.cn = "i",
                        .ca = true,
                        .name_constraints = "permitted;DNS:good.test"}}},
        {"a path length that just suffices", REASON_NONE,
                .between = {{.cn = "i1", .ca = true, .constraints = "critical,CA:TRUE,pathlen:1"},
                        {.cn = "i2", .ca = true, .constraints = "critical,CA:TRUE,pathlen:0"}}},
        {"a URI constraint that permits", REASON_NONE,
                .between = {{.cn = "i",
                        .ca = true,
                        .name_constraints = "permitted;URI:cluster.local"}}},
        {"an intermediate for any usage", REASON_NONE,
                .between = {{.cn = "i", .ca = true, .extended = "anyExtendedKeyUsage"}}},
        {"an intermediate for client authentication", REASON_NONE,
                .between = {{.cn = "i", .ca = true, .extended = "clientAuth"}}},
        {"a URI of 2048 bytes", REASON_NONE, {.raw_uri = {uri_2048, 2048}}},
        {"a URI of 2049 bytes is policy's to judge", REASON_NONE, {.raw_uri = {uri_2049, 2049}}},
        {"a URI without a scheme is policy's to judge", REASON_NONE, {.names = "URI:http://a/b"}},

        {"self-signed", REASON_certificate_untrusted, .issuer = BY_ITSELF},
        {"an impostor of the root: same name, same key id", REASON_certificate_untrusted,
                .issuer = BY_IMPOSTOR},
        {"an intermediate of the impostor", REASON_certificate_untrusted, .issuer = BY_IMPOSTOR,
                .between = {{.cn = "i", .ca = true}}},
        {"the intermediate is withheld", REASON_certificate_untrusted, .withhold = true,
                .between = {{.cn = "i", .ca = true}}},
        {"a broken signature", REASON_certificate_untrusted, {.broken_signature = true},
                .detail = "at depth 0, subject CN=client"},
        {"an intermediate's broken signature", REASON_certificate_untrusted,
                .between = {{.cn = "i", .ca = true, .broken_signature = true}},
                .detail = "at depth 1, subject CN=i"},
        {"of another issuer than it says", REASON_certificate_untrusted, {.issuer_cn = "somebody"}},

        {"ended a second ago", REASON_certificate_expired, {.to_s = -1},
                .detail = "certificate has expired at depth 0"},
        {"an intermediate that ended", REASON_certificate_expired,
                .between = {{.cn = "i", .ca = true, .to_s = -1}},
                .detail = "certificate has expired at depth 1, subject CN=i"},
        {"begins in a second", REASON_certificate_not_yet_valid, {.from_s = 1}},
        {"an intermediate that begins tomorrow", REASON_certificate_not_yet_valid,
                .between = {{.cn = "i", .ca = true, .from_s = DAY}}},

        {"RSA-1024", REASON_certificate_weak, {.key = "RSA-1024"}},
        {"RSA-2040", REASON_certificate_weak, {.key = "RSA-2040"}},
        {"RSA-2047", REASON_certificate_weak, {.key = "RSA-2047"}},
        {"an intermediate's RSA-1024", REASON_certificate_weak,
                .between = {{.cn = "i", .ca = true, .key = "RSA-1024"}}},
        {"an intermediate's RSA-2047", REASON_certificate_weak,
                .between = {{.cn = "i", .ca = true, .key = "RSA-2047"}},
                .detail = "an RSA key under 2048 bits at depth 1, subject CN=i"},
        {"a root of RSA-1024", REASON_certificate_weak, .issuer = BY_WEAK_ROOT},
        {"signed over SHA-1", REASON_certificate_weak, {.digest = "SHA1"}},
        {"signed over SHA-1 with RSA", REASON_certificate_weak, {.digest = "SHA1"}, BY_RSA_ROOT},
        {"signed over MD5", REASON_certificate_weak, {.digest = "MD5"}, BY_RSA_ROOT},
        {"an intermediate signed over SHA-1", REASON_certificate_weak,
                .between = {{.cn = "i", .ca = true, .digest = "SHA1"}}},
        {"a curve spelt out", REASON_certificate_invalid,
                .between = {{.cn = "i", .ca = true, .explicit_curve = true}}},

        {"a CA", REASON_certificate_wrong_usage, {.constraints = "critical,CA:TRUE"},
                .detail = "the leaf is a CA certificate"},
        {"keyCertSign", REASON_certificate_wrong_usage, {.usage = "digitalSignature,keyCertSign"}},
        {"cRLSign", REASON_certificate_wrong_usage, {.usage = "digitalSignature,cRLSign"}},
        {"no digitalSignature", REASON_certificate_wrong_usage, {.usage = "keyEncipherment"}},
        {"keyAgreement is no digitalSignature", REASON_certificate_wrong_usage,
                {.usage = "keyAgreement"}},
        {"no key usage at all", REASON_certificate_wrong_usage, {.usage = ""}},
        {"for servers only", REASON_certificate_wrong_usage, {.extended = "serverAuth"}},
        {"for code only", REASON_certificate_wrong_usage, {.extended = "codeSigning"}},
        {"an intermediate for servers only", REASON_certificate_wrong_usage,
                .between = {{.cn = "i", .ca = true, .extended = "serverAuth"}}},
        {"version 1, without any extension", REASON_certificate_wrong_usage, {.v1 = true}},
        {"version 2, with extensions", REASON_certificate_invalid, {.claims_v2 = true},
                .detail = "not of version 3"},

        {"issued by a leaf", REASON_certificate_invalid, .between = {{.cn = "i"}}},
        {"issued by a CA:FALSE with keyCertSign", REASON_certificate_invalid,
                .between = {{.cn = "i", .usage = "keyCertSign"}}},
        {"issued without basic constraints", REASON_certificate_invalid,
                .between = {{.cn = "i", .ca = true, .constraints = ""}}},
        {"issued by a version 1 certificate", REASON_certificate_invalid,
                .between = {{.cn = "i", .ca = true, .v1 = true}}},
        {"issued by a CA without keyCertSign", REASON_certificate_invalid,
                .between = {{.cn = "i", .ca = true, .usage = "cRLSign"}}},
        {"a path longer than an intermediate allows", REASON_certificate_invalid,
                .between = {{.cn = "i1", .ca = true, .constraints = "critical,CA:TRUE,pathlen:0"},
                        {.cn = "i2", .ca = true}}},
        {"outside the permitted trust domain", REASON_certificate_invalid,
                .between = {{.cn = "i",
                        .ca = true,
                        .name_constraints = "critical,permitted;URI:other.example"}}},
        {"inside an excluded trust domain", REASON_certificate_invalid,
                .between = {{.cn = "i",
                        .ca = true,
                        .name_constraints = "critical,excluded;URI:cluster.local"}}},
        {"outside the permitted DNS names", REASON_certificate_invalid,
                {.names = "DNS:evil.test,URI:" WEB_ID},
                .between = {{.cn = "i",
                        .ca = true,
                        .name_constraints = "critical,permitted;DNS:good.test"}}},
        {"an unknown critical extension", REASON_certificate_invalid, {.unknown_critical = true},
                .detail = "unhandled critical extension at depth 0"},
        {"an intermediate's unknown critical extension", REASON_certificate_invalid,
                .between = {{.cn = "i", .ca = true, .unknown_critical = true}}},
        {"a SAN that does not parse", REASON_certificate_invalid,
                {.raw_san = {"\x30\x05\x86\x10", 4}}},

        {"no SAN", REASON_identity_missing, {.names = ""}},
        {"an empty SAN", REASON_identity_missing, {.raw_san = {"\x30\x00", 2}}},
        {"a DNS name alone", REASON_identity_missing, {.names = "DNS:cluster.local"}},
        {"the ID as common name", REASON_identity_missing, {.cn = WEB_ID, .names = ""}},
        {"the ID as DNS name", REASON_identity_missing, {.names = "DNS:" WEB_ID}},
        {"two URIs", REASON_identity_ambiguous, {.names = "URI:" WEB_ID ",URI:spiffe://a/b"}},
        {"two URIs, one no SPIFFE ID", REASON_identity_ambiguous,
                {.names = "URI:" WEB_ID ",URI:https://a.test/"}},
        {"the same URI twice", REASON_identity_ambiguous, {.names = "URI:" WEB_ID ",URI:" WEB_ID}},
        {"two SAN extensions", REASON_identity_ambiguous, {.second_names = "URI:spiffe://a/b"}},
        {"two SAN extensions, one of DNS names", REASON_identity_ambiguous,
                {.second_names = "DNS:a.test"}},
        {"a NUL in the URI", REASON_identity_malformed,
                {.raw_uri = {"spiffe://cluster.local/ns\0.evil.test", 36}}},
        {"a line end in the URI", REASON_identity_malformed,
                {.raw_uri = {"spiffe://cluster.local/a\r\nb", 27}}},
        {"an empty URI", REASON_identity_malformed, {.raw_uri = {"", 0}}},
};

static const struct paper *issuer_of(enum issuer issuer)
{
	switch (issuer) {
	case BY_ROOT:
		return &world.root;
	case BY_RSA_ROOT:
		return &world.rsa_root;
	case BY_WEAK_ROOT:
		return &world.weak_root;
	case BY_IMPOSTOR:
		return &world.impostor;
	case BY_ITSELF:
		return NULL;
	}
	return NULL;
}

// What a client presents: leaf first, then its intermediates upwards.
struct folder {
	struct paper papers[4];
	const struct paper *chain[3];
	size_t count;
};

static void folder_make(struct folder *folder, const struct flaw *flaw)
{
	struct paper made[3];
	const struct paper *issuer = issuer_of(flaw->issuer);
	size_t between = 0;
	for (; between < 3 && flaw->between[between].cn; between++) {
		made[between] = forge(&flaw->between[between], issuer);
		issuer = &made[between];
	}
	*folder = (struct folder){.count = 1};
	folder->papers[0] = forge(&flaw->leaf, issuer);
	while (between) {
		folder->papers[folder->count] = made[--between];
		folder->chain[folder->count - 1] = &folder->papers[folder->count];
		folder->count++;
	}
}

static void folder_fini(struct folder *folder)
{
	for (size_t i = 0; i < folder->count; i++)
		paper_fini(&folder->papers[i]);
}

static struct duel_client client_of(
        const struct folder *folder, const struct flaw *flaw, int version)
{
	return (struct duel_client){.version = version,
	        .paper = &folder->papers[0],
	        .chain = folder->chain,
	        .chain_count = flaw->withhold ? 0 : folder->count - 1};
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static int failures;

static void report(const struct flaw *flaw, int version, const char *mode, const struct duel *duel)
{
	struct str detail;
	enum reason fault = tls_fault(duel->session, &detail);
	const struct tls_peer *peer = tls_session_peer(duel->session);
	print_error("%s, TLS 1.%d, %s: expected %s, status %d, peer %s (%.*s), fault %s (%.*s), "
	            "alert %.*s, client saw %d\n",
	        flaw->name, version - TLS1_VERSION, mode, reason_name(flaw->reason),
	        tls_status(duel->session), reason_name(peer->reason), STR_FMT(peer->detail),
	        reason_name(fault), STR_FMT(detail), STR_FMT(tls_session_alert(duel->session)),
	        duel->client_alert);
	failures++;
}

static bool has_words(struct str text, const char *words)
{
	return !words || memmem(text.at, text.len, words, strlen(words));
}

// `forbid`: the handshake completes, words pass both ways, and the verdict stands in the peer.
static void expect_answered(const struct flaw *flaw, const struct folder *folder, int version)
{
	struct duel duel;
	struct duel_client client = client_of(folder, flaw, version);
	duel_init(&duel, world.forbid, NULL, NULL, &client);
	duel_pump(&duel);
	const struct tls_peer *peer = tls_session_peer(duel.session);
	bool good = tls_status(duel.session) == TLS_OPEN && !duel.client_failed &&
	            duel_say(&duel, STR("let me in")) && duel_answer(&duel, STR("no")) &&
	            peer->presented && peer->reason == flaw->reason &&
	            peer->leaf.sha256.len == 64 &&
	            !peer->detail.len == (flaw->reason == REASON_NONE) &&
	            (peer->reason != REASON_NONE || peer->expires_s == NOW_S + DAY) &&
	            has_words(peer->detail, flaw->detail);
	if (!good)
		report(flaw, version, "forbid", &duel);
	duel_fini(&duel);
}

static enum reason allow(void *asked, const struct tls_peer *peer)
{
	assert_int_equal(peer->reason, REASON_NONE);
	++*(int *)asked;
	return REASON_NONE;
}

// `alert`: the handshake fails with the reason's alert; who is good gets through as before.
static void expect_alert(const struct flaw *flaw, const struct folder *folder, int version)
{
	struct duel duel;
	int asked = 0;
	struct duel_client client = client_of(folder, flaw, version);
	duel_init(&duel, world.alert, allow, &asked, &client);
	duel_pump(&duel);
	bool let_in = flaw->reason == REASON_NONE;
	bool good = tls_status(duel.session) == (let_in ? TLS_OPEN : TLS_FAILED) &&
	            duel_fault(&duel) == flaw->reason && duel.client_failed == !let_in &&
	            duel.client_alert == alert_for(flaw->reason) && asked == let_in &&
	            tls_session_peer(duel.session)->reason == flaw->reason;
	if (!good)
		report(flaw, version, "alert", &duel);
	duel_fini(&duel);
}

static void every_flaw_is_answered_and_alerted(void **state)
{
	(void)state;
	failures = 0;
	for (size_t i = 0; i < ARRAY_LEN(flaws); i++) {
		struct folder folder;
		folder_make(&folder, &flaws[i]);
		for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
			expect_answered(&flaws[i], &folder, versions[v]);
			expect_alert(&flaws[i], &folder, versions[v]);
		}
		folder_fini(&folder);
	}
	assert_int_equal(failures, 0);
}

static int set_up(void **state)
{
	(void)state;
	memset(uri_2048, 'a', 2048);
	memset(uri_2049, 'a', 2049);
	memcpy(uri_2048, "spiffe://a/", 11);
	memcpy(uri_2049, "spiffe://a/", 11);
	clock_fake(0, NOW_S * NS_PER_S);
	desk_init(&world.desk);
	world.root = forge(&(struct draft){.cn = "root", .ca = true}, NULL);
	world.rsa_root = forge(&(struct draft){.cn = "rsa", .ca = true, .key = "RSA-2048"}, NULL);
	world.weak_root = forge(&(struct draft){.cn = "weak", .ca = true, .key = "RSA-1024"}, NULL);
	world.impostor = forge(
	        &(struct draft){.cn = "root", .ca = true, .key_id_of = &world.root}, NULL);
	world.gateway = forge(
	        &(struct draft){.cn = "gateway", .extended = "serverAuth"}, &world.root);
	desk_serve(&world.desk, &world.gateway);
	desk_trust(&world.desk,
	        (const struct paper *[]){&world.root, &world.rsa_root, &world.weak_root}, 3);
	world.forbid = desk_context(&world.desk);
	world.desk.tls.on_unauthenticated = UNAUTHENTICATED_ALERT;
	world.alert = desk_context(&world.desk);
	return world.forbid && world.alert ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	tls_context_unref(world.forbid);
	tls_context_unref(world.alert);
	struct paper *papers[] = {
	        &world.root, &world.rsa_root, &world.weak_root, &world.impostor, &world.gateway};
	for (size_t i = 0; i < ARRAY_LEN(papers); i++)
		paper_fini(papers[i]);
	desk_fini(&world.desk);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_flaw_is_answered_and_alerted)};
	return cmocka_run_group_tests_name("verify", tests, set_up, tear_down);
}
