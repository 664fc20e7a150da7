#include "conf/nearest.h"

#include <ctype.h>

enum { LONGEST = 63, FAR = 3 };

static char folded(char c)
{
	return c == '-' ? '_' : (char)tolower((unsigned char)c);
}

static size_t least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;
	return ab < c ? ab : c;
}

// Optimal string alignment, three rows at a time.
size_t nearest_distance(struct str a, struct str b)
{
	size_t rows[3][LONGEST + 1];
	size_t *before = rows[0], *last = rows[1], *row = rows[2];
	a.len = a.len < LONGEST ? a.len : LONGEST;
	b.len = b.len < LONGEST ? b.len : LONGEST;
	for (size_t j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t *spare = before;
		before = last, last = row, row = spare;
		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			char ai = folded(a.at[i - 1]), bj = folded(b.at[j - 1]);
			row[j] = least(last[j] + 1, row[j - 1] + 1, last[j - 1] + (ai != bj));
			if (i > 1 && j > 1 && ai == folded(b.at[j - 2]) &&
			        folded(a.at[i - 2]) == bj && before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
	}
	return row[b.len];
}

bool nearest_offer(struct nearest *nearest, struct str candidate)
{
	size_t longer = nearest->word.len > candidate.len ? nearest->word.len : candidate.len;
	size_t shorter = nearest->word.len + candidate.len - longer;
	size_t reach = longer / 3 < 1 ? 1 : longer / 3 > FAR ? FAR : longer / 3;
	if (!shorter || longer - shorter > reach)
		return false;
	size_t distance = nearest_distance(nearest->word, candidate);
	if (distance > reach || (nearest->best.at && distance >= nearest->distance))
		return false;
	nearest->best = candidate;
	nearest->distance = distance;
	return true;
}
