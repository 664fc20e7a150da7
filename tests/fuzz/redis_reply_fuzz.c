// Replies of a server: the same, and the same end, whether they come whole, in single bytes or in
// pieces; nothing of one is in the next; and a server that never ends costs no more memory than a
// reply may have.
//   PIECE TIMES FILL        a byte each: how large pieces are, how often the bytes are said, and
//                           how many KiB of `x` follow them
//   BYTES
#include <sanitizer/allocator_interface.h>

#include "gateway/redis_reply.h"
#include "tests/fuzz/fuzz.h"

enum {
	READ_SIZE = 64 * 1024,  // what a link brings at once
	SCANNED_MAX = 1 << 22,  // a line is looked through anew with each piece: long ones in few
	MEMORY_MAX = 6 * REDIS_REPLY_BYTES_MAX,  // a reply, and a read behind it, doubled twice
};

static void note(struct buffer *heard, const struct redis_reply *reply)
{
	CHECK(reply->number_count <= REDIS_NUMBERS_MAX && reply->text_len <= REDIS_TEXT_MAX);
	buffer_append(heard, &reply->error, sizeof(reply->error));
	buffer_append(heard, &reply->number_count, sizeof(reply->number_count));
	buffer_append(heard, reply->numbers, reply->number_count * sizeof(*reply->numbers));
	buffer_append(heard, &reply->text_len, sizeof(reply->text_len));
	buffer_append(heard, reply->text, reply->text_len);
	for (size_t i = reply->number_count; i < REDIS_NUMBERS_MAX; i++)
		CHECK(reply->numbers[i] == 0);
}

static bool hear(struct redis_replies *replies, struct str piece, struct buffer *heard)
{
	const struct redis_reply *reply;
	struct str copy = own_copy(piece);
	bool sound = redis_replies_feed(replies, copy);
	own_free(copy);
	while (sound) {
		sound = redis_replies_next(replies, &reply);
		if (!sound || !reply)
			break;
		note(heard, reply);
	}
	return sound;
}

// What is heard of the bytes in pieces of `size`, and whether they are sound to the end.
static bool hear_all(struct str bytes, size_t size, struct buffer *heard)
{
	size_t before = __sanitizer_get_current_allocated_bytes();
	struct redis_replies *replies = redis_replies_new();
	bool sound = true;
	while (sound && bytes.len) {
		struct str piece = str_of(bytes.at, bytes.len < size ? bytes.len : size);
		before -= heard->capacity;
		sound = hear(replies, piece, heard);
		bytes = str_skip(bytes, piece.len);
		before += heard->capacity;  // what the test keeps is none of the reader's
		CHECK(__sanitizer_get_current_allocated_bytes() <= before + MEMORY_MAX);
	}
	redis_replies_free(replies);
	return sound;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t pieces[] = {2, 3, 5, 16, 100, 1000, 4096, 65536};
	struct dice choices = dice_of(data, size);
	size_t piece = pieces[dice(&choices, 8)], times = 1 + dice(&choices, 40),
	       fill = (size_t)dice(&choices, 80) * 1024;
	dice_line(&choices);
	struct str said = dice_rest(&choices);
	struct buffer bytes = {0}, whole = {0}, apart = {0};
	while (times--)
		buffer_append_str(&bytes, said);
	while (fill--)
		buffer_append(&bytes, "x", 1);
	struct str stream = buffer_str(&bytes);
	size_t least = 1 + stream.len * stream.len / SCANNED_MAX;
	bool sound = hear_all(stream, READ_SIZE, &whole);
	for (int smallest = 0; smallest < 2; smallest++) {
		buffer_clear(&apart);
		CHECK(hear_all(stream, smallest || piece < least ? least : piece, &apart) == sound);
		CHECK(str_eq(buffer_str(&whole), buffer_str(&apart)));
	}
	buffer_fini(&bytes);
	buffer_fini(&whole);
	buffer_fini(&apart);
	return 0;
}
