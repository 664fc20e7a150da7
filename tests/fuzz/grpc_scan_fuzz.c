// Messages of a gRPC body are told apart as a plain reading of the whole does it, however the body
// is cut, and no byte beyond what there is is looked at.
//   PIECES\nBODY: each byte of the first line is the length of a piece, again and again
#include "gateway/http/grpc.h"
#include "tests/fuzz/fuzz.h"

enum { PREFIX = 5 };

// Where the message that begins at `from` ends, though that may be beyond the body.
static uint64_t end_of(struct str body, uint64_t from)
{
	uint64_t length = 0;
	if (body.len - from < PREFIX)
		return UINT64_MAX;
	for (int i = 1; i < PREFIX; i++)
		length = length * 256 + (unsigned char)body.at[from + (uint64_t)i];
	return from + PREFIX + length;
}

// One piece, message by message, from `at` on; returns where the message began that goes on.
static uint64_t check_piece(
        struct grpc_scan *scan, struct str body, uint64_t at, struct str piece, uint64_t begun)
{
	struct str own = own_copy(piece), rest = own;
	while (rest.len) {
		uint64_t end = end_of(body, begun);
		uint64_t left = end < at + rest.len ? end - at : rest.len;
		CHECK(grpc_scan_message(scan, rest) == left);
		at += left;
		rest = str_skip(rest, (size_t)left);
		CHECK(grpc_scan_between(scan) == (at == end));
		if (at == end)
			begun = end;
	}
	struct grpc_scan before = *scan;
	CHECK(grpc_scan_message(scan, str_of(own.at, 0)) == 0);
	CHECK(grpc_scan_between(scan) == grpc_scan_between(&before));
	own_free(own);
	return begun;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice input = dice_of(data, size);
	struct str pieces = dice_line(&input), body = dice_rest(&input);
	struct grpc_scan scan = {0};
	uint64_t begun = 0;
	size_t at = 0;
	for (size_t i = 0; at < body.len; i++) {
		size_t len = pieces.len ? (unsigned char)pieces.at[i % pieces.len] : body.len;
		len = len < 1 ? 1 : len < body.len - at ? len : body.len - at;
		begun = check_piece(&scan, body, at, str_of(body.at + at, len), begun);
		at += len;
	}
	return 0;
}
