// What a worker remembers of shared buckets for a short while, so that most calls ask nobody:
// tokens it has leased, refusals that still hold, and that a lease is on its way. A table of fixed
// size: what it forgets under pressure costs a question, or some leased tokens, and gives nobody a
// token. Owned by the worker's limit store; its thread only.
#ifndef GATEWAY_LIMIT_STOCK_H
#define GATEWAY_LIMIT_STOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

// Which bucket: the beginning of a SHA-256 in hex.
enum { LIMIT_ID_SIZE = 32 };
struct limit_id {
	char hex[LIMIT_ID_SIZE];
};

struct limit_stock;

MUST_USE struct limit_stock *limit_stock_new(void);
void limit_stock_free(struct limit_stock *stock);

// Takes so many leased tokens; false when there are fewer.
MUST_USE bool limit_stock_take(
        struct limit_stock *stock, const struct limit_id *id, uint64_t tokens, int64_t now_ns);
uint64_t limit_stock_tokens(
        struct limit_stock *stock, const struct limit_id *id, int64_t now_ns);  // leased, left
// Adds tokens that were taken from the bucket, up to `most` in all: what is over is lost. Each
// addition lets all live until `until_ns`.
void limit_stock_add(struct limit_stock *stock, const struct limit_id *id, uint64_t tokens,
        uint64_t most, int64_t now_ns, int64_t until_ns);

// No call of so many tokens could pass before `passes_ns`; remembered for LIMIT_REFUSAL_MS at most,
// for the bucket may be given other numbers meanwhile.
enum { LIMIT_REFUSAL_MS = 1000 };
void limit_stock_refuse(struct limit_stock *stock, const struct limit_id *id, uint64_t tokens,
        int64_t passes_ns, int64_t now_ns);
// How long no call of just so many tokens can pass, for certain; 0: nothing is known, or they have
// been leased.
int64_t limit_stock_wait(
        struct limit_stock *stock, const struct limit_id *id, uint64_t tokens, int64_t now_ns);

// True once, until limit_stock_arrived or `until_ns`: who else asks meanwhile wants what the call
// costs alone, or a crowd at one bucket would lease it empty.
MUST_USE bool limit_stock_order(
        struct limit_stock *stock, const struct limit_id *id, int64_t now_ns, int64_t until_ns);
void limit_stock_arrived(struct limit_stock *stock, const struct limit_id *id);

#endif
