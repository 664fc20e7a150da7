#include "policy/fingerprint.h"

#include <endian.h>

struct state {
	uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t word, int bits)
{
	return word << bits | word >> (64 - bits);
}

static void round_once(struct state *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 = rotate(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 = rotate(s->v2, 32);
}

static void absorb(struct state *s, uint64_t word)
{
	s->v3 ^= word;
	round_once(s);
	round_once(s);
	s->v0 ^= word;
}

static uint64_t squeeze(struct state *s)
{
	for (int i = 0; i < 4; i++)
		round_once(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static uint64_t word_at(const char *at, size_t len)  // little-endian, len <= 8
{
	uint64_t word = 0;
	if (len)
		memcpy(&word, at, len);
	return le64toh(word);
}

struct fingerprint fingerprint_of(struct str key, struct fingerprint seed)
{
	struct state s = {
	        seed.low ^ 0x736f6d6570736575u,
	        seed.high ^ 0x646f72616e646f6du ^ 0xee,
	        seed.low ^ 0x6c7967656e657261u,
	        seed.high ^ 0x7465646279746573u,
	};
	uint64_t length_byte = (uint64_t)key.len << 56;
	for (; key.len >= 8; key = str_skip(key, 8))
		absorb(&s, word_at(key.at, 8));
	absorb(&s, length_byte | word_at(key.at, key.len));
	struct fingerprint print;
	s.v2 ^= 0xee;
	print.low = squeeze(&s);
	s.v1 ^= 0xdd;
	print.high = squeeze(&s);
	return print;
}
