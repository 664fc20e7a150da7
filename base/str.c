#include "base/str.h"

static unsigned char lower(char byte)
{
	return (unsigned char)(byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte);
}

bool str_bytes_eq_nocase(const char *a, const char *b, size_t len)
{
	if (len == 0 || memcmp(a, b, len) == 0)
		return true;  // mostly they are the same, and this looks at many at once
	for (size_t i = 0; i < len; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

// Eight bytes at a step: a byte's high bit is set in the result where that byte is below 0x20 or is
// DEL. (A borrow may mark one byte too many, which costs a look and no more.)
static uint64_t control_bytes(uint64_t word)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t delete = word ^ (ones * 0x7f);
	uint64_t low = (word - ones * 0x20) & ~word, is_delete = (delete - ones) & ~delete;
	return (low | is_delete) & (ones * 0x80);
}

static bool control(unsigned char byte)
{
	return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

size_t str_find_control(struct str s)
{
	size_t at = 0;
	for (uint64_t word; at + sizeof(word) <= s.len; at += sizeof(word)) {
		memcpy(&word, s.at + at, sizeof(word));
		if (!control_bytes(word))
			continue;
		for (size_t i = at; i < at + sizeof(word); i++)
			if (control((unsigned char)s.at[i]))
				return i;
	}
	if (s.len >= sizeof(uint32_t) && !control_bytes(str_last_eight(s)))
		return s.len;
	while (at < s.len && !control((unsigned char)s.at[at]))
		at++;
	return at;
}

struct str str_trim(struct str s)
{
	while (s.len && (*s.at == ' ' || *s.at == '\t'))
		s = str_skip(s, 1);
	while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
		s.len--;
	return s;
}

bool str_next_element(struct str *list, struct str *element)
{
	while (list->len) {
		const char *comma = str_find_byte(*list, ',');
		size_t len = comma ? (size_t)(comma - list->at) : list->len;
		*element = str_trim(str_of(list->at, len));
		*list = str_skip(*list, comma ? len + 1 : len);
		if (element->len)
			return true;
	}
	return false;
}

bool str_to_u64(struct str s, uint64_t max, uint64_t *value)
{
	uint64_t sum = 0;
	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] < '0' || s.at[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(s.at[i] - '0');
		if (digit > max || sum > (max - digit) / 10)
			return false;
		sum = sum * 10 + digit;
	}
	*value = sum;
	return true;
}

// One round of a 64x64 multiply-fold; the seed makes collisions unpredictable to a caller who picks
// the keys.
static uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t str_hash(struct str s, uint64_t seed)
{
	uint64_t hash = seed ^ 0x9e3779b97f4a7c15u ^ s.len;
	while (s.len >= 8) {
		uint64_t word;
		memcpy(&word, s.at, 8);
		hash = fold(hash ^ word, 0xa0761d6478bd642fu ^ seed);
		s = str_skip(s, 8);
	}
	uint64_t rest = 0;
	if (s.len)
		memcpy(&rest, s.at, s.len);
	return fold(hash ^ rest, 0xe7037ed1a0b428dbu);
}

static char folded(char c)
{
	return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

bool str_same_field(struct str a, struct str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (a.at[i] != b.at[i] && folded(a.at[i]) != folded(b.at[i]))
			return false;
	return true;
}
