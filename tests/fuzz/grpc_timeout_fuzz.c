// grpc-timeout: what parses is digits and a unit; what we write back is never longer than what we
// read, and off by less than the unit. grpc-message stays printable and decodes to what it was.
//   TEXT
#include "gateway/http/grpc.h"
#include "tests/fuzz/fuzz.h"

static void check_timeout(struct str text, struct arena *arena)
{
	int64_t timeout_ns = -1, again_ns = -1;
	bool shape = text.len >= 2 && text.len <= 9 && text.at[text.len - 1] &&
	             strchr("HMSmun", text.at[text.len - 1]);
	for (size_t i = 0; shape && i + 1 < text.len; i++)
		shape = text.at[i] >= '0' && text.at[i] <= '9';
	CHECK(grpc_timeout_parse(text, &timeout_ns) == shape);
	if (!shape)
		return;
	CHECK(timeout_ns >= 0);
	struct str out = grpc_timeout_format(timeout_ns, arena);
	CHECK(grpc_timeout_parse(out, &again_ns));
	if (timeout_ns == 0)
		CHECK(again_ns == 1);
	else
		CHECK(again_ns <= timeout_ns && again_ns > timeout_ns - timeout_ns / 100000 - 1);
}

static void check_format(struct str bytes, struct arena *arena)
{
	int64_t timeout_ns = 0, again_ns;
	memcpy(&timeout_ns, bytes.at,
	        bytes.len < sizeof(timeout_ns) ? bytes.len : sizeof(timeout_ns));
	struct str out = grpc_timeout_format(timeout_ns, arena);
	CHECK(grpc_timeout_parse(out, &again_ns));
	CHECK(timeout_ns < 1 ? again_ns == 1 : again_ns <= timeout_ns);
}

static void check_message(struct str message, struct arena *arena)
{
	struct str out = grpc_message_encode(message, arena);
	size_t at = 0;
	for (size_t i = 0; i < out.len; i++, at++) {
		CHECK(out.at[i] >= 0x20 && out.at[i] < 0x7f && at < message.len);
		unsigned byte = (unsigned char)out.at[i];
		if (out.at[i] == '%') {
			CHECK(i + 2 < out.len);
			const char digits[] = {out.at[i + 1], out.at[i + 2], '\0'};
			char *end;
			byte = (unsigned)strtoul(digits, &end, 16);
			CHECK(!*end);
			i += 2;
		}
		CHECK(byte == (unsigned char)message.at[at]);
	}
	CHECK(at == message.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = own_copy(str_of((const char *)data, size));
	struct arena arena = {0};
	check_timeout(text, &arena);
	check_format(text, &arena);
	check_message(text, &arena);
	arena_fini(&arena);
	own_free(text);
	return 0;
}
