// The page as it is sent: put together, known to its policy, and the one that the files say.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/admin_page.h"
#include "gateway/admin_page_files.h"

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no %s in\n%s", part, text);
}

static void the_page_shows_the_key_figures(void **state)
{
	(void)state;
	static const char metrics[] =
	        "tollgate_requests_total{a=\"x 9\"} 40\n"
	        "tollgate_requests_total{a=\"y\"} 2\n"
	        "tollgate_requests_total\n"
	        "tollgate_requests_totally 1000\n"
	        "tollgate_config_last_reload_success 0\n"
	        "tollgate_certificate_expiry_timestamp_seconds{s=\"1\"} 864000\n"
	        "tollgate_certificate_expiry_timestamp_seconds{s=\"2\"} 432000\n";
	struct buffer out = {0};
	admin_page(&out, false, STR(metrics), 43200);
	char *page = must_copy(buffer_data(&out), buffer_len(&out));
	assert_has(page, "Requests answered</th><td>42<");
	assert_has(page, "Last reload taken</th><td>no<");
	assert_has(page, "first certificate expires</th><td>4.5<");
	assert_has(page, "<strong id=\"state-word\">draining</strong>");
	assert_has(page, "<title>tollgate: draining</title>");
	assert_null(strstr(page, "Audit records"));
	assert_null(strstr(page, "{{"));
	free(page);
	buffer_fini(&out);
}

// What stands between the tags, as a browser hashes it.
static void assert_known(struct str page, const char *begin, const char *end, const char *directive)
{
	unsigned char hash[EVP_MAX_MD_SIZE], text[2 * EVP_MAX_MD_SIZE];
	char wanted[256];
	unsigned len;
	const char *from = memmem(page.at, page.len, begin, strlen(begin));
	assert_non_null(from);
	from += strlen(begin);
	const char *to = memmem(from, page.len - (size_t)(from - page.at), end, strlen(end));
	assert_non_null(to);
	assert_int_equal(EVP_Digest(from, (size_t)(to - from), hash, &len, EVP_sha256(), NULL), 1);
	EVP_EncodeBlock(text, hash, (int)len);
	snprintf(wanted, sizeof(wanted), "%s 'sha256-%s';", directive, text);
	assert_has(admin_page_policy(), wanted);
}

static void the_policy_of_the_page_knows_its_style_and_script(void **state)
{
	(void)state;
	struct buffer out = {0};
	admin_page(&out, true, STR(""), 0);
	assert_known(buffer_str(&out), "<style>", "</style>", "style-src");
	assert_known(buffer_str(&out), "<script>", "</script>", "script-src");
	assert_null(strstr(admin_page_policy(), "unsafe"));
	assert_has(admin_page_policy(), "frame-ancestors 'none'");
	buffer_fini(&out);
}

static void assert_same_as_file(const char *embedded, const char *const paths[], size_t count)
{
	size_t len = 0;
	for (size_t i = 0; i < count; i++) {
		char bytes[65536];
		FILE *file = fopen(paths[i], "r");
		assert_non_null(file);
		size_t read = fread(bytes, 1, sizeof(bytes), file);
		assert_true(read > 0 && read < sizeof(bytes));
		assert_int_equal(strncmp(embedded + len, bytes, read), 0);
		len += read;
		fclose(file);
	}
	assert_int_equal(strlen(embedded), len);
}

static void what_is_embedded_is_what_the_files_say(void **state)
{
	(void)state;
	static const char *const html[] = {"gateway/page/page.html"},
	                         *const style[] = {"gateway/page/page.css"},
	                         *const script[] = {"gateway/page/model.js",
	                                 "gateway/page/chart.js", "gateway/page/view.js",
	                                 "gateway/page/page.js"};
	assert_same_as_file(admin_page_html, html, ARRAY_LEN(html));
	assert_same_as_file(admin_page_style, style, ARRAY_LEN(style));
	assert_same_as_file(admin_page_script, script, ARRAY_LEN(script));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_page_shows_the_key_figures),
	        cmocka_unit_test(the_policy_of_the_page_knows_its_style_and_script),
	        cmocka_unit_test(what_is_embedded_is_what_the_files_say),
	};
	return cmocka_run_group_tests_name("admin_page", tests, NULL, NULL);
}
