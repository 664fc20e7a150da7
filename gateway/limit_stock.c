#include "gateway/limit_stock.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { SETS = 1024, WAYS = 4 };  // 320 KiB

struct entry {
	struct limit_id id;
	uint64_t tokens;
	int64_t tokens_until_ns, ordered_until_ns;
	uint64_t refused_tokens;
	int64_t passes_ns, refusal_until_ns;
};

struct limit_stock {
	struct entry entries[SETS][WAYS];
};

struct limit_stock *limit_stock_new(void)
{
	return must_alloc(sizeof(struct limit_stock));
}

void limit_stock_free(struct limit_stock *stock)
{
	free(stock);
}

// The hash is one already.
static struct entry *set_of(struct limit_stock *stock, const struct limit_id *id)
{
	uint64_t word;
	memcpy(&word, id->hex, sizeof(word));
	return stock->entries[word * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}

static struct entry *find(struct limit_stock *stock, const struct limit_id *id)
{
	struct entry *set = set_of(stock, id);
	for (size_t i = 0; i < WAYS; i++)
		if (memcmp(set[i].id.hex, id->hex, LIMIT_ID_SIZE) == 0)
			return &set[i];
	return NULL;
}

static int64_t needed_until(const struct entry *entry)
{
	int64_t until_ns = entry->tokens ? entry->tokens_until_ns : 0;
	if (entry->refusal_until_ns > until_ns)
		until_ns = entry->refusal_until_ns;
	return entry->ordered_until_ns > until_ns ? entry->ordered_until_ns : until_ns;
}

static struct entry *find_or_make(struct limit_stock *stock, const struct limit_id *id)
{
	struct entry *set = set_of(stock, id), *oldest = set;
	struct entry *entry = find(stock, id);
	if (entry)
		return entry;
	for (size_t i = 1; i < WAYS; i++)
		if (needed_until(&set[i]) < needed_until(oldest))
			oldest = &set[i];
	*oldest = (struct entry){.id = *id};
	return oldest;
}

static bool has_tokens(const struct entry *entry, uint64_t tokens, int64_t now_ns)
{
	return entry->tokens >= tokens && entry->tokens_until_ns > now_ns;
}

bool limit_stock_take(
        struct limit_stock *stock, const struct limit_id *id, uint64_t tokens, int64_t now_ns)
{
	struct entry *entry = find(stock, id);
	if (!entry || !has_tokens(entry, tokens, now_ns))
		return false;
	entry->tokens -= tokens;
	return true;
}

uint64_t limit_stock_tokens(struct limit_stock *stock, const struct limit_id *id, int64_t now_ns)
{
	const struct entry *entry = find(stock, id);
	return entry && entry->tokens_until_ns > now_ns ? entry->tokens : 0;
}

void limit_stock_add(struct limit_stock *stock, const struct limit_id *id, uint64_t tokens,
        uint64_t most, int64_t now_ns, int64_t until_ns)
{
	struct entry *entry = find_or_make(stock, id);
	if (entry->tokens_until_ns <= now_ns)
		entry->tokens = 0;
	entry->tokens += tokens;
	if (entry->tokens > most)
		entry->tokens = most;
	entry->tokens_until_ns = until_ns;
	entry->refusal_until_ns = 0;
}

void limit_stock_refuse(struct limit_stock *stock, const struct limit_id *id, uint64_t tokens,
        int64_t passes_ns, int64_t now_ns)
{
	struct entry *entry = find_or_make(stock, id);
	int64_t longest_ns = now_ns + (int64_t)LIMIT_REFUSAL_MS * NS_PER_MS;
	entry->refused_tokens = tokens;
	entry->passes_ns = passes_ns;
	entry->refusal_until_ns = passes_ns < longest_ns ? passes_ns : longest_ns;
}

int64_t limit_stock_wait(
        struct limit_stock *stock, const struct limit_id *id, uint64_t tokens, int64_t now_ns)
{
	const struct entry *entry = find(stock, id);
	// Fewer may be there by now, more will be there later. And who asked while a lease took the
	// last ones was refused; those pass.
	if (!entry || entry->refused_tokens != tokens || entry->refusal_until_ns <= now_ns ||
	        has_tokens(entry, tokens, now_ns))
		return 0;
	return entry->passes_ns - now_ns;
}

bool limit_stock_order(
        struct limit_stock *stock, const struct limit_id *id, int64_t now_ns, int64_t until_ns)
{
	struct entry *entry = find_or_make(stock, id);
	if (entry->ordered_until_ns > now_ns)
		return false;
	entry->ordered_until_ns = until_ns;
	return true;
}

void limit_stock_arrived(struct limit_stock *stock, const struct limit_id *id)
{
	struct entry *entry = find(stock, id);
	if (entry)
		entry->ordered_until_ns = 0;
}
