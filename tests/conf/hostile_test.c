#include "tests/conf/loading.h"
#include "tests/conf/resolver.h"

// Whatever the bytes: a config or at least one problem, every problem with its place and words, and
// no sanitizer has anything to say. The dump of a config reads back as the same.
static void survive(struct str text)
{
	struct config_problems problems = {0};
	struct config *config = config_parse(text, "hostile.yaml", "/etc", &problems);
	assert_true((config != NULL) == (problems.count == 0));
	for (size_t i = 0; i < problems.count; i++) {
		assert_true(problems.items[i].mark.line >= 1);
		assert_true(problems.items[i].mark.column >= 1);
		assert_true(problems.items[i].what.len > 0);
	}
	if (config)
		assert_dump_reads_back(config);
	config_free(config);
	config_problems_fini(&problems);
}

static const char seed[] =
        "version: tollgate/v1\n"
        "admin: {address: 127.0.0.1:9901}\n"
        "access_log: {path: a.jsonl}\n"
        "redis: {address: both.test:1, timeout: 20ms}\n"
        "listeners:\n"
        "  - name: edge\n"
        "    address: \"[::]:8443\"\n"
        "    tls:\n"
        "      certificates: [{certificate_chain: g.pem, private_key: g.key}]\n"
        "      min_version: \"1.2\"\n"
        "      require_client_certificate: true\n"
        "      validation_context:\n"
        "        trusted_ca: ca.pem\n"
        "        match_subject_alt_names: [\"spiffe://cluster.local/*\"]\n"
        "    timeouts: {handshake: 5s}\n"
        "    limits: {header_bytes: 60KiB}\n"
        "    routes:\n"
        "      - match: {grpc: user.UserService/*}\n"
        "        allow: [\"spiffe://cluster.local/ns/web/*\"]\n"
        "        backend: users\n"
        "        timeout: 2s\n"
        "        rate_limits: [{rate: 5/s, burst: 10, per: [identity, 'header:x'], max_keys: 9,"
        " store: redis, lease: 2, fleet: 2, cost: {header: x-c, max: 5}}]\n"
        "        flow_limits: [{messages: 5/s, burst: 10, per: [identity]},"
        " {bytes: 64KiB/s, burst: 1MiB, direction: responses, on_excess: reject}]\n"
        "      - match: {path: /api/*, methods: [GET], hosts: [a.example]}\n"
        "        backend: api\n"
        "        upgrade: [websocket]\n"
        "        rate_limits: [{rate: 5/s, burst: 10, cost: {body: 1KiB, max: 5}}]\n"
        "      - match: {path: /healthz}\n"
        "        respond: {status: 200, body: \"ok\\n\"}\n"
        "backends:\n"
        "  - name: users\n"
        "    protocol: h2\n"
        "    endpoints: [both.test:1, \"unix:x\"]\n"
        "  - {name: api, endpoints: [127.0.0.1:8080]}\n";
enum { SEED_LEN = sizeof(seed) - 1 };

// A copy that ends where its memory ends, so that one byte too far is noticed.
static void survive_exactly(const char *bytes, size_t len)
{
	char *copy = malloc(len ? len : 1);
	memcpy(copy, bytes, len);
	survive(str_of(copy, len));
	free(copy);
}

static void the_seed_is_a_good_file(void **state)
{
	(void)state;
	config_free(assert_parses(STR(seed), "/etc"));
}

static void a_file_cut_at_any_byte_is_survived(void **state)
{
	(void)state;
	for (size_t len = 0; len <= SEED_LEN; len++)
		survive_exactly(seed, len);
}

static void a_file_that_begins_at_any_byte_is_survived(void **state)
{
	(void)state;
	for (size_t start = 0; start <= SEED_LEN; start++)
		survive_exactly(seed + start, SEED_LEN - start);
}

static void any_byte_replaced_by_an_ugly_one_is_survived(void **state)
{
	(void)state;
	static const char ugly[] = "\0\n\t \"'[]{}:,-#&*!|>%@\\0~\x80\xC3\xFF\x1b";
	char text[SEED_LEN];
	memcpy(text, seed, SEED_LEN);
	for (size_t at = 0; at < SEED_LEN; at++) {
		for (size_t i = 0; i < sizeof(ugly) - 1; i++) {
			text[at] = ugly[i];
			survive_exactly(text, SEED_LEN);
		}
		text[at] = seed[at];
	}
}

static void any_bit_flipped_is_survived(void **state)
{
	(void)state;
	char text[SEED_LEN];
	memcpy(text, seed, SEED_LEN);
	for (size_t at = 0; at < SEED_LEN; at++)
		for (int bit = 0; bit < 8; bit++) {
			text[at] = (char)(seed[at] ^ 1 << bit);
			survive_exactly(text, SEED_LEN);
			text[at] = seed[at];
		}
}

static void any_line_left_out_or_doubled_is_survived(void **state)
{
	(void)state;
	for (const char *line = seed; *line;) {
		const char *next = strchr(line, '\n') + 1;
		size_t before = (size_t)(line - seed), after = (size_t)(next - seed);
		char text[2 * SEED_LEN];
		memcpy(text, seed, before);
		memcpy(text + before, next, SEED_LEN - after);
		survive_exactly(text, SEED_LEN - (after - before));
		memcpy(text, seed, after);
		memcpy(text + after, line, SEED_LEN - before);
		survive_exactly(text, SEED_LEN + (after - before));
		line = next;
	}
}

// Words that take the parser or the reader down some special path, each in place of each value.
static void any_value_of_any_shape_is_survived(void **state)
{
	(void)state;
	static const char *const shapes[] = {"", "~", "[]", "{}", "[[]]", "{a: b}", "[{}]",
	        "[a, a]", "\"\"", "\"\\0\"", "&a b", "*a", "!!map {}", "99999999999999999999", "-1",
	        "0", "unix:", "[::1]:1", "true", "auto", "header:", "*", "? a", "- a", "|\n  x",
	        "stdout"};
	for (const char *colon = strchr(seed, ':'); colon; colon = strchr(colon + 1, ':'))
		for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
			size_t head = (size_t)(colon - seed) + 1;
			const char *rest = colon + 1 + strcspn(colon + 1, ",}\n");
			struct buffer text = {0};
			buffer_append(&text, seed, head);
			buffer_printf(&text, " %s%s", shapes[i], rest);
			survive_exactly(buffer_data(&text), buffer_len(&text));
			buffer_fini(&text);
		}
}

static void repetition_is_refused_quickly_whatever_is_repeated(void **state)
{
	(void)state;
	static const char *const pieces[] = {"[", "{", "- ", "? ", ": ", "\"", "a: ", "[a: ", "&a ",
	        "*a ", "!a ", "# ", "\n", " ", "- *a\n", "a: b\n", "a: &a [*a]\n", "%TAG ! a\n",
	        "---\n", "\\", "'", "|\n", ">\n a\n"};
	enum { BYTES = 64 << 10 };
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		struct buffer text = {0};
		while (buffer_len(&text) < BYTES)
			buffer_append_str(&text, str_from(pieces[i]));
		survive(buffer_str(&text));
		buffer_fini(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_seed_is_a_good_file),
	        cmocka_unit_test(a_file_cut_at_any_byte_is_survived),
	        cmocka_unit_test(a_file_that_begins_at_any_byte_is_survived),
	        cmocka_unit_test(any_byte_replaced_by_an_ugly_one_is_survived),
	        cmocka_unit_test(any_bit_flipped_is_survived),
	        cmocka_unit_test(any_line_left_out_or_doubled_is_survived),
	        cmocka_unit_test(any_value_of_any_shape_is_survived),
	        cmocka_unit_test(repetition_is_refused_quickly_whatever_is_repeated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
