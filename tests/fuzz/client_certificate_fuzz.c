// X-Forwarded-Client-Cert: whatever a certificate's names hold, a strict reader of Envoy's grammar
// finds one element with the four keys once each, and the subject's quotes closed.
//   BY \n SUBJECT \n URI
#include "gateway/client_certificate.h"
#include "tests/fuzz/fuzz.h"

struct pairs {
	struct str keys[8];
	struct str values[8];
	size_t count;
};

// A value up to ';' or the end; false where the grammar is broken or a second element begins.
static bool read_value(struct str *text, struct str *value)
{
	size_t i = 0;
	bool quoted = str_starts(*text, STR("\""));
	for (i = quoted; i < text->len; i++) {
		char c = text->at[i];
		if (quoted && c == '\\') {
			i++;
			if (i >= text->len || (text->at[i] != '"' && text->at[i] != '\\'))
				return false;
		} else if (quoted && c == '"') {
			i++;
			quoted = false;
			break;
		} else if (!quoted && c == ';') {
			break;
		} else if (!quoted && (c == ',' || c == '"' || c == '=' || c == ' ' || c == '\\')) {
			return false;
		}
	}
	if (quoted || (i < text->len && text->at[i] != ';'))
		return false;
	*value = str_of(text->at, i);
	*text = str_skip(*text, i);
	return true;
}

static bool read_element(struct str text, struct pairs *pairs)
{
	while (text.len) {
		const char *equals = str_find_byte(text, '=');
		if (!equals || pairs->count == ARRAY_LEN(pairs->keys))
			return false;
		struct str key = str_of(text.at, (size_t)(equals - text.at));
		text = str_skip(text, key.len + 1);
		pairs->keys[pairs->count] = key;
		if (!read_value(&text, &pairs->values[pairs->count++]))
			return false;
		if (text.len)
			text = str_skip(text, 1);
	}
	return true;
}

static size_t count_key(const struct pairs *pairs, struct str key)
{
	size_t count = 0;
	for (size_t i = 0; i < pairs->count; i++)
		count += str_eq_nocase(pairs->keys[i], key);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice dice = dice_of(data, size);
	struct str by = own_copy(dice_line(&dice)), subject = own_copy(dice_line(&dice)),
	           uri = own_copy(dice_rest(&dice));
	struct arena arena = {0};
	struct tls_peer peer = {.leaf = {.sha256 = STR("00ff"), .subject = subject}, .uri = uri};
	struct str header = client_certificate_header(&peer, by, &arena);
	struct pairs pairs = {0};
	for (size_t i = 0; i < header.len; i++)
		CHECK(header.at[i] >= 0x20 && header.at[i] < 0x7f);
	CHECK(read_element(header, &pairs));
	CHECK(count_key(&pairs, STR("By")) == (by.len ? 1 : 0));
	CHECK(count_key(&pairs, STR("Hash")) == 1 && count_key(&pairs, STR("Subject")) == 1);
	CHECK(count_key(&pairs, STR("URI")) == 1);
	CHECK(pairs.count == (by.len ? 4 : 3) && str_eq(pairs.keys[pairs.count - 1], STR("URI")));
	arena_fini(&arena);
	own_free(by);
	own_free(subject);
	own_free(uri);
	return 0;
}
