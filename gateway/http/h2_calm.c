#include "gateway/http/h2_calm.h"

#include <nghttp2/nghttp2.h>

#include "base/clock.h"

enum { FRAME_HEAD = 9, FRAME_MAX = 16384 };  // nothing else is ever advertised

void h2_calm_init(struct h2_calm *calm)
{
	*calm = (struct h2_calm){0};
}

void h2_calm_spend(struct h2_calm *calm, int price_ms)
{
	int64_t now_ns = clock_monotonic_ns();
	if (calm->due_ns < now_ns)
		calm->due_ns = now_ns;
	calm->due_ns += price_ms * (int64_t)NS_PER_MS;
	if (calm->due_ns - now_ns > H2_CALM_BURST_MS * (int64_t)NS_PER_MS)
		calm->lost = "a flood of frames";
}

void h2_calm_reward(struct h2_calm *calm, int reward_ms)
{
	calm->due_ns -=
	        reward_ms *
	        (int64_t)NS_PER_MS;  // what is before now is worth nothing: see h2_calm_spend
}

static void data_came(struct h2_calm *calm, uint32_t len, bool padded, bool end)
{
	uint32_t padding = padded ? 1 + (uint32_t)calm->head[FRAME_HEAD] : 0;
	if (len > padding)
		h2_calm_reward(calm, H2_REWARD_CONTENT);
	else if (!end)
		h2_calm_spend(calm, H2_PRICE_CONTROL);
}

static void frame_came(struct h2_calm *calm, uint32_t len, uint8_t type, uint8_t flags)
{
	switch (type) {
	case NGHTTP2_DATA:
		data_came(calm, len, len && (flags & NGHTTP2_FLAG_PADDED),
		        flags & NGHTTP2_FLAG_END_STREAM);
		break;
	case NGHTTP2_HEADERS:
	case NGHTTP2_CONTINUATION:
		break;  // bounded by the stream limit, the header list and nghttp2
	case NGHTTP2_RST_STREAM:
		h2_calm_spend(calm, H2_PRICE_RESET);
		break;
	case NGHTTP2_SETTINGS:
		h2_calm_spend(calm, H2_PRICE_SETTINGS);
		break;
	default:
		h2_calm_spend(calm, H2_PRICE_CONTROL + (int)(len / 1024));
		break;
	}
}

static unsigned head_len(const struct h2_calm *calm)
{
	if (calm->have < FRAME_HEAD)
		return FRAME_HEAD;
	bool empty = !calm->head[0] && !calm->head[1] && !calm->head[2];
	bool padded = calm->head[3] == NGHTTP2_DATA && (calm->head[4] & NGHTTP2_FLAG_PADDED) &&
	              !empty;
	return padded ? FRAME_HEAD + 1 : FRAME_HEAD;
}

static struct str skip_preface(struct h2_calm *calm, struct str bytes)
{
	static const char magic[] = NGHTTP2_CLIENT_MAGIC;
	while (bytes.len && calm->preface < NGHTTP2_CLIENT_MAGIC_LEN && !calm->ending) {
		calm->ending = *bytes.at != magic[calm->preface++];
		bytes = str_skip(bytes, 1);
	}
	return bytes;
}

void h2_calm_watch(struct h2_calm *calm, struct str bytes)
{
	bytes = skip_preface(calm, bytes);
	while (bytes.len && !calm->lost && !calm->ending) {
		if (calm->skip) {
			size_t len = bytes.len < calm->skip ? bytes.len : calm->skip;
			calm->skip -= (uint32_t)len;
			bytes = str_skip(bytes, len);
			continue;
		}
		calm->head[calm->have++] = (uint8_t)*bytes.at;
		bytes = str_skip(bytes, 1);
		unsigned whole = head_len(calm);
		if (calm->have < whole)
			continue;
		uint32_t len = (uint32_t)calm->head[0] << 16 | (uint32_t)calm->head[1] << 8 |
		               calm->head[2];
		calm->skip = len - (whole - FRAME_HEAD);
		calm->have = 0;
		calm->ending = len > FRAME_MAX;
		if (!calm->ending)
			frame_came(calm, len, calm->head[3], calm->head[4]);
	}
}
