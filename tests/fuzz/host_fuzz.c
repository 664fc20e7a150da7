// host_normalise: idempotent, only bytes of a host come out, and what it takes the codecs take too.
// str_to_u64 and the list reader stand here as well: framing rests on them.
//   AUTHORITY
#include "gateway/http/head.h"
#include "policy/host.h"
#include "tests/fuzz/fuzz.h"

static void check_host(struct str authority)
{
	struct arena arena = {0};
	struct str host, again;
	if (host_normalise(authority, &arena, &host)) {
		CHECK(host.len > 0 && host.len <= HOST_MAX);
		for (size_t i = 0; i < host.len; i++)
			CHECK(host.at[i] &&
			        strchr("abcdefghijklmnopqrstuvwxyz0123456789-._~[]:", host.at[i]));
		bool literal = host.at[0] == '[';
		CHECK(literal == (str_find_byte(host, ':') != NULL));
		CHECK(literal == (host.at[host.len - 1] == ']'));
		CHECK(host_normalise(host, &arena, &again) && str_eq(host, again));
		CHECK(literal || authority_valid(authority));
	}
	arena_fini(&arena);
}

static void check_number(struct str text)
{
	uint64_t value = 77;
	bool digits = text.len > 0;
	for (size_t i = 0; i < text.len; i++)
		digits &= text.at[i] >= '0' && text.at[i] <= '9';
	if (!str_to_u64(text, INT64_MAX, &value)) {
		CHECK(value == 77 && (!digits || text.len > 18));
		return;
	}
	CHECK(digits && value <= INT64_MAX);
	char shown[24];
	snprintf(shown, sizeof(shown), "%llu", (unsigned long long)value);
	while (text.len > 1 && *text.at == '0')
		text = str_skip(text, 1);
	CHECK(str_eq(text, str_from(shown)));
}

static void check_list(struct str list)
{
	struct str whole = list, element;
	size_t total = 0;
	while (str_next_element(&list, &element)) {
		CHECK(element.len && !str_find_byte(element, ','));
		CHECK(element.at >= whole.at && element.at + element.len <= whole.at + whole.len);
		CHECK(str_eq(str_trim(element), element));
		total += element.len;
	}
	CHECK(total <= whole.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = own_copy(str_of((const char *)data, size));
	check_host(text);
	check_number(text);
	check_list(text);
	own_free(text);
	return 0;
}
