#include "base/utf8.h"

#include "base/check.h"

size_t utf8_sequence(const unsigned char *at, size_t len)
{
	static const struct {
		unsigned char first_low, first_high, second_low, second_high, size;
	} rows[] = {
	        {0xc2, 0xdf, 0x80, 0xbf, 2},
	        {0xe0, 0xe0, 0xa0, 0xbf, 3},
	        {0xe1, 0xec, 0x80, 0xbf, 3},
	        {0xed, 0xed, 0x80, 0x9f, 3},
	        {0xee, 0xef, 0x80, 0xbf, 3},
	        {0xf0, 0xf0, 0x90, 0xbf, 4},
	        {0xf1, 0xf3, 0x80, 0xbf, 4},
	        {0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (at[0] < rows[i].first_low || at[0] > rows[i].first_high)
			continue;
		if (len < rows[i].size || at[1] < rows[i].second_low || at[1] > rows[i].second_high)
			return 0;
		for (size_t k = 2; k < rows[i].size; k++)
			if ((at[k] & 0xc0) != 0x80)
				return 0;
		return rows[i].size;
	}
	return 0;
}
