// A borrowed run of bytes: pointer and length, no ownership, no terminator, may hold NUL.
// Whoever makes one answers for the bytes outliving it. Comparisons are bytewise; the `nocase` ones
// fold ASCII letters only.
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *at;
	size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_FMT(s) (int)(s).len, (s).at  // for "%.*s"

static inline struct str str_of(const char *at, size_t len)
{
	return (struct str){at, len};
}

static inline struct str str_from(const char *terminated)  // NULL gives the empty string
{
	return (struct str){terminated, terminated ? strlen(terminated) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

// Not strncasecmp: that stops at a NUL, which a borrowed string may hold, and folds by locale.
bool str_bytes_eq_nocase(const char *a, const char *b, size_t len);

static inline bool str_eq_nocase(struct str a, struct str b)
{
	return a.len == b.len && str_bytes_eq_nocase(a.at, b.at, a.len);
}

static inline bool str_starts(struct str s, struct str prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.at, prefix.at, prefix.len) == 0);
}

static inline bool str_starts_nocase(struct str s, struct str prefix)
{
	return s.len >= prefix.len && str_bytes_eq_nocase(s.at, prefix.at, prefix.len);
}

static inline bool str_ends(struct str s, struct str suffix)
{
	return s.len >= suffix.len &&
	       (suffix.len == 0 || memcmp(s.at + s.len - suffix.len, suffix.at, suffix.len) == 0);
}

static inline struct str str_skip(struct str s, size_t count)  // count <= s.len
{
	return (struct str){s.at + count, s.len - count};
}

static inline const char *str_find_byte(struct str s, char byte)  // NULL when absent
{
	return s.len ? memchr(s.at, byte, s.len) : NULL;
}

// The last eight bytes as a word; of 4 to 7 bytes, the first four and the last four.
static inline uint64_t str_last_eight(struct str s)
{
	uint64_t word;
	uint32_t first, last;
	if (s.len >= sizeof(word)) {
		memcpy(&word, s.at + s.len - sizeof(word), sizeof(word));
		return word;
	}
	memcpy(&first, s.at, sizeof(first));
	memcpy(&last, s.at + s.len - sizeof(last), sizeof(last));
	return first | (uint64_t)last << 32;
}

// Where the first control byte but a tab stands (below 0x20, and DEL); s.len when there is none.
size_t str_find_control(struct str s);

// Whether a reader that folds the names of header fields (CGI and its heirs) takes the two for one:
// case does not count, and `_` is `-`.
bool str_same_field(struct str a, struct str b);

struct str str_trim(struct str s);  // without spaces and tabs at both ends

// Takes the next element of a comma-separated list (RFC 9110, 5.6.1) off the front of *list,
// trimmed; false at the end. Empty elements are skipped.
bool str_next_element(struct str *list, struct str *element);

// Unsigned decimal, digits only, at most `max`; anything else gives false and leaves *value alone.
bool str_to_u64(struct str s, uint64_t max, uint64_t *value);

uint64_t str_hash(struct str s,
        uint64_t seed);  // keyed; good enough for tables whose seed the caller keeps secret

#endif
