// What a certificate says, in plain and bounded text, whatever bytes it is made of.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/tls/forge.h"
#include "tls/facts.h"

static struct arena arena;

static int release(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

static struct tls_certificate_facts read_facts(
        const struct paper *paper, struct facts_totals *totals)
{
	struct tls_certificate_facts facts;
	facts_read(&arena, paper->x509, FACTS_PEER_NAMES, &facts, totals);
	return facts;
}

static void plain_facts_are_plain(void **state)
{
	(void)state;
	struct facts_totals totals;
	struct paper root = forge(&(struct draft){.cn = "root", .ca = true}, NULL);
	struct paper paper = forge(
	        &(struct draft){.names = "URI:" WEB_ID ",DNS:a.test,DNS:b.test,IP:10.0.0.1"},
	        &root);
	CHECK(ASN1_INTEGER_set_uint64(X509_get_serialNumber(paper.x509), 0x0a1b2c) == 1);
	forge_sign(paper.x509, root.key, NULL);
	struct tls_certificate_facts facts = read_facts(&paper, &totals);
	assert_string_equal(facts.subject.at, "CN=client");
	assert_string_equal(facts.issuer.at, "CN=root");
	assert_string_equal(facts.serial.at, "0a1b2c");
	assert_int_equal(facts.sha256.len, 64);
	assert_string_equal(facts.not_before.at, "2026-11-23T15:30:00Z");
	assert_string_equal(facts.not_after.at, "2026-11-24T16:30:00Z");
	assert_int_equal(facts.not_before_s, NOW_S - HOUR);
	assert_int_equal(facts.not_after_s, NOW_S + DAY);
	assert_int_equal(facts.uri_san_count, 1);
	assert_string_equal(facts.uri_sans[0].at, WEB_ID);
	assert_int_equal(facts.dns_san_count, 2);
	assert_string_equal(facts.dns_sans[1].at, "b.test");
	assert_int_equal(totals.uris, 1);
	assert_int_equal(totals.san_extensions, 1);
	paper_fini(&paper);
	paper_fini(&root);
}

static void names_are_escaped_and_keep_their_utf8(void **state)
{
	static const struct {
		int type;
		struct str bytes;
		const char *text;
	} rows[] = {
	        {V_ASN1_UTF8STRING, STR("plain"), "CN=plain"},
	        {V_ASN1_UTF8STRING, STR("M\xc3\xbcller"), "CN=M\xc3\xbcller"},
	        {V_ASN1_UTF8STRING, STR("a,b=c+d\"e\\f<g>h;i"),
	                "CN=a\\,b=c\\+d\\\"e\\\\f\\<g\\>h\\;i"},
	        {V_ASN1_UTF8STRING, STR("two\r\nlines"), "CN=two\\0D\\0Alines"},
	        {V_ASN1_UTF8STRING, STR("a\0b"), "CN=a\\00b"},
	        {V_ASN1_UTF8STRING, STR("#x"), "CN=\\#x"},
	        {V_ASN1_UTF8STRING, STR("broken\xff\xfe"), "CN=broken\\FF\\FE"},
	        {V_ASN1_T61STRING, STR("M\xfcller"), "CN=M\xc3\xbcller"},
	        {V_ASN1_BMPSTRING, STR("\0M\0\xfc"), "CN=M\xc3\xbc"},
	        {V_ASN1_IA5STRING, STR("tab\there"), "CN=tab\\09here"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		X509_NAME *name = X509_NAME_new();
		X509_NAME_ENTRY *entry = X509_NAME_ENTRY_create_by_NID(NULL, NID_commonName,
		        rows[i].type, (const uint8_t *)rows[i].bytes.at, (int)rows[i].bytes.len);
		CHECK(entry && X509_NAME_add_entry(name, entry, -1, 0) == 1);
		assert_string_equal(facts_name(&arena, name).at, rows[i].text);
		X509_NAME_ENTRY_free(entry);
		X509_NAME_free(name);
	}
}

static void names_of_any_size_are_bounded(void **state)
{
	static char huge[3 * 10000 + 1];
	(void)state;
	for (size_t i = 0; i < 10000; i++)
		memcpy(huge + 3 * i, "\xe2\x82\xac", 3);
	X509_NAME *name = X509_NAME_new();
	X509_NAME_ENTRY *entry = X509_NAME_ENTRY_create_by_NID(
	        NULL, NID_commonName, V_ASN1_UTF8STRING, (const uint8_t *)huge, 3 * 10000);
	CHECK(entry && X509_NAME_add_entry(name, entry, -1, 0) == 1);
	struct str text = facts_name(&arena, name);
	assert_true(text.len <= FACTS_TEXT_MAX && text.len > FACTS_TEXT_MAX - 4);
	assert_memory_equal(text.at + text.len - 3, "\xe2\x82\xac", 3);  // no half of one
	X509_NAME_ENTRY_free(entry);
	X509_NAME_free(name);
}

static void of_many_names_some_are_kept_and_all_counted(void **state)
{
	(void)state;
	struct facts_totals totals;
	char names[4000];
	size_t len = 0;
	for (int i = 0; i < 40; i++)
		len += (size_t)sprintf(
		        names + len, "%sURI:spiffe://a/%d,DNS:d%d.test", i ? "," : "", i, i);
	struct paper paper = forge(
	        &(struct draft){.names = names, .second_names = "URI:spiffe://b/b"}, NULL);
	struct tls_certificate_facts facts = read_facts(&paper, &totals);
	assert_int_equal(facts.uri_san_count, FACTS_PEER_NAMES);
	assert_int_equal(facts.dns_san_count, FACTS_PEER_NAMES);
	assert_string_equal(facts.uri_sans[15].at, "spiffe://a/15");
	assert_int_equal(totals.uris, 41);
	assert_int_equal(totals.san_extensions, 2);
	paper_fini(&paper);
}

static void both_of_two_extensions_are_read(void **state)
{
	(void)state;
	struct facts_totals totals;
	struct paper paper = forge(
	        &(struct draft){.names = "URI:spiffe://a/a", .second_names = "URI:spiffe://b/b"},
	        NULL);
	struct tls_certificate_facts facts = read_facts(&paper, &totals);
	assert_int_equal(facts.uri_san_count, 2);
	assert_string_equal(facts.uri_sans[0].at, "spiffe://a/a");
	assert_string_equal(facts.uri_sans[1].at, "spiffe://b/b");
	paper_fini(&paper);
}

static void a_uri_keeps_its_raw_bytes(void **state)
{
	(void)state;
	struct facts_totals totals;
	struct paper paper = forge(&(struct draft){.raw_uri = STR("spiffe://a/\0\n\xff")}, NULL);
	struct tls_certificate_facts facts = read_facts(&paper, &totals);
	assert_true(str_eq(facts.uri_sans[0], STR("spiffe://a/\0\n\xff")));
	paper_fini(&paper);
}

static void odd_serials_are_hex(void **state)
{
	static const struct {
		const char *decimal, *text;
	} rows[] = {
	        {"0", "00"},
	        {"255", "ff"},
	        {"-1", "-01"},
	        {"1461501637330902918203684832716283019655932542975",
	                "ffffffffffffffffffffffffffffffffffffffff"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct facts_totals totals;
		struct paper paper = forge(&(struct draft){0}, NULL);
		ASN1_INTEGER *serial = s2i_ASN1_INTEGER(NULL, rows[i].decimal);
		CHECK(X509_set_serialNumber(paper.x509, serial) == 1);
		ASN1_INTEGER_free(serial);
		assert_string_equal(read_facts(&paper, &totals).serial.at, rows[i].text);
		paper_fini(&paper);
	}
}

#define test(name) cmocka_unit_test_teardown(name, release)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(plain_facts_are_plain),
	        test(names_are_escaped_and_keep_their_utf8),
	        test(names_of_any_size_are_bounded),
	        test(of_many_names_some_are_kept_and_all_counted),
	        test(both_of_two_extensions_are_read),
	        test(a_uri_keeps_its_raw_bytes),
	        test(odd_serials_are_hex),
	};
	return cmocka_run_group_tests_name("facts", tests, NULL, NULL);
}
