// audit verify: any file gets a verdict. A chain of ours verifies; with one byte of it changed,
// other than in its last line, or one line taken out, it never does.
//   choices \n a file; or, where the first choice says so, bodies for a chain of ours, one a line
#include <sys/mman.h>
#include <unistd.h>

#include "base/json.h"
#include "gateway/audit.h"
#include "gateway/audit_chain.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	return freopen("/dev/null", "w", stdout) ? 0 : -1;  // the verdicts in words
}

static int verify(struct str file)
{
	static int descriptor = -1;
	static char path[32];
	if (descriptor < 0) {
		descriptor = memfd_create("audit", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
	}
	CHECK(ftruncate(descriptor, 0) == 0);
	CHECK(pwrite(descriptor, file.at, file.len, 0) == (ssize_t)file.len);
	char *const files[] = {path};
	int result = audit_verify(1, files);
	CHECK(result == 0 || result == 3);
	return result;
}

// Where each line begins; at most `most`.
static size_t make_chain(struct dice *bodies, struct buffer *out, size_t starts[], size_t most)
{
	struct audit_chain chain;
	size_t count = 0;
	audit_chain_init(&chain);
	while (bodies->left.len && count < most) {
		struct buffer body = {0};
		struct json json;
		json_init(&json, &body);
		json_member_str(&json, "event", dice_line(bodies));
		starts[count++] = buffer_len(out);
		audit_chain_append(&chain, out, (int64_t)count, buffer_str(&body), STR(""));
		buffer_fini(&body);
	}
	return count;
}

static void check_chain(struct dice *choices, struct dice *bodies)
{
	struct buffer chain = {0}, changed = {0};
	size_t starts[16], count = make_chain(bodies, &chain, starts, ARRAY_LEN(starts));
	CHECK(verify(buffer_str(&chain)) == 0);
	if (count >= 2) {
		struct str whole = buffer_str(&chain);
		unsigned flip = 1 + dice(choices, 255);
		size_t at = (dice(choices, 256) * 256u + dice(choices, 256)) % starts[count - 1];
		buffer_append_str(&changed, whole);
		buffer_data(&changed)[at] = (char)(buffer_data(&changed)[at] ^ flip);
		CHECK(verify(buffer_str(&changed)) == 3);
	}
	if (count >= 3) {
		size_t out = 1 + dice(choices, (unsigned)count - 2);
		buffer_clear(&changed);
		buffer_append(&changed, buffer_data(&chain), starts[out]);
		buffer_append_str(&changed, str_skip(buffer_str(&chain), starts[out + 1]));
		CHECK(verify(buffer_str(&changed)) == 3);
	}
	buffer_fini(&chain);
	buffer_fini(&changed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice all = dice_of(data, size), choices = {dice_line(&all)};
	if (dice(&choices, 2))
		check_chain(&choices, &all);
	else
		verify(dice_rest(&all));
	return 0;
}
